//! Folders of every shape become the same splits on every machine, and nothing is left out silently.

use super::*;
use proptest::prelude::*;
use std::fs;

/// Writes files whose content is given; scanning looks at names and bytes, never at pictures.
fn put(root: &Path, files: &[(&str, &str)]) {
    for (path, content) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), files);
    root
}

fn many(root: &Path, prefix: &str, classes: &[(&str, usize)]) {
    for (class, count) in classes {
        for number in 0..*count {
            let path = format!("{prefix}{class}/{number:03}.jpg");
            put(root, &[(&path, &format!("{prefix}{class}{number}"))]);
        }
    }
}

fn scan(root: &Path) -> Dataset {
    let mut dataset = Dataset::scan(root, &SplitOptions::default()).unwrap();
    dataset.hash(&AtomicBool::new(false), &mut |_, _| {}).unwrap();
    dataset
}

fn relative(dataset: &Dataset, path: &Path) -> String {
    path.strip_prefix(&dataset.root).unwrap().display().to_string()
}

/// (path, kind) of every problem.
fn problems(dataset: &Dataset) -> Vec<(String, ProblemKind)> {
    dataset
        .duplicates()
        .into_iter()
        .map(|(index, problem)| {
            assert_eq!(dataset.photos[index].path, problem.path);
            (relative(dataset, &problem.path), problem.kind)
        })
        .collect()
}

#[test]
fn the_courses_layout_is_taken_as_it_is() {
    for valid in ["valid", "val", "validation", "Valid"] {
        let root = tempfile::tempdir().unwrap();
        many(root.path(), "train/", &[("001.Affenpinscher", 4), ("002.Afghan_hound", 3)]);
        many(
            root.path(),
            &format!("{valid}/"),
            &[("001.Affenpinscher", 2), ("002.Afghan_hound", 1)],
        );
        many(root.path(), "test/", &[("001.Affenpinscher", 1), ("002.Afghan_hound", 2)]);
        let dataset = scan(root.path());
        assert_eq!(dataset.layout, Layout::Splits, "{valid}");
        assert_eq!(dataset.counts(Split::Train), [4, 3]);
        assert_eq!(dataset.counts(Split::Valid), [2, 1], "{valid}");
        assert_eq!(dataset.counts(Split::Test), [1, 2]);
        let shown: Vec<_> =
            dataset.classes.iter().map(|c| (c.key.as_str(), c.name.as_str())).collect();
        assert_eq!(
            shown,
            [("001.Affenpinscher", "Affenpinscher"), ("002.Afghan_hound", "Afghan hound")]
        );
        assert_eq!(dataset.duplicates(), []);
    }
}

#[test]
fn a_folder_per_class_is_split_class_by_class() {
    let root = tempfile::tempdir().unwrap();
    many(root.path(), "", &[("a", 20), ("b", 10), ("c", 3), ("d", 2)]);
    let dataset = scan(root.path());
    assert_eq!(dataset.layout, Layout::Classes);
    assert_eq!(dataset.counts(Split::Valid), [2, 1, 1, 0]);
    assert_eq!(dataset.counts(Split::Test), [2, 1, 1, 0]);
    assert_eq!(dataset.counts(Split::Train), [16, 8, 1, 2]);
}

#[test]
fn validation_that_is_missing_is_taken_from_train() {
    let root = tempfile::tempdir().unwrap();
    many(root.path(), "train/", &[("a", 20), ("b", 10)]);
    many(root.path(), "test/", &[("a", 5), ("b", 5)]);
    let dataset = scan(root.path());
    assert_eq!(dataset.layout, Layout::SplitsWithoutValid);
    assert_eq!(dataset.counts(Split::Train), [18, 9]);
    assert_eq!(dataset.counts(Split::Valid), [2, 1]);
    assert_eq!(dataset.counts(Split::Test), [5, 5], "test is never touched");
    for photo in dataset.of_split(Split::Valid) {
        assert!(photo.path.starts_with(root.path().join("train")));
    }
}

#[test]
fn channels_are_splits_wherever_they_are() {
    let (train, valid) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    many(train.path(), "", &[("a", 3), ("b", 3)]);
    many(valid.path(), "", &[("b", 2), ("c", 1)]);
    let splits = [(Split::Train, train.path().to_owned()), (Split::Valid, valid.path().to_owned())];
    let dataset = Dataset::from_splits(train.path(), &splits, &SplitOptions::default()).unwrap();
    assert_eq!(dataset.layout, Layout::Splits);
    assert_eq!(dataset.counts(Split::Train), [3, 3, 0]);
    assert_eq!(dataset.counts(Split::Valid), [0, 2, 1]);
}

