//! What is kept of the values of a series in a second or a minute: count, sum, extremes, and how often
//! each value came, for percentiles. Values are rounded to eight significant bits there: whole numbers
//! to 256 are exact, others are off by at most 0.4 %. That is what CloudWatch's own percentiles, which
//! are approximations too, leave room for; the other statistics are exact.

use std::collections::BTreeMap;

use kennel_wire::ServiceError;

use super::error::{invalid_value, validation};

/// Bits of a double's fraction that a bucket ignores.
const IGNORED: u32 = 45;

/// The values of a series in one span of time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Aggregate {
    pub(super) count: f64,
    pub(super) sum: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    /// How often, by bucket; nothing when a statistic set hid its values.
    pub(super) values: Option<BTreeMap<i32, f64>>,
}

impl Aggregate {
    /// No value yet.
    pub(super) fn empty() -> Self {
        Aggregate {
            count: 0.0,
            sum: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            values: Some(BTreeMap::new()),
        }
    }

    /// A statistic set. Its values are known only when they are all the same.
    pub(super) fn of_set(count: f64, sum: f64, min: f64, max: f64) -> Self {
        let same = min == max && (sum - min * count).abs() <= sum.abs() * 1e-9;
        let values = same.then(|| BTreeMap::from([(bucket(min), count)]));
        Aggregate { count, sum, min, max, values }
    }

    /// Adds a value that came `count` times.
    pub(super) fn add(&mut self, value: f64, count: f64) {
        self.count += count;
        self.sum += value * count;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        if let Some(values) = &mut self.values {
            *values.entry(bucket(value)).or_default() += count;
        }
    }

    /// Adds another span's values.
    pub(super) fn merge(&mut self, other: &Aggregate) {
        if other.count == 0.0 {
            return;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        match (&mut self.values, &other.values) {
            (Some(values), Some(more)) => {
                for (bucket, count) in more {
                    *values.entry(*bucket).or_default() += count;
                }
            }
            _ => self.values = None,
        }
    }

    /// A statistic; nothing for a percentile of hidden or negative values, as in AWS.
    pub(super) fn statistic(&self, statistic: Statistic) -> Option<f64> {
        if self.count <= 0.0 {
            return None;
        }
        match statistic {
            Statistic::SampleCount => Some(self.count),
            Statistic::Average => Some(self.sum / self.count),
            Statistic::Sum => Some(self.sum),
            Statistic::Minimum => Some(self.min),
            Statistic::Maximum => Some(self.max),
            Statistic::Percentile(percent) => self.percentile(percent),
        }
    }

    /// The smallest value that at least `percent` of all values do not exceed.
    fn percentile(&self, percent: f64) -> Option<f64> {
        let values = self.values.as_ref().filter(|_| self.min >= 0.0)?;
        let rank = self.count * percent / 100.0;
        let mut seen = 0.0;
        for (bucket, count) in values {
            seen += count;
            // Counts may be fractions, so sums of them are compared with a little room.
            if seen >= rank - self.count * 1e-12 {
                return Some(value_of(*bucket).clamp(self.min, self.max));
            }
        }
        Some(self.max)
    }
}

/// The bucket of a value; buckets are ordered as values are.
fn bucket(value: f64) -> i32 {
    let rounded = (value.abs().to_bits() + (1 << (IGNORED - 1))) >> IGNORED;
    let magnitude = i32::try_from(rounded).unwrap_or(i32::MAX);
    if value < 0.0 { -magnitude } else { magnitude }
}

/// The value that stands for a bucket.
fn value_of(bucket: i32) -> f64 {
    let value = f64::from_bits(u64::from(bucket.unsigned_abs()) << IGNORED);
    if bucket < 0 { -value } else { value }
}

/// What may be asked of an [`Aggregate`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Statistic {
    SampleCount,
    Average,
    Sum,
    Minimum,
    Maximum,
    /// 0 to 100.
    Percentile(f64),
}

impl Statistic {
    /// One of the five basic statistics.
    pub(super) fn basic(name: &str) -> Option<Self> {
        Some(match name {
            "SampleCount" => Statistic::SampleCount,
            "Average" => Statistic::Average,
            "Sum" => Statistic::Sum,
            "Minimum" => Statistic::Minimum,
            "Maximum" => Statistic::Maximum,
            _ => return None,
        })
    }

    /// An extended statistic: `p0.0` to `p100`.
    pub(super) fn extended(name: &str) -> Result<Self, ServiceError> {
        if let Some(digits) = name.strip_prefix('p')
            && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
            && let Ok(percent) = digits.parse::<f64>()
            && (0.0..=100.0).contains(&percent)
        {
            return Ok(Statistic::Percentile(percent));
        }
        let other = ["tm", "wm", "tc", "ts", "pr", "TM", "WM", "TC", "TS", "PR", "IQM"];
        if other.iter().any(|prefix| name.starts_with(prefix)) {
            return Err(validation(format!(
                "statistic `{name}` is not implemented\nhint: percentiles (`p99`) and the basic statistics are"
            )));
        }
        Err(invalid_value(format!(
            "The value {name} for parameter ExtendedStatistics.member.1 is not supported."
        )))
    }

    /// Any statistic, as GetMetricData's `Stat` names it.
    pub(super) fn parse(name: &str) -> Result<Self, ServiceError> {
        Self::basic(name).map_or_else(|| Self::extended(name), Ok)
    }
}

