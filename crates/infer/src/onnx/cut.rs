//! Where the features of a backbone are: the input of the last layer with weights, on which the class
//! logits depend.
//!
//! The graph is walked backwards from the logits. A layer with weights is a convolution or a matrix
//! product of which one side is data and the other is known before the first photo (an initialiser,
//! perhaps through transpose, cast or dequantise). The last one is the one after which no other
//! follows on any path to the logits. It is a cut only if every path from the photo to the logits
//! goes through its input; otherwise the network is refused and the candidates are named.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use super::{Model, OnnxError, proto};

/// How a tensor of features becomes `[batch, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// It is `[batch, width]` already, or has only ones besides.
    Flat,
    /// `[batch, channels, height, width]`, averaged over space.
    Space,
    /// `[batch, tokens, width]`, of which the first (class) token is taken, as vision transformers do.
    ClassToken,
}

/// Where features leave a backbone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The tensor that is the features.
    pub tensor: String,
    /// Its channels, where the graph tells.
    pub width: Option<usize>,
    /// How the tensor becomes one vector per photo; `None` where only running the network can tell.
    pub pooling: Option<Pooling>,
    /// The layer that took the features in the original network, for messages.
    pub layer: String,
    /// Number of classes of that layer, where the graph tells.
    pub classes: Option<usize>,
}

/// A node seen as a layer with weights.
struct Layer {
    node: usize,
    data: String,
    /// Shape of the weights: `[out, in, …]` for convolutions, `[in, out]` for products.
    input_width: Option<usize>,
    output_width: Option<usize>,
    convolution: bool,
}

struct View<'a> {
    graph: &'a proto::GraphProto,
    /// Which node makes a tensor.
    producer: HashMap<&'a str, usize>,
    initializer: HashMap<&'a str, &'a proto::TensorProto>,
    inputs: HashSet<&'a str>,
    /// What [`View::constant`] found, so that a hostile graph cannot make it walk a path twice.
    known: RefCell<HashMap<&'a str, ConstantShape>>,
}

/// `None`: depends on a photo. `Some(None)`: constant, but its shape is not worked out.
type ConstantShape = Option<Option<Vec<i64>>>;

impl<'a> View<'a> {
    fn new(graph: &'a proto::GraphProto) -> Self {
        let initializer: HashMap<&str, _> =
            graph.initializer.iter().map(|t| (t.name(), t)).collect();
        let producer = graph
            .node
            .iter()
            .enumerate()
            .flat_map(|(i, n)| n.output.iter().map(move |o| (o.as_str(), i)))
            .filter(|(name, _)| !name.is_empty())
            .collect();
        let inputs = graph
            .input
            .iter()
            .map(|i| i.name())
            .filter(|name| !initializer.contains_key(name))
            .collect();
        View { graph, producer, initializer, inputs, known: RefCell::default() }
    }

