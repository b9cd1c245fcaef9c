//! Cuts against skeletons of real exports, edits against arithmetic done here, and hostile files.

use super::*;
use std::io::Read;
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::Value;

use crate::testing::{
    TINY_WIDTH, deviation, engines, fixture, fixture_json, model, node, noise, session, shared,
    tiny_backbone, tiny_head, value, weights,
};

fn skeleton_bytes(name: &str) -> Vec<u8> {
    let file = std::fs::File::open(fixture("onnx").join(name)).unwrap();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    bytes
}

fn skeleton(name: &str) -> Model {
    Model::parse(&skeleton_bytes(name)).unwrap()
}

/// Every skeleton with what is expected of it.
fn cases() -> Vec<(String, Value)> {
    let expected = fixture_json("onnx/expected.json");
    ["torchvision", "hub", "synthetic"]
        .iter()
        .flat_map(|group| expected[group].as_object().unwrap().clone())
        .collect()
}

#[test]
fn features_of_every_export_are_found() {
    let mut found = 0;
    for (name, expected) in cases().iter().filter(|(_, e)| e["outcome"] == "cut") {
        let cut = find_cut(&skeleton(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(Value::from(cut.tensor), expected["cut"], "{name}");
        assert_eq!(Value::from(cut.width), expected["width"], "{name}");
        if let Some(pooling) = cut.pooling {
            assert_eq!(
                pooling == Pooling::Space,
                expected["shape"].as_array().unwrap().len() == 4,
                "{name}"
            );
        }
        found += 1;
    }
    assert_eq!(found, 18 + 1 + 4, "nine networks in two exports, the hub's, and the sketches");
}

#[test]
fn graphs_without_a_clean_cut_are_refused_with_candidates() {
    let mut refused = 0;
    for (name, expected) in cases().iter().filter(|(_, e)| e["outcome"] == "refused") {
        let error = find_cut(&skeleton(name)).expect_err(name);
        match (expected["error"].as_str().unwrap(), &error) {
            ("no_clean_cut" | "no_weighted_layer", OnnxError::NoCut { candidates, .. }) => {
                for wanted in expected["candidates"].as_array().unwrap() {
                    let wanted = format!("`{}`", wanted.as_str().unwrap());
                    assert!(candidates.iter().any(|c| c.starts_with(&wanted)), "{name}: {error}");
                    assert!(error.to_string().contains(&wanted), "{name}: {error}");
                }
            }
            ("invalid_graph", OnnxError::Malformed { .. }) => {}
            (wanted, found) => panic!("{name}: {found} is not {wanted}"),
        }
        refused += 1;
    }
    assert_eq!(refused, 7);
}

#[test]
fn a_named_tensor_is_taken_and_an_unknown_one_answered_with_candidates() {
    let model = skeleton("residual_bypass.synthetic.onnx.gz");
    assert_eq!(named_cut(&model, "features").unwrap().tensor, "features");
    // A weight exists, but no photo reaches it.
    for name in ["nowhere", "", "stem_w"] {
        let OnnxError::NoTensor { candidates, .. } = named_cut(&model, name).unwrap_err() else {
            panic!("`{name}` was refused in other words");
        };
        assert!(candidates.iter().any(|c| c.starts_with("`hidden`")), "{candidates:?}");
    }
    let cyclic = skeleton("cycle.synthetic.onnx.gz");
    assert!(matches!(named_cut(&cyclic, "backward"), Err(OnnxError::Malformed { .. })));
}

#[test]
fn a_cut_refuses_a_graph_that_is_none() {
    let named = |tensor: &str| Cut {
        tensor: tensor.into(),
        width: None,
        pooling: None,
        layer: String::new(),
        classes: None,
    };
    for (name, tensor) in [("cycle", "backward"), ("dangling_input", "sum")] {
        let model = skeleton(&format!("{name}.synthetic.onnx.gz"));
        let error = cut_at(&model, &named(tensor)).unwrap_err();
        assert!(matches!(error, OnnxError::Malformed { .. }), "{name}: {error}");
    }
}

#[test]
fn names_inside_a_subgraph_are_not_missed() {
    // `If` whose branch makes `inner` from the captured `relu`: `inner` is made by no node outside.
    let mut branch = node("If", &["flag"], "chosen");
    let inner = proto::GraphProto {
        node: vec![node("Relu", &["relu"], "inner")],
        output: vec![value("inner", &[None])],
        ..Default::default()
    };
    branch.attribute.push(proto::AttributeProto {
        name: Some("then_branch".into()),
        g: Some(inner),
        ..Default::default()
    });
    let nodes = vec![
        node("Conv", &["input", "stem"], "conv"),
        node("Relu", &["conv"], "relu"),
        branch,
        node("Conv", &["chosen", "last"], "logits"),
    ];
    let initializers = vec![
        weights("stem", &[4, 3, 1, 1], 1),
        weights("last", &[5, 4, 1, 1], 2),
        weights("flag", &[1], 3),
    ];
    let input = value("input", &[None, Some(3), Some(8), Some(8)]);
    let model = model(nodes, initializers, input, value("logits", &[None, Some(5)]));
    let cut = find_cut(&model).unwrap();
    assert_eq!((cut.tensor.as_str(), cut.width), ("chosen", Some(4)));
    let kept = cut_at(&model, &cut).unwrap();
    assert!(kept.graph().initializer.iter().any(|t| t.name() == "stem"));
    assert!(!kept.graph().initializer.iter().any(|t| t.name() == "last"));
}

#[test]
fn a_head_gives_what_arithmetic_gives() {
    let backbone = tiny_backbone();
    let (hidden, last) = (
        tiny_head(4),
        LinearLayer { weight: noise(12, 7, 1.0), bias: noise(3, 9, 1.0), inputs: 4, outputs: 3 },
    );
    let affine = |x: &[f32], layer: &LinearLayer| -> Vec<f32> {
        (0..layer.outputs)
            .map(|o| {
                layer.bias[o]
                    + (0..layer.inputs)
                        .map(|i| x[i] * layer.weight[i * layer.outputs + o])
                        .sum::<f32>()
            })
            .collect()
    };
    let whole = append_head(&backbone, &[hidden.clone(), last.clone()]).unwrap();
    assert_eq!(whole.outputs(), ["logits"]);
    let cut = find_cut(&whole).unwrap();
    assert_eq!((cut.width, cut.classes, cut.pooling), (Some(4), Some(3), Some(Pooling::Flat)));
    let input = noise(2 * 3 * 16 * 16, 2, 1.0);
    for kind in engines() {
        let features = session(&backbone, kind).run(&input, [2, 3, 16, 16]).unwrap();
        assert_eq!(features.shape, [2, TINY_WIDTH]);
        let logits = session(&whole, kind).run(&input, [2, 3, 16, 16]).unwrap();
        assert_eq!(logits.shape, [2, 3]);
        for (x, found) in features.rows().zip(logits.rows()) {
            let active: Vec<f32> = affine(x, &hidden).iter().map(|v| v.max(0.0)).collect();
            assert!(deviation(found, &affine(&active, &last)) < 1e-5, "{kind}");
        }
        // Cut again at its features, the head's hidden layer comes out.
        let again = cut_at(&whole, &cut).unwrap();
        assert_eq!(session(&again, kind).run(&input, [2, 3, 16, 16]).unwrap().shape, [2, 4]);
    }
    let wrong = LinearLayer { bias: vec![0.0], ..last };
    assert!(append_head(&backbone, &[wrong]).is_err());
    assert!(append_head(&backbone, &[]).is_err());
}

#[test]
fn the_hubs_network_takes_a_head() {
    let Some(path) = shared("hub/mobilenet_v2_1.0_224.onnx") else { return };
    let model = Model::read(&path).unwrap();
    assert_eq!(model.image_input().unwrap().size, Some([224, 224]));
    let backbone = cut_at(&model, &find_cut(&model).unwrap()).unwrap();
    let head = LinearLayer {
        weight: noise(1280 * 7, 1, 0.1),
        bias: vec![0.0; 7],
        inputs: 1280,
        outputs: 7,
    };
    let whole = append_head(&backbone, &[head]).unwrap();
    let batch = whole.image_input().unwrap().batch.unwrap_or(2);
    for kind in engines() {
        let input = noise(batch * 3 * 224 * 224, 1, 1.0);
        let output = session(&whole, kind).run(&input, [batch, 3, 224, 224]).unwrap();
        assert_eq!(output.shape, [batch, 7], "{kind}");
    }
}

#[test]
fn metadata_is_replaced_and_the_digest_follows_the_weights() {
    let mut model = tiny_backbone();
    let before = weights_digest(&model);
    set_metadata(&mut model, "a", "1");
    set_metadata(&mut model, "a", "2");
    let props = &model.proto.metadata_props;
    assert_eq!((props.len(), props[0].value()), (1, "2"));
    assert_ne!(weights_digest(&model), before);
    assert_eq!(weights_digest(&tiny_backbone()), before);
}

/// [`tiny_backbone`] in a folder, its weights in a file beside it as these entries say.
fn with_external(folder: &std::path::Path, entries: &[(&str, &str)]) -> PathBuf {
    let mut model = tiny_backbone();
    let tensor = &mut model.proto.graph.as_mut().unwrap().initializer[0];
    let data = tensor.raw_data.take().unwrap();
    tensor.data_location = Some(proto::tensor_proto::DataLocation::External as i32);
    tensor.external_data = entries
        .iter()
        .map(|(key, value)| proto::StringStringEntryProto {
            key: Some((*key).to_owned()),
            value: Some((*value).to_owned()),
        })
        .collect();
    // Eight bytes that belong to nobody come first.
    std::fs::write(folder.join("w.data"), [vec![7; 8], data].concat()).unwrap();
    let path = folder.join("model.onnx");
    std::fs::write(&path, model.to_bytes()).unwrap();
    path
}

#[test]
fn external_weights_are_embedded() {
    let folder = tempfile::tempdir().unwrap();
    let length = (TINY_WIDTH * 27 * 4).to_string();
    for entries in [
        &[("location", "w.data"), ("offset", "8"), ("length", length.as_str())][..],
        &[("location", "w.data"), ("offset", "8")],
    ] {
        let model = Model::read(&with_external(folder.path(), entries)).unwrap();
        assert_eq!(model.to_bytes(), tiny_backbone().to_bytes());
    }
}

#[test]
fn hostile_external_locations_are_refused() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("model");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(outer.path().join("secret"), [0; 4096]).unwrap();
    let absolute = outer.path().join("secret").display().to_string();
    let mut locations =
        vec!["../secret", "a/../../secret", "./../secret", "", ".", "..", "missing"];
    locations.push(&absolute);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(outer.path(), folder.join("out")).unwrap();
        std::os::unix::fs::symlink(outer.path().join("secret"), folder.join("link")).unwrap();
        locations.extend(["link", "out/secret"]);
    }
    for location in locations {
        let path = with_external(&folder, &[("location", location), ("length", "648")]);
        let error = Model::read(&path).unwrap_err();
        assert!(matches!(error, OnnxError::External { .. }), "`{location}`: {error}");
    }
    for (offset, length) in [
        ("8", "649"),
        ("700", "8"),
        ("18446744073709551615", "2"),
        ("9", "18446744073709551615"),
        ("-1", "8"),
        ("x", "8"),
    ] {
        let entries = [("location", "w.data"), ("offset", offset), ("length", length)];
        let error = Model::read(&with_external(&folder, &entries)).unwrap_err();
        assert!(matches!(error, OnnxError::External { .. }), "{offset} + {length}: {error}");
    }
    let none = with_external(&folder, &[]);
    assert!(matches!(Model::read(&none), Err(OnnxError::External { .. })));
}

