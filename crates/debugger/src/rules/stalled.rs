//! StalledTrainingRule: nothing was saved for too long.

use super::params::Params;
use super::{At, End, Rule, missing};
use crate::layout::Tensor;
use crate::text::number;

/// StalledTrainingRule: for `threshold` seconds no worker saved a step. Counted by the clock of whoever polls,
/// from its first poll or the last new file on; what files say about time is not trusted. A run whose workers
/// have all ended is not stalled.
#[derive(Debug)]
pub(super) struct StalledTraining {
    threshold: f64,
    last: Option<u64>,
}

impl StalledTraining {
    pub(super) fn new(params: &mut Params<'_>) -> Result<Self, String> {
        // The spec has read the flag; the prefix names the job, and Kennel knows which one it is.
        params.flag("stop_training_on_fire", false)?;
        params.text("training_job_name_prefix");
        Ok(Self { threshold: params.number("threshold", 1800.0)?, last: None })
    }
}

impl Rule for StalledTraining {
    fn wants(&self, _: &At<'_>, _: &str, _: &[String]) -> bool {
        false
    }

    fn tensor(&mut self, _: &At<'_>, _: &Tensor, _: &[String]) -> Option<String> {
        None
    }

    fn step_end(&mut self, at: &At<'_>) -> Option<String> {
        self.last = Some(at.step);
        None
    }

    fn idle(&mut self, milliseconds: u64) -> Option<String> {
        let seconds = milliseconds as f64 / 1000.0;
        (seconds > self.threshold).then(|| {
            let since = match self.last {
                Some(step) => format!("after step {step}"),
                None => "since the start".to_owned(),
            };
            format!(
                "no tensor was saved for {} seconds {since} (limit {}); hint: look at the job's log and its \
                 instance's metrics: it may wait for data, for another process, or for a lock",
                number(seconds.floor()),
                number(self.threshold)
            )
        })
    }

    fn finish(&mut self) -> End {
        match self.last {
            Some(_) => End::Clean(String::new()),
            None => missing("no tensors were", "losses"),
        }
    }
}

#[cfg(test)]
mod tests;
