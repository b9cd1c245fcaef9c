mod by_hand;
mod fleet;
mod model;
mod properties;
mod refusals;
mod scaling;
mod theory;

use super::*;
use crate::target_tracking::TargetTracking;

/// One instance that is never scaled, a minute of nothing: what tests change.
fn base() -> Scenario {
    Scenario {
        trace: Trace::Constant { rps: 0.0 },
        duration_s: 60.0,
        service: ServiceTimes::constant(1_000.0).unwrap(),
        instances: Instances { start_ms: 0.0, concurrency: 1, queue: 1_000_000, cores: None },
        scaling: Scaling::None,
        bounds: Bounds { min: 1, max: 1 },
        initial: 1,
        hold: 0,
        seed: 1,
        hourly_price: 1.0,
        bucket_s: 10.0,
    }
}

/// With AWS's default cooldowns.
fn tracking(target: f64) -> Rule {
    Rule::TargetTracking(TargetTracking {
        target,
        scale_out_cooldown_ms: 300_000,
        scale_in_cooldown_ms: 300_000,
        disable_scale_in: false,
    })
}

fn aws(target: f64, period_s: u32) -> Scaling {
    Scaling::Aws { rules: vec![("p".to_owned(), tracking(target))], period_s }
}

#[track_caller]
fn near(found: f64, expected: f64, share: f64) {
    assert!(
        (found - expected).abs() <= share * expected.abs(),
        "{found} instead of {expected}, {:+.1} %",
        (found / expected - 1.0) * 100.0
    );
}
