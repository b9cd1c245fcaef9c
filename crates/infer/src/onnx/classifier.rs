//! The classifier that a backbone came with: the affine layer that was cut off. Where a new task's
//! classes are among the old ones, its rows are a far better start than random numbers.

use std::collections::HashMap;

use super::cut::{Cut, attribute};
use super::{LinearLayer, Model, proto};

/// Operations that may follow the layer without changing which class is first.
const HARMLESS: &[&str] = &[
    "Flatten",
    "Reshape",
    "Squeeze",
    "Identity",
    "Softmax",
    "LogSoftmax",
    "Clip",
    "Cast",
    "ReduceMean",
    "GlobalAveragePool",
];

/// The layer that took the features in the original network as `[width][classes]`, if it is one affine
/// layer with float32 weights in the file and nothing that bends its logits follows.
pub fn original_classifier(model: &Model, cut: &Cut) -> Option<LinearLayer> {
    let graph = model.graph();
    let tensors: HashMap<&str, &proto::TensorProto> =
        graph.initializer.iter().map(|t| (t.name(), t)).collect();
    let node = only_reader(graph, &cut.tensor)?;
    let read = |index: usize| tensors.get(node.input.get(index)?.as_str()).copied();
    let integer = |name: &str| attribute(node, name).map_or(0, |a| a.i());
    let is_one = |name: &str| attribute(node, name).is_none_or(|a| a.f() == 1.0);
    let dims: Vec<usize> =
        read(1)?.dims.iter().map(|&d| usize::try_from(d).ok()).collect::<Option<_>>()?;
    let weight = floats(read(1)?)?;
    let mut output = node.output.first()?.as_str();
    let (inputs, outputs, transposed, mut bias) = match (node.op_type(), &dims[..]) {
        ("Gemm", [rows, columns])
            if integer("transA") == 0 && is_one("alpha") && is_one("beta") =>
        {
            let bias = read(2).and_then(floats);
            if integer("transB") != 0 {
                (*columns, *rows, true, bias)
            } else {
                (*rows, *columns, false, bias)
            }
        }
        ("MatMul", [rows, columns]) => (*rows, *columns, false, None),
        ("Conv", [out, channels, 1, 1]) if integer("group") <= 1 => {
            (*channels, *out, true, read(2).and_then(floats))
        }
        _ => return None,
    };
    // What follows may add a bias and must not do anything else to the logits.
    while let Some(next) = only_reader(graph, output) {
        if next.op_type() == "Add" && bias.is_none() {
            let other = next.input.iter().find(|name| *name != output)?;
            bias = Some(floats(tensors.get(other.as_str())?)?);
        } else if !HARMLESS.contains(&next.op_type()) {
            return None;
        }
        output = next.output.first()?.as_str();
    }
    if !graph.output.iter().any(|o| o.name() == output) {
        return None;
    }
    let bias = bias.unwrap_or_else(|| vec![0.0; outputs]);
    if weight.len() != inputs * outputs || bias.len() != outputs || Some(inputs) != cut.width {
        return None;
    }
    let weight = if transposed {
        let mut turned = vec![0.0; weight.len()];
        for (row, values) in weight.chunks_exact(inputs).enumerate() {
            for (column, value) in values.iter().enumerate() {
                turned[column * outputs + row] = *value;
            }
        }
        turned
    } else {
        weight
    };
    Some(LinearLayer { weight, bias, inputs, outputs })
}

/// The one node that reads a tensor; `None` for none or several.
fn only_reader<'a>(graph: &'a proto::GraphProto, tensor: &str) -> Option<&'a proto::NodeProto> {
    let mut readers = graph.node.iter().filter(|n| n.input.iter().any(|i| i == tensor));
    let first = readers.next()?;
    readers.next().is_none().then_some(first)
}

/// The values of a float32 tensor that is stored in the file.
fn floats(tensor: &proto::TensorProto) -> Option<Vec<f32>> {
    if tensor.data_type() != proto::tensor_proto::DataType::Float as i32 {
        return None;
    }
    match &tensor.raw_data {
        Some(raw) if raw.len().is_multiple_of(4) => Some(
            raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        ),
        _ => Some(tensor.float_data.clone()),
    }
}
