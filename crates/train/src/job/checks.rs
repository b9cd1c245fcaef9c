//! What a job says about its photos: those that cannot be used, classes that are missing or uneven.

use std::path::PathBuf;

use crate::dataset::{Dataset, DatasetError, Problem, ProblemKind};
use crate::features::Extraction;

pub(super) fn unreadable(path: PathBuf, reason: &str) -> Problem {
    Problem { path, kind: ProblemKind::Unreadable, reason: reason.to_owned(), action: "not used" }
}

pub(super) fn extraction_note(extraction: &Extraction) -> String {
    if extraction.computed == 0 {
        return format!("all {} feature vectors came from the cache", extraction.cached);
    }
    let seconds = extraction.elapsed.as_secs_f64().max(1e-9);
    format!(
        "{} feature vectors computed in {seconds:.1} s ({:.0} per second), {} from the cache",
        extraction.computed,
        extraction.computed as f64 / seconds,
        extraction.cached
    )
}

pub(super) fn check_problems(
    dataset: &Dataset,
    problems: &[(usize, Problem)],
    max_bad: f64,
    warnings: &mut Vec<String>,
) -> Result<(), DatasetError> {
    let of_kind = |kind| problems.iter().filter(move |(_, p)| p.kind == kind);
    let bad = of_kind(ProblemKind::Unreadable).count();
    if let Some((_, first)) = of_kind(ProblemKind::Unreadable).next() {
        if bad as f64 > max_bad * dataset.photos.len() as f64 {
            return Err(DatasetError::TooManyBad {
                bad,
                total: dataset.photos.len(),
                allowed: max_bad,
                first: first.path.display().to_string(),
                reason: first.reason.clone(),
            });
        }
        warnings.push(format!(
            "{bad} photos cannot be read and are not used; the first: `{}`: {}",
            first.path.display(),
            first.reason
        ));
    }
    for (kind, text) in [
        (ProblemKind::AcrossSplits, "also stand in another split and are used in one only"),
        (ProblemKind::TwoClasses, "stand under two classes and are not used"),
        (ProblemKind::Duplicate, "are copies and are used once"),
    ] {
        let count = of_kind(kind).count();
        if let Some((_, first)) = of_kind(kind).next() {
            warnings.push(format!("{count} photos {text}; the first: `{}`", first.path.display()));
        }
    }
    Ok(())
}

pub(super) fn check_classes(dataset: &Dataset, labels: &[usize], warnings: &mut Vec<String>) {
    let mut counts = vec![0usize; dataset.classes.len()];
    for &label in labels {
        counts[label] += 1;
    }
    for (class, &count) in dataset.classes.iter().zip(&counts) {
        if count == 0 {
            warnings.push(format!("class `{}` has no training photo", class.key));
        }
    }
    let largest = counts.iter().max().copied().unwrap_or(0);
    let smallest = counts.iter().filter(|c| **c > 0).min().copied().unwrap_or(0);
    if smallest > 0 && largest >= 5 * smallest {
        warnings.push(format!(
            "the largest class has {largest} training photos, the smallest {smallest}; consider `--class-weights`"
        ));
    }
}
