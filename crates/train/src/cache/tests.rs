//! What was written is read back to the last bit, whatever was cut off or damaged on the way.

use super::*;
use proptest::prelude::*;

const WIDTH: usize = 3;
const HEADER: usize = 12;
const RECORD: usize = KEY_BYTES + 4 * WIDTH + 4;

fn cache_key() -> CacheKey {
    CacheKey {
        backbone: "ab".repeat(32),
        preprocess: Preprocess {
            resize: kennel_infer::preprocess::Resize::ShorterSide(8),
            crop: [8, 8],
            mean: [0.0; 3],
            std: [1.0; 3],
        },
        engine: EngineKind::Rten,
    }
}

fn open(root: &Path) -> FeatureCache {
    FeatureCache::open(root, &cache_key(), WIDTH).unwrap()
}

fn view_key(number: u8) -> ViewKey {
    ViewKey { content: [number; 32], view: u64::from(number) * 7 }
}

/// Values that a text format or a wrong byte order would change.
fn values(number: u8) -> [f32; WIDTH] {
    [f32::from(number) + 0.1, -1e-38 * f32::from(number), f32::MAX / (f32::from(number) + 1.0)]
}

fn fill(cache: &mut FeatureCache, numbers: std::ops::Range<u8>) {
    for number in numbers {
        cache.insert(view_key(number), &values(number)).unwrap();
    }
    cache.sync().unwrap();
}

fn has(cache: &FeatureCache, numbers: impl IntoIterator<Item = u8>) {
    for number in numbers {
        assert_eq!(
            cache.get(&view_key(number)),
            Some(values(number).as_slice()),
            "record {number}"
        );
    }
}

fn segment_files(root: &Path) -> Vec<PathBuf> {
    segments(&root.join("features").join(cache_key().folder_name())).unwrap()
}

#[test]
fn what_is_inserted_is_there_now_and_after_opening_again() {
    let root = tempfile::tempdir().unwrap();
    let mut cache = open(root.path());
    assert!(cache.is_empty());
    fill(&mut cache, 0..40);
    has(&cache, 0..40);
    assert_eq!(cache.get(&view_key(40)), None);
    assert_eq!(cache.get(&ViewKey { view: 1, ..view_key(0) }), None, "the view is part of the key");
    drop(cache);
    let mut again = open(root.path());
    assert_eq!(again.len(), 40);
    has(&again, 0..40);
    fill(&mut again, 40..41);
    drop(again);
    assert_eq!(open(root.path()).len(), 41);
    assert_eq!(segment_files(root.path()).len(), 1, "a free segment is continued");
}

#[test]
fn other_backbones_preprocessings_and_engines_have_other_folders() {
    let root = tempfile::tempdir().unwrap();
    fill(&mut open(root.path()), 0..2);
    let mut preprocess = cache_key().preprocess;
    preprocess.mean = [0.5; 3];
    for key in [
        CacheKey { backbone: "cd".repeat(32), ..cache_key() },
        CacheKey { preprocess, ..cache_key() },
        CacheKey { engine: EngineKind::OnnxRuntime, ..cache_key() },
    ] {
        assert!(FeatureCache::open(root.path(), &key, WIDTH).unwrap().is_empty(), "{key:?}");
    }
}

#[test]
fn values_of_another_width_are_refused_and_segments_of_another_width_ignored() {
    let root = tempfile::tempdir().unwrap();
    let mut cache = open(root.path());
    assert!(cache.insert(view_key(0), &[1.0]).is_err());
    fill(&mut cache, 0..3);
    drop(cache);
    let mut wider = FeatureCache::open(root.path(), &cache_key(), WIDTH + 1).unwrap();
    assert!(wider.is_empty());
    wider.insert(view_key(9), &[1.0, 2.0, 3.0, 4.0]).unwrap();
    wider.sync().unwrap();
    drop(wider);
    let narrow = open(root.path());
    assert_eq!(narrow.len(), 3, "the other width's segment was not written over");
    has(&narrow, 0..3);
    let wider = FeatureCache::open(root.path(), &cache_key(), WIDTH + 1).unwrap();
    assert_eq!(wider.get(&view_key(9)), Some([1.0, 2.0, 3.0, 4.0].as_slice()));
}

