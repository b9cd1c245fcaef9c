//! One suite for every engine of this machine, agreement between them, and the installer.

use super::*;
use std::io::Write;

use crate::onnx::{Model, cut_at, find_cut};
use crate::photo::{DecodeLimits, decode};
use crate::preprocess::{Preprocess, Preprocessor, Resize, View};
use crate::testing::{
    TINY_WIDTH, cosine, deviation, engines, noise, session, shared, tiny_backbone,
};

#[test]
fn a_batch_is_as_good_as_one_by_one() {
    let input = noise(4 * 768, 1, 1.0);
    for kind in engines() {
        let mut session = session(&tiny_backbone(), kind);
        assert_eq!(session.kind(), kind);
        let whole = session.run(&input, [4, 3, 16, 16]).unwrap();
        assert_eq!((whole.shape.as_slice(), whole.width()), (&[4, TINY_WIDTH][..], TINY_WIDTH));
        for (one, row) in input.chunks_exact(768).zip(whole.rows()) {
            let single = session.run(one, [1, 3, 16, 16]).unwrap();
            assert!(deviation(&single.values, row) < 1e-5, "{kind}");
        }
        let mut fork = session.fork().unwrap();
        assert_eq!(fork.run(&input, [4, 3, 16, 16]).unwrap(), whole);
    }
}

#[test]
fn a_wrong_input_is_an_error_and_the_session_lives_on() {
    let input = noise(2 * 768, 1, 1.0);
    for kind in engines() {
        let mut session = session(&tiny_backbone(), kind);
        let wanted = session.run(&input, [2, 3, 16, 16]).unwrap();
        // Too few values, too many, another number of channels, a photo without pixels.
        for (length, shape) in [
            (768, [2, 3, 16, 16]),
            (1536, [1, 3, 16, 16]),
            (1536, [2, 6, 8, 16]),
            (0, [2, 3, 0, 16]),
            (4, [1, 1, 2, 2]),
        ] {
            let error =
                session.run(&input[..length], shape).expect_err(&format!("{kind} {shape:?}"));
            assert!(matches!(error, EngineError::Run { .. }), "{error}");
        }
        assert_eq!(session.run(&input, [2, 3, 16, 16]).unwrap(), wanted);
    }
}

#[test]
fn what_is_no_network_is_refused() {
    let mut kinds: Vec<Option<EngineKind>> = engines().into_iter().map(Some).collect();
    kinds.push(None);
    let bytes = tiny_backbone().to_bytes();
    for kind in kinds {
        let options = EngineOptions { kind, threads: 1 };
        for bad in [&b""[..], b"text", &bytes[..bytes.len() / 2]] {
            let error = load(&Arc::new(bad.to_vec()), &options).unwrap_err();
            assert!(matches!(error, EngineError::Load { .. }), "{kind:?}: {error}");
        }
    }
}

#[test]
fn names_and_the_list_are_consistent() {
    for info in list() {
        assert_eq!(info.kind.to_string().parse::<EngineKind>().unwrap(), info.kind);
        assert!(info.available || !info.note.is_empty());
    }
    assert!(list().iter().any(|e| e.kind == preferred() && e.available));
    assert!(list().iter().any(|e| e.kind == EngineKind::Rten && e.available));
    assert_eq!("ort".parse::<EngineKind>().unwrap(), EngineKind::OnnxRuntime);
    assert!("torch".parse::<EngineKind>().is_err());
}

