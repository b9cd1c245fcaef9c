//! What the tests of several modules share: fixtures, a network small enough to build by hand, and the
//! folders that only some machines have. Whoever skips says so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prost::Message;

use crate::engine::{EngineKind, EngineOptions, Session, list, load};
use crate::onnx::{LinearLayer, Model, append_head, proto};
use crate::package::{BackboneRecord, Class, DataRecord, MANIFEST_FORMAT, Manifest, Package};
use crate::preprocess::{Preprocess, Resize};

/// A file of `tests/fixtures`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A JSON file of `tests/fixtures`.
pub(crate) fn fixture_json(name: &str) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
}

/// Something in the folder beside the project that holds real photos and the hub's network.
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(name);
    if !path.exists() {
        eprintln!("SKIPPED: `{}` is not on this machine", path.display());
        return None;
    }
    Some(path)
}

/// The engines of this machine.
pub(crate) fn engines() -> Vec<EngineKind> {
    let (here, missing): (Vec<_>, Vec<_>) = list().into_iter().partition(|e| e.available);
    for engine in missing {
        eprintln!("SKIPPED for {}: {}", engine.kind, engine.note);
    }
    here.into_iter().map(|e| e.kind).collect()
}

/// Loads a model into an engine, with one thread.
pub(crate) fn session(model: &Model, kind: EngineKind) -> Box<dyn Session> {
    load(&Arc::new(model.to_bytes()), &EngineOptions { kind: Some(kind), threads: 1 }).unwrap()
}

/// Numbers that repeat on every run and look like noise, within ±`scale`.
pub(crate) fn noise(count: usize, seed: u32, scale: f32) -> Vec<f32> {
    (0..count).map(|i| ((i as f32 + 1.0) * (12.9898 + seed as f32)).sin() * scale).collect()
}

/// Cosine of the angle between two vectors.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    };
    assert_eq!(a.len(), b.len());
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The largest difference, relative to the largest value of `b`.
pub(crate) fn deviation(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    a.iter().zip(b).fold(0.0f32, |m, (x, y)| m.max((x - y).abs())) / largest
}

/// Width of the features of [`tiny_backbone`].
pub(crate) const TINY_WIDTH: usize = 6;

/// A float32 value of this shape; `None` is the batch.
pub(crate) fn value(name: &str, dims: &[Option<i64>]) -> proto::ValueInfoProto {
    use proto::tensor_shape_proto::{Dimension, dimension::Value};
    let dim = dims
        .iter()
        .map(|d| Dimension {
            value: Some(d.map_or_else(|| Value::DimParam("batch".into()), Value::DimValue)),
            ..Default::default()
        })
        .collect();
    proto::ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(proto::TypeProto {
            value: Some(proto::type_proto::Value::TensorType(proto::type_proto::Tensor {
                elem_type: Some(proto::tensor_proto::DataType::Float as i32),
                shape: Some(proto::TensorShapeProto { dim }),
            })),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A node without attributes.
pub(crate) fn node(op: &str, inputs: &[&str], output: &str) -> proto::NodeProto {
    proto::NodeProto {
        op_type: Some(op.to_owned()),
        input: inputs.iter().map(|s| (*s).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..Default::default()
    }
}

/// A 3×3 convolution that steps by one pixel. ONNX lets all of this be left out; rten 0.27 does not.
fn conv(input: &str, weight: &str, output: &str) -> proto::NodeProto {
    let mut conv = node("Conv", &[input, weight], output);
    let plain = [("strides", 1, 2), ("dilations", 1, 2), ("kernel_shape", 3, 2), ("pads", 0, 4)];
    conv.attribute.extend(plain.map(|(name, value, count)| proto::AttributeProto {
        name: Some(name.into()),
        r#type: Some(proto::attribute_proto::AttributeType::Ints as i32),
        ints: vec![value; count],
        ..Default::default()
    }));
    conv
}

/// Weights of noise.
pub(crate) fn weights(name: &str, dims: &[i64], seed: u32) -> proto::TensorProto {
    let count = dims.iter().product::<i64>() as usize;
    proto::TensorProto {
        name: Some(name.to_owned()),
        dims: dims.to_vec(),
        data_type: Some(proto::tensor_proto::DataType::Float as i32),
        raw_data: Some(noise(count, seed, 0.5).iter().flat_map(|v| v.to_le_bytes()).collect()),
        ..Default::default()
    }
}

/// A model of one graph with the input `input`, `[batch, 3, height, width]`.
pub(crate) fn model(
    nodes: Vec<proto::NodeProto>,
    initializer: Vec<proto::TensorProto>,
    input: proto::ValueInfoProto,
    output: proto::ValueInfoProto,
) -> Model {
    let graph = proto::GraphProto {
        name: Some("tiny".to_owned()),
        node: nodes,
        initializer,
        input: vec![input],
        output: vec![output],
        ..Default::default()
    };
    let proto = proto::ModelProto {
        ir_version: Some(8),
        opset_import: vec![proto::OperatorSetIdProto { version: Some(17), ..Default::default() }],
        graph: Some(graph),
        ..Default::default()
    };
    Model::parse(&proto.encode_to_vec()).unwrap()
}

/// Convolution, ReLU, average, flatten: `[batch, 3, 16, 16]` to the output `features`,
/// `[batch, TINY_WIDTH]`.
pub(crate) fn tiny_backbone() -> Model {
    model(
        vec![
            conv("input", "stem", "conv"),
            node("Relu", &["conv"], "relu"),
            node("GlobalAveragePool", &["relu"], "pool"),
            node("Flatten", &["pool"], "features"),
        ],
        vec![weights("stem", &[TINY_WIDTH as i64, 3, 3, 3], 1)],
        value("input", &[None, Some(3), Some(16), Some(16)]),
        value("features", &[None, Some(TINY_WIDTH as i64)]),
    )
}

/// A head of one affine layer for [`tiny_backbone`].
pub(crate) fn tiny_head(classes: usize) -> LinearLayer {
    LinearLayer {
        weight: noise(TINY_WIDTH * classes, 3, 2.0),
        bias: noise(classes, 5, 1.0),
        inputs: TINY_WIDTH,
        outputs: classes,
    }
}

/// The preprocessing that [`tiny_backbone`] takes.
pub(crate) fn tiny_preprocess() -> Preprocess {
    Preprocess {
        resize: Resize::ShorterSide(20),
        crop: [16, 16],
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    }
}

/// A package of [`tiny_backbone`] and [`tiny_head`].
pub(crate) fn tiny_package(classes: usize) -> Package {
    let network = append_head(&tiny_backbone(), &[tiny_head(classes)]).unwrap();
    Package {
        manifest: Manifest {
            format: MANIFEST_FORMAT,
            kennel_version: "0.0.0".into(),
            classes: (0..classes)
                .map(|i| Class::from_folder(&format!("{i:03}.Breed_{i}")))
                .collect(),
            preprocess: tiny_preprocess(),
            backbone: BackboneRecord {
                name: "tiny".into(),
                sha256: "0".repeat(64),
                features: "features".into(),
                width: TINY_WIDTH,
                license: None,
                fixed_batch: None,
            },
            training: kennel_base::TrainOptions::default(),
            data: DataRecord { sha256: "1".repeat(64), photos: BTreeMap::new(), skipped: 2 },
            metrics: BTreeMap::from([("valid_top1".to_owned(), 0.75)]),
            engine: "rten 0.27".into(),
        },
        network: network.to_bytes(),
        extras: BTreeMap::from([("metrics.json".to_owned(), b"{}\n".to_vec())]),
    }
}
