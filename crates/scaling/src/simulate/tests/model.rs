//! The run against a plain model that looks at every request at every event: remaining work is counted down
//! instead of being put on a clock of its own, and the least loaded is searched among all.

use std::collections::VecDeque;

use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;

#[derive(Default, Clone)]
struct Plain {
    /// Work left and arrival.
    working: Vec<(f64, f64)>,
    waiting: VecDeque<(f64, f64)>,
    /// When its number of requests last changed, as a number of changes.
    changed: usize,
}

impl Plain {
    fn load(&self) -> usize {
        self.working.len() + self.waiting.len()
    }
}

/// Latencies in seconds, and how many were refused.
fn played(scenario: &Scenario) -> (Vec<f64>, u64) {
    let Instances { concurrency, queue, cores, .. } = scenario.instances;
    let mut random = ChaCha8Rng::seed_from_u64(scenario.seed);
    random.set_stream(1);
    let mut arrivals = scenario
        .trace
        .arrivals(scenario.duration_s, scenario.seed)
        .unwrap()
        .map(|at| (at, scenario.service.draw(random.next_u64())))
        .peekable();
    let mut instances = vec![Plain::default(); scenario.initial as usize];
    for (number, instance) in instances.iter_mut().enumerate() {
        instance.changed = number;
    }
    let mut changes = instances.len();
    let (mut now, mut latencies, mut refused) = (0.0, Vec::new(), 0);
    loop {
        let working = instances.iter().map(|i| i.working.len()).sum::<usize>() as f64;
        let speed = cores.map_or(1.0, |cores| (cores / working).min(1.0));
        let first = (0..instances.len())
            .flat_map(|i| (0..instances[i].working.len()).map(move |w| (i, w)))
            .min_by(|a, b| {
                let left = |(i, w): &(usize, usize)| instances[*i].working[*w].0;
                left(a).total_cmp(&left(b))
            });
        let ends = first.map_or(f64::INFINITY, |(i, w)| now + instances[i].working[w].0 / speed);
        let comes = arrivals.peek().map_or(f64::INFINITY, |(at, _)| *at);
        if ends == f64::INFINITY && comes == f64::INFINITY {
            return (latencies, refused);
        }
        let next = ends.min(comes);
        for (left, _) in instances.iter_mut().flat_map(|i| &mut i.working) {
            *left -= (next - now) * speed;
        }
        now = next;
        changes += 1;
        if let (true, Some((place, number))) = (ends <= comes, first) {
            let instance = &mut instances[place];
            let (_, arrival) = instance.working.remove(number);
            latencies.push(now - arrival);
            instance.working.extend(instance.waiting.pop_front());
            instance.changed = changes;
        } else if let Some((at, service)) = arrivals.next() {
            let least = instances.iter_mut().min_by_key(|i| (i.load(), i.changed)).unwrap();
            if least.load() == (concurrency + queue) as usize {
                refused += 1;
                continue;
            }
            least.changed = changes;
            if least.working.len() < concurrency as usize {
                least.working.push((service, at));
            } else {
                least.waiting.push_back((service, at));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn every_request_takes_as_long_as_in_the_plain_model(
        rps in 0.5..30.0_f64,
        (initial, concurrency, queue) in (1..6_u32, 1..4_u32, 0..6_u32),
        cores in prop::option::of(0.5..5.0_f64),
        p50 in 10.0..400.0_f64,
        seed: u64,
    ) {
        let scenario = Scenario {
            trace: Trace::Constant { rps },
            service: ServiceTimes::lognormal(p50, p50 * 3.0).unwrap(),
            instances: Instances { start_ms: 0.0, concurrency, queue, cores },
            initial,
            seed,
            ..base()
        };
        let (latencies, refused) = played(&scenario);
        let outcome = simulate(&scenario).unwrap();
        prop_assert_eq!(outcome.answered, latencies.len() as u64);
        prop_assert_eq!(outcome.throttled, refused);
        let longest = latencies.iter().copied().fold(0.0, f64::max) * 1e3;
        let mean = latencies.iter().sum::<f64>() * 1e3 / latencies.len().max(1) as f64;
        prop_assert!((outcome.max_ms - longest).abs() < 1e-3, "{} {longest}", outcome.max_ms);
        prop_assert!((outcome.mean_ms - mean).abs() < 1e-3, "{} {mean}", outcome.mean_ms);
    }
}
