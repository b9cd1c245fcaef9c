//! What a search tries: a grid of candidates, and the neighbours of one of them.

use std::collections::BTreeSet;

use super::{Mode, Search};
use crate::fast::{Fast, Measure};
use crate::scaler::{Bounds, Rule};
use crate::simulate::{Scaling, Scenario, ScenarioError};
use crate::target_tracking::TargetTracking;

/// How often the steps between neighbours are halved.
pub(super) const STEPS: u32 = 4;
/// How many candidates have their neighbours tried.
pub(super) const REFINED: usize = 3;
/// The only policy's name.
const NAME: &str = "recommended";

/// A candidate; whole numbers, so that it can be told whether it was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Point {
    mode: Mode,
    min: u32,
    max: u32,
    /// In thousandths of the metric's unit.
    target: u64,
    out_ms: i64,
    in_ms: i64,
}

impl Point {
    pub(super) fn bounds(&self) -> Bounds {
        Bounds { min: self.min, max: self.max }
    }
}

/// What is tried around what is known to be needed.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    search: &'a Search<'a>,
    /// The least fixed count that meets the goal.
    fixed: u32,
    /// The metric of an instance that is always busy, by mode.
    full: [f64; 2],
    to_zero: bool,
}

pub(super) fn check(search: &Search<'_>) -> Result<(), ScenarioError> {
    if search.most == 0 || search.least > search.most {
        return Err(ScenarioError::number(
            "the largest maximum",
            &format!("at least 1 and the least minimum, {}", search.least),
            search.most,
        ));
    }
    if search.simulations == 0 {
        return Err(ScenarioError::number("the number of simulations", "at least 1", 0));
    }
    for (what, list) in [
        ("the scale-out cooldowns to try", &search.scale_out_cooldowns_s),
        ("the scale-in cooldowns to try", &search.scale_in_cooldowns_s),
    ] {
        if list.is_empty() {
            return Err(ScenarioError::number(what, "at least one", "none"));
        }
    }
    let cooldowns = search.scale_out_cooldowns_s.iter().chain(&search.scale_in_cooldowns_s);
    for &seconds in cooldowns {
        if !(0.0..=86_400.0).contains(&seconds) {
            let must = "seconds from 0 to a day";
            return Err(ScenarioError::number("a cooldown", must, seconds));
        }
    }
    Ok(())
}

impl<'a> Plan<'a> {
    pub(super) fn new(search: &'a Search<'a>, base: &Scenario, fixed: u32) -> Self {
        let concurrency = f64::from(base.instances.concurrency);
        // Requests a minute of an instance that is always busy. Shared cores are shared by as many
        // instances as are needed.
        let at_once = match base.instances.cores {
            Some(cores) => concurrency.min(cores / f64::from(fixed)),
            None => concurrency,
        };
        let a_minute = at_once / (base.service.mean_ms().max(1e-3) / 60_000.0);
        let aws = if search.period_s < 60 {
            concurrency
        } else {
            a_minute * f64::from(search.period_s) / 60.0
        };
        let fast = match search.measure {
            Measure::Concurrency => concurrency,
            Measure::RequestsPerMinute => a_minute,
        };
        Plan { search, fixed, full: [aws, fast], to_zero: search.least == 0 && base.hold > 0 }
    }

    fn full(&self, mode: Mode) -> f64 {
        match mode {
            Mode::Aws => self.full[0],
            Mode::Fast => self.full[1],
        }
    }

    fn least(&self, mode: Mode) -> u32 {
        match mode {
            Mode::Fast if self.to_zero => 0,
            _ => self.search.least.max(1),
        }
    }

    /// Within what is searched.
    fn clamped(&self, point: Point) -> Point {
        let least = self.least(point.mode);
        // More than the fixed count all the time is never cheaper than the fixed count.
        let min = point.min.clamp(least, self.fixed.max(least));
        let max = point.max.clamp(self.fixed, self.search.most).max(min);
        let full = self.full(point.mode) * 1e3;
        let target = (point.target as f64).clamp(full * 0.02, full * 4.0).max(1.0);
        // Nobody wants to type more than three digits, or odd seconds.
        let digit = 10_f64.powi(target.log10().floor() as i32 - 2).max(1.0);
        let target = ((target / digit).round() * digit) as u64;
        let ms = |value: i64| {
            let seconds = (value as f64 / 1e3).clamp(0.0, 86_400.0);
            let step = match seconds {
                s if s < 60.0 => 5.0,
                s if s < 600.0 => 10.0,
                _ => 60.0,
            };
            ((seconds / step).round() * step) as i64 * 1_000
        };
        let out_ms = if point.mode == Mode::Fast { 0 } else { ms(point.out_ms) };
        Point { min, max, target, out_ms, in_ms: ms(point.in_ms), ..point }
    }