    /// Every tensor a node reads, those that its subgraphs capture included.
    fn reads(&self, node: usize) -> Vec<&'a str> {
        let mut names = Vec::new();
        node_reads(&self.graph.node[node], &mut names);
        names
    }

    /// Nodes that a tensor depends on, without going past `stop`; and whether a photo input was met.
    fn ancestors(&self, tensor: &str, stop: Option<&str>) -> (HashSet<usize>, bool) {
        let mut nodes = HashSet::new();
        let mut meets_input = false;
        let mut queue: Vec<&str> = vec![tensor];
        let mut seen: HashSet<&str> = HashSet::new();
        while let Some(name) = queue.pop() {
            if stop == Some(name) || !seen.insert(name) {
                continue;
            }
            if self.inputs.contains(name) {
                meets_input = true;
            }
            if let Some(&node) = self.producer.get(name)
                && nodes.insert(node)
            {
                queue.extend(self.reads(node));
            }
        }
        (nodes, meets_input)
    }

    /// Refuses what is no graph: below `tensor`, a node that reads what nothing makes, or that depends
    /// on itself.
    fn check(&self, tensor: &str) -> Result<(), OnnxError> {
        let bad = |reason: String| Err(OnnxError::Malformed { reason });
        let exists = |name: &str| {
            self.producer.contains_key(name)
                || self.initializer.contains_key(name)
                || self.inputs.contains(name)
                || self
                    .graph
                    .sparse_initializer
                    .iter()
                    .any(|s| s.values.as_ref().is_some_and(|values| values.name() == name))
        };
        if !exists(tensor) {
            return bad(format!("nothing in its graph makes `{tensor}`"));
        }
        // Depth first without recursion; `open` are the nodes on the current path.
        let (mut open, mut done) = (HashSet::new(), HashSet::new());
        let mut stack: Vec<(usize, bool)> =
            self.producer.get(tensor).map(|&n| (n, false)).into_iter().collect();
        while let Some((node, leaving)) = stack.pop() {
            if leaving {
                open.remove(&node);
                done.insert(node);
                continue;
            }
            if done.contains(&node) || !open.insert(node) {
                continue;
            }
            stack.push((node, true));
            for name in self.reads(node) {
                if !exists(name) {
                    return bad(format!("its graph reads `{name}`, which nothing makes"));
                }
                match self.producer.get(name) {
                    Some(next) if open.contains(next) => {
                        return bad(format!("its graph has a cycle through `{name}`"));
                    }
                    Some(&next) => stack.push((next, false)),
                    None => {}
                }
            }
        }
        Ok(())
    }

    /// The shape of a tensor that is known before the first photo; `None` if it depends on a photo,
    /// `Some(None)` if it is constant but its shape is not plain. `depth` bounds hostile graphs.
    fn constant(&self, tensor: &str, depth: usize) -> ConstantShape {
        if let Some(t) = self.initializer.get(tensor) {
            return Some(Some(t.dims.clone()));
        }
        if self.inputs.contains(tensor) || depth > 64 {
            return None;
        }
        let (name, &index) = self.producer.get_key_value(tensor)?;
        if let Some(known) = self.known.borrow().get(name) {
            return known.clone();
        }
        let found = self.constant_output(index, depth);
        self.known.borrow_mut().insert(name, found.clone());
        found
    }

    fn constant_output(&self, index: usize, depth: usize) -> ConstantShape {
        let node = &self.graph.node[index];
        let first = node.input.first().map(String::as_str);
        match node.op_type() {
            "Constant" => {
                Some(attribute(node, "value").and_then(|a| a.t.as_ref()).map(|t| t.dims.clone()))
            }
            "Identity"
            | "Cast"
            | "DequantizeLinear"
            | "QuantizeLinear"
            | "DynamicQuantizeLinear" => self.constant(first?, depth + 1),
            "Transpose" => {
                let dims = self.constant(first?, depth + 1)?;
                let order = attribute(node, "perm").map(|a| a.ints.clone());
                Some(dims.and_then(|dims| match order {
                    Some(order) => {
                        order.iter().map(|&i| dims.get(usize::try_from(i).ok()?).copied()).collect()
                    }
                    None => Some(dims.into_iter().rev().collect()),
                }))
            }
            _ => {
                // Any other operation on constants alone is a constant of a shape not worked out here.
                // What a subgraph reads from around it counts, or an `If` on a constant would be one.
                let reads = self.reads(index);
                let constant = |name: &&str| self.constant(name, depth + 1).is_some();
                (!reads.is_empty() && reads.iter().all(constant)).then_some(None)
            }
        }
    }

    fn layer(&self, index: usize) -> Option<Layer> {
        let node = &self.graph.node[index];
        // (position of data, position of weights, is a convolution)
        let (mut data, mut weights, convolution) = match node.op_type() {
            "Conv" | "FusedConv" | "ConvInteger" | "NhwcConv" => (0, 1, true),
            "Gemm" | "FusedGemm" | "MatMul" | "FusedMatMul" | "MatMulInteger" => (0, 1, false),
            "QLinearConv" => (0, 3, true),
            "QLinearMatMul" | "QGemm" => (0, 3, false),
            _ => return None,
        };
        let get = |i: usize| node.input.get(i).map(String::as_str).filter(|n| !n.is_empty());
        let mut dims = self.constant(get(weights)?, 0);
        if dims.is_none() && !convolution {
            // A product may have its weights on the left.
            (data, weights) = (weights, data);
            dims = self.constant(get(weights)?, 0);
        }
        let dims = dims?;
        let data = get(data)?;
        if self.constant(data, 0).is_some() {
            return None;
        }
        let size = |v: Option<i64>| v.and_then(|v| usize::try_from(v).ok()).filter(|v| *v > 0);
        let integer = |name: &str| attribute(node, name).map_or(0, |a| a.i());
        let (input_width, output_width) = match dims.as_deref() {
            Some([out, per_group, ..]) if convolution => {
                (size(Some(per_group.saturating_mul(integer("group").max(1)))), size(Some(*out)))
            }
            Some([.., rows, columns]) => {
                if integer("transB") != 0 || weights < 1 {
                    (size(Some(*columns)), size(Some(*rows)))
                } else {
                    (size(Some(*rows)), size(Some(*columns)))
                }
            }
            _ => (None, None),
        };
        Some(Layer { node: index, data: data.to_owned(), input_width, output_width, convolution })
    }

    /// Features of integer networks are taken before they are quantised again.
    fn before_quantize(&self, tensor: &str) -> String {
        if let Some(&index) = self.producer.get(tensor) {
            let node = &self.graph.node[index];
            let plain = matches!(node.op_type(), "QuantizeLinear" | "DynamicQuantizeLinear");
            if plain && let Some(first) = node.input.first() {
                return first.clone();
            }
        }
        tensor.to_owned()
    }

    fn describe(&self, layer: &Layer) -> String {
        let node = &self.graph.node[layer.node];
        let size = |v: Option<usize>| v.map_or_else(|| "?".to_owned(), |v| v.to_string());
        format!(
            "{} `{}` ({} → {})",
            node.op_type(),
            if node.name().is_empty() {
                node.output.first().map_or("", String::as_str)
            } else {
                node.name()
            },
            size(layer.input_width),
            size(layer.output_width)
        )
    }
}