/// The hub's features and the inputs of `count` real photos of as many breeds, where they are here.
fn real_photos(count: usize) -> Option<(Model, Vec<Vec<f32>>)> {
    let network = shared("hub/mobilenet_v2_1.0_224.onnx")?;
    let test = shared("data/dogs120/test")?;
    let settings = Preprocess {
        resize: Resize::ShorterSide(256),
        crop: [224, 224],
        mean: [0.5; 3],
        std: [0.5; 3],
    };
    let mut preprocessor = Preprocessor::new(&settings).unwrap();
    let sorted = |folder: &std::path::Path| {
        let mut paths: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let inputs: Vec<Vec<f32>> = sorted(&test)
        .iter()
        .step_by(6)
        .take(count)
        .map(|class| {
            let bytes = std::fs::read(&sorted(class)[0]).unwrap();
            let photo = decode(&bytes, &DecodeLimits::default()).unwrap();
            let mut input = vec![0.0; settings.input_len()];
            preprocessor.run(&photo, View::Centre, &mut input).unwrap();
            input
        })
        .collect();
    assert_eq!(inputs.len(), count);
    let model = Model::read(&network).unwrap();
    Some((cut_at(&model, &find_cut(&model).unwrap()).unwrap(), inputs))
}

#[test]
fn engines_agree_on_features_of_real_photos() {
    let Some((model, inputs)) = real_photos(20) else { return };
    let shape = |n| [n, 3, 224, 224];
    let mut per_engine = Vec::new();
    for kind in engines() {
        let mut session = session(&model, kind);
        let features: Vec<Vec<f32>> =
            inputs.iter().map(|input| session.run(input, shape(1)).unwrap().values).collect();
        assert_eq!(features[0].len(), 1280);
        // Different photos have different features, or the agreement below would mean nothing.
        assert!(cosine(&features[0], &features[1]) < 0.99);
        let batch = session.run(&inputs[..4].concat(), shape(4)).unwrap();
        for (row, single) in batch.rows().zip(&features) {
            assert!(deviation(row, single) < 1e-3, "{kind}: a batch gives something else");
        }
        per_engine.push((kind, features));
    }
    for pair in per_engine.windows(2) {
        let [(a, left), (b, right)] = pair else { unreachable!() };
        let worst = left.iter().zip(right).map(|(x, y)| cosine(x, y)).fold(1.0, f64::min);
        eprintln!("{a} and {b}: worst cosine of {} photos {worst:.9}", inputs.len());
        assert!(worst >= 0.9999, "{a} and {b} differ: cosine {worst}");
    }
}

#[test]
fn libraries_are_told_from_what_lies_beside_them() {
    if cfg!(target_os = "linux") {
        for name in ["libonnxruntime.so", "libonnxruntime.so.1", "libonnxruntime.so.1.31.1"] {
            assert!(onnxruntime::is_library(name), "{name}");
        }
        for name in
            ["libonnxruntime_providers_shared.so", "onnxruntime.dll", "libonnxruntime.a", ""]
        {
            assert!(!onnxruntime::is_library(name), "{name}");
        }
    }
    let version = |path: &str| onnxruntime::version(std::path::Path::new(path));
    assert_eq!(version("/x/libonnxruntime.so.1.31.1").as_deref(), Some("1.31.1"));
    assert_eq!(version("/x/onnxruntime-1.30.0/libonnxruntime.dylib").as_deref(), Some("1.30.0"));
    assert_eq!(version("/usr/lib/libonnxruntime.so"), None);
}

/// A wheel with these entries.
fn wheel(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[cfg(target_os = "linux")]
const LIBRARY: &str = "onnxruntime/capi/libonnxruntime.so.1.31.1";

#[cfg(target_os = "linux")]
#[test]
fn a_wheel_with_another_hash_installs_nothing() {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("onnxruntime.whl");
    std::fs::write(&path, wheel(&[(LIBRARY, b"evil")])).unwrap();
    let folder = outer.path().join("engines");
    let install = |path: PathBuf| {
        install::install_into(&folder, &InstallSource::Wheel(path), &mut |_| ()).unwrap_err()
    };
    let error = install(path);
    assert!(error.to_string().contains("SHA-256"), "{error}");
    assert!(matches!(install(outer.path().join("none")), EngineError::Install { .. }));
    assert!(!folder.exists(), "something was written");
}

#[cfg(target_os = "linux")]
#[test]
fn only_the_library_leaves_a_wheel() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = wheel(&[
        ("onnxruntime/capi/../../../libonnxruntime.so", b"outside"),
        ("onnxruntime/capi/sub/libonnxruntime.so", b"deeper"),
        ("onnxruntime/capi/libonnxruntime_providers_shared.so", b"provider"),
        ("onnxruntime/__init__.py", b"python"),
        (LIBRARY, b"the library"),
    ]);
    let installed = install::unpack(&bytes, folder.path()).unwrap();
    assert_eq!(installed, folder.path().join("libonnxruntime.so.1.31.1"));
    assert_eq!(std::fs::read(&installed).unwrap(), b"the library");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    for bad in [wheel(&[("onnxruntime/__init__.py", b"python")]), b"no zip".to_vec(), Vec::new()] {
        assert!(matches!(install::unpack(&bad, folder.path()), Err(EngineError::Install { .. })));
    }
}
