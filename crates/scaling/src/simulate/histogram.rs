//! Times counted in bounded memory: 64 steps for each doubling, so that a value read back is within 1 %.

/// Steps of one doubling, as bits.
const STEP_BITS: u32 = 6;
/// The bits of an f64 below its step.
const SHIFT: u32 = f64::MANTISSA_DIGITS - 1 - STEP_BITS;
/// The shortest time told apart, 2⁻²⁰ s (about a microsecond), as its exponent.
const LEAST: u64 = (1023 - 20) << STEP_BITS;
/// From a microsecond to 2²⁴ s (half a year).
const STEPS: usize = 44 << STEP_BITS;

/// Counts by time, in seconds.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Histogram { counts: vec![0; STEPS], total: 0 }
    }

    #[inline]
    pub(super) fn record(&mut self, seconds: f64) {
        // The exponent and the first bits of the fraction are the step's number: no logarithm needed.
        let step = (seconds.to_bits() >> SHIFT).saturating_sub(LEAST) as usize;
        if let Some(count) = self.counts.get_mut(step.min(STEPS - 1)) {
            *count += 1;
        }
        self.total += 1;
    }

    /// Adds all to `other` and forgets it.
    pub(super) fn pour_into(&mut self, other: &mut Histogram) {
        if self.total == 0 {
            return;
        }
        for (own, others) in self.counts.iter_mut().zip(&mut other.counts) {
            *others += *own;
            *own = 0;
        }
        other.total += self.total;
        self.total = 0;
    }

    /// The times that these ascending shares of all do not exceed; 0 without any.
    pub(super) fn quantiles<const N: usize>(&self, shares: [f64; N]) -> [f64; N] {
        let mut found = [0.0; N];
        let mut seen = 0;
        let mut counts = self.counts.iter().enumerate();
        let mut step = 0;
        for (share, found) in shares.iter().zip(&mut found) {
            let rank = ((share * self.total as f64).ceil() as u64).clamp(1, self.total.max(1));
            while seen < rank {
                let Some((next, count)) = counts.next() else { return [0.0; N] };
                seen += count;
                step = next;
            }
            *found = middle(step);
        }
        found
    }
}

/// The middle of a step, in seconds.
fn middle(step: usize) -> f64 {
    let bound = |step: u64| f64::from_bits((LEAST + step) << SHIFT);
    let step = step as u64;
    (bound(step) + bound(step + 1)) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_within_one_per_cent() {
        let mut at = 2e-6;
        while at < 1e6 {
            let mut histogram = Histogram::new();
            histogram.record(at);
            let [found] = histogram.quantiles([0.5]);
            assert!((found / at - 1.0).abs() < 0.01, "{found} for {at}");
            at *= 1.003_7;
        }
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_values() {
        let mut values: Vec<f64> = (1..=10_000).map(|i| f64::from(i * i) * 1e-6).collect();
        let (mut window, mut all) = (Histogram::new(), Histogram::new());
        for (number, value) in values.iter().enumerate() {
            window.record(*value);
            if number % 777 == 0 {
                window.pour_into(&mut all);
            }
        }
        window.pour_into(&mut all);
        values.sort_by(f64::total_cmp);
        let shares = [0.0, 0.01, 0.5, 0.95, 0.99, 1.0];
        for (share, found) in shares.into_iter().zip(all.quantiles(shares)) {
            let exact = values[((share * 10_000.0) as usize).max(1) - 1];
            assert!((found / exact - 1.0).abs() < 0.01, "{share}: {found} instead of {exact}");
        }
    }

    #[test]
    fn values_out_of_range_are_kept_at_its_ends() {
        let mut histogram = Histogram::new();
        histogram.record(0.0);
        histogram.record(1e9);
        let [low, high] = histogram.quantiles([0.5, 1.0]);
        assert!(low < 1e-6 && high > 1.6e7, "{low} {high}");
        assert_eq!(Histogram::new().quantiles([0.5, 0.99]), [0.0, 0.0]);
    }
}
