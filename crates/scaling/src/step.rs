//! Step scaling: how much to add or take away depends on how far the metric is beyond its alarm's threshold.
//!
//! Sources: <https://docs.aws.amazon.com/autoscaling/application/userguide/step-scaling-policy-overview.html>,
//! <https://docs.aws.amazon.com/autoscaling/application/APIReference/API_StepAdjustment.html>.

use serde::{Deserialize, Serialize};

/// AWS's `AdjustmentType`: what a step's number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Adjustment {
    /// So many instances more or fewer.
    ChangeInCapacity,
    /// Exactly so many.
    ExactCapacity,
    /// So many per cent of the capacity more or fewer.
    PercentChangeInCapacity,
}

/// AWS's `StepAdjustment`. Bounds are differences between the metric and the alarm's threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// `None`: minus infinity.
    pub lower: Option<f64>,
    /// `None`: infinity.
    pub upper: Option<f64>,
    /// AWS's `ScalingAdjustment`.
    pub adjustment: i64,
}

/// AWS's `StepScalingPolicyConfiguration`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepScaling {
    /// What a step's number means.
    pub adjustment: Adjustment,
    /// In ascending order, without overlaps or gaps.
    pub steps: Vec<Step>,
    /// How long only a larger scale-out may follow a scale-out, and no scale-in a scale-in.
    pub cooldown_ms: i64,
    /// AWS's `MinAdjustmentMagnitude`: a change in per cent is at least so many instances.
    pub minimum_magnitude: u32,
}

/// AWS's limit on steps of one policy.
const MOST_STEPS: usize = 20;

/// Why AWS refuses steps. The first four in the words of its answers, the others in those of
/// <https://docs.aws.amazon.com/autoscaling/application/APIReference/API_StepAdjustment.html>.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StepError {
    /// No step at all.
    #[error("At least one StepAdjustment must be specified")]
    Empty,
    /// More than AWS takes.
    #[error("There can be at most {MOST_STEPS} step adjustments per scaling policy")]
    TooMany,
    /// The highest step ends above the threshold.
    #[error(
        "There must be a StepAdjustment with an unspecified upper bound (i.e., upper bound is null) when one \
         StepAdjustment has a positive upper bound"
    )]
    OpenAbove,
    /// The lowest step begins below the threshold.
    #[error(
        "There must be a StepAdjustment with an unspecified lower bound (i.e., lower bound is null) when one \
         StepAdjustment has a negative lower bound"
    )]
    OpenBelow,
    /// A step without bounds.
    #[error("The upper and lower bound can't be null in the same step adjustment")]
    Unbounded,
    /// A step that ends where it begins, or before.
    #[error(
        "The upper bound of a step adjustment must be greater than its lower bound: `{lower}` to `{upper}`"
    )]
    UpsideDown {
        /// Its lower bound.
        lower: f64,
        /// Its upper bound.
        upper: f64,
    },
    /// A bound that is no number.
    #[error("The bounds of a step adjustment must be finite numbers")]
    NotFinite,
    /// Two steps for one difference.
    #[error("The ranges of your step adjustments can't overlap: at `{at}`")]
    Overlap {
        /// Where, as a difference from the threshold.
        at: f64,
    },
    /// No step for a difference between two steps.
    #[error("The ranges of your step adjustments can't have a gap: from `{from}` to `{to}`")]
    Gap {
        /// Where it begins.
        from: f64,
        /// Where it ends.
        to: f64,
    },
    /// A negative exact capacity.
    #[error("For exact capacity, you must specify a non-negative value: `{0}`")]
    NegativeCapacity(i64),
    /// A minimum for another type.
    #[error("MinAdjustmentMagnitude is supported for PercentChangeInCapacity only")]
    Magnitude,
}

