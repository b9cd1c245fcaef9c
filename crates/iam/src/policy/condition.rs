//! Conditions: operators, quantifiers and typed values.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>.

use std::net::IpAddr;

/// What a condition compares and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are AWS's")]
pub enum Operator {
    StringEquals,
    StringNotEquals,
    StringEqualsIgnoreCase,
    StringNotEqualsIgnoreCase,
    StringLike,
    StringNotLike,
    NumericEquals,
    NumericNotEquals,
    NumericLessThan,
    NumericLessThanEquals,
    NumericGreaterThan,
    NumericGreaterThanEquals,
    DateEquals,
    DateNotEquals,
    DateLessThan,
    DateLessThanEquals,
    DateGreaterThan,
    DateGreaterThanEquals,
    Bool,
    BinaryEquals,
    IpAddress,
    NotIpAddress,
    ArnEquals,
    ArnNotEquals,
    ArnLike,
    ArnNotLike,
    Null,
}

const OPERATORS: [(&str, Operator); 27] = [
    ("StringEquals", Operator::StringEquals),
    ("StringNotEquals", Operator::StringNotEquals),
    ("StringEqualsIgnoreCase", Operator::StringEqualsIgnoreCase),
    ("StringNotEqualsIgnoreCase", Operator::StringNotEqualsIgnoreCase),
    ("StringLike", Operator::StringLike),
    ("StringNotLike", Operator::StringNotLike),
    ("NumericEquals", Operator::NumericEquals),
    ("NumericNotEquals", Operator::NumericNotEquals),
    ("NumericLessThan", Operator::NumericLessThan),
    ("NumericLessThanEquals", Operator::NumericLessThanEquals),
    ("NumericGreaterThan", Operator::NumericGreaterThan),
    ("NumericGreaterThanEquals", Operator::NumericGreaterThanEquals),
    ("DateEquals", Operator::DateEquals),
    ("DateNotEquals", Operator::DateNotEquals),
    ("DateLessThan", Operator::DateLessThan),
    ("DateLessThanEquals", Operator::DateLessThanEquals),
    ("DateGreaterThan", Operator::DateGreaterThan),
    ("DateGreaterThanEquals", Operator::DateGreaterThanEquals),
    ("Bool", Operator::Bool),
    ("BinaryEquals", Operator::BinaryEquals),
    ("IpAddress", Operator::IpAddress),
    ("NotIpAddress", Operator::NotIpAddress),
    ("ArnEquals", Operator::ArnEquals),
    ("ArnNotEquals", Operator::ArnNotEquals),
    ("ArnLike", Operator::ArnLike),
    ("ArnNotLike", Operator::ArnNotLike),
    ("Null", Operator::Null),
];

/// How a key with several values is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quantifier {
    /// `ForAllValues:`
    ForAllValues,
    /// `ForAnyValue:`
    ForAnyValue,
}

/// One operator on one key: the key's value must match one of `values` (negated operators: none).
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// How several values of the key are compared.
    pub quantifier: Option<Quantifier>,
    /// The comparison.
    pub operator: Operator,
    /// `…IfExists`: true when the request has no such key.
    pub if_exists: bool,
    /// `aws:SourceIp`; compared without regard to case.
    pub key: String,
    /// The values.
    pub values: Vec<ConditionValue>,
}

/// A value as written and as understood.
#[derive(Debug, Clone, PartialEq)]
pub struct ConditionValue {
    /// As written; booleans and numbers as JSON writes them.
    pub text: String,
    /// As the operator understands it.
    pub typed: Typed,
}

/// What a value is to its operator.
#[derive(Debug, Clone, PartialEq)]
pub enum Typed {
    /// The text itself (String, Arn and Binary operators).
    Text,
    /// Numeric operators.
    Number(f64),
    /// Date operators: milliseconds since 1970.
    Date(i64),
    /// Bool and Null.
    Bool(bool),
    /// IP operators.
    Net(IpNet),
    /// It holds a policy variable and is known only when a request is there.
    Variable,
}

/// An address range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpNet {
    /// The address.
    pub address: IpAddr,
    /// How many leading bits count.
    pub prefix: u8,
}

