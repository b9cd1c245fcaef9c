//! Against what queueing theory knows exactly.

use super::*;

/// 700,000 requests at this share of what `servers` can do, 10 ms each.
fn loaded(share: f64, servers: f64, service: ServiceTimes) -> Scenario {
    let rps = share * servers * 100.0;
    let duration_s = 700_000.0 / rps;
    let trace = Trace::Constant { rps };
    Scenario { trace, duration_s, service, bucket_s: duration_s / 200.0, ..base() }
}

fn exponential() -> ServiceTimes {
    ServiceTimes::exponential(10.0).unwrap()
}

/// The mean time in the system of M/M/c in milliseconds, with 10 ms of work and Erlang's C formula.
fn erlang(servers: u32, share: f64) -> f64 {
    let offered = share * f64::from(servers);
    let mut term = 1.0;
    let mut sum = 1.0;
    for k in 1..servers {
        term *= offered / f64::from(k);
        sum += term;
    }
    let last = term * offered / f64::from(servers) / (1.0 - share);
    let waits = last / (sum + last);
    10.0 + waits * 10.0 / (f64::from(servers) * (1.0 - share))
}

#[test]
fn one_server_waits_as_in_mm1() {
    for share in [0.3, 0.6, 0.8] {
        let outcome = simulate(&loaded(share, 1.0, exponential())).unwrap();
        let mean = 10.0 / (1.0 - share);
        near(outcome.mean_ms, mean, 0.04);
        // The time in the system is exponential itself.
        near(outcome.p50_ms, mean * 2.0_f64.ln(), 0.05);
        near(outcome.p99_ms, mean * 100.0_f64.ln(), 0.06);
        near(outcome.utilization, share, 0.01);
    }
}

#[test]
fn many_servers_wait_as_in_mmc() {
    for (servers, share) in [(2, 0.7), (4, 0.8), (16, 0.9)] {
        let scenario = loaded(share, f64::from(servers), exponential());
        let instances = Instances { concurrency: servers, ..scenario.instances.clone() };
        let outcome = simulate(&Scenario { instances, ..scenario }).unwrap();
        near(outcome.mean_ms, erlang(servers, share), 0.04);
        near(outcome.utilization, share, 0.01);
    }
}

#[test]
fn constant_work_waits_as_in_md1() {
    let service = ServiceTimes::constant(10.0).unwrap();
    for share in [0.5, 0.8] {
        let outcome = simulate(&loaded(share, 1.0, service.clone())).unwrap();
        near(outcome.mean_ms, 10.0 + share * 10.0 / (2.0 * (1.0 - share)), 0.03);
    }
}

#[test]
fn a_full_queue_refuses_as_in_mm1k() {
    let room = 5;
    for share in [0.5, 0.9, 1.5] {
        let mut scenario = loaded(share, 1.0, exponential());
        scenario.instances.queue = room - 1;
        let outcome = simulate(&scenario).unwrap();
        let blocked =
            |k: u32| (1.0 - share) * share.powi(k as i32) / (1.0 - share.powi(room as i32 + 1));
        near(outcome.throttled as f64 / outcome.requests as f64, blocked(room), 0.04);
        near(outcome.utilization, 1.0 - blocked(0), 0.02);
    }
}

/// All share a machine and nobody waits: M/G/1 under processor sharing has the mean of M/M/1 whatever
/// the distribution of the work, and with several cores that of M/M/c where work is exponential.
#[test]
fn a_shared_machine_slows_all_down_as_processor_sharing_does() {
    let shared = |scenario: Scenario, instances: u32, cores: f64| {
        let room = Instances { concurrency: 200_000, queue: 0, cores: Some(cores), start_ms: 0.0 };
        simulate(&Scenario { instances: room, initial: instances, ..scenario }).unwrap()
    };
    let lognormal = ServiceTimes::lognormal(8.0, 36.0).unwrap();
    let work = lognormal.mean_ms();
    let scenario = loaded(0.7, 1.0, lognormal);
    let share = 0.7 * work / 10.0;
    for instances in [1, 3] {
        near(shared(scenario.clone(), instances, 1.0).mean_ms, work / (1.0 - share), 0.04);
    }
    let scenario = loaded(0.8, 4.0, exponential());
    for instances in [1, 5] {
        near(shared(scenario.clone(), instances, 4.0).mean_ms, erlang(4, 0.8), 0.04);
    }
}

