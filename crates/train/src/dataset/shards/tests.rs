//! Several folders that hold parts, copies or nothing make the dataset that one folder with everything makes.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::collective::testing::ranks;

fn write(root: &Path, name: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Scanning and hashing look at bytes only.
    fs::write(path, name).unwrap();
}

fn scanned(root: &Path) -> Dataset {
    let mut dataset = Dataset::scan_share(root, &SplitOptions::default()).unwrap();
    dataset.hash(&AtomicBool::new(false), &mut |_, _| {}).unwrap();
    dataset
}

/// Split, class, file and content of every photo, in order.
fn told(dataset: &Dataset) -> Vec<(Split, String, String, Option<[u8; 32]>)> {
    let photos = dataset.photos.iter();
    photos
        .map(|p| (p.split, dataset.classes[p.class].key.clone(), name_of(&p.path), p.content))
        .collect()
}

/// Lays out the names for each rank by `has`, and compares what they share with one folder of all.
fn shared(names: &[String], size: usize, has: impl Fn(usize, usize) -> bool + Sync) -> Vec<Shards> {
    let whole = tempfile::tempdir().unwrap();
    names.iter().for_each(|name| write(whole.path(), name));
    let alone = scanned(whole.path());
    let folders: Vec<_> = (0..size).map(|_| tempfile::tempdir().unwrap()).collect();
    for (rank, folder) in folders.iter().enumerate() {
        for (number, name) in names.iter().enumerate() {
            if has(rank, number) {
                write(folder.path(), name);
            }
        }
    }
    let all = ranks(size, |collective| {
        let own = scanned(folders[collective.rank()].path());
        own.share(&**collective, &SplitOptions::default()).unwrap()
    });
    for (rank, shards) in all.iter().enumerate() {
        assert_eq!(told(&shards.dataset), told(&alone), "rank {rank}");
        assert_eq!(shards.dataset.classes, alone.classes);
        assert_eq!(shards.dataset.layout, alone.layout);
        assert_eq!(shards.owners, all[0].owners);
        for (photo, &owner) in shards.dataset.photos.iter().zip(&shards.owners) {
            // Whoever is to do a photo has it.
            assert!(owner != rank || photo.path.is_file(), "{}", photo.path.display());
        }
    }
    all
}

fn names(splits: &[&str], classes: usize, photos: usize) -> Vec<String> {
    let mut names = Vec::new();
    for split in splits {
        for class in 0..classes {
            for photo in 0..photos {
                names.push(format!("{split}{class:02}.kind/p{photo:02}.jpg"));
            }
        }
    }
    names
}

#[test]
fn every_layout_is_that_of_one_folder() {
    for splits in [&["train/", "valid/", "test/"][..], &["train/", "test/"], &[""]] {
        let names = names(splits, 3, 7);
        // Copies everywhere, one part each, parts that overlap, and one rank without anything.
        for has in [
            (|_, _| true) as fn(usize, usize) -> bool,
            |rank, number| number % 3 == rank,
            |rank, number| number % 3 == rank || number % 5 == 0,
            |rank, _| rank == 1,
        ] {
            let all = shared(&names, 3, has);
            assert!(all[0].dataset.photos.len() == names.len());
        }
    }
}

#[test]
fn photos_that_all_have_are_done_in_turn_and_others_where_they_are() {
    let names = names(&["train/", "valid/"], 2, 12);
    let all = shared(&names, 2, |_, _| true);
    let of_first = all[0].owners.iter().filter(|o| **o == 0).count();
    assert_eq!(of_first, names.len() / 2);
    // Only rank 1 has the first half.
    let all = shared(&names, 2, |rank, number| rank == 1 || number >= 24);
    let of_first = all[0].owners.iter().filter(|o| **o == 0).count();
    assert!((10..=14).contains(&of_first), "{of_first} of 24 that both have");
}

#[test]
fn one_class_in_all_is_refused_on_all() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "train/only/1.jpg");
    let errors = ranks(2, |collective| {
        scanned(folder.path()).share(&**collective, &SplitOptions::default()).unwrap_err()
    });
    assert!(errors.iter().all(|e| e.to_string().contains("1 classes")), "{errors:?}");
}

#[test]
fn parts_of_one_folder_are_all_of_it() {
    let whole = tempfile::tempdir().unwrap();
    names(&["train/", "test/"], 2, 9).iter().for_each(|name| write(whole.path(), name));
    let dataset = scanned(whole.path());
    let mut found: Vec<_> = (0..3).flat_map(|rank| part(dataset.clone(), rank, 3).photos).collect();
    found.sort_by(|a, b| (a.split, &a.path).cmp(&(b.split, &b.path)));
    assert_eq!(found, dataset.photos);
    assert_eq!(part(dataset.clone(), 0, 1).photos, dataset.photos);
}
