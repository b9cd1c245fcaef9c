use proptest::prelude::*;

use super::*;

fn measured(seconds: f64, cores: f64) -> Measured {
    Measured {
        seconds,
        cores,
        core: Span::new(1.0, 1.4, 2.0),
        parallel: Span::new(0.85, 0.92, 0.97),
        network: Span::new(0.6, 0.7, 0.8),
        flop: None,
        what: "2 cores".into(),
    }
}

fn need(memory_gib: f64) -> Need {
    Need { memory_gib, gpu_memory_gib: 3.0, why: "a guess".into() }
}

fn options(usage: Usage) -> AdviseOptions<'static> {
    AdviseOptions {
        usage,
        region: "us-east-1",
        count: 1,
        times: 1.0,
        overhead: Span::new(60.0, 100.0, 180.0),
        deadline_s: None,
        budget: None,
    }
}

#[test]
fn a_long_job_is_worth_a_gpu_and_a_short_one_is_not() {
    let catalogue = Catalogue::built_in();
    let short = advise(&catalogue, &measured(20.0, 2.0), &need(2.0), &options(Usage::Training));
    let cheapest = short.cheapest().unwrap();
    assert!(cheapest.name.contains("large") && !cheapest.has.contains("T4"), "{cheapest:?}");
    let long = advise(&catalogue, &measured(36_000.0, 2.0), &need(2.0), &options(Usage::Training));
    let chosen = long.chosen().unwrap();
    assert!(chosen.name.starts_with("ml.g"), "{chosen:?}");
    assert!(chosen.pareto);
}

#[test]
fn what_does_not_fit_is_left_out_with_the_reason() {
    let catalogue = Catalogue::built_in();
    let advice = advise(&catalogue, &measured(600.0, 2.0), &need(10.0), &options(Usage::Training));
    let of = |name: &str| advice.excluded.iter().find(|e| e.name == name);
    assert!(of("ml.m5.large").unwrap().reason.contains("8 GiB"));
    assert!(of("ml.m5.xlarge").is_none());
    assert!(advice.ranked.iter().all(|r| r.name != "ml.m5.large"));
    let tight = AdviseOptions { deadline_s: Some(120.0), ..options(Usage::Training) };
    let advice = advise(&catalogue, &measured(6000.0, 2.0), &need(2.0), &tight);
    assert!(advice.ranked.iter().all(|r| r.seconds.mid <= 120.0));
    assert!(advice.excluded.iter().any(|e| e.reason.contains("longer than 2 min")));
}

#[test]
fn the_paragraph_says_what_and_why() {
    let catalogue = Catalogue::built_in();
    let (measured, need) = (measured(600.0, 2.0), need(2.5));
    let advice = advise(&catalogue, &measured, &need, &options(Usage::Training));
    let text = paragraph(&advice, &measured, &need).unwrap();
    let chosen = advice.chosen().unwrap();
    for part in
        [chosen.name.as_str(), "us-east-1", "10 min", "2.5 GiB", "nothing was measured on AWS"]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let nothing = advise(
        &catalogue,
        &measured,
        &Need { memory_gib: 1e6, ..need.clone() },
        &options(Usage::Training),
    );
    assert!(nothing.best.is_none() && paragraph(&nothing, &measured, &need).is_none());
}

#[test]
fn known_arithmetic_narrows_what_a_gpu_takes() {
    let catalogue = Catalogue::built_in();
    let guessed = measured(3600.0, 2.0);
    let known = Measured { flop: Some(3600.0 * 0.7 * 2.0 * 1.4 * 60e9), ..guessed.clone() };
    let of = |m: &Measured| {
        let advice = advise(&catalogue, m, &need(2.0), &options(Usage::Training));
        advice.ranked.into_iter().find(|r| r.name == "ml.g4dn.xlarge").unwrap().seconds
    };
    let (wide, narrow) = (of(&guessed), of(&known));
    assert!(narrow.high - narrow.low < wide.high - wide.low);
    assert!((narrow.mid / wide.mid - 1.0).abs() < 0.01);
}

proptest! {
    #[test]
    fn ranges_are_in_order_and_longer_jobs_take_longer(
        seconds in 0.1_f64..1e6,
        cores in 1.0_f64..128.0,
        share in 0.0_f64..1.0,
        count in 1_u32..8,
    ) {
        let catalogue = Catalogue::built_in();
        let one = Measured {
            parallel: Span::new(share * 0.9, share, share),
            network: Span::new(0.0, share * 0.5, share),
            ..measured(seconds, cores)
        };
        let options = AdviseOptions { count, ..options(Usage::Ec2) };
        let advice = advise(&catalogue, &one, &need(1.0), &options);
        prop_assert!(!advice.ranked.is_empty());
        prop_assert!(advice.ranked.iter().any(|r| r.pareto));
        for r in &advice.ranked {
            prop_assert!(r.seconds.low <= r.seconds.mid && r.seconds.mid <= r.seconds.high);
            prop_assert!(r.dollars.low <= r.dollars.mid && r.dollars.mid <= r.dollars.high);
        }
        let double = advise(&catalogue, &Measured { seconds: seconds * 2.0, ..one }, &need(1.0), &options);
        for r in &double.ranked {
            let before = advice.ranked.iter().find(|b| b.name == r.name).unwrap();
            prop_assert!(r.seconds.mid >= before.seconds.mid && r.dollars.mid >= before.dollars.mid);
        }
        // No type on the front is beaten.
        for p in advice.ranked.iter().filter(|r| r.pareto) {
            prop_assert!(!advice.ranked.iter().any(|r| r.seconds.mid < p.seconds.mid && r.dollars.mid < p.dollars.mid));
        }
    }
}