/// Routing to the least loaded lies between one common queue and a queue for each.
#[test]
fn least_outstanding_lies_between_one_queue_and_separate_ones() {
    for instances in [2, 8] {
        let scenario = loaded(0.8, f64::from(instances), exponential());
        let outcome = simulate(&Scenario { initial: instances, ..scenario }).unwrap();
        let (best, worst) = (erlang(instances, 0.8), erlang(1, 0.8));
        let mean = outcome.mean_ms;
        assert!(mean > best && mean < (best + worst) / 2.0, "{mean}: {best} to {worst}");
    }
}

#[test]
fn littles_law_holds_over_the_timeline() {
    let mut scenario = loaded(0.85, 4.0, ServiceTimes::lognormal(8.0, 36.0).unwrap());
    scenario.instances.concurrency = 2;
    scenario.initial = 2;
    let outcome = simulate(&scenario).unwrap();
    let count = outcome.timeline.len() as f64;
    let mean = |of: fn(&Moment) -> f64| outcome.timeline.iter().map(of).sum::<f64>() / count;
    let arrivals_a_ms = outcome.requests as f64 / scenario.duration_s / 1e3;
    near(mean(|m| m.in_flight), arrivals_a_ms * outcome.mean_ms, 0.005);
    near(mean(|m| m.in_flight - m.waiting), 4.0 * outcome.utilization, 0.005);
    near(mean(|m| m.rps), outcome.requests as f64 / scenario.duration_s, 1e-9);
}

#[test]
fn service_times_have_the_quantiles_they_were_made_of() {
    let lognormal = ServiceTimes::lognormal(20.0, 80.0).unwrap();
    near(lognormal.quantile_ms(0.5), 20.0, 1e-3);
    near(lognormal.quantile_ms(0.99), 80.0, 1e-3);
    let sigma: f64 = (4.0_f64).ln() / 2.326_348;
    near(lognormal.mean_ms(), 20.0 * (sigma * sigma / 2.0).exp(), 1e-3);
    near(exponential().mean_ms(), 10.0, 1e-3);
    near(exponential().quantile_ms(0.9999), 92.1, 1e-3);

    let samples: Vec<f64> = (0..=1000).rev().map(f64::from).collect();
    let measured = ServiceTimes::from_samples(&samples).unwrap();
    near(measured.mean_ms(), 500.0, 1e-3);
    near(measured.quantile_ms(0.99), 990.0, 1e-3);
    near(measured.quantile_ms(1.0), 1000.0, 1e-3);
    let told = ServiceTimes::from_quantiles(&[(0.1, 5.0), (0.5, 10.0), (0.99, 59.0)]).unwrap();
    for (share, ms) in
        [(0.0, 5.0), (0.05, 5.0), (0.1, 5.0), (0.3, 7.5), (0.6, 20.0), (0.9995, 59.0)]
    {
        near(told.quantile_ms(share), ms, 1e-3);
    }
    near(ServiceTimes::from_quantiles(&[(0.5, 3.0)]).unwrap().mean_ms(), 3.0, 1e-9);
    assert_eq!(ServiceTimes::from_samples(&[7.0]).unwrap().quantile_ms(0.3), 7.0);

    // Alone on an instance a request takes what was drawn.
    let scenario = Scenario { service: lognormal, ..loaded(0.001, 1.0, exponential()) };
    let outcome = simulate(&scenario).unwrap();
    near(outcome.p50_ms, 20.0, 0.02);
    near(outcome.p99_ms, 80.0, 0.04);
}