/// Bytes for the database: per bucket the distance to the one before and how often, in as few bytes
/// as they need.
pub(super) fn encode(values: &BTreeMap<i32, f64>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len() * 3);
    let mut before = i64::from(i32::MIN);
    for (bucket, count) in values {
        let here = i64::from(*bucket);
        put(&mut bytes, (here - before).unsigned_abs());
        before = here;
        if count.fract() == 0.0 && (0.0..4e15).contains(count) {
            put(&mut bytes, (*count as u64) << 1);
        } else {
            put(&mut bytes, 1);
            bytes.extend(count.to_le_bytes());
        }
    }
    bytes
}

/// Reads [`encode`]; nothing for bytes that it cannot have written.
pub(super) fn decode(mut bytes: &[u8]) -> Option<BTreeMap<i32, f64>> {
    let mut values = BTreeMap::new();
    let mut before = i64::from(i32::MIN);
    while !bytes.is_empty() {
        before = before.checked_add(i64::try_from(take(&mut bytes)?).ok()?)?;
        let count = take(&mut bytes)?;
        let count = if count & 1 == 0 {
            (count >> 1) as f64
        } else {
            let (head, rest) = bytes.split_first_chunk()?;
            bytes = rest;
            f64::from_le_bytes(*head)
        };
        values.insert(i32::try_from(before).ok()?, count);
    }
    Some(values)
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[f64]) -> Aggregate {
        let mut aggregate = Aggregate::empty();
        for value in values {
            aggregate.add(*value, 1.0);
        }
        aggregate
    }

    #[test]
    fn whole_numbers_have_exact_percentiles() {
        let all: Vec<f64> = (1..=100).map(f64::from).collect();
        let aggregate = of(&all);
        for percent in 1..=100 {
            let percent = f64::from(percent);
            assert_eq!(aggregate.statistic(Statistic::Percentile(percent)), Some(percent));
        }
        assert_eq!(aggregate.statistic(Statistic::Percentile(0.0)), Some(1.0));
        assert_eq!(aggregate.statistic(Statistic::Average), Some(50.5));
        assert_eq!(of(&[-1.0]).statistic(Statistic::Percentile(50.0)), None);
        assert_eq!(Aggregate::empty().statistic(Statistic::Sum), None);
    }

    #[test]
    fn a_statistic_set_has_percentiles_only_when_all_its_values_are_known() {
        let p50 = Statistic::Percentile(50.0);
        assert_eq!(Aggregate::of_set(3.0, 6.0, 2.0, 2.0).statistic(p50), Some(2.0));
        let mut mixed = Aggregate::of_set(3.0, 6.0, 1.0, 3.0);
        assert_eq!(mixed.statistic(p50), None);
        mixed.merge(&of(&[2.0]));
        assert_eq!(mixed.statistic(p50), None);
        assert_eq!(mixed.statistic(Statistic::Sum), Some(8.0));
    }

    #[test]
    fn statistics_are_read_by_name() {
        assert_eq!(Statistic::parse("Sum").unwrap(), Statistic::Sum);
        assert_eq!(Statistic::parse("p99.9").unwrap(), Statistic::Percentile(99.9));
        assert!(Statistic::parse("tm99").unwrap_err().message.contains("not implemented"));
        for wrong in ["p101", "p-1", "p", "pinf", "median", ""] {
            assert_eq!(
                Statistic::parse(wrong).unwrap_err().code,
                "InvalidParameterValue",
                "{wrong}"
            );
        }
    }

    proptest! {
        #[test]
        fn buckets_are_near_and_ordered(a in -1e100..1e100_f64, b in -1e100..1e100_f64) {
            prop_assert!((value_of(bucket(a)) - a).abs() <= a.abs() / 255.0);
            if a < b {
                prop_assert!(bucket(a) <= bucket(b));
            }
        }

        #[test]
        fn percentiles_are_near_the_sorted_values(mut values in prop::collection::vec(0.0..1e6_f64, 1..200), percent in 0.0..100.0_f64) {
            let found = of(&values).statistic(Statistic::Percentile(percent)).unwrap();
            values.sort_by(f64::total_cmp);
            let rank = (values.len() as f64 * percent / 100.0).ceil().max(1.0) as usize;
            let exact = values[rank - 1];
            prop_assert!((found - exact).abs() <= exact / 200.0, "{} {}", found, exact);
        }

        #[test]
        fn merging_is_the_same_as_adding(a in prop::collection::vec(-1000..1000_i32, 0..50), b in prop::collection::vec(-1000..1000_i32, 0..50)) {
            let float = |all: &[i32]| all.iter().copied().map(f64::from).collect::<Vec<_>>();
            let mut merged = of(&float(&a));
            merged.merge(&of(&float(&b)));
            let all: Vec<i32> = a.iter().chain(&b).copied().collect();
            prop_assert_eq!(merged, of(&float(&all)));
        }

        #[test]
        fn values_come_back_from_bytes(values in prop::collection::btree_map(any::<i32>(), prop_oneof![(0..1_000_000_u32).prop_map(f64::from), 0.0..1e18_f64], 0..50)) {
            prop_assert_eq!(decode(&encode(&values)), Some(values));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = decode(&bytes);
        }
    }
}
