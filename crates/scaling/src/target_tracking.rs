//! Target tracking: the two alarms that watch a metric, and the capacity that would bring it to its target.
//!
//! Sources: <https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html>,
//! <https://docs.aws.amazon.com/autoscaling/application/APIReference/API_TargetTrackingScalingPolicyConfiguration.html>.

use serde::{Deserialize, Serialize};

use crate::alarm::{Alarm, Comparison, Missing};

/// AWS's `TargetTrackingScalingPolicyConfiguration`, without the metric's name.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetTracking {
    /// What the metric, an average over instances, is to be.
    pub target: f64,
    /// How long only a larger scale-out may follow a scale-out.
    pub scale_out_cooldown_ms: i64,
    /// How long no scale-in may follow a scale-in.
    pub scale_in_cooldown_ms: i64,
    /// Whether this policy never takes capacity away.
    pub disable_scale_in: bool,
}

/// Periods above the target before AWS scales out.
const HIGH_PERIODS: u32 = 3;
/// Periods below nine tenths of the target before AWS scales in.
const LOW_PERIODS: u32 = 15;
/// The low alarm's threshold as a share of the target.
const LOW_SHARE: f64 = 0.9;

impl TargetTracking {
    /// The alarms that AWS makes for the policy, "AlarmHigh" and "AlarmLow", for a metric of that period.
    pub fn alarms(&self, period_s: u32) -> (Alarm, Alarm) {
        let _ = period_s;
        let alarm = |comparison, threshold, periods| Alarm {
            comparison,
            threshold,
            evaluation_periods: periods,
            datapoints_to_alarm: periods,
            missing: Missing::Missing,
        };
        (
            alarm(Comparison::GreaterThanThreshold, self.target, HIGH_PERIODS),
            alarm(Comparison::LessThanThreshold, self.target * LOW_SHARE, LOW_PERIODS),
        )
    }

    /// The smallest capacity at which a metric that is `metric` at `capacity` would not exceed the target.
    pub fn wanted(&self, capacity: u32, metric: f64) -> u32 {
        let exact = f64::from(capacity) * metric / self.target;
        // Rounding errors must not buy an instance: 3 × 0.7 ÷ 0.7 is 3. Casts saturate, NaN becomes 0.
        (exact * (1.0 - 1e-9)).ceil() as u32
    }
}