/// Every tensor that a node reads from the graph around it. What a subgraph (of `If`, `Loop`, `Scan`)
/// makes for itself is left out.
pub(super) fn node_reads<'a>(node: &'a proto::NodeProto, names: &mut Vec<&'a str>) {
    names.extend(node.input.iter().map(String::as_str).filter(|n| !n.is_empty()));
    for inner in node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs)) {
        let mut captured = Vec::new();
        for node in &inner.node {
            node_reads(node, &mut captured);
        }
        captured.extend(inner.output.iter().map(|o| o.name()));
        let own: HashSet<&str> = inner
            .node
            .iter()
            .flat_map(|n| n.output.iter().map(String::as_str))
            .chain(inner.input.iter().map(|i| i.name()))
            .chain(inner.initializer.iter().map(|t| t.name()))
            .collect();
        names.extend(captured.into_iter().filter(|name| !own.contains(name)));
    }
}

pub(super) fn attribute<'a>(
    node: &'a proto::NodeProto,
    name: &str,
) -> Option<&'a proto::AttributeProto> {
    node.attribute.iter().find(|a| a.name() == name)
}

/// Finds where the features of a network are.
///
/// # Errors
/// [`OnnxError::NoCut`] with the candidates when the place is not unique or can be bypassed;
/// [`OnnxError::Malformed`] when the graph is cyclic or reads what nothing makes.
pub fn find_cut(model: &Model) -> Result<Cut, OnnxError> {
    let graph = model.graph();
    let view = View::new(graph);
    let refuse = |reason: &str, candidates: Vec<String>| OnnxError::NoCut {
        reason: reason.to_owned(),
        candidates,
    };
    let logits =
        logits_output(graph).ok_or_else(|| refuse("the graph has no outputs", Vec::new()))?;
    view.check(logits)?;
    let (ancestors, meets_input) = view.ancestors(logits, None);
    if !meets_input {
        return Err(refuse(
            &format!("output `{logits}` does not depend on the network's input"),
            Vec::new(),
        ));
    }
    let mut layers: Vec<Layer> = ancestors.iter().filter_map(|&index| view.layer(index)).collect();
    layers.sort_by_key(|l| l.node);
    if layers.is_empty() {
        return Err(refuse("no layer with weights leads to its output", Vec::new()));
    }
    // A layer is last if no other layer with weights depends on what it makes.
    let last: Vec<&Layer> = layers
        .iter()
        .filter(|layer| {
            let outputs: Vec<&str> =
                graph.node[layer.node].output.iter().map(String::as_str).collect();
            !reaches_layer(&view, &outputs, &layers, &ancestors)
        })
        .collect();
    let candidates = |list: &[&Layer]| -> Vec<String> {
        list.iter()
            .rev()
            .take(8)
            .map(|l| format!("`{}`, which enters {}", l.data, view.describe(l)))
            .collect()
    };
    let everything: Vec<&Layer> = layers.iter().collect();
    let [layer] = last[..] else {
        return Err(refuse(
            &format!(
                "{} layers with weights are last on different paths to `{logits}`",
                last.len()
            ),
            candidates(if last.is_empty() { &everything } else { &last }),
        ));
    };
    let tensor = view.before_quantize(&layer.data);
    if view.inputs.contains(tensor.as_str()) {
        return Err(refuse("its only layer with weights takes the photo itself", Vec::new()));
    }
    let (_, bypassed) = view.ancestors(logits, Some(&tensor));
    if bypassed {
        return Err(refuse(
            &format!("a path leads from the input to `{logits}` around {}", view.describe(layer)),
            candidates(&everything),
        ));
    }
    Ok(Cut {
        tensor,
        width: layer.input_width,
        pooling: match graph.node[layer.node].op_type() {
            _ if layer.convolution => Some(Pooling::Space),
            "Gemm" | "FusedGemm" | "QGemm" => Some(Pooling::Flat),
            _ => None,
        },
        layer: view.describe(layer),
        classes: layer.output_width,
    })
}

