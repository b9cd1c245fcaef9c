//! Softmax and ranking by their properties; a whole classifier on a tiny network.

use super::*;
use proptest::prelude::*;

use crate::photo::{DecodeLimits, decode};
use crate::testing::{deviation, engines, fixture, tiny_package};

fn photos() -> Vec<Photo> {
    ["jpeg_420.jpg", "exif_6.jpg", "png_rgb.png", "panorama.jpg", "small.jpg"]
        .iter()
        .map(|name| std::fs::read(fixture("images").join(name)).unwrap())
        .map(|bytes| decode(&bytes, &DecodeLimits::default()).unwrap())
        .collect()
}

fn rten() -> EngineOptions {
    EngineOptions { kind: Some(EngineKind::Rten), threads: 1 }
}

#[test]
fn logits_do_not_depend_on_engine_batch_or_fork() {
    let package = tiny_package(4);
    let mut fixed = package.clone();
    // The network takes any batch; padded to 3, five photos need two runs.
    fixed.manifest.backbone.fixed_batch = Some(3);
    let photos = photos();
    let mut reference = Classifier::load(&package, &rten()).unwrap();
    let wanted: Vec<Vec<f32>> = photos
        .iter()
        .map(|photo| reference.logits(std::slice::from_ref(photo)).unwrap().remove(0))
        .collect();
    assert_ne!(wanted[0], wanted[1]);
    for kind in engines() {
        let options = EngineOptions { kind: Some(kind), threads: 2 };
        let mut whole = Classifier::load(&package, &options).unwrap();
        assert_eq!(whole.engine(), kind);
        let mut padded = Classifier::load(&fixed, &options).unwrap();
        for mut classifier in [whole.fork().unwrap(), padded.fork().unwrap()] {
            check(&classifier.logits(&photos).unwrap(), &wanted);
        }
        check(&whole.logits(&photos).unwrap(), &wanted);
        check(&padded.logits(&photos).unwrap(), &wanted);
        assert!(whole.logits(&[]).unwrap().is_empty());
    }
}

fn check(found: &[Vec<f32>], wanted: &[Vec<f32>]) {
    assert_eq!(found.len(), wanted.len());
    for (a, b) in found.iter().zip(wanted) {
        assert!(deviation(a, b) < 1e-4, "{a:?} is not {b:?}");
    }
}

#[test]
fn a_manifest_of_another_network_is_refused() {
    let mut package = tiny_package(4);
    package.manifest.classes.pop();
    let mut classifier = Classifier::load(&package, &rten()).unwrap();
    let error = classifier.logits(&photos()[..1]).unwrap_err();
    assert_eq!(error, ClassifyError::Classes { logits: 4, classes: 3 });
    package.network = b"no network".to_vec();
    assert!(Classifier::load(&package, &rten()).is_err());
}

#[test]
fn labels_are_ranked_and_named() {
    let package = tiny_package(3);
    let labels = labels(&package.manifest, &[0.0, 2.0, 1.0], 9);
    let names: Vec<_> = labels.iter().map(|l| l.class.name.as_str()).collect();
    assert_eq!(names, ["Breed 1", "Breed 2", "Breed 0"]);
    let total: f32 = labels.iter().map(|l| l.probability).sum();
    assert!((total - 1.0).abs() < 1e-6);
    assert!((labels[0].probability - 0.665_241).abs() < 1e-5);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn softmax_is_a_distribution_that_keeps_the_order(
        logits in prop::collection::vec(-1e4f32..1e4, 1..40),
        shift in -100.0f32..100.0,
    ) {
        let probabilities = softmax(&logits);
        prop_assert!(probabilities.iter().all(|p| (0.0..=1.0).contains(p)));
        prop_assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-4);
        for (i, j) in (0..logits.len()).zip(1..logits.len()) {
            if logits[i] > logits[j] {
                prop_assert!(probabilities[i] >= probabilities[j]);
            }
        }
        let small: Vec<f32> = logits.iter().map(|v| v / 1e3).collect();
        let shifted: Vec<f32> = small.iter().map(|v| v + shift).collect();
        for (a, b) in softmax(&small).iter().zip(softmax(&shifted)) {
            prop_assert!((a - b).abs() < 1e-4);
        }
    }

    #[test]
    fn top_k_is_a_stable_sort_cut_short(
        values in prop::collection::vec((-3i32..3).prop_map(|v| v as f32), 0..30),
        k in 0usize..40,
    ) {
        let mut wanted: Vec<usize> = (0..values.len()).collect();
        wanted.sort_by(|a, b| values[*b].partial_cmp(&values[*a]).unwrap());
        wanted.truncate(k);
        prop_assert_eq!(top_k(&values, k), wanted);
    }
}
