//! The instances that train one head together, as a training step sees them.
//!
//! Every instance goes through the same batches of the same global order and takes the photos that it has.
//! The loss is its sum over the weight of the whole batch, so that adding up the gradients of all instances
//! gives those of one instance with the whole batch, however uneven the shares are, and none at all counts
//! too. From equal weights and equal gradients every instance then takes the same step.

use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};

use super::network::{Head, values};
use crate::collective::{self, Collective, Single};
use crate::features::FeatureMatrix;
use crate::job::JobError;

/// The share of this instance, where several train a head.
#[derive(Debug, Clone, Copy)]
pub struct Share<'a> {
    /// The instances.
    pub collective: &'a dyn Collective,
    /// Position among all training photos of each photo in this instance's matrix, ascending.
    pub positions: &'a [usize],
    /// Class of every training photo of all instances, in their common order.
    pub labels: &'a [usize],
}

/// A photo of a batch that this instance has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Own {
    /// Row in the batch.
    pub(super) row: usize,
    /// Position among all training photos.
    pub(super) photo: usize,
    /// Position in this instance's matrix.
    pub(super) local: usize,
}

/// Sums of a step over all instances.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct StepSums {
    /// Loss, divided by the weight of the batch.
    pub(super) loss: f32,
    /// Photos that were right.
    pub(super) right: usize,
    /// Whether any instance was asked to stop.
    pub(super) stop: bool,
}

/// How many numbers a step adds to the gradients.
const NUMBERS: usize = 3;

/// The instances, and which photos this one has.
#[derive(Debug)]
pub(super) struct Team<'a> {
    pub(super) collective: &'a dyn Collective,
    pub(super) labels: &'a [usize],
    /// Position in this instance's matrix by global position, plus one; empty where it has all.
    local: Vec<u32>,
    /// Gradients and [`StepSums`] in one buffer, kept between steps.
    buffer: Vec<f32>,
}

impl<'a> Team<'a> {
    pub(super) fn new(
        share: Option<Share<'a>>,
        train: &'a FeatureMatrix,
    ) -> Result<Self, JobError> {
        let Some(Share { collective, positions, labels }) = share else {
            return Ok(Team {
                collective: &Single,
                labels: &train.labels,
                local: Vec::new(),
                buffer: Vec::new(),
            });
        };
        let mut local = vec![0; labels.len()];
        let ascending = positions.windows(2).all(|pair| pair[0] < pair[1]);
        let fits = positions.last().is_none_or(|last| *last < labels.len());
        if positions.len() != train.len() || !ascending || !fits {
            return Err(JobError::Internal { reason: "a share that does not fit".into() });
        }
        for (number, &position) in positions.iter().enumerate() {
            local[position] = number as u32 + 1;
        }
        Ok(Team { collective, labels, local, buffer: Vec::new() })
    }

    pub(super) fn is_first(&self) -> bool {
        self.collective.rank() == 0
    }

    /// Training photos of all instances.
    pub(super) fn photos(&self) -> usize {
        self.labels.len()
    }

    /// The photos of a batch that this instance has.
    pub(super) fn own(&self, batch: &[usize]) -> Vec<Own> {
        let all = batch.iter().enumerate();
        if self.local.is_empty() {
            return all.map(|(row, &photo)| Own { row, photo, local: photo }).collect();
        }
        all.filter_map(|(row, &photo)| {
            let local = self.local[photo].checked_sub(1)? as usize;
            Some(Own { row, photo, local })
        })
        .collect()
    }

    /// Adds numbers up over all instances.
    pub(super) fn sum(&self, numbers: &mut [f64]) -> Result<(), JobError> {
        Ok(collective::sum(self.collective, numbers)?)
    }

    /// Whether it is so on any instance.
    pub(super) fn any(&self, here: bool) -> Result<bool, JobError> {
        let mut value = [f32::from(u8::from(here))];
        self.collective.all_reduce_sum(&mut value)?;
        Ok(value[0] > 0.0)
    }

    /// Adds up gradients and sums over all instances: in the order of the layers, weight before bias, and
    /// zeros where this instance has none. Parameters' own names differ between processes in general, so
    /// they play no part.
    pub(super) fn reduce(
        &mut self,
        head: &Head,
        gradients: Option<GradientsParams>,
        own: StepSums,
        device: &Device,
    ) -> Result<(GradientsParams, StepSums), JobError> {
        if self.collective.size() == 1 {
            let none = || JobError::Internal { reason: "a step without photos".into() };
            return Ok((gradients.ok_or_else(none)?, own));
        }
        self.buffer.clear();
        let flag = f32::from(u8::from(own.stop));
        self.buffer.extend([own.loss, own.right as f32, flag]);
        for layer in head.layers() {
            let [inputs, outputs] = layer.weight.val().dims();
            let found = gradients.as_ref().and_then(|g| g.get::<2>(layer.weight.id));
            self.push(found, inputs * outputs)?;
            if let Some(bias) = &layer.bias {
                let found = gradients.as_ref().and_then(|g| g.get::<1>(bias.id));
                self.push(found, outputs)?;
            }
        }
        self.collective.all_reduce_sum(&mut self.buffer)?;
        let (numbers, mut rest) = self.buffer.split_at(NUMBERS);
        let sums =
            StepSums { loss: numbers[0], right: numbers[1] as usize, stop: numbers[2] > 0.0 };
        let mut take = |count: usize| {
            let (values, after) = rest.split_at(count);
            rest = after;
            values.to_vec()
        };
        // Gradients live on the device without tracking.
        let plain = device.clone().inner();
        let mut summed = GradientsParams::new();
        for layer in head.layers() {
            let [inputs, outputs] = layer.weight.val().dims();
            let data = TensorData::new(take(inputs * outputs), [inputs, outputs]);
            summed.register(layer.weight.id, Tensor::<2>::from_data(data, &plain));
            if let Some(bias) = &layer.bias {
                let data = TensorData::new(take(outputs), [outputs]);
                summed.register(bias.id, Tensor::<1>::from_data(data, &plain));
            }
        }
        Ok((summed, sums))
    }

    fn push<const D: usize>(
        &mut self,
        gradient: Option<Tensor<D>>,
        count: usize,
    ) -> Result<(), JobError> {
        match gradient {
            Some(gradient) => self.buffer.extend(values(gradient)?),
            None => self.buffer.resize(self.buffer.len() + count, 0.0),
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