#[test]
fn inputs_that_are_no_photos_are_refused() {
    let with = |change: &dyn Fn(&mut proto::GraphProto)| {
        let mut model = tiny_backbone();
        change(model.proto.graph.as_mut().unwrap());
        model.image_input()
    };
    let shape = |dims: &[Option<i64>]| value("input", dims);
    let fine = with(&|_| {}).unwrap();
    assert_eq!((fine.batch, fine.size), (None, Some([16, 16])));
    let fixed = with(&|g| g.input[0] = shape(&[Some(2), Some(3), None, None])).unwrap();
    assert_eq!((fixed.batch, fixed.size), (Some(2), None));
    let hostile = [Some(-1), Some(3), Some(i64::MAX), Some(8)];
    let hostile = with(&|g| g.input[0] = shape(&hostile)).unwrap();
    assert_eq!((hostile.batch, hostile.size), (None, None));
    // Old exports list their weights among the inputs.
    assert!(with(&|g| g.input.push(value("stem", &[Some(4)]))).is_ok());

    let refused = |change: &dyn Fn(&mut proto::GraphProto), word: &str| {
        let error = with(change).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    };
    refused(&|g| g.input.push(value("mask", &[None])), "2 inputs");
    refused(&|g| g.input.clear(), "0 inputs");
    refused(&|g| g.input[0].r#type = None, "not a tensor");
    refused(&|g| g.input[0] = shape(&[None, Some(3)]), "2 dimensions");
    refused(&|g| g.input[0] = shape(&[None, Some(1), Some(8), Some(8)]), "1 channels");
    refused(&|g| g.input[0] = shape(&[None, Some(8), Some(8), Some(3)]), "channels last");
    refused(
        &|g| {
            let tensor = g.input[0].r#type.as_mut().unwrap().value.as_mut().unwrap();
            if let proto::type_proto::Value::TensorType(tensor) = tensor {
                tensor.elem_type = Some(proto::tensor_proto::DataType::Uint8 as i32);
            }
        },
        "not float32",
    );
}

#[test]
fn a_long_chain_and_a_deep_nest_do_not_exhaust_the_stack() {
    let mut nodes = vec![node("Relu", &["input"], "x0")];
    nodes.extend((0..100_000).map(|i| node("Relu", &[&format!("x{i}")], &format!("x{}", i + 1))));
    let input = value("input", &[None, Some(3), Some(8), Some(8)]);
    let chain = model(nodes, Vec::new(), input, value("x100000", &[None]));
    assert!(matches!(find_cut(&chain), Err(OnnxError::NoCut { .. })));
    let mut inner = proto::GraphProto::default();
    for _ in 0..500 {
        let mut holder = node("If", &["input"], "x");
        holder.attribute.push(proto::AttributeProto { g: Some(inner), ..Default::default() });
        inner = proto::GraphProto { node: vec![holder], ..Default::default() };
    }
    let nested = proto::ModelProto { graph: Some(inner), ..Default::default() };
    assert!(matches!(Model::parse(&nested.encode_to_vec()), Err(OnnxError::Malformed { .. })));
}

/// Everything that is done with a stranger's file before an engine sees it.
fn exercise(bytes: &[u8]) {
    let Ok(mut model) = Model::parse(bytes) else { return };
    let folder = std::path::Path::new("/nonexistent");
    let _ = (model.image_input(), model.embed_external(folder));
    let _ = (named_cut(&model, "features"), append_head(&model, &[tiny_head(2)]));
    if let Ok(cut) = find_cut(&model) {
        let _ = cut_at(&model, &cut).map(|small| small.to_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        exercise(&bytes);
    }

    #[test]
    fn damaged_models_never_panic(
        which in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 0..6),
    ) {
        let names = ["resnet18.torchscript", "vit_b_16.dynamo", "two_branches.synthetic",
            "matmul_dequantised_weight.synthetic", "mobilenet_v3_small.torchscript"];
        let mut bytes = skeleton_bytes(&format!("{}.onnx.gz", which.get(&names)));
        for (place, bit) in &flips {
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
        }
        exercise(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        exercise(&bytes);
    }
}

/// The unstripped exports, 1.4 GB that no repository holds: features through every engine against
/// those that torch gave. tests/fixtures/make_onnx_fixtures.py makes the folder with `--full`.
#[test]
fn features_of_full_exports_are_torchs() {
    let Some(folder) = std::env::var_os("KENNEL_TEST_ONNX").map(PathBuf::from) else {
        eprintln!("SKIPPED: KENNEL_TEST_ONNX names no folder of full exports");
        return;
    };
    let input: Vec<f32> = (0..3 * 224 * 224).map(|i| (0.01 * f64::from(i)).sin() as f32).collect();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "json"));
    files.sort();
    assert!(!files.is_empty(), "`{}` has no references", folder.display());
    let mut problems = Vec::new();
    for file in files {
        let reference: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let wanted: Vec<f32> = reference["features"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap() as f32)
            .collect();
        let mut names = vec![reference["onnx"].as_str().unwrap().to_owned()];
        if names[0] == "resnet18.dynamo.onnx" {
            names.push("resnet18.external.onnx".to_owned());
        }
        for name in names {
            let model = Model::read(&folder.join(&name)).unwrap();
            let cut = find_cut(&model).unwrap();
            let small = cut_at(&model, &cut).unwrap();
            drop(model);
            let bytes = std::sync::Arc::new(small.to_bytes());
            for kind in engines() {
                let options = crate::engine::EngineOptions { kind: Some(kind), threads: 2 };
                let run = crate::engine::load(&bytes, &options)
                    .and_then(|mut session| session.run(&input, [1, 3, 224, 224]));
                match run {
                    Ok(output) if output.values.len() == wanted.len() => {
                        let (off, angle) = (
                            deviation(&output.values, &wanted),
                            crate::testing::cosine(&output.values, &wanted),
                        );
                        eprintln!("{name} {kind}: deviation {off:.1e}, cosine {angle:.8}");
                        if off > 1e-3 || angle < 0.99999 {
                            problems.push(format!(
                                "{name} {kind}: deviation {off:.1e}, cosine {angle}"
                            ));
                        }
                    }
                    Ok(output) => problems.push(format!("{name} {kind}: shape {:?}", output.shape)),
                    Err(e) => problems.push(format!("{name} {kind}: {e}")),
                }
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn a_class_token_is_the_first_of_the_tokens() {
    // `[batch, 3, 4, 4]` averaged over its last side: three tokens of four values.
    let mut mean = node("ReduceMean", &["input"], "tokens");
    let ints = |name: &str, ints: Vec<i64>| proto::AttributeProto {
        name: Some(name.into()),
        r#type: Some(proto::attribute_proto::AttributeType::Ints as i32),
        ints,
        ..Default::default()
    };
    mean.attribute.push(ints("axes", vec![3]));
    mean.attribute.push(proto::AttributeProto {
        name: Some("keepdims".into()),
        r#type: Some(proto::attribute_proto::AttributeType::Int as i32),
        i: Some(0),
        ..Default::default()
    });
    let model = model(
        vec![mean],
        Vec::new(),
        value("input", &[None, Some(3), Some(4), Some(4)]),
        value("tokens", &[None, Some(3), Some(4)]),
    );
    let mut cut = named_cut(&model, "tokens").unwrap();
    (cut.pooling, cut.width) = (Some(Pooling::ClassToken), Some(4));
    let small = cut_at(&model, &cut).unwrap();
    let input: Vec<f32> = (0..2 * 3 * 16).map(|i| i as f32).collect();
    for kind in engines() {
        let output = session(&small, kind).run(&input, [2, 3, 4, 4]).unwrap();
        assert_eq!(output.shape, [2, 4], "{kind}");
        assert_eq!(output.values, [1.5, 5.5, 9.5, 13.5, 49.5, 53.5, 57.5, 61.5], "{kind}");
    }
}
