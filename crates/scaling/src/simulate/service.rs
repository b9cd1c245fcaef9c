//! How long requests take: a distribution, as a table of its quantiles.

use super::ScenarioError;

/// Places of either table.
const PLACES: usize = 1024;
/// The share of requests that the first table ends with.
const BODY: f64 = 1.0 - 1.0 / PLACES as f64;

/// Service times of one request alone on an instance.
///
/// Kept as two tables: quantiles in steps of 1/1024, and the uppermost 1/1024 again in as many steps, because
/// the slowest requests are what a p99 is made of. Between the steps values are interpolated.
#[derive(Clone, PartialEq)]
pub struct ServiceTimes {
    /// Seconds at the shares 0, 1/1024, … 1023/1024.
    body: Vec<f64>,
    /// Seconds at the shares 1023/1024, … 1.
    tail: Vec<f64>,
}

impl std::fmt::Debug for ServiceTimes {
    /// Two thousand numbers tell a reader less than three.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceTimes")
            .field("mean_ms", &self.mean_ms())
            .field("p50_ms", &self.quantile_ms(0.5))
            .field("p99_ms", &self.quantile_ms(0.99))
            .finish()
    }
}

impl ServiceTimes {
    /// As measured, in milliseconds and any order. A hundred or more make a useful p99.
    ///
    /// # Errors
    /// When there are none, or one of them is negative or no number.
    pub fn from_samples(samples_ms: &[f64]) -> Result<Self, ScenarioError> {
        let mut sorted = samples_ms.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (Some(&first), Some(&last)) = (sorted.first(), sorted.last()) else {
            return Err(ScenarioError::number(
                "the service times",
                "at least one measured time",
                "none",
            ));
        };
        for value in [first, last] {
            checked("a measured service time", value)?;
        }
        let steps = (sorted.len() - 1) as f64;
        Ok(Self::tables(|share| {
            let place = share * steps;
            let below = place as usize;
            let at = |index: usize| sorted.get(index).copied().unwrap_or(last);
            at(below) + (at(below + 1) - at(below)) * (place - below as f64)
        }))
    }

    /// From percentiles, such as CloudWatch tells: pairs of a share of the requests, 0 to 1, and the
    /// milliseconds that it does not exceed, both ascending. Between two of them along a straight line; below
    /// the first and above the last there is nothing.
    ///
    /// # Errors
    /// When there are none, or they do not ascend, or a number is impossible.
    pub fn from_quantiles(pairs: &[(f64, f64)]) -> Result<Self, ScenarioError> {
        let (Some(first), Some(last)) = (pairs.first(), pairs.last()) else {
            return Err(ScenarioError::number("the percentiles", "at least one", "none"));
        };
        for (share, ms) in pairs {
            if !(0.0..=1.0).contains(share) {
                return Err(ScenarioError::number(
                    "the share of a percentile",
                    "from 0 to 1",
                    share,
                ));
            }
            checked("a percentile", *ms)?;
        }
        for pair in pairs.windows(2) {
            if let [(share, ms), (next, higher)] = pair
                && (next <= share || higher < ms)
            {
                let value = format!("{higher} at {next} after {ms} at {share}");
                return Err(ScenarioError::number("the percentiles", "in ascending order", value));
            }
        }
        Ok(Self::tables(|at| {
            let above = pairs.partition_point(|(share, _)| *share <= at);
            let next = pairs.get(above).unwrap_or(last);
            let before = above.checked_sub(1).and_then(|index| pairs.get(index)).unwrap_or(first);
            let width = next.0 - before.0;
            let part = if width > 0.0 { (at - before.0) / width } else { 0.0 };
            before.1 + (next.1 - before.1) * part
        }))
    }

    /// Always the same, in milliseconds.
    ///
    /// # Errors
    /// When it is negative or no number.
    pub fn constant(ms: f64) -> Result<Self, ScenarioError> {
        let ms = checked("the service time", ms)?;
        Ok(Self::tables(|_| ms))
    }

