//! A Gaussian process for some tens of trials: Matérn 5/2 with a length per input, noise, and expected
//! improvement.
//!
//! Plain loops on purpose: a linear algebra library would weigh more than the hundred lines that it would
//! save (docs/adr/0013). Formulas: Rasmussen and Williams, Gaussian Processes for Machine Learning, chapters
//! 2, 4 and 5; <https://gaussianprocess.org/gpml/>.

use rand::Rng;

/// How two values of an input are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By their difference.
    Number,
    /// By whether they are the same.
    Category,
}

/// What is fitted: logarithms of the length of each input and of the noise, as a share of the signal.
#[derive(Debug, Clone)]
pub(crate) struct Hyper {
    lengths: Vec<f64>,
    noise: f64,
}

/// Weight of the belief that standardised costs have variance 1, in trials.
const SIGNAL_TRIALS: f64 = 2.0;
/// Range of the logarithm of a length: 0.05 to 20 times the whole scale of an input.
const LENGTHS: (f64, f64) = (-3.0, 3.0);
/// Standard deviation of the belief about the logarithm of a length.
const LENGTH_SPREAD: f64 = 1.0;
/// Range of the logarithm of the noise, and mean and standard deviation of the belief about it.
const NOISE: (f64, f64, f64, f64) = (-14.0, 0.0, -8.0, 3.0);
/// Steps of one climb to the most likely hyperparameters.
const CLIMB: usize = 30;
/// Climbs, from different places.
const STARTS: usize = 3;

impl Hyper {
    /// Expected hyperparameters before anything is seen. Lengths grow with the number of inputs, or else no two
    /// trials of a space with many parameters would say anything about each other.
    fn expected(inputs: usize) -> Hyper {
        Hyper { lengths: vec![(0.3 * (inputs as f64).sqrt()).ln(); inputs], noise: NOISE.2 }
    }

    /// The most likely hyperparameters found by climbs from the expected ones and from random ones. Falls back
    /// to the expected ones where nothing can be computed.
    pub(crate) fn fit(rows: &[Vec<f64>], kinds: &[Kind], y: &[f64], rng: &mut impl Rng) -> Hyper {
        let expected = Hyper::expected(kinds.len());
        let mut found = (f64::NEG_INFINITY, expected.clone());
        for start in 0..STARTS {
            let mut at = expected.clone();
            if start > 0 {
                for length in &mut at.lengths {
                    *length = (*length + 3.0 * (uniform(rng) - 0.5)).clamp(LENGTHS.0, LENGTHS.1);
                }
                at.noise = NOISE.0 + uniform(rng) * 0.8 * (NOISE.1 - NOISE.0);
            }
            climb(at, &expected, rows, kinds, y, &mut found);
        }
        found.1
    }
}

/// Resilient propagation: each hyperparameter has its own step, which grows while its slope keeps its sign and
/// shrinks when it turns. Needs no line search and cannot run away.
fn climb(
    mut at: Hyper,
    expected: &Hyper,
    rows: &[Vec<f64>],
    kinds: &[Kind],
    y: &[f64],
    found: &mut (f64, Hyper),
) {
    let count = kinds.len() + 1;
    let (mut steps, mut slopes) = (vec![0.3; count], vec![0.0; count]);
    for _ in 0..CLIMB {
        let Some((likelihood, slope)) = likelihood(&at, expected, rows, kinds, y) else { return };
        if likelihood > found.0 {
            *found = (likelihood, at.clone());
        }
        for index in 0..count {
            let mut now = slope[index];
            let turn = now * slopes[index];
            if turn > 0.0 {
                steps[index] = f64::min(steps[index] * 1.2, 1.0);
            } else if turn < 0.0 {
                steps[index] = f64::max(steps[index] * 0.5, 1e-3);
                now = 0.0;
            }
            slopes[index] = now;
            let (value, range) = match at.lengths.get_mut(index) {
                Some(length) => (length, LENGTHS),
                None => (&mut at.noise, (NOISE.0, NOISE.1)),
            };
            let step = if now == 0.0 { 0.0 } else { steps[index] * now.signum() };
            *value = (*value + step).clamp(range.0, range.1);
        }
    }
}