impl IpNet {
    /// Reads `10.0.0.0/8`, `2001:db8::/32` or a single address.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
            None => bits,
        };
        (prefix <= bits).then_some(IpNet { address, prefix })
    }

    /// Is an address inside?
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(net), IpAddr::V4(one)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                net.to_bits() & mask == one.to_bits() & mask
            }
            (IpAddr::V6(net), IpAddr::V6(one)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                net.to_bits() & mask == one.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl Condition {
    /// Does it hold only where the key is there and matches? Negations, `…IfExists` and `ForAllValues:` let whoever
    /// has no such key through.
    pub fn demands_its_key(&self) -> bool {
        let positive = matches!(
            self.operator,
            Operator::StringEquals
                | Operator::StringEqualsIgnoreCase
                | Operator::StringLike
                | Operator::ArnEquals
                | Operator::ArnLike
                | Operator::IpAddress
        );
        positive && !self.if_exists && self.quantifier != Some(Quantifier::ForAllValues)
    }

    /// The key of the `Condition` object: `ForAllValues:StringLikeIfExists`.
    pub fn operator_name(&self) -> String {
        let quantifier = match self.quantifier {
            Some(Quantifier::ForAllValues) => "ForAllValues:",
            Some(Quantifier::ForAnyValue) => "ForAnyValue:",
            None => "",
        };
        let name =
            OPERATORS.iter().find(|(_, o)| *o == self.operator).map_or("", |(name, _)| *name);
        format!("{quantifier}{name}{}", if self.if_exists { "IfExists" } else { "" })
    }
}

/// Takes an operator's name apart; `None` when AWS has no such operator.
pub(crate) fn operator(name: &str) -> Option<(Option<Quantifier>, Operator, bool)> {
    let (quantifier, rest) = if let Some(rest) = name.strip_prefix("ForAllValues:") {
        (Some(Quantifier::ForAllValues), rest)
    } else if let Some(rest) = name.strip_prefix("ForAnyValue:") {
        (Some(Quantifier::ForAnyValue), rest)
    } else {
        (None, name)
    };
    let (base, if_exists) = match rest.strip_suffix("IfExists") {
        Some(base) => (base, true),
        None => (rest, false),
    };
    let operator = OPERATORS.iter().find(|(name, _)| *name == base).map(|(_, o)| *o)?;
    // Null asks whether a key exists; `IfExists` would make no sense.
    (!(if_exists && operator == Operator::Null)).then_some((quantifier, operator, if_exists))
}

/// Understands a value, or says what it should have been.
pub(crate) fn value(operator: Operator, text: String) -> Result<ConditionValue, &'static str> {
    use Operator as O;
    if text.contains("${") {
        return Ok(ConditionValue { text, typed: Typed::Variable });
    }
    let typed = match operator {
        O::NumericEquals
        | O::NumericNotEquals
        | O::NumericLessThan
        | O::NumericLessThanEquals
        | O::NumericGreaterThan
        | O::NumericGreaterThanEquals => match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Typed::Number(number),
            _ => return Err("a number"),
        },
        O::DateEquals
        | O::DateNotEquals
        | O::DateLessThan
        | O::DateLessThanEquals
        | O::DateGreaterThan
        | O::DateGreaterThanEquals => {
            Typed::Date(date(&text).ok_or("a date such as 2026-11-21T08:00:00Z, or epoch seconds")?)
        }
        O::Bool | O::Null => match text.to_ascii_lowercase().as_str() {
            "true" => Typed::Bool(true),
            "false" => Typed::Bool(false),
            _ => return Err("true or false"),
        },
        O::IpAddress | O::NotIpAddress => {
            Typed::Net(IpNet::parse(&text).ok_or("an address or range such as 203.0.113.0/24")?)
        }
        _ => Typed::Text,
    };
    Ok(ConditionValue { text, typed })
}

/// Milliseconds since 1970 of a W3C date (`2026`, `2026-11`, `2026-11-21`, `2026-11-21T08:00Z`,
/// `2026-11-21T08:00:00.5+01:00`) or of epoch seconds.
pub(crate) fn date(text: &str) -> Option<i64> {
    let text = text.trim();
    if text.len() > 4 && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse::<i64>().ok()?.checked_mul(1000);
    }
    let upper = text.to_ascii_uppercase();
    let (day, time) = match upper.split_once('T') {
        Some((day, time)) => (day, Some(time)),
        None => (upper.as_str(), None),
    };
    let mut parts = day.split('-');
    let year = number(parts.next()?, 4)?;
    let month = parts.next().map_or(Some(1), |p| number(p, 2))?;
    let day = parts.next().map_or(Some(1), |p| number(p, 2))?;
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let millis = match time {
        Some(time) => time_of_day(time)?,
        None => 0,
    };
    Some(days(year, month, day) * 86_400_000 + millis)
}

fn number(digits: &str, length: usize) -> Option<i64> {
    let good = digits.len() == length && digits.bytes().all(|b| b.is_ascii_digit());
    good.then(|| digits.parse().ok())?
}

/// Milliseconds since midnight UTC of `08:00[:00[.5]](Z|±01:00)`.
fn time_of_day(text: &str) -> Option<i64> {
    let (clock, zone) = match text.find(['Z', '+', '-']) {
        Some(at) => text.split_at(at),
        None => (text, "Z"),
    };
    let zone = match zone {
        "Z" => 0,
        _ => {
            let (sign, rest) = zone.split_at(1);
            let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "00"));
            let offset = number(hours, 2).filter(|h| *h < 24)? * 60
                + number(minutes, 2).filter(|m| *m < 60)?;
            if sign == "-" { -offset } else { offset }
        }
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = clock.split(':');
    let hours = number(parts.next()?, 2).filter(|h| *h < 24)?;
    let minutes = number(parts.next()?, 2).filter(|m| *m < 60)?;
    let seconds = parts.next().map_or(Some(0), |p| number(p, 2)).filter(|s| *s < 60)?;
    if parts.next().is_some() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit())
    {
        return None;
    }
    let thousandths: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    Some(((hours * 60 + minutes - zone) * 60 + seconds) * 1000 + thousandths)
}

/// Days since 1970 in the Gregorian calendar (Howard Hinnant's `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}
