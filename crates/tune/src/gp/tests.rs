//! Tests of `gp`: linear algebra and slopes against plain arithmetic, fits against known functions.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;

const KINDS: [Kind; 3] = [Kind::Number, Kind::Number, Kind::Category];

fn rows(count: usize) -> Vec<Vec<f64>> {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    (0..count)
        .map(|_| {
            vec![uniform(&mut rng), uniform(&mut rng), (uniform(&mut rng) * 3.0).floor() / 3.0]
        })
        .collect()
}

fn smooth(row: &[f64]) -> f64 {
    (4.0 * row[0]).sin() + if row[2] == 0.0 { 0.5 } else { -0.5 }
}

#[test]
fn the_factor_solves_and_inverts() {
    let rows = rows(9);
    let kernel = Kernel::new(&Hyper::expected(3), &KINDS);
    let lower = kernel.matrix(&rows, 0.1);
    let full = |i: usize, j: usize| lower[i.max(j) * 9 + i.min(j)];
    let factor = Factor::new(lower.clone(), 9).unwrap();
    let b: Vec<f64> = rows.iter().map(|row| smooth(row)).collect();
    let x = factor.solve(&b);
    let inverse = factor.inverse();
    for (i, b) in b.iter().enumerate() {
        let product: f64 = (0..9).map(|j| full(i, j) * x[j]).sum();
        assert!((product - b).abs() < 1e-10);
        for j in 0..9 {
            let product: f64 = (0..9).map(|k| full(i, k) * inverse[k.max(j) * 9 + k.min(j)]).sum();
            assert!((product - f64::from(u8::from(i == j))).abs() < 1e-10);
        }
    }
    assert!(Factor::new(vec![1.0, 0.0, 2.0, 1.0], 2).is_none(), "not positive definite");
    assert!(Factor::new(vec![f64::NAN], 1).is_none());
}

#[test]
fn the_slope_is_that_of_the_likelihood() {
    let rows = rows(12);
    let y: Vec<f64> = rows.iter().map(|row| smooth(row)).collect();
    let expected = Hyper::expected(3);
    let at = Hyper { lengths: vec![-0.9, 0.4, 0.1], noise: -3.0 };
    let value = |at: &Hyper| likelihood(at, &expected, &rows, &KINDS, &y).unwrap();
    let slope = value(&at).1;
    for (index, slope) in slope.iter().enumerate() {
        let moved = |by: f64| {
            let mut moved = at.clone();
            *moved.lengths.get_mut(index).unwrap_or(&mut moved.noise) += by;
            value(&moved).0
        };
        let numeric = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert!(
            (slope - numeric).abs() < 1e-5 * (1.0 + numeric.abs()),
            "{index}: {slope} {numeric}"
        );
    }
}

#[test]
fn a_fit_predicts_and_knows_which_input_does_not_matter() {
    let rows = rows(30);
    let y: Vec<f64> = rows.iter().map(|row| smooth(row)).collect();
    let hyper = Hyper::fit(&rows, &KINDS, &y, &mut ChaCha8Rng::seed_from_u64(1));
    assert!(hyper.lengths[1] > hyper.lengths[0] + 0.7, "{hyper:?}");
    let gp = Gp::new(&hyper, &rows, &KINDS, &y).unwrap();
    for (row, y) in rows.iter().zip(&y) {
        let (mean, deviation) = gp.predict(row);
        assert!((mean - y).abs() < 0.05 && deviation < 0.2, "{mean} {y} {deviation}");
        assert!((gp.mean(row) - mean).abs() < 1e-9);
    }
    for unseen in [[0.5, 0.5, 0.0], [0.3, 0.9, 1.0 / 3.0]] {
        let (mean, deviation) = gp.predict(&unseen);
        assert!((mean - smooth(&unseen)).abs() < (3.0 * deviation).max(0.1), "{mean} {deviation}");
    }
    // Far from everything, nothing is known.
    let (_, far) = gp.predict(&[9.0, 9.0, -1.0]);
    assert!(far > 0.9 * gp.signal.sqrt());
}

#[test]
fn noise_is_not_taken_for_a_function() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let rows = rows(40);
    let y: Vec<f64> = rows.iter().map(|_| 3.4 * (uniform(&mut rng) - 0.5)).collect();
    let hyper = Hyper::fit(&rows, &KINDS, &y, &mut rng);
    let gp = Gp::new(&hyper, &rows, &KINDS, &y).unwrap();
    let largest = rows.iter().map(|row| gp.mean(row).abs()).fold(0.0, f64::max);
    assert!(largest < 1.2, "{largest} of 1.7");
}

#[test]
fn the_logarithm_of_the_improvement_is_continuous_and_right() {
    // φ(0) = 0.3989; at 1, φ(1) + Φ(1) = 0.2420 + 0.8413.
    assert!((log_improvement(0.0).exp() - 0.398_942_280).abs() < 1e-9);
    assert!((log_improvement(1.0).exp() - 1.083_315_471).abs() < 1e-9);
    assert!((log_improvement(-20.0 - 1e-9) - log_improvement(-20.0 + 1e-9)).abs() < 1e-5);
    let falling: Vec<f64> = (0..60).map(|step| log_improvement(f64::from(-step))).collect();
    assert!(falling.windows(2).all(|pair| pair[1] < pair[0] && pair[1].is_finite()));
}

#[test]
fn the_same_row_twice_can_still_be_computed() {
    let rows = vec![vec![0.5, 0.5, 0.0]; 5];
    let y = [1.0, 1.0, 1.0, -1.0, -1.0];
    let hyper = Hyper::fit(&rows, &KINDS, &y, &mut ChaCha8Rng::seed_from_u64(1));
    let gp = Gp::new(&hyper, &rows, &KINDS, &y).unwrap();
    let (mean, _) = gp.predict(&rows[0]);
    assert!((mean - 0.2).abs() < 0.2, "{mean}");
}