#[test]
fn hidden_files_are_passed_over_and_others_are_counted() {
    let root = folder(&[
        ("a/1.JPG", "1"),
        ("a/2.jpeg", "2"),
        ("a/.DS_Store", "x"),
        ("a/.hidden.jpg", "x"),
        ("a/notes.txt", "x"),
        ("a/deeper/3.jpg", "x"),
        ("b/1.png", "3"),
        ("b/2.tiff", "4"),
        ("b/no_extension", "x"),
        (".cache/1.jpg", "x"),
        ("labels.csv", "x"),
        ("empty/readme.md", "x"),
    ]);
    let dataset = scan(root.path());
    assert_eq!(dataset.classes.iter().map(|c| c.key.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let mut photos: Vec<_> = dataset.photos.iter().map(|p| relative(&dataset, &p.path)).collect();
    photos.sort();
    assert_eq!(photos, ["a/1.JPG", "a/2.jpeg", "b/1.png", "b/2.tiff"]);
    let mut ignored: Vec<_> = dataset.ignored.iter().map(|p| relative(&dataset, p)).collect();
    ignored.sort();
    assert_eq!(ignored, ["a/deeper", "a/notes.txt", "b/no_extension", "empty/readme.md"]);
}

#[test]
fn fewer_than_two_classes_are_refused_with_what_is_expected() {
    for files in [&[][..], &[("a/1.jpg", "1")], &[("train/a/1.jpg", "1"), ("test/a/2.jpg", "2")]] {
        let root = folder(files);
        let error = Dataset::scan(root.path(), &SplitOptions::default()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidInput);
        let text = error.to_string();
        assert!(text.contains("at least 2") && text.contains("hint:"), "{text}");
    }
    let missing = tempfile::tempdir().unwrap().path().join("gone");
    let error = Dataset::scan(&missing, &SplitOptions::default()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::NotFound);
}

#[test]
fn one_content_under_two_classes_is_not_used_at_all() {
    let root = folder(&[
        ("train/a/1.jpg", "same"),
        ("train/b/1.jpg", "same"),
        ("test/b/2.jpg", "same"),
        ("train/a/2.jpg", "own a"),
        ("train/b/2.jpg", "own b"),
        ("valid/a/3.jpg", "own v"),
    ]);
    let found = problems(&scan(root.path()));
    let two = ProblemKind::TwoClasses;
    assert_eq!(
        found,
        [
            ("train/a/1.jpg".into(), two),
            ("train/b/1.jpg".into(), two),
            ("test/b/2.jpg".into(), two)
        ]
    );
}

#[test]
fn one_content_in_two_splits_stays_where_it_measures() {
    let root = folder(&[
        ("train/a/1.jpg", "in all"),
        ("valid/a/1.jpg", "in all"),
        ("test/a/1.jpg", "in all"),
        ("train/b/1.jpg", "in two"),
        ("valid/b/1.jpg", "in two"),
    ]);
    let across = ProblemKind::AcrossSplits;
    assert_eq!(
        problems(&scan(root.path())),
        [
            ("train/a/1.jpg".into(), across),
            ("train/b/1.jpg".into(), across),
            ("valid/a/1.jpg".into(), across),
        ]
    );
}

#[test]
fn copies_within_a_split_are_used_once() {
    let root = folder(&[
        ("train/a/1.jpg", "copy"),
        ("train/a/2.jpg", "copy"),
        ("train/a/3.jpg", "copy"),
        ("train/b/1.jpg", "other"),
        ("valid/b/1.jpg", "valid"),
    ]);
    let copy = ProblemKind::Duplicate;
    assert_eq!(
        problems(&scan(root.path())),
        [("train/a/2.jpg".into(), copy), ("train/a/3.jpg".into(), copy)]
    );
}

#[test]
fn hashing_stops_when_asked() {
    let root = tempfile::tempdir().unwrap();
    many(root.path(), "", &[("a", 3), ("b", 3)]);
    let mut dataset = Dataset::scan(root.path(), &SplitOptions::default()).unwrap();
    let error = dataset.hash(&AtomicBool::new(true), &mut |_, _| {}).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Interrupted);
}

#[test]
fn generators_for_different_purposes_differ() {
    use rand::RngExt;
    let draw = |seed, purpose, number| -> u64 { generator(seed, purpose, number).random() };
    assert_eq!(draw(1, "order", 2), draw(1, "order", 2));
    assert_ne!(draw(1, "order", 2), draw(1, "order", 3));
    assert_ne!(draw(1, "order", 2), draw(2, "order", 2));
    assert_ne!(draw(1, "order", 2), draw(1, "dropout", 2));
}

proptest! {
    /// Shares are kept to within one photo, train never runs dry, and the seed alone decides.
    #[test]
    fn splits_are_stable_and_stratified(
        count in 0usize..400,
        valid in 0u32..40,
        test in 0u32..40,
        seed in any::<u64>(),
        class in "[a-z0-9. ]{1,12}",
    ) {
        let (valid, test) = (f64::from(valid) / 100.0, f64::from(test) / 100.0);
        let options = SplitOptions { valid, test, seed };
        let parts = divide(count, &class, &options);
        prop_assert_eq!(parts.len(), count);
        prop_assert_eq!(&parts, &divide(count, &class, &options));
        let of = |split| parts.iter().filter(|p| **p == split).count();
        for (share, split) in [(valid, Split::Valid), (test, Split::Test)] {
            let exact = count as f64 * share;
            let found = of(split) as f64;
            prop_assert!((found - exact).abs() <= 1.0, "{} of {} for {}", found, count, share);
            prop_assert!(share > 0.0 || found == 0.0);
            prop_assert!(share == 0.0 || count < 3 || found >= 1.0);
        }
        prop_assert!(count == 0 || of(Split::Train) >= 1, "{:?}", parts);
    }

    /// Another seed gives another split, once there is anything to choose from.
    #[test]
    fn another_seed_is_another_split(seed in any::<u64>()) {
        let of = |seed| divide(200, "a", &SplitOptions { seed, ..SplitOptions::default() });
        prop_assert_ne!(of(seed), of(seed.wrapping_add(1)));
    }
}
