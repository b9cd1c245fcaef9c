//! The pipeline against the classifier, one photo at a time.

use super::*;
use std::collections::BTreeMap;

use crate::classifier::{Classifier, network};
use crate::testing::{deviation, engines, fixture, tiny_package};

const GOOD: [&str; 6] =
    ["jpeg_420.jpg", "exif_6.jpg", "png_rgb.png", "webp_lossy.webp", "panorama.jpg", "small.jpg"];
const BAD: [&str; 4] = ["text.jpg", "zero-byte.jpg", "bomb.png", "no such file.jpg"];

fn jobs(names: &[&str], views: &[(u32, View)]) -> Vec<Job> {
    let job = |(index, name): (usize, &&str)| Job {
        index: 10 * index,
        path: fixture("images").join(name),
        views: views.to_vec(),
    };
    names.iter().enumerate().map(job).collect()
}

fn options(engine: EngineKind, workers: usize, batch: usize) -> PipelineOptions {
    PipelineOptions { engine: Some(engine), workers, batch, limits: DecodeLimits::default() }
}

const CENTRE: [(u32, View); 1] = [(0, View::Centre)];

#[test]
fn results_are_the_classifiers_whatever_the_batch_and_workers() {
    let package = tiny_package(4);
    let options_of = |kind| EngineOptions { kind: Some(kind), threads: 1 };
    let mut fixed = network(&package);
    fixed.fixed_batch = Some(4);
    for kind in engines() {
        let mut classifier = Classifier::load(&package, &options_of(kind)).unwrap();
        let photos: Vec<_> = jobs(&GOOD, &CENTRE)
            .iter()
            .map(|job| read(&job.path, &DecodeLimits::default()).unwrap())
            .collect();
        let wanted = classifier.logits(&photos).unwrap();
        let dynamic = network(&package);
        for (network, workers, batch) in
            [(&dynamic, 1, 1), (&dynamic, 3, 4), (&dynamic, 64, 100), (&fixed, 2, 1)]
        {
            let views = [(7, View::Centre), (9, View::Mirrored)];
            let mut found: BTreeMap<(usize, u32), Vec<f32>> = BTreeMap::new();
            let times = run(
                network,
                &jobs(&GOOD, &views),
                &options(kind, workers, batch),
                &|| false,
                |event| match event {
                    Event::Output { index, view, values } => {
                        assert!(found.insert((index, view), values).is_none(), "{index} twice");
                    }
                    Event::Unreadable { index, reason } => panic!("{index}: {reason}"),
                },
            )
            .unwrap();
            assert_eq!(found.len(), 2 * GOOD.len());
            for (i, logits) in wanted.iter().enumerate() {
                assert!(deviation(&found[&(10 * i, 7)], logits) < 1e-4, "{kind} {}", GOOD[i]);
            }
            assert_ne!(found[&(0, 7)], found[&(0, 9)]);
            assert!(times.decode > Duration::ZERO && times.engine > Duration::ZERO);
        }
    }
}

#[test]
fn unreadable_photos_are_reported_and_the_others_come() {
    let names: Vec<&str> = BAD.iter().chain(&GOOD).copied().collect();
    let (mut bad, mut good) = (BTreeMap::new(), Vec::new());
    let network = network(&tiny_package(4));
    run(&network, &jobs(&names, &CENTRE), &options(EngineKind::Rten, 2, 3), &|| false, |event| {
        match event {
            Event::Output { index, .. } => good.push(index),
            Event::Unreadable { index, reason } => drop(bad.insert(index, reason)),
        }
    })
    .unwrap();
    good.sort_unstable();
    assert_eq!(good, [40, 50, 60, 70, 80, 90]);
    assert_eq!(bad.keys().copied().collect::<Vec<_>>(), [0, 10, 20, 30]);
    assert!(bad[&0].contains("not a JPEG") && bad[&10].contains("empty"), "{bad:?}");
    assert!(bad[&20].contains("60000×60000"), "{bad:?}");
    assert!(bad.values().all(|reason| !reason.contains('\n') && !reason.is_empty()), "{bad:?}");
}

#[test]
fn stop_ends_after_what_is_under_way() {
    let network = network(&tiny_package(4));
    let jobs = jobs(&[GOOD[5]; 40], &CENTRE);
    // Asked once before each photo; from the ninth on it answers yes.
    let asked = AtomicUsize::new(0);
    let stop = || asked.fetch_add(1, Ordering::SeqCst) >= 8;
    let mut delivered = Vec::new();
    run(&network, &jobs, &options(EngineKind::Rten, 1, 3), &stop, |event| match event {
        Event::Output { index, .. } => delivered.push(index),
        Event::Unreadable { index, reason } => panic!("{index}: {reason}"),
    })
    .unwrap();
    // Two full batches and the two photos that were already read.
    assert_eq!(delivered, (0..8).map(|i| 10 * i).collect::<Vec<_>>());
    run(&network, &jobs, &options(EngineKind::Rten, 2, 3), &|| true, |e| panic!("{e:?}")).unwrap();
}

#[test]
fn an_engine_that_fails_fails_the_run() {
    let mut broken = network(&tiny_package(4));
    broken.onnx = Arc::new(b"no network".to_vec());
    let rten = options(EngineKind::Rten, 2, 3);
    let outcome = run(&broken, &jobs(&GOOD, &CENTRE), &rten, &|| false, |e| panic!("{e:?}"));
    assert!(matches!(outcome, Err(PipelineError::Engine(EngineError::Load { .. }))), "{outcome:?}");
    // No photo, nothing to load.
    assert_eq!(run(&broken, &[], &rten, &|| false, |_| ()).unwrap(), StageTimes::default());
    let mut invalid = network(&tiny_package(4));
    invalid.preprocess.std = [0.0; 3];
    let outcome = run(&invalid, &jobs(&GOOD, &CENTRE), &rten, &|| false, |e| panic!("{e:?}"));
    assert!(matches!(outcome, Err(PipelineError::Preprocess(_))), "{outcome:?}");
}
