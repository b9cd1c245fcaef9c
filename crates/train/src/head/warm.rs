//! The warm start of a linear head. A backbone trained on ImageNet knows a thousand classes; where a
//! class of the new task is one of them, the row of the old classifier is the better start.
//!
//! A class is matched when the old class with the highest mean log-probability over its training photos
//! is also the first choice on at least half of them. Unmatched classes start from the mean of the
//! matched rows. Without this gate the start does harm when classes are new (bench/RESULTS.md).
//! Where several instances train, the sums are over the photos of all.

use kennel_infer::onnx::LinearLayer;

use super::logits;
use super::team::Team;
use crate::features::FeatureMatrix;
use crate::job::JobError;

/// Share of a class's training photos on which the old class must come first.
const GATE: f64 = 0.5;

/// A start for a linear head, on unscaled features.
pub(super) struct WarmStart {
    pub(super) layer: LinearLayer,
    pub(super) matched: usize,
}

/// Looks for the new classes among the old ones; `None` when none is there.
pub(super) fn start(
    original: &LinearLayer,
    train: &FeatureMatrix,
    classes: usize,
    team: &Team<'_>,
) -> Result<Option<WarmStart>, JobError> {
    let old = original.outputs;
    if original.inputs != train.width || old < 2 {
        return Ok(None);
    }
    let mut log_probability = vec![0f64; classes * old];
    let mut first = vec![0f64; classes * old];
    let mut photos = vec![0f64; classes];
    for (row, &label) in logits(std::slice::from_ref(original), train)?.iter().zip(&train.labels) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|v| f64::from(v - largest).exp()).sum();
        let offset = f64::from(largest) + sum.ln();
        for (total, value) in log_probability[label * old..][..old].iter_mut().zip(row) {
            *total += f64::from(*value) - offset;
        }
        if let Some(best) = row.iter().position(|v| *v == largest) {
            first[label * old + best] += 1.0;
        }
        photos[label] += 1.0;
    }
    for sums in [&mut log_probability, &mut first, &mut photos] {
        team.sum(sums)?;
    }
    let matches: Vec<Option<usize>> = (0..classes)
        .map(|class| {
            let sums = &log_probability[class * old..][..old];
            let best = (0..old).max_by(|&a, &b| sums[a].total_cmp(&sums[b]))?;
            let share = first[class * old + best] / photos[class].max(1.0);
            (photos[class] > 0.0 && share >= GATE).then_some(best)
        })
        .collect();
    let matched: Vec<usize> = matches.iter().flatten().copied().collect();
    if matched.is_empty() {
        return Ok(None);
    }
    let count = matched.len() as f32;
    let mean =
        |values: &dyn Fn(usize) -> f32| matched.iter().map(|&m| values(m)).sum::<f32>() / count;
    let mut weight = Vec::with_capacity(train.width * classes);
    for row in original.weight.chunks_exact(old) {
        let rest = mean(&|m| row[m]);
        weight.extend(matches.iter().map(|m| m.map_or(rest, |m| row[m])));
    }
    let rest = mean(&|m| original.bias[m]);
    let bias = matches.iter().map(|m| m.map_or(rest, |m| original.bias[m])).collect();
    let layer = LinearLayer { weight, bias, inputs: train.width, outputs: classes };
    Ok(Some(WarmStart { layer, matched: matched.len() }))
}
