//! One dataset from what several instances have: each scans its own folders, the lists are exchanged, and all
//! come to the same classes, the same splits and the same order of photos, which is the order that one
//! instance with all the photos would have.
//!
//! A photo is the same one on several instances when split, class, file name and content are. Those that
//! several have are done by them in turn; one that only one has (SageMaker's ShardedByS3Key) stays there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use kennel_infer::package::Class;
use serde::{Deserialize, Serialize};

use super::{Dataset, DatasetError, Layout, PhotoFile, Split, SplitOptions, divide, name_of};
use crate::collective::{Collective, CollectiveError, gather_bytes};

/// The photos of all instances, and who does which.
#[derive(Debug, Clone)]
pub struct Shards {
    /// All photos. Those that this instance does not have carry class folder and file name as their path.
    pub dataset: Dataset,
    /// The instance that does each photo.
    pub owners: Vec<usize>,
}

/// Why the lists cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum ShardsError {
    /// The instances cannot be reached, or one sent nonsense.
    #[error(transparent)]
    Collective(#[from] CollectiveError),
    /// A list is none.
    #[error("internal error: the list of an instance's photos: {0}\nhint: report it")]
    Lists(String),
    /// All photos together are not a dataset.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
}

/// A photo as it is told to the others, sorted as one instance would sort them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
struct Listed {
    /// What the folders say: 0 train, 1 valid, 2 test, none where there is no folder for splits.
    split: Option<u8>,
    class: String,
    file: String,
    content: Option<[u8; 32]>,
}

/// The list of what this instance has, before anything is divided by lot.
fn listed(dataset: &Dataset) -> Vec<Listed> {
    dataset
        .photos
        .iter()
        .map(|photo| Listed {
            split: match (dataset.layout, photo.split) {
                (Layout::Classes, _) => None,
                (Layout::SplitsWithoutValid, Split::Valid) => Some(Split::Train as u8),
                (_, split) => Some(split as u8),
            },
            class: dataset.classes[photo.class].key.clone(),
            file: name_of(&photo.path),
            content: photo.content,
        })
        .collect()
}

impl Dataset {
    /// What this instance has, for the others.
    ///
    /// # Errors
    /// [`ShardsError::Lists`] when it cannot be written down.
    pub fn list(&self) -> Result<Vec<u8>, ShardsError> {
        serde_json::to_vec(&listed(self)).map_err(|e| ShardsError::Lists(e.to_string()))
    }

    /// Puts the lists of all instances together, by rank; this is the dataset of one of them, hashed.
    ///
    /// # Errors
    /// When a list is none, or all together have fewer than two classes.
    pub fn merge(self, lists: &[Vec<u8>], options: &SplitOptions) -> Result<Shards, ShardsError> {
        let own = listed(&self);
        let read = |bytes: &Vec<u8>| serde_json::from_slice::<Vec<Listed>>(bytes);
        let lists = lists
            .iter()
            .map(read)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| ShardsError::Lists(e.to_string()))?;
        let paths: HashMap<&Listed, &Path> =
            own.iter().zip(&self.photos).map(|(l, p)| (l, p.path.as_path())).collect();
        Ok(merge(&self, &lists, &paths, options)?)
    }

    /// Exchanges lists and puts them together; every instance calls this with its own dataset, hashed.
    ///
    /// # Errors
    /// As [`Dataset::merge`], and when the instances cannot be reached.
    pub fn share(
        self,
        collective: &dyn Collective,
        options: &SplitOptions,
    ) -> Result<Shards, ShardsError> {
        let lists = gather_bytes(collective, &self.list()?)?;
        self.merge(&lists, options)
    }
}

/// The lists of all instances as one dataset.
fn merge(
    own: &Dataset,
    lists: &[Vec<Listed>],
    paths: &HashMap<&Listed, &Path>,
    options: &SplitOptions,
) -> Result<Shards, DatasetError> {
    let mut holders: BTreeMap<&Listed, BTreeSet<usize>> = BTreeMap::new();
    for (rank, list) in lists.iter().enumerate() {
        for photo in list {
            holders.entry(photo).or_default().insert(rank);
        }
    }
    let names: BTreeSet<&str> = holders.keys().map(|l| l.class.as_str()).collect();
    let classes: Vec<Class> = names.iter().map(|name| Class::from_folder(name)).collect();
    let position: HashMap<&str, usize> = names.iter().enumerate().map(|(i, n)| (*n, i)).collect();

    // Photos without a folder for their split are divided class by class; and where nobody has one for
    // validation, a part of train becomes it. Both as one instance does it.
    let mut splits: HashMap<&Listed, Split> = holders
        .keys()
        .filter_map(|&l| Some((l, *Split::ALL.get(usize::from(l.split?))?)))
        .collect();
    let mut by_lot = |wanted: Option<u8>, options: &SplitOptions| {
        let mut of_class: BTreeMap<&str, Vec<&Listed>> = BTreeMap::new();
        for &photo in holders.keys().filter(|l| l.split == wanted) {
            // The keys are sorted, so each class's photos come by file name.
            of_class.entry(&photo.class).or_default().push(photo);
        }
        for (name, photos) in of_class {
            splits.extend(photos.iter().copied().zip(divide(photos.len(), name, options)));
        }
    };
    let is_divided = holders.keys().any(|l| l.split.is_none());
    if is_divided {
        by_lot(None, options);
    }
    let layout = if is_divided {
        Layout::Classes
    } else if holders.keys().any(|l| l.split == Some(Split::Valid as u8)) {
        Layout::Splits
    } else {
        by_lot(Some(Split::Train as u8), &SplitOptions { test: 0.0, ..*options });
        Layout::SplitsWithoutValid
    };

    let mut all: Vec<(Split, &Listed, Vec<usize>)> = holders
        .iter()
        .filter_map(|(&l, ranks)| Some((*splits.get(l)?, l, ranks.iter().copied().collect())))
        .collect();
    all.sort_by(|a, b| {
        (a.0, &a.1.class, &a.1.file, &a.1.content).cmp(&(b.0, &b.1.class, &b.1.file, &b.1.content))
    });
    let owners = all.iter().enumerate().map(|(i, (.., ranks))| ranks[i % ranks.len()]).collect();
    let photos = all
        .into_iter()
        .filter_map(|(split, l, _)| {
            let elsewhere = || Path::new(&l.class).join(&l.file);
            let path = paths.get(l).map_or_else(elsewhere, |path| path.to_path_buf());
            let class = *position.get(l.class.as_str())?;
            Some(PhotoFile { path, class, split, content: l.content })
        })
        .collect();
    let dataset =
        Dataset { root: own.root.clone(), classes, photos, ignored: own.ignored.clone(), layout };
    Ok(Shards { dataset: dataset.checked()?, owners })
}

/// A dataset reduced to the photos that one of several instances does, where all have the same folder.
pub fn part(mut dataset: Dataset, rank: usize, size: usize) -> Dataset {
    let mut index = 0;
    dataset.photos.retain(|_| {
        index += 1;
        (index - 1) % size.max(1) == rank
    });
    dataset
}

#[cfg(test)]
mod tests;