#[test]
fn a_torn_tail_at_any_byte_loses_nothing_whole_and_can_be_written_after() {
    let root = tempfile::tempdir().unwrap();
    fill(&mut open(root.path()), 0..3);
    let segment = segment_files(root.path()).remove(0);
    let bytes = std::fs::read(&segment).unwrap();
    assert_eq!(bytes.len(), HEADER + 3 * RECORD);
    for length in 0..=bytes.len() {
        for path in segment_files(root.path()) {
            std::fs::remove_file(path).unwrap();
        }
        std::fs::write(&segment, &bytes[..length]).unwrap();
        let whole = (length.saturating_sub(HEADER) / RECORD) as u8;
        let mut cache = open(root.path());
        assert_eq!(cache.len(), usize::from(whole), "cut at byte {length}");
        has(&cache, 0..whole);
        fill(&mut cache, 10..12);
        drop(cache);
        let again = open(root.path());
        assert_eq!(again.len(), usize::from(whole) + 2, "cut at byte {length}");
        has(&again, (0..whole).chain(10..12));
    }
}

#[test]
fn two_writers_at_once_have_a_segment_each_and_a_reader_sees_both() {
    let root = tempfile::tempdir().unwrap();
    let (mut first, mut second) = (open(root.path()), open(root.path()));
    fill(&mut first, 0..5);
    fill(&mut second, 3..9);
    fill(&mut first, 20..25);
    assert_eq!(segment_files(root.path()).len(), 2);
    let reader = open(root.path());
    assert_eq!(reader.len(), 14);
    has(&reader, (0..9).chain(20..25));
    drop((first, second));
    fill(&mut open(root.path()), 30..31);
    assert_eq!(segment_files(root.path()).len(), 2, "a segment whose writer has gone is continued");
    assert_eq!(open(root.path()).len(), 15);
}

#[test]
fn a_killed_writer_has_handed_over_all_but_the_last_records() {
    let root = tempfile::tempdir().unwrap();
    let mut cache = open(root.path());
    for number in 0..70 {
        cache.insert(view_key(number), &values(number)).unwrap();
    }
    // What another process sees at this moment is what a kill would leave.
    let seen = open(root.path());
    assert_eq!(seen.len(), 64);
    has(&seen, 0..64);
}

#[test]
fn a_file_that_is_no_segment_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let mut cache = open(root.path());
    let folder = root.path().join("features").join(cache_key().folder_name());
    std::fs::write(folder.join("00007.seg"), b"something else entirely, and long enough").unwrap();
    std::fs::write(folder.join("note.txt"), b"hello").unwrap();
    fill(&mut cache, 0..2);
    drop(cache);
    let again = open(root.path());
    has(&again, 0..2);
    let left = std::fs::read(folder.join("00007.seg")).unwrap();
    assert_eq!(left, b"something else entirely, and long enough");
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_with_a_hint() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("features"), b"a file in the way").unwrap();
    let error = FeatureCache::open(root.path(), &cache_key(), WIDTH).unwrap_err().to_string();
    assert!(error.contains("hint:"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// A flipped bit costs its record and what follows in the segment, never a wrong value; what is
    /// written afterwards is there.
    #[test]
    fn a_flipped_bit_is_never_a_wrong_value(at in 0usize..HEADER + 5 * RECORD, bit in 0u32..8) {
        let root = tempfile::tempdir().unwrap();
        fill(&mut open(root.path()), 0..5);
        let segment = segment_files(root.path()).remove(0);
        let mut bytes = std::fs::read(&segment).unwrap();
        bytes[at] ^= 1u8 << bit;
        std::fs::write(&segment, &bytes).unwrap();
        let whole = at.checked_sub(HEADER).map_or(0, |offset| (offset / RECORD) as u8);
        let mut cache = open(root.path());
        prop_assert_eq!(cache.len(), usize::from(whole));
        has(&cache, 0..whole);
        fill(&mut cache, 10..12);
        drop(cache);
        let again = open(root.path());
        prop_assert_eq!(again.len(), usize::from(whole) + 2);
        has(&again, (0..whole).chain(10..12));
    }
}