/// Uses the tensor that the user named.
///
/// # Errors
/// [`OnnxError::NoTensor`] when the graph does not make such a tensor from its input;
/// [`OnnxError::Malformed`] when the graph is cyclic or reads what nothing makes.
pub fn named_cut(model: &Model, tensor: &str) -> Result<Cut, OnnxError> {
    let view = View::new(model.graph());
    if view.producer.contains_key(tensor) && view.ancestors(tensor, None).1 {
        view.check(tensor)?;
        return Ok(Cut {
            tensor: tensor.to_owned(),
            width: None,
            pooling: None,
            layer: "named by the user".to_owned(),
            classes: None,
        });
    }
    let candidates = match find_cut(model) {
        Ok(cut) => vec![format!("`{}`, which enters {}", cut.tensor, cut.layer)],
        Err(OnnxError::NoCut { candidates, .. }) => candidates,
        Err(_) => Vec::new(),
    };
    Err(OnnxError::NoTensor { name: tensor.to_owned(), candidates })
}

/// Exporters put the main output first; one that is called logits wins over that.
fn logits_output(graph: &proto::GraphProto) -> Option<&str> {
    let named = graph.output.iter().find(|o| o.name().eq_ignore_ascii_case("logits"));
    named.or_else(|| graph.output.first()).map(|o| o.name())
}

/// Refuses a graph whose part below `tensor` is cyclic or reads what nothing makes.
pub(super) fn check(graph: &proto::GraphProto, tensor: &str) -> Result<(), OnnxError> {
    View::new(graph).check(tensor)
}

/// Whether any layer with weights among the ancestors of the logits depends on one of `tensors`.
fn reaches_layer(
    view: &View<'_>,
    tensors: &[&str],
    layers: &[Layer],
    ancestors: &HashSet<usize>,
) -> bool {
    let weighted: HashSet<usize> = layers.iter().map(|l| l.node).collect();
    let mut consumers: HashMap<&str, Vec<usize>> = HashMap::new();
    for &index in ancestors {
        for name in view.reads(index) {
            consumers.entry(name).or_default().push(index);
        }
    }
    let mut queue: Vec<&str> = tensors.to_vec();
    let mut seen: HashSet<usize> = HashSet::new();
    while let Some(name) = queue.pop() {
        for &index in consumers.get(name).map(Vec::as_slice).unwrap_or_default() {
            if weighted.contains(&index) {
                return true;
            }
            if seen.insert(index) {
                queue.extend(view.graph.node[index].output.iter().map(String::as_str));
            }
        }
    }
    false
}
