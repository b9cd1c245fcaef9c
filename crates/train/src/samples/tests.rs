//! The sample set is the same every time, complete, and varied.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use std::collections::{BTreeMap, HashSet};

fn small() -> SampleOptions {
    SampleOptions {
        train_per_class: 2,
        valid_per_class: 1,
        test_per_class: 1,
        size: 64,
        ..SampleOptions::default()
    }
}

/// Every file below `dir` with its content.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(dir).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn the_data_set_has_the_layout_of_real_data() {
    let dir = tempfile::tempdir().unwrap();
    let mut told = Vec::new();
    let count =
        write_dataset(dir.path(), &small(), &mut |done, total| told.push((done, total))).unwrap();
    assert_eq!(count, 32);
    assert_eq!(told.len(), 32);
    assert_eq!(told.last(), Some(&(32, 32)));
    let files = files(dir.path());
    assert_eq!(files.len(), 32);
    for name in breeds() {
        for file in ["train/{}/001.jpg", "train/{}/002.jpg", "valid/{}/001.jpg", "test/{}/001.jpg"]
        {
            let bytes = &files[Path::new(&file.replace("{}", name))];
            let picture = image::load_from_memory(bytes).unwrap();
            assert_eq!((picture.width(), picture.height()), (64, 64));
        }
    }
    // No two files are the same, within or across splits.
    let distinct: HashSet<_> = files.values().collect();
    assert_eq!(distinct.len(), files.len());
}

#[test]
fn the_same_options_give_the_same_files() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_dataset(one.path(), &small(), &mut |_, _| ()).unwrap();
    write_dataset(two.path(), &small(), &mut |_, _| ()).unwrap();
    assert_eq!(files(one.path()), files(two.path()));
    // Written again over itself, nothing changes and nothing is left over.
    write_dataset(two.path(), &small(), &mut |_, _| ()).unwrap();
    assert_eq!(files(one.path()), files(two.path()));
    // More training pictures leave the test pictures as they are.
    let more = SampleOptions { train_per_class: 3, ..small() };
    write_dataset(two.path(), &more, &mut |_, _| ()).unwrap();
    let (one, two) = (files(one.path()), files(two.path()));
    assert_eq!(two.len(), one.len() + 8);
    assert!(one.iter().all(|(path, bytes)| two[path] == *bytes));
}

#[test]
fn seed_breed_and_index_change_the_picture() {
    let options = small();
    let other = SampleOptions { seed: 8, ..small() };
    let base = draw(0, 0, &options).unwrap();
    assert_eq!(base, draw(0, 0, &options).unwrap());
    assert_ne!(base, draw(1, 0, &options).unwrap());
    assert_ne!(base, draw(0, 1, &options).unwrap());
    assert_ne!(base, draw(0, 0, &other).unwrap());
}

#[test]
fn names_are_sorted_folder_names() {
    let names = breeds();
    assert_eq!(names.len(), 8);
    assert!(names.is_sorted());
    for (i, name) in names.iter().enumerate() {
        assert!(name.starts_with(&format!("{:03}.", i + 1)), "{name}");
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
        assert!(name.chars().all(fits), "{name}");
    }
}

#[test]
fn pictures_have_something_in_them() {
    let options = small();
    for breed in 0..BREEDS.len() {
        for index in 0..6 {
            let picture = draw(breed, index, &options).unwrap();
            let levels: HashSet<u8> = picture.pixels().map(|p| p.0[1] / 8).collect();
            assert!(levels.len() >= 6, "breed {breed}, index {index} is flat");
        }
    }
}

#[test]
fn what_cannot_be_drawn_is_refused() {
    let error = draw(8, 0, &small()).unwrap_err();
    assert!(error.to_string().contains("no sample breed `8`"), "{error}");
    for size in [0, 15, 5000] {
        let options = SampleOptions { size, ..small() };
        let error = draw(0, 0, &options).unwrap_err();
        assert!(error.to_string().contains(&format!("`{size}`")), "{error}");
    }
    assert!(draw(0, u64::MAX, &small()).is_ok());
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("occupied");
    fs::write(&file, b"").unwrap();
    let error = write_dataset(&file, &small(), &mut |_, _| ()).unwrap_err();
    assert!(error.to_string().contains("occupied"), "{error}");
    assert!(error.to_string().contains("hint: "), "{error}");
}