    /// The coarse grid, the likeliest bounds first: a third of the simulations is kept for refinement, and
    /// a grid that is too large for the rest is cut off.
    pub(super) fn grid(&self) -> Vec<Point> {
        // The minimum and the maximum as parts of the fixed count.
        const BOUNDS: [(f64, f64); 8] = [
            (0.0, 1.5),
            (0.0, 1.0),
            (0.34, 1.5),
            (0.0, 2.5),
            (0.67, 1.5),
            (0.34, 1.0),
            (0.34, 2.5),
            (0.67, 2.5),
        ];
        // The target as part of what an instance can do.
        const LOADS: [f64; 5] = [0.75, 0.55, 0.35, 0.95, 0.2];
        let part = |share: f64| (f64::from(self.fixed) * share).round() as u32;
        let ms = |seconds: f64| (seconds * 1e3) as i64;
        let mut points = Vec::new();
        for (min, max) in BOUNDS {
            for load in LOADS {
                for &mode in &self.search.modes {
                    let outs: &[f64] = match mode {
                        Mode::Fast => &[0.0],
                        Mode::Aws => &self.search.scale_out_cooldowns_s,
                    };
                    let ins = &self.search.scale_in_cooldowns_s;
                    let cooldowns =
                        outs.iter().flat_map(|out| ins.iter().map(move |in_| (*out, *in_)));
                    points.extend(cooldowns.map(|(out_s, in_s)| {
                        self.clamped(Point {
                            mode,
                            min: part(min),
                            max: part(max),
                            target: (self.full(mode) * load * 1e3) as u64,
                            out_ms: ms(out_s),
                            in_ms: ms(in_s),
                        })
                    }));
                }
            }
        }
        let mut seen = BTreeSet::new();
        points.retain(|point| seen.insert(*point));
        points.truncate((self.search.simulations * 2 / 3).max(1));
        points
    }

    /// The candidates around one, nearer with every level from 1 to [`STEPS`].
    pub(super) fn neighbours(&self, point: &Point, level: u32) -> Vec<Point> {
        let step = 0.5_f64.powi(level as i32);
        let count = ((f64::from(self.fixed) * step / 2.0).round() as u32).max(1);
        let scaled = |value: f64, factor: f64| (value * factor).round();
        let mut points = vec![
            Point { min: point.min.saturating_sub(count), ..*point },
            Point { min: point.min.saturating_add(count), ..*point },
            Point { max: point.max.saturating_sub(count), ..*point },
            Point { max: point.max.saturating_add(count), ..*point },
        ];
        for factor in [1.0 + step, 1.0 / (1.0 + step)] {
            points.push(Point { target: scaled(point.target as f64, factor) as u64, ..*point });
            let cooled = |ms: i64| scaled(ms as f64, factor * factor) as i64;
            points.push(Point { out_ms: cooled(point.out_ms), ..*point });
            points.push(Point { in_ms: cooled(point.in_ms), ..*point });
        }
        points.into_iter().map(|point| self.clamped(point)).collect()
    }

    /// The policy of a candidate.
    pub(super) fn scaling(&self, point: &Point) -> Scaling {
        let target = point.target as f64 / 1e3;
        match point.mode {
            Mode::Aws => {
                let rule = Rule::TargetTracking(TargetTracking {
                    target,
                    scale_out_cooldown_ms: point.out_ms,
                    scale_in_cooldown_ms: point.in_ms,
                    disable_scale_in: false,
                });
                let rules = vec![(NAME.to_owned(), rule)];
                Scaling::Aws { rules, period_s: self.search.period_s }
            }
            Mode::Fast => Scaling::Fast(Fast {
                scale_down_delay_ms: point.in_ms,
                ..Fast::new(target, self.search.measure)
            }),
        }
    }

    /// The candidate of a policy of [`Plan::scaling`]; `None` for a fixed count.
    pub(super) fn point(&self, bounds: Bounds, scaling: &Scaling) -> Option<Point> {
        let (mode, target, out_ms, in_ms) = match scaling {
            Scaling::Aws { rules, .. } => match rules.first()? {
                (_, Rule::TargetTracking(rule)) => {
                    (Mode::Aws, rule.target, rule.scale_out_cooldown_ms, rule.scale_in_cooldown_ms)
                }
                _ => return None,
            },
            Scaling::Fast(fast) => (Mode::Fast, fast.target, 0, fast.scale_down_delay_ms),
            Scaling::None | Scaling::Policies { .. } => return None,
        };
        let target = (target * 1e3).round() as u64;
        Some(Point { mode, min: bounds.min, max: bounds.max, target, out_ms, in_ms })
    }
}
