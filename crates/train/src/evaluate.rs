//! Counting what a classifier got right: top-1, top-5, per class, and the confusion matrix.

use kennel_infer::classifier::{softmax, top_k};

/// The outcome of classifying a set of labelled photos.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Row: true class; column: predicted class; value: photos.
    pub confusion: Vec<Vec<u32>>,
    /// Share of photos whose class came first.
    pub top1: f64,
    /// Share of photos whose class was among the first five.
    pub top5: f64,
    /// Mean cross entropy, in nats.
    pub loss: f64,
    /// Photos.
    pub count: usize,
    /// The photos that were wrong with most confidence, worst first: (position, predicted class,
    /// probability given to it, probability given to the true class).
    pub mistakes: Vec<Mistake>,
}

/// A photo that was classified wrongly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mistake {
    /// Position in the evaluated set.
    pub position: usize,
    /// True class.
    pub truth: usize,
    /// Predicted class.
    pub predicted: usize,
    /// Probability of the predicted class.
    pub probability: f32,
    /// Probability of the true class.
    pub truth_probability: f32,
}

/// Evaluates logits against labels, `classes` of them.
pub fn evaluate(logits: &[Vec<f32>], labels: &[usize], classes: usize) -> Evaluation {
    let mut confusion = vec![vec![0u32; classes]; classes];
    let (mut top1, mut top5, mut loss) = (0usize, 0usize, 0f64);
    let mut mistakes = Vec::new();
    for (position, (row, &truth)) in logits.iter().zip(labels).enumerate() {
        let probabilities = softmax(row);
        let best = top_k(&probabilities, 5);
        let predicted = best.first().copied().unwrap_or(0);
        if let Some(cell) = confusion.get_mut(truth).and_then(|r| r.get_mut(predicted)) {
            *cell += 1;
        }
        let truth_probability = probabilities.get(truth).copied().unwrap_or(0.0);
        loss -= f64::from(truth_probability.max(1e-12)).ln();
        top5 += usize::from(best.contains(&truth));
        if predicted == truth {
            top1 += 1;
        } else {
            let probability = probabilities.get(predicted).copied().unwrap_or(0.0);
            mistakes.push(Mistake { position, truth, predicted, probability, truth_probability });
        }
    }
    mistakes
        .sort_by(|a, b| b.probability.total_cmp(&a.probability).then(a.position.cmp(&b.position)));
    let count = logits.len();
    let share = |n: usize| if count == 0 { 0.0 } else { n as f64 / count as f64 };
    Evaluation {
        confusion,
        top1: share(top1),
        top5: share(top5),
        loss: if count == 0 { 0.0 } else { loss / count as f64 },
        count,
        mistakes,
    }
}

impl Evaluation {
    /// Photos and right ones of each class.
    pub fn per_class(&self) -> Vec<(usize, usize)> {
        self.confusion
            .iter()
            .enumerate()
            .map(|(class, row)| {
                (
                    row.iter().map(|&n| n as usize).sum(),
                    row.get(class).copied().unwrap_or(0) as usize,
                )
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_right() {
        let logits = vec![vec![3.0, 1.0], vec![0.0, 2.0], vec![5.0, 0.0]];
        let found = evaluate(&logits, &[0, 1, 1], 2);
        assert_eq!(found.count, 3);
        assert!((found.top1 - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(found.top5, 1.0);
        assert_eq!(found.confusion, vec![vec![1, 0], vec![1, 1]]);
        assert_eq!(found.mistakes.len(), 1);
        assert_eq!((found.mistakes[0].position, found.mistakes[0].predicted), (2, 0));
        assert_eq!(found.per_class(), vec![(1, 1), (2, 1)]);
    }

    #[test]
    fn nothing_is_no_division_by_zero() {
        let found = evaluate(&[], &[], 3);
        assert_eq!((found.count, found.top1, found.loss), (0, 0.0, 0.0));
    }
}