impl StepScaling {
    /// A policy whose steps AWS would accept; they may come in any order. `minimum_magnitude` is 0 where
    /// none is given.
    ///
    /// # Errors
    ///
    /// [`StepError`] says in AWS's words what is wrong with the steps.
    pub fn new(
        adjustment: Adjustment,
        mut steps: Vec<Step>,
        cooldown_ms: i64,
        minimum_magnitude: u32,
    ) -> Result<Self, StepError> {
        if steps.is_empty() {
            return Err(StepError::Empty);
        }
        if steps.len() > MOST_STEPS {
            return Err(StepError::TooMany);
        }
        if adjustment != Adjustment::PercentChangeInCapacity && minimum_magnitude > 0 {
            return Err(StepError::Magnitude);
        }
        for step in &steps {
            match (step.lower, step.upper) {
                (None, None) => return Err(StepError::Unbounded),
                (lower, upper) if lower.or(upper).is_some_and(|bound| !bound.is_finite()) => {
                    return Err(StepError::NotFinite);
                }
                (Some(_), Some(upper)) if !upper.is_finite() => return Err(StepError::NotFinite),
                (Some(lower), Some(upper)) if lower >= upper => {
                    return Err(StepError::UpsideDown { lower, upper });
                }
                _ => {}
            }
            if adjustment == Adjustment::ExactCapacity && step.adjustment < 0 {
                return Err(StepError::NegativeCapacity(step.adjustment));
            }
        }
        steps.sort_by(|one, other| one.from().total_cmp(&other.from()));
        for pair in steps.windows(2) {
            let [before, after] = pair else { continue };
            let (end, start) = (before.to(), after.from());
            if end > start {
                // Bounds that both run to infinity meet at the finite one of the other step.
                let at = if start.is_finite() { start } else { before.to().min(after.to()) };
                return Err(StepError::Overlap { at });
            }
            if end < start {
                return Err(StepError::Gap { from: end, to: start });
            }
        }
        if steps.last().and_then(|step| step.upper).is_some_and(|upper| upper > 0.0) {
            return Err(StepError::OpenAbove);
        }
        if steps.first().and_then(|step| step.lower).is_some_and(|lower| lower < 0.0) {
            return Err(StepError::OpenBelow);
        }
        Ok(Self { adjustment, steps, cooldown_ms, minimum_magnitude })
    }

    /// The capacity that the step for this difference (metric minus threshold) asks for; `None` where no step
    /// matches.
    pub fn wanted(&self, capacity: u32, difference_to_threshold: f64) -> Option<u32> {
        let step = self.step(difference_to_threshold)?;
        let now = i64::from(capacity);
        let wanted = match self.adjustment {
            Adjustment::ChangeInCapacity => now.saturating_add(step.adjustment),
            Adjustment::ExactCapacity => step.adjustment,
            Adjustment::PercentChangeInCapacity => {
                now.saturating_add(self.percent(now, step.adjustment))
            }
        };
        Some(u32::try_from(wanted.max(0)).unwrap_or(u32::MAX))
    }

    /// Above the threshold a step holds its lower bound but not its upper one, below the other way around. At
    /// the threshold itself a step above is tried first: alarms that go off at the threshold know only one.
    fn step(&self, difference: f64) -> Option<&Step> {
        let above = |step: &&Step| step.from() <= difference && difference < step.to();
        let below = |step: &&Step| step.from() < difference && difference <= step.to();
        let mut steps = self.steps.iter();
        if difference > 0.0 {
            steps.find(above)
        } else if difference < 0.0 {
            steps.find(below)
        } else {
            steps.find(above).or_else(|| self.steps.iter().find(below))
        }
    }

    /// So many instances are `percent` of `capacity`: rounded toward zero, but at least one, and at least
    /// the minimum magnitude.
    fn percent(&self, capacity: i64, percent: i64) -> i64 {
        let exact = i128::from(capacity) * i128::from(percent);
        let least = i128::from(self.minimum_magnitude.max(1));
        let change = match exact.signum() {
            1 => (exact / 100).max(least),
            -1 => (exact / 100).min(-least),
            // A share of nothing is nothing, unless a minimum was asked for.
            _ if capacity == 0 && percent > 0 => i128::from(self.minimum_magnitude),
            _ => 0,
        };
        i64::try_from(change).unwrap_or(if change > 0 { i64::MAX } else { i64::MIN })
    }
}

impl Step {
    fn from(&self) -> f64 {
        self.lower.unwrap_or(f64::NEG_INFINITY)
    }

    fn to(&self) -> f64 {
        self.upper.unwrap_or(f64::INFINITY)
    }
}

#[cfg(test)]
mod tests;
