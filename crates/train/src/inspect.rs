//! `kennel data inspect`: everything that can be known about a folder of photos before training.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use kennel_infer::photo::DecodeLimits;
use kennel_infer::pipeline;
use serde::Serialize;

use crate::dataset::{Dataset, DatasetError, Layout, Problem, ProblemKind, Split, SplitOptions};

/// Photos of one class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    /// Folder name.
    pub class: String,
    /// Name as shown.
    pub name: String,
    /// Photos in train, valid and test.
    pub train: usize,
    /// Photos for validation.
    pub valid: usize,
    /// Photos for testing.
    pub test: usize,
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// The layout that was recognised.
    pub layout: Layout,
    /// Files that were looked at.
    pub photos: usize,
    /// Counts per class.
    pub classes: Vec<ClassCount>,
    /// Photos of the largest class over those of the smallest, in train.
    pub imbalance: f64,
    /// Files that are no photos by name and were left alone.
    pub ignored: Vec<std::path::PathBuf>,
    /// Everything that is wrong, and what is done about it.
    pub problems: Vec<Problem>,
    /// Share of photos that training would leave out.
    pub bad_share: f64,
    /// Smallest and largest width and height seen.
    pub sizes: Option<[(u32, u32); 2]>,
}

/// Reads every photo of a folder.
///
/// # Errors
/// When the folder cannot be read, or `stop` became true.
pub fn inspect(
    root: &Path,
    split: &SplitOptions,
    limits: &DecodeLimits,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Inspection, DatasetError> {
    let mut dataset = Dataset::scan(root, split)?;
    dataset.hash(stop, &mut |_, _| {})?;
    let total = dataset.photos.len();
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::sync_channel::<(usize, Result<(u32, u32, bool), String>)>(64);
    let mut problems: Vec<(usize, Problem)> = Vec::new();
    let mut sizes: Option<[(u32, u32); 2]> = None;
    std::thread::scope(|scope| {
        for _ in 0..pipeline::cores() {
            let (sender, next, photos) = (sender.clone(), &next, &dataset.photos);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(photo) = photos.get(index) else { break };
                    let outcome = pipeline::read(&photo.path, limits)
                        .map(|p| (p.width, p.height, p.truncated));
                    if sender.send((index, outcome)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for (done, (index, outcome)) in receiver.into_iter().enumerate() {
            let problem = |kind, reason, action| {
                let path = dataset.photos[index].path.clone();
                (index, Problem { path, kind, reason, action })
            };
            match outcome {
                Ok((width, height, truncated)) => {
                    let [low, high] = sizes.unwrap_or([(width, height); 2]);
                    sizes = Some([
                        (low.0.min(width), low.1.min(height)),
                        (high.0.max(width), high.1.max(height)),
                    ]);
                    if truncated {
                        problems.push(problem(
                            ProblemKind::Truncated,
                            "the file ends before the picture does".to_owned(),
                            "used as far as it goes",
                        ));
                    }
                }
                Err(reason) => {
                    problems.push(problem(ProblemKind::Unreadable, reason, "not used"));
                }
            }
            progress(done + 1, total);
        }
    });
    if stop.load(Ordering::Relaxed) {
        return Err(DatasetError::Stopped);
    }
    // A file that cannot be read is reported once, whatever its content equals.
    let unreadable: std::collections::HashSet<usize> = problems
        .iter()
        .filter(|(_, p)| p.kind == ProblemKind::Unreadable)
        .map(|(i, _)| *i)
        .collect();
    problems.extend(dataset.duplicates().into_iter().filter(|(i, _)| !unreadable.contains(i)));
    problems.sort_by_key(|(index, _)| *index);
    let counts: Vec<Vec<usize>> = Split::ALL.iter().map(|s| dataset.counts(*s)).collect();
    let classes = dataset
        .classes
        .iter()
        .enumerate()
        .map(|(i, class)| ClassCount {
            class: class.key.clone(),
            name: class.name.clone(),
            train: counts[0][i],
            valid: counts[1][i],
            test: counts[2][i],
        })
        .collect();
    let largest = counts[0].iter().max().copied().unwrap_or(0);
    let smallest = counts[0].iter().min().copied().unwrap_or(0);
    let bad = problems.iter().filter(|(_, p)| p.kind == ProblemKind::Unreadable).count();
    Ok(Inspection {
        layout: dataset.layout,
        photos: total,
        classes,
        imbalance: largest as f64 / smallest.max(1) as f64,
        ignored: dataset.ignored.clone(),
        problems: problems.into_iter().map(|(_, p)| p).collect(),
        bad_share: bad as f64 / total.max(1) as f64,
        sizes,
    })
}