/// Logarithm of the posterior of the hyperparameters, up to a constant, and its slope: by length, then noise.
/// The variance of the signal is not among them; its best value is known in closed form.
fn likelihood(
    at: &Hyper,
    expected: &Hyper,
    rows: &[Vec<f64>],
    kinds: &[Kind],
    y: &[f64],
) -> Option<(f64, Vec<f64>)> {
    let (n, inputs) = (rows.len(), kinds.len());
    let kernel = Kernel::new(at, kinds);
    let factor = Factor::new(kernel.matrix(rows, at.noise.exp()), n)?;
    let alpha = factor.solve(y);
    let trials = n as f64 + SIGNAL_TRIALS;
    let signal = (dot(y, &alpha) + SIGNAL_TRIALS) / trials;
    let mut value = -0.5 * trials * signal.ln() - factor.half_log_determinant();

    let mut slope = vec![0.0; inputs + 1];
    let inverse = factor.inverse();
    for i in 0..n {
        for j in 0..i {
            // Both halves of the symmetric matrices at once, hence no factor of one half.
            let weight = alpha[i] * alpha[j] / signal - inverse[i * n + j];
            let r = SQRT_5 * kernel.squared(&rows[i], &rows[j]).sqrt();
            let common = weight * (5.0 / 3.0) * (1.0 + r) * (-r).exp();
            for (index, kind) in kinds.iter().enumerate() {
                let difference = difference(*kind, rows[i][index], rows[j][index]);
                slope[index] += common * difference * difference * kernel.weights[index];
            }
        }
        let weight = alpha[i] * alpha[i] / signal - inverse[i * n + i];
        slope[inputs] += 0.5 * weight * at.noise.exp();
    }
    let mut believe = |index: usize, value_at: f64, mean: f64, spread: f64| {
        let away = (value_at - mean) / spread;
        value -= 0.5 * away * away;
        slope[index] -= away / spread;
    };
    for (index, (length, mean)) in at.lengths.iter().zip(&expected.lengths).enumerate() {
        believe(index, *length, *mean, LENGTH_SPREAD);
    }
    believe(inputs, at.noise, NOISE.2, NOISE.3);
    value.is_finite().then_some((value, slope))
}

const SQRT_5: f64 = 2.236_067_977_499_79;

fn difference(kind: Kind, a: f64, b: f64) -> f64 {
    match kind {
        Kind::Number => a - b,
        Kind::Category => f64::from(u8::from(a != b)),
    }
}

/// Matérn 5/2 of variance 1.
struct Kernel {
    kinds: Vec<Kind>,
    /// One over the square of each length.
    weights: Vec<f64>,
}

impl Kernel {
    fn new(at: &Hyper, kinds: &[Kind]) -> Kernel {
        let weights = at.lengths.iter().map(|length| (-2.0 * length).exp()).collect();
        Kernel { kinds: kinds.to_vec(), weights }
    }

    fn squared(&self, a: &[f64], b: &[f64]) -> f64 {
        let inputs = self.kinds.iter().zip(&self.weights).zip(a.iter().zip(b));
        inputs
            .map(|((kind, weight), (a, b))| {
                let difference = difference(*kind, *a, *b);
                weight * difference * difference
            })
            .sum()
    }

    fn value(&self, a: &[f64], b: &[f64]) -> f64 {
        let r = SQRT_5 * self.squared(a, b).sqrt();
        (1.0 + r + r * r / 3.0) * (-r).exp()
    }

    fn matrix(&self, rows: &[Vec<f64>], noise: f64) -> Vec<f64> {
        let n = rows.len();
        let mut matrix = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..i {
                matrix[i * n + j] = self.value(&rows[i], &rows[j]);
            }
            matrix[i * n + i] = 1.0 + noise;
        }
        matrix
    }
}

/// Four sums at a time, so that the compiler may use vectors; always in this order, so that the result is the
/// same on every machine.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a4, b4) = (a.chunks_exact(4), b.chunks_exact(4));
    let rest: f64 = a4.remainder().iter().zip(b4.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0; 4];
    for (a, b) in a4.zip(b4) {
        for lane in 0..4 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    (sums[0] + sums[2]) + (sums[1] + sums[3]) + rest
}

/// Cholesky factor: lower triangle, row by row.
struct Factor {
    n: usize,
    lower: Vec<f64>,
}

impl Factor {
    /// Factorises a matrix given by its lower triangle; `None` when it is not positive definite.
    fn new(mut lower: Vec<f64>, n: usize) -> Option<Factor> {
        for i in 0..n {
            for j in 0..=i {
                let (before, row) = lower.split_at_mut(i * n);
                let sum = if i == j {
                    dot(&row[..j], &row[..j])
                } else {
                    dot(&row[..j], &before[j * n..j * n + j])
                };
                let left = row[j] - sum;
                if i == j {
                    // The comparison is false for what is not a number, too.
                    let positive = left > 1e-12;
                    if !positive {
                        return None;
                    }
                    row[j] = left.sqrt();
                } else {
                    row[j] = left / before[j * n + j];
                }
            }
        }
        Some(Factor { n, lower })
    }