    /// The lognormal distribution with this median and 99th percentile, in milliseconds.
    ///
    /// # Errors
    /// When they are not positive, or the percentile is below the median.
    pub fn lognormal(p50_ms: f64, p99_ms: f64) -> Result<Self, ScenarioError> {
        checked("the median of the service times", p50_ms)?;
        checked("the p99 of the service times", p99_ms)?;
        if p50_ms <= 0.0 || p99_ms < p50_ms {
            return Err(ScenarioError::number(
                "the p99 of the service times",
                "at least their median, and the median above 0",
                format!("{p99_ms} with the median {p50_ms}"),
            ));
        }
        let sigma = libm::log(p99_ms / p50_ms) / normal_quantile(0.99);
        Ok(Self::tables(|share| p50_ms * libm::exp(sigma * normal_quantile(share))))
    }

    /// The exponential distribution with this mean, in milliseconds: what queueing theory assumes.
    ///
    /// # Errors
    /// When it is negative or no number.
    pub fn exponential(mean_ms: f64) -> Result<Self, ScenarioError> {
        let mean = checked("the mean service time", mean_ms)?;
        Ok(Self::tables(|share| -mean * libm::log(1.0 - share)))
    }

    /// From the value in milliseconds at each share of the requests, 0 to less than 1.
    fn tables(quantile: impl Fn(f64) -> f64) -> Self {
        let step = 1.0 / PLACES as f64;
        let body = (0..PLACES).map(|i| quantile(i as f64 * step) / 1e3).collect();
        // The last step of an unbounded distribution has no end: half a step before it stands for it.
        let tail = (0..=PLACES)
            .map(|i| quantile(BODY + (i as f64).min(PLACES as f64 - 0.5) * step * step) / 1e3)
            .collect();
        ServiceTimes { body, tail }
    }

    /// The mean, in milliseconds.
    pub fn mean_ms(&self) -> f64 {
        let area = |table: &[f64]| -> f64 {
            table.windows(2).map(|pair| pair.iter().sum::<f64>() / 2.0).sum::<f64>()
        };
        let places = PLACES as f64;
        (area(&self.body) / places + area(&self.tail) / places / places) * 1e3
    }

    /// The value that a share of the requests does not exceed, in milliseconds.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        self.at(share.clamp(0.0, 1.0)) * 1e3
    }

    /// Seconds, from 64 random bits.
    #[inline]
    pub(super) fn draw(&self, bits: u64) -> f64 {
        self.at((bits >> 11) as f64 * (1.0 / (1_u64 << 53) as f64))
    }

    #[inline]
    fn at(&self, share: f64) -> f64 {
        let place = share * PLACES as f64;
        let (table, place) = if share < BODY {
            (&self.body, place)
        } else {
            (&self.tail, (place - (PLACES - 1) as f64) * PLACES as f64)
        };
        let below = place as usize;
        match table.get(below..) {
            Some([low, high, ..]) => low + (high - low) * (place - below as f64),
            _ => table.last().copied().unwrap_or(0.0),
        }
    }
}

fn checked(what: &'static str, ms: f64) -> Result<f64, ScenarioError> {
    // A day for one request: more is a mistake in the unit.
    if ms.is_finite() && (0.0..=86_400_000.0).contains(&ms) {
        return Ok(ms);
    }
    Err(ScenarioError::number(what, "milliseconds from 0 to a day", ms))
}

/// The inverse of the normal distribution's function, by bisection: it is asked some two thousand times.
fn normal_quantile(share: f64) -> f64 {
    let (mut low, mut high) = (-40.0, 40.0);
    for _ in 0..100 {
        let middle: f64 = (low + high) / 2.0;
        if libm::erfc(-middle / std::f64::consts::SQRT_2) / 2.0 < share {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}
