//! How many simulated requests one core plays in a second, for one instance and for 2,000, with own cores
//! and with shared ones: the best of several runs.
//!
//! `cargo run --release -p kennel-scaling --example simulate_rate`

use std::time::Instant;

use kennel_scaling::fast::{Fast, Measure};
use kennel_scaling::scaler::{Bounds, Rule};
use kennel_scaling::simulate::{Instances, Scaling, Scenario, ServiceTimes, simulate};
use kennel_scaling::target_tracking::TargetTracking;
use kennel_scaling::trace::Trace;

const RUNS: usize = 15;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for count in [1_u32, 100, 2_000] {
        let rps = 37.0 * f64::from(count);
        let requests = 1e6;
        let base = Scenario {
            trace: Trace::Constant { rps },
            duration_s: requests / rps,
            service: ServiceTimes::lognormal(18.0, 60.0)?,
            instances: Instances { start_ms: 2_000.0, concurrency: 1, queue: 63, cores: None },
            scaling: Scaling::None,
            bounds: Bounds { min: 1, max: 2 * count },
            initial: count,
            hold: 0,
            seed: 6,
            hourly_price: 0.23,
            bucket_s: requests / rps / 500.0,
        };
        let shared = Instances { cores: Some(f64::from(count)), ..base.instances.clone() };
        let tracking = TargetTracking {
            target: 37.0 * 60.0,
            scale_out_cooldown_ms: 300_000,
            scale_in_cooldown_ms: 300_000,
            disable_scale_in: false,
        };
        let aws = Scaling::Aws {
            rules: vec![("p".into(), Rule::TargetTracking(tracking))],
            period_s: 60,
        };
        let fast = Scaling::Fast(Fast::new(1.2, Measure::Concurrency));
        let overload = Trace::Constant { rps: rps * 1.5 };
        for (name, scenario) in [
            ("fixed", base.clone()),
            ("aws", Scenario { scaling: aws, ..base.clone() }),
            ("fast", Scenario { scaling: fast, ..base.clone() }),
            ("shared cores", Scenario { instances: shared, ..base.clone() }),
            (
                "overloaded",
                Scenario { trace: overload, duration_s: base.duration_s / 1.5, ..base.clone() },
            ),
        ] {
            let mut best = 0.0_f64;
            let mut said = String::new();
            for _ in 0..RUNS {
                let begin = Instant::now();
                let outcome = simulate(&scenario)?;
                best = best.max(outcome.requests as f64 / begin.elapsed().as_secs_f64());
                said = format!(
                    "p50 {:.1} ms, p99 {:.1} ms, throttled {}, utilization {:.2}, at most {} instances",
                    outcome.p50_ms,
                    outcome.p99_ms,
                    outcome.throttled,
                    outcome.utilization,
                    outcome.most_instances
                );
            }
            println!(
                "{count:>5} instances, {name:>12}: {:.2} million requests/s ({said})",
                best / 1e6
            );
        }
    }
    Ok(())
}
