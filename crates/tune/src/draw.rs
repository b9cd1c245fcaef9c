//! Where new trials come from without a model: the grid, chance, and an even spread for the model's start.

use std::collections::BTreeSet;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::gp::uniform;
use crate::plan::{Plan, Trial};
use crate::space::{Assignment, Space};

/// Draws at random before the combinations that are left are looked for one by one.
const DRAWS: usize = 200;

/// The combinations that have been started, which are not started again.
pub(crate) struct Seen<'a> {
    plan: &'a Plan,
    tried: BTreeSet<Assignment>,
}

impl<'a> Seen<'a> {
    /// Those of the trials so far, whatever other values they carry.
    pub(crate) fn new(plan: &'a Plan, trials: &[Trial]) -> Seen<'a> {
        let known =
            |name: &String| plan.space.parameters().iter().any(|parameter| parameter.name == *name);
        let own = |trial: &Trial| {
            let values = trial.values.iter().filter(|(name, _)| known(name));
            values.map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        Seen { plan, tried: trials.iter().map(own).collect() }
    }

    /// Adds a combination; `false` when it was there.
    pub(crate) fn insert(&mut self, values: &Assignment) -> bool {
        !self.tried.contains(values) && self.tried.insert(values.clone())
    }

    /// A new combination at random; `None` when there is none left.
    pub(crate) fn random(&mut self, rng: &mut ChaCha8Rng) -> Option<Assignment> {
        let space = &self.plan.space;
        for _ in 0..DRAWS {
            let values = space.assignment(&units(space, rng));
            if self.insert(&values) {
                return Some(values);
            }
        }
        // Only a space that is nearly used up comes here: the first new one from a random place on.
        let size = space.size()?;
        let start = (uniform(rng) * size as f64) as u64;
        let steps = size.min(self.tried.len() as u64 + 1);
        (0..steps)
            .map(|step| space.combination(start.wrapping_add(step) % size))
            .find(|values| self.insert(values))
    }

    /// The first combination of the grid that is new; `None` when there is none left.
    pub(crate) fn grid(&mut self) -> Option<Assignment> {
        let size = self.plan.space.size()?;
        let steps = size.min(self.tried.len() as u64 + 1);
        (0..steps)
            .map(|index| self.plan.space.combination(index))
            .find(|values| self.insert(values))
    }
}

/// The generator of trial number `trial`: each has a stream of its own, so that what is drawn for it does not
/// depend on how many were asked for at a time.
pub(crate) fn generator(plan: &Plan, trial: usize) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    rng.set_stream(trial as u64);
    rng
}

/// Units of one draw.
pub(crate) fn units(space: &Space, rng: &mut ChaCha8Rng) -> Vec<f64> {
    space.parameters().iter().map(|_| uniform(rng)).collect()
}

/// Point `index` of a sequence that fills the cube evenly from its start, shifted by the seed: multiples of
/// powers of the generalised golden ratio, modulo 1
/// (<https://extremelearning.com.au/unreasonable-effectiveness-of-quasirandom-sequences/>).
pub(crate) fn spread(plan: &Plan, index: usize) -> Vec<f64> {
    let shift = units(&plan.space, &mut generator(plan, usize::MAX));
    let inputs = shift.len() as f64;
    let mut ratio = 1.5f64;
    for _ in 0..40 {
        ratio = (1.0 + ratio).powf(1.0 / (inputs + 1.0));
    }
    let point = |(place, shift): (usize, f64)| {
        (shift + (index + 1) as f64 * ratio.powi(-(place as i32 + 1))).fract()
    };
    shift.into_iter().enumerate().map(point).collect()
}

#[cfg(test)]
mod tests;
