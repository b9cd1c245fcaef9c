//! SimilarAcrossRuns: a run that should repeat another one does not.
//!
//! A tensor is compared with the tensor of the same name, mode and step of each other run, by numpy's
//! `allclose` (`rtol` 1e-5, `atol` 1e-8; AWS names no tolerance). The issue is a difference: the rule asks
//! for similar runs. Steps and tensors that only one run has are passed over. The other runs have ended:
//! what they have not saved by now counts as not there.

use std::path::PathBuf;

use super::change::Tolerance;
use super::params::{Params, Selector};
use super::{At, End, Rule};
use crate::Mode;
use crate::layout::{StepFile, Tensor, workers};
use crate::text::{number, shown};

#[derive(Debug)]
pub(super) struct SimilarAcrossRuns {
    others: Vec<PathBuf>,
    /// Everything, if none.
    tensors: Option<Selector>,
    tolerance: Tolerance,
    /// The other runs' files of the step that is being shown.
    open: Option<(String, Mode, u64, Vec<StepFile>)>,
    compared: bool,
}

impl SimilarAcrossRuns {
    pub(super) fn new(params: &mut Params<'_>, others: &[PathBuf]) -> Result<Self, String> {
        if others.is_empty() {
            return Err("there is no other run to compare with; hint: name one that has ended in the rule's \
                        parameter `other_trials`, and let it have saved tensors"
                .to_owned());
        }
        Ok(Self {
            others: others.to_vec(),
            tensors: Selector::given(params)?,
            tolerance: Tolerance::new(params)?,
            open: None,
            compared: false,
        })
    }

    fn files(&mut self, at: &At<'_>) -> &[StepFile] {
        let same = self.open.as_ref().is_some_and(|(worker, mode, step, _)| {
            worker == at.worker && *mode == at.mode && *step == at.step
        });
        if !same {
            let open = |folder: &PathBuf| {
                // The same worker, or the first where runs had other names for theirs.
                let there = workers(folder);
                let same = there.iter().find(|worker| *worker == at.worker);
                StepFile::open(folder, same.or(there.first())?, at.mode, at.step).ok()
            };
            let files = self.others.iter().filter_map(open).collect();
            self.open = Some((at.worker.to_owned(), at.mode, at.step, files));
        }
        self.open.as_ref().map(|(.., files)| files.as_slice()).unwrap_or_default()
    }
}

impl Rule for SimilarAcrossRuns {
    fn wants(&self, _: &At<'_>, name: &str, collections: &[String]) -> bool {
        self.tensors.as_ref().is_none_or(|tensors| tensors.matches(name, collections))
    }

    fn tensor(&mut self, at: &At<'_>, tensor: &Tensor, _: &[String]) -> Option<String> {
        let tolerance = self.tolerance;
        let theirs: Vec<Tensor> =
            self.files(at).iter().filter_map(|file| file.read(&tensor.name).ok()).collect();
        self.compared |= !theirs.is_empty();
        let head =
            format!("`{}` of mode `{}` at step {}", shown(&tensor.name), at.mode.name(), at.step);
        let hint = "hint: compare data, hyperparameters, seed and versions of the two runs; the earliest \
                    difference is the one to explain";
        theirs.iter().find_map(|other| {
            if other.shape != tensor.shape {
                let (ours, theirs) = (&tensor.shape, &other.shape);
                return Some(format!("{head} has the shape {ours:?} and in the other run {theirs:?}; {hint}"));
            }
            let both = || tensor.values.iter().zip(&other.values);
            let different = both().filter(|&(&a, &b)| !tolerance.close(a, b)).count();
            let widest = both().map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs()).fold(0.0, f64::max);
            (different > 0).then(|| {
                format!(
                    "{head} differs from the other run in {different} of {} values, by up to {}; {hint}",
                    tensor.values.len(),
                    number(widest)
                )
            })
        })
    }

    fn step_end(&mut self, _: &At<'_>) -> Option<String> {
        self.open = None;
        None
    }

    fn finish(&mut self) -> End {
        match self.compared {
            true => End::Clean(String::new()),
            false => End::Missing(
                "no tensor was saved by both runs in the same mode at the same step, so there was nothing to \
                 compare; hint: give both runs the same DebugHookConfig"
                    .to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests;
