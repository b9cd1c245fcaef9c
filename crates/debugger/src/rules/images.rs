//! CheckInputImages: pictures reach the model without having been normalised.

use super::params::{Params, Selector};
use super::{At, End, Rule, Tracked, missing};
use crate::layout::Tensor;
use crate::text::{number, shown};

/// The most channels that a picture has here; a tensor that has more there is taken as one channel.
const MAX_CHANNELS: usize = 64;

/// Sums of one tensor over all saved steps.
#[derive(Debug, Default)]
struct Sums {
    images: u64,
    /// The last step that was seen.
    step: u64,
    /// Sum and count of values, by channel.
    channels: Vec<(f64, u64)>,
}

impl Sums {
    /// The sentence about the channel that is furthest from zero, where that is more than `limit`.
    fn issue(&self, name: &str, limit: f64) -> Option<String> {
        let means = self.channels.iter().map(|&(sum, count)| sum / count.max(1) as f64);
        let (channel, mean) = means.enumerate().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()))?;
        (mean.abs() > limit).then(|| {
            format!(
                "over {} pictures up to step {} the mean of channel {channel} of `{}` is {}, more than {} from \
                 zero: the pictures are not normalised as networks expect; hint: divide by 255, subtract the \
                 data set's mean and divide by its standard deviation, in training and in serving alike",
                self.images,
                self.step,
                shown(name),
                number(mean),
                number(limit)
            )
        })
    }
}

/// Pictures from which a run that has ended is judged, where it had fewer than `threshold_samples`: the mean
/// of a few is as telling as that of many where nothing was normalised.
const FEWEST: u64 = 16;

/// CheckInputImages: over `threshold_samples` pictures or more, the mean of a channel is further from zero
/// than `threshold_mean`.
#[derive(Debug)]
pub(super) struct CheckInputImages {
    mean: f64,
    samples: u64,
    channel: usize,
    images: Selector,
    sums: Tracked<Sums>,
}

impl CheckInputImages {
    pub(super) fn new(params: &mut Params<'_>) -> Result<Self, String> {
        let given = params.regexes("regex")?.map(Selector::by_regexes);
        let own = || {
            let pattern = "hybridsequential0_input_0|^images$";
            Selector::new(&["input_images", "input_image"], pattern)
        };
        Ok(Self {
            mean: params.number("threshold_mean", 0.2)?,
            samples: params.integer("threshold_samples", 500)?,
            channel: usize::try_from(params.integer("channel", 1)?).unwrap_or(usize::MAX),
            images: given.map_or_else(own, Ok)?,
            sums: Tracked::default(),
        })
    }
}

impl Rule for CheckInputImages {
    fn wants(&self, _: &At<'_>, name: &str, collections: &[String]) -> bool {
        self.images.matches(name, collections)
    }

    fn tensor(&mut self, at: &At<'_>, tensor: &Tensor, _: &[String]) -> Option<String> {
        let images = *tensor.shape.first()? as u64;
        if tensor.values.is_empty() {
            return None;
        }
        // The reader has checked that the values fill the shape.
        let channels = tensor.shape.get(self.channel).copied();
        let channels = channels.filter(|count| (1..=MAX_CHANNELS).contains(count)).unwrap_or(1);
        let inner: usize = match channels {
            1 => 1,
            _ => tensor.shape.iter().skip(self.channel + 1).product::<usize>().max(1),
        };
        // Of all workers together: it is one data set.
        let sums = self.sums.entry(tensor.name.clone(), Sums::default)?;
        if sums.channels.len() != channels {
            *sums = Sums { images: 0, step: 0, channels: vec![(0.0, 0); channels] };
        }
        sums.images += images;
        for (index, values) in tensor.values.chunks_exact(inner).enumerate() {
            let (sum, count) = &mut sums.channels[index % channels];
            *sum += values.iter().map(|&value| f64::from(value)).sum::<f64>();
            *count += inner as u64;
        }
        sums.step = at.step;
        if sums.images < self.samples { None } else { sums.issue(&tensor.name, self.mean) }
    }

    fn finish(&mut self) -> End {
        let enough = self.samples.min(FEWEST);
        let short = self.sums.0.iter().filter(|(_, sums)| sums.images >= enough);
        if let Some(issue) = short.filter_map(|(name, sums)| sums.issue(name, self.mean)).next() {
            return End::Issue(issue);
        }
        match self.sums.0.values().map(|sums| sums.images).max() {
            None => missing("no input pictures were", "input_images"),
            Some(images) if images < enough => End::Clean(format!(
                "only {images} pictures were saved, too few to judge (needs {}); hint: save them more often, or \
                 set the parameter `threshold_samples`",
                enough
            )),
            Some(_) => End::Clean(String::new()),
        }
    }
}

#[cfg(test)]
mod tests;
