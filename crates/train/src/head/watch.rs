//! What may look on while a head is trained: a tuner that stops it, a debugger that saves its tensors, a
//! profiler that times its steps. None of them changes what is learned.

use std::time::Duration;

use super::Epoch;
use crate::job::JobError;

/// Whether training goes on after an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    GoOn,
    /// It ends as if its patience were over; the best epoch's weights are kept.
    Stop,
}

/// Where training is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Optimiser steps before this one.
    pub step: u64,
    /// Epoch, from 1.
    pub epoch: usize,
    /// Whether it is the last step of its epoch.
    pub ends_epoch: bool,
    /// Validation after the step, rather than the step itself.
    pub evaluation: bool,
}

/// A tensor at a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    /// Name, such as `head.output.weight`; a parameter's gradient is `gradient/` and its name.
    pub name: &'static str,
    /// What it is among: `weights`, `biases`, `gradients`, `losses`, `metrics`, `inputs`, `outputs`, `labels`
    /// or `relu_output`.
    pub collection: &'static str,
    /// Sizes, the slowest first; none for a single number.
    pub shape: Vec<usize>,
    /// Values, row-major.
    pub values: Vec<f32>,
}

impl Watched {
    pub(super) fn number(name: &'static str, collection: &'static str, value: f64) -> Self {
        Watched { name, collection, shape: Vec::new(), values: vec![value as f32] }
    }
}

/// Somebody who looks on. A closure over epochs is one.
pub trait Watch {
    /// An epoch has ended.
    fn epoch(&mut self, epoch: &Epoch) -> Flow;

    /// Whether tensors of this moment are wanted; gathering them costs a copy.
    fn wants(&self, _: Moment) -> bool {
        false
    }

    /// The tensors of a moment that was wanted: the parameters as they were before the step, and what
    /// the step did with them.
    ///
    /// # Errors
    /// One that training shall end with.
    fn tensors(&mut self, _: Moment, _: &[Watched]) -> Result<(), JobError> {
        Ok(())
    }

    /// A step, without what gathering tensors cost.
    fn step(&mut self, _: Moment, _: Duration) {}
}

impl<F: FnMut(&Epoch)> Watch for F {
    fn epoch(&mut self, epoch: &Epoch) -> Flow {
        self(epoch);
        Flow::GoOn
    }
}