    fn half_log_determinant(&self) -> f64 {
        (0..self.n).map(|i| self.lower[i * self.n + i].ln()).sum()
    }

    /// Solves with the factor alone; entries before `from` are known to be zero.
    fn forward(&self, b: &[f64], from: usize, x: &mut [f64]) {
        for i in from..self.n {
            let row = &self.lower[i * self.n..];
            x[i] = (b[i] - dot(&row[from..i], &x[from..i])) / row[i];
        }
    }

    /// Solves with the matrix.
    fn solve(&self, b: &[f64]) -> Vec<f64> {
        let n = self.n;
        let mut x = vec![0.0; n];
        self.forward(b, 0, &mut x);
        for i in (0..n).rev() {
            x[i] /= self.lower[i * n + i];
            let known = x[i];
            for (x, lower) in x[..i].iter_mut().zip(&self.lower[i * n..]) {
                *x -= lower * known;
            }
        }
        x
    }

    /// Lower triangle of the inverse of the matrix.
    fn inverse(&self) -> Vec<f64> {
        let n = self.n;
        let (mut columns, mut unit) = (vec![0.0; n * n], vec![0.0; n]);
        for i in 0..n {
            unit[i] = 1.0;
            self.forward(&unit, i, &mut columns[i * n..(i + 1) * n]);
            unit[i] = 0.0;
        }
        let mut inverse = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                inverse[i * n + j] =
                    dot(&columns[i * n + i..(i + 1) * n], &columns[j * n + i..(j + 1) * n]);
            }
        }
        inverse
    }
}

/// A fitted process that predicts.
pub(crate) struct Gp<'a> {
    rows: &'a [Vec<f64>],
    kernel: Kernel,
    factor: Factor,
    alpha: Vec<f64>,
    signal: f64,
}

impl<'a> Gp<'a> {
    /// Conditions on rows and their costs, standardised; `None` when that cannot be computed.
    pub(crate) fn new(
        hyper: &Hyper,
        rows: &'a [Vec<f64>],
        kinds: &[Kind],
        y: &[f64],
    ) -> Option<Gp<'a>> {
        let kernel = Kernel::new(hyper, kinds);
        let factor = Factor::new(kernel.matrix(rows, hyper.noise.exp()), rows.len())?;
        let alpha = factor.solve(y);
        let signal = (dot(y, &alpha) + SIGNAL_TRIALS) / (rows.len() as f64 + SIGNAL_TRIALS);
        Some(Gp { rows, kernel, factor, alpha, signal })
    }

    /// The same process with the variance of another one's signal.
    pub(crate) fn with_signal_of(self, other: &Gp) -> Gp<'a> {
        Gp { signal: other.signal, ..self }
    }

    /// Mean at a row.
    pub(crate) fn mean(&self, row: &[f64]) -> f64 {
        self.rows
            .iter()
            .zip(&self.alpha)
            .map(|(known, alpha)| alpha * self.kernel.value(known, row))
            .sum()
    }

    /// Mean and standard deviation of the cost without noise at a row.
    pub(crate) fn predict(&self, row: &[f64]) -> (f64, f64) {
        let near: Vec<f64> = self.rows.iter().map(|known| self.kernel.value(known, row)).collect();
        let mut explained = vec![0.0; near.len()];
        self.factor.forward(&near, 0, &mut explained);
        let variance = self.signal * (1.0 - dot(&explained, &explained)).max(1e-12);
        (dot(&near, &self.alpha), variance.sqrt())
    }

    /// Logarithm of the expected improvement on `best` at a row. The logarithm stays comparable where the
    /// improvement itself would underflow to zero.
    pub(crate) fn log_improvement(&self, row: &[f64], best: f64) -> f64 {
        let (mean, deviation) = self.predict(row);
        deviation.ln() + log_improvement((best - mean) / deviation)
    }
}

/// `ln(φ(z) + z Φ(z))`.
pub(crate) fn log_improvement(z: f64) -> f64 {
    const LOG_ROOT_TWO_PI: f64 = 0.918_938_533_204_672_7;
    let log_density = -0.5 * z * z - LOG_ROOT_TWO_PI;
    if z > -20.0 {
        let below = 0.5 * libm::erfc(-z / std::f64::consts::SQRT_2);
        (log_density.exp() + z * below).ln()
    } else {
        // First terms of the asymptotic series, which the difference above would lose to rounding.
        let square = z * z;
        log_density - square.ln() + (1.0 - 3.0 / square + 15.0 / (square * square)).ln()
    }
}

/// A number from 0 to below 1.
pub(crate) fn uniform(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests;
