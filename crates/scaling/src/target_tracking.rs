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
/// Minutes below nine tenths of the target before AWS scales in.
const LOW_MINUTES: u32 = 15;
/// The low alarm's threshold as a share of the target.
const LOW_SHARE: f64 = 0.9;

impl TargetTracking {
    /// The alarms that AWS makes for the policy, "AlarmHigh" and "AlarmLow", for a metric of that period.
    ///
    /// A high-resolution metric of 10 seconds scales out after 30 seconds, but in only after the same quarter
    /// of an hour: with less traffic such a policy scales in as slowly as with standard metrics, says
    /// <https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-add-code-define.html>.
    pub fn alarms(&self, period_s: u32) -> (Alarm, Alarm) {
        let low_periods = LOW_MINUTES * (60 / period_s.clamp(1, 60));
        let alarm = |comparison, threshold, periods| Alarm {
            comparison,
            threshold,
            evaluation_periods: periods,
            datapoints_to_alarm: periods,
            missing: Missing::Missing,
        };
        (
            alarm(Comparison::GreaterThanThreshold, self.target, HIGH_PERIODS),
            alarm(Comparison::LessThanThreshold, self.target * LOW_SHARE, low_periods),
        )
    }

    /// The smallest capacity at which a metric that is `metric` at `capacity` would not exceed the target.
    pub fn wanted(&self, capacity: u32, metric: f64) -> u32 {
        let exact = f64::from(capacity) * metric / self.target;
        // Rounding errors must not buy an instance: 3 × 0.7 ÷ 0.7 is 3. Casts saturate, NaN becomes 0.
        (exact * (1.0 - 1e-9)).ceil() as u32
    }
}

#[cfg(test)]
mod tests;
