//! Changing a graph: cut it at the features, append a trained head, note where it came from.

use std::collections::{HashMap, HashSet};

use super::cut::{self, Cut, Pooling, node_reads};
use super::{Model, OnnxError, proto};
use sha2::{Digest, Sha256};

/// One affine layer of a head: `y = x · weight + bias`.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearLayer {
    /// `[inputs][outputs]`, row-major.
    pub weight: Vec<f32>,
    /// `[outputs]`.
    pub bias: Vec<f32>,
    /// Number of inputs.
    pub inputs: usize,
    /// Number of outputs.
    pub outputs: usize,
}

fn node(op: &str, name: &str, inputs: &[&str], output: &str) -> proto::NodeProto {
    proto::NodeProto {
        op_type: Some(op.to_owned()),
        name: Some(name.to_owned()),
        input: inputs.iter().map(|s| (*s).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..Default::default()
    }
}

fn integer(name: &str, value: i64) -> proto::AttributeProto {
    proto::AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(proto::attribute_proto::AttributeType::Int as i32),
        i: Some(value),
        ..Default::default()
    }
}

fn weights(name: &str, dims: &[usize], values: &[f32]) -> proto::TensorProto {
    proto::TensorProto {
        name: Some(name.to_owned()),
        dims: dims.iter().map(|&d| d as i64).collect(),
        data_type: Some(proto::tensor_proto::DataType::Float as i32),
        raw_data: Some(values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        ..Default::default()
    }
}

fn float_output(name: &str, width: Option<usize>) -> proto::ValueInfoProto {
    use proto::tensor_shape_proto::{Dimension, dimension::Value};
    let shape = width.map(|width| proto::TensorShapeProto {
        dim: vec![
            Dimension { value: Some(Value::DimParam("batch".into())), ..Default::default() },
            Dimension { value: Some(Value::DimValue(width as i64)), ..Default::default() },
        ],
    });
    proto::ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(proto::TypeProto {
            value: Some(proto::type_proto::Value::TensorType(proto::type_proto::Tensor {
                elem_type: Some(proto::tensor_proto::DataType::Float as i32),
                shape,
            })),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A name that nothing in the graph has yet.
fn fresh(graph: &proto::GraphProto, wanted: &str) -> String {
    let taken: HashSet<&str> = graph
        .node
        .iter()
        .flat_map(|n| n.output.iter().map(String::as_str))
        .chain(graph.initializer.iter().map(|t| t.name()))
        .chain(graph.input.iter().map(|i| i.name()))
        .collect();
    let mut name = wanted.to_owned();
    while taken.contains(name.as_str()) {
        name.push('_');
    }
    name
}

/// The part of a network that makes its features, with the one output `features` of shape
/// `[batch, width]`, pooled as [`Cut::pooling`] says. A cut whose rank the graph does not tell is left as
/// it is, to be run once and cut again with the pooling known.
///
/// # Errors
/// [`OnnxError::Malformed`] when the graph is cyclic or reads what nothing makes.
pub fn cut_at(model: &Model, cut: &Cut) -> Result<Model, OnnxError> {
    let graph = model.graph();
    cut::check(graph, &cut.tensor)?;
    let mut producer: HashMap<&str, usize> = HashMap::new();
    for (index, n) in graph.node.iter().enumerate() {
        producer.extend(n.output.iter().filter(|o| !o.is_empty()).map(|o| (o.as_str(), index)));
    }
    let mut keep: HashSet<usize> = HashSet::new();
    let mut used: HashSet<&str> = HashSet::new();
    let mut queue = vec![cut.tensor.as_str()];
    while let Some(name) = queue.pop() {
        if !used.insert(name) {
            continue;
        }
        if let Some(&index) = producer.get(name)
            && keep.insert(index)
        {
            node_reads(&graph.node[index], &mut queue);
        }
    }
    let mut small = proto::GraphProto {
        name: graph.name.clone(),
        node: graph
            .node
            .iter()
            .enumerate()
            .filter(|(index, _)| keep.contains(index))
            .map(|(_, n)| n.clone())
            .collect(),
        initializer: graph
            .initializer
            .iter()
            .filter(|t| used.contains(t.name()))
            .cloned()
            .collect(),
        sparse_initializer: graph.sparse_initializer.clone(),
        input: graph.input.iter().filter(|i| used.contains(i.name())).cloned().collect(),
        ..Default::default()
    };
    let output = match cut.pooling {
        None => cut.tensor.clone(),
        Some(pooling) => {
            let mut source = cut.tensor.clone();
            match pooling {
                Pooling::Flat => {}
                Pooling::Space => {
                    let pooled = fresh(&small, "kennel/pooled");
                    small.node.push(node("GlobalAveragePool", "kennel/pool", &[&source], &pooled));
                    source = pooled;
                }
                Pooling::ClassToken => {
                    let first = fresh(&small, "kennel/first_token");
                    small.initializer.push(proto::TensorProto {
                        name: Some(first.clone()),
                        data_type: Some(proto::tensor_proto::DataType::Int64 as i32),
                        raw_data: Some(0i64.to_le_bytes().to_vec()),
                        ..Default::default()
                    });
                    let token = fresh(&small, "kennel/token");
                    let mut gather = node("Gather", "kennel/gather", &[&source, &first], &token);
                    gather.attribute.push(integer("axis", 1));
                    small.node.push(gather);
                    source = token;
                }
            }
            let features = fresh(&small, "features");
            let mut flatten = node("Flatten", "kennel/flatten", &[&source], &features);
            flatten.attribute.push(integer("axis", 1));
            small.node.push(flatten);
            features
        }
    };
    small.output.push(float_output(&output, cut.pooling.and(cut.width)));
    let mut proto = model.proto.clone();
    proto.graph = Some(small);
    Ok(Model { proto })
}

/// Appends a head to a backbone made by [`cut_at`]: affine layers with ReLU between them. The one
/// output becomes `logits`, `[batch, classes]`.
///
/// # Errors
/// [`OnnxError::Malformed`] when the backbone does not have exactly one output or there is no layer.
pub fn append_head(backbone: &Model, layers: &[LinearLayer]) -> Result<Model, OnnxError> {
    let malformed = |reason: &str| OnnxError::Malformed { reason: reason.to_owned() };
    let mut proto = backbone.proto.clone();
    let graph = proto.graph.as_mut().ok_or_else(|| malformed("it has no graph"))?;
    let [output] = &graph.output[..] else {
        return Err(malformed("the backbone must have exactly one output"));
    };
    let Some(last) = layers.last() else {
        return Err(malformed("the head has no layers"));
    };
    let mut source = output.name().to_owned();
    let width = last.outputs;
    for (index, layer) in layers.iter().enumerate() {
        if layer.weight.len() != layer.inputs * layer.outputs || layer.bias.len() != layer.outputs {
            return Err(malformed("a layer of the head has the wrong number of weights"));
        }
        let weight = fresh(graph, &format!("head.{index}.weight"));
        graph.initializer.push(weights(&weight, &[layer.inputs, layer.outputs], &layer.weight));
        let bias = fresh(graph, &format!("head.{index}.bias"));
        graph.initializer.push(weights(&bias, &[layer.outputs], &layer.bias));
        let is_last = index + 1 == layers.len();
        let wanted = if is_last { "logits".to_owned() } else { format!("head.{index}.affine") };
        let product = fresh(graph, &wanted);
        let name = format!("head/{index}/gemm");
        graph.node.push(node("Gemm", &name, &[&source, &weight, &bias], &product));
        source = product;
        if !is_last {
            let active = fresh(graph, &format!("head.{index}.relu"));
            graph.node.push(node("Relu", &format!("head/{index}/relu"), &[&source], &active));
            source = active;
        }
    }
    graph.output = vec![float_output(&source, Some(width))];
    proto.producer_name = Some("kennel".to_owned());
    proto.producer_version = Some(env!("CARGO_PKG_VERSION").to_owned());
    Ok(Model { proto })
}

/// Writes a key and value into the model's metadata, replacing an older one.
pub fn set_metadata(model: &mut Model, key: &str, value: &str) {
    let props = &mut model.proto.metadata_props;
    props.retain(|p| p.key() != key);
    props.push(proto::StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    });
}

/// SHA-256 of a model's encoding, in hexadecimal: the identity of a backbone in cache keys.
pub fn weights_digest(model: &Model) -> String {
    crate::hex(&Sha256::digest(model.to_bytes()))
}
