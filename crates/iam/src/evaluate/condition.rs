//! One condition against a request's keys.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>
//! and, for several values, `reference_policies_condition-single-vs-multi-valued-context-keys.html`.

use std::cmp::Ordering;
use std::net::IpAddr;

use base64::Engine as _;

use super::Context;
use super::template::{Pattern, Reading, Template};
use crate::ArnPattern;
use crate::policy::{Condition, IpNet, Operator, Quantifier, Typed, parse_date};

/// A condition, made ready.
#[derive(Debug)]
pub(crate) struct Check {
    quantifier: Option<Quantifier>,
    operator: Operator,
    if_exists: bool,
    /// Lower-cased.
    pub(crate) key: Box<str>,
    wanted: Box<[Wanted]>,
}

/// One of a condition's values.
#[derive(Debug)]
enum Wanted {
    Text(Pattern),
    /// Lower-cased.
    Folded(Box<str>),
    /// Part by part.
    Arn(Box<[Pattern; 5]>),
    Number(f64),
    Date(i64),
    Bool(bool),
    Net(IpNet),
    Bytes(Vec<u8>),
    /// Of a kind other than text, and known only with a request.
    Later(Template),
    /// Nothing is equal to it.
    Nothing,
}

/// What an operator compares, without its negation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Text,
    Folded,
    Like,
    Number,
    Date,
    Bool,
    Bytes,
    Net,
    Arn,
    Null,
}

fn family(operator: Operator) -> Family {
    use Operator as O;
    match operator {
        O::StringEquals | O::StringNotEquals => Family::Text,
        O::StringEqualsIgnoreCase | O::StringNotEqualsIgnoreCase => Family::Folded,
        O::StringLike | O::StringNotLike => Family::Like,
        O::NumericEquals
        | O::NumericNotEquals
        | O::NumericLessThan
        | O::NumericLessThanEquals
        | O::NumericGreaterThan
        | O::NumericGreaterThanEquals => Family::Number,
        O::DateEquals
        | O::DateNotEquals
        | O::DateLessThan
        | O::DateLessThanEquals
        | O::DateGreaterThan
        | O::DateGreaterThanEquals => Family::Date,
        O::Bool => Family::Bool,
        O::BinaryEquals => Family::Bytes,
        O::IpAddress | O::NotIpAddress => Family::Net,
        O::ArnEquals | O::ArnNotEquals | O::ArnLike | O::ArnNotLike => Family::Arn,
        O::Null => Family::Null,
    }
}

/// Is the operator the negation of another? Then none of its values may match.
fn negated(operator: Operator) -> bool {
    use Operator as O;
    matches!(
        operator,
        O::StringNotEquals
            | O::StringNotEqualsIgnoreCase
            | O::StringNotLike
            | O::NumericNotEquals
            | O::DateNotEquals
            | O::NotIpAddress
            | O::ArnNotEquals
            | O::ArnNotLike
    )
}

/// Does an order between the request's value and the policy's satisfy the operator, negation aside?
fn ordered(operator: Operator, order: Ordering) -> bool {
    use Operator as O;
    match operator {
        O::NumericLessThan | O::DateLessThan => order.is_lt(),
        O::NumericLessThanEquals | O::DateLessThanEquals => order.is_le(),
        O::NumericGreaterThan | O::DateGreaterThan => order.is_gt(),
        O::NumericGreaterThanEquals | O::DateGreaterThanEquals => order.is_ge(),
        _ => order.is_eq(),
    }
}

impl Check {
    /// `variables`: whether the policy's version knows them.
    pub(crate) fn new(condition: &Condition, variables: bool) -> Self {
        let wanted = condition
            .values
            .iter()
            .map(|value| match value.typed {
                Typed::Number(number) => Wanted::Number(number),
                Typed::Date(date) => Wanted::Date(date),
                Typed::Bool(value) => Wanted::Bool(value),
                Typed::Net(net) => Wanted::Net(net),
                Typed::Text | Typed::Variable => text(condition.operator, &value.text, variables),
            })
            .collect();
        Check {
            quantifier: condition.quantifier,
            operator: condition.operator,
            if_exists: condition.if_exists,
            key: condition.key.to_ascii_lowercase().into(),
            wanted,
        }
    }

    /// Does it hold?
    pub(crate) fn holds(&self, context: &Context) -> bool {
        let values = context.get(&self.key).filter(|values| !values.is_empty());
        if self.operator == Operator::Null {
            return self.wanted.iter().any(|wanted| {
                let wanted = match wanted {
                    Wanted::Bool(absent) => Some(*absent),
                    Wanted::Later(template) => template.text(context).and_then(|t| boolean(&t)),
                    _ => None,
                };
                wanted == Some(values.is_none())
            });
        }
        let negated = negated(self.operator);
        let Some(values) = values else {
            return self.if_exists
                || match self.quantifier {
                    Some(Quantifier::ForAllValues) => true,
                    Some(Quantifier::ForAnyValue) => false,
                    None => negated,
                };
        };
        // To a quantifier, empty texts are no values.
        let empty = self.quantifier.is_some() && values.iter().all(String::is_empty);
        if empty {
            return self.quantifier == Some(Quantifier::ForAllValues);
        }
        let hit = |value: &String| self.wanted.iter().any(|w| self.matches(w, value, context));
        match self.quantifier {
            Some(Quantifier::ForAllValues) => values.iter().all(|v| hit(v) != negated),
            Some(Quantifier::ForAnyValue) => values.iter().any(|v| hit(v) != negated),
            None => values.iter().any(hit) != negated,
        }
    }

    fn matches(&self, wanted: &Wanted, value: &str, context: &Context) -> bool {
        match wanted {
            Wanted::Text(pattern) => pattern.matches(value, context),
            Wanted::Folded(text) => same_folded(text, value),
            Wanted::Arn(parts) => super::arn_parts(value).is_some_and(|arn| {
                parts.iter().zip(arn).all(|(pattern, part)| pattern.matches(part, context))
            }),
            Wanted::Number(wanted) => number(value)
                .and_then(|number| number.partial_cmp(wanted))
                .is_some_and(|order| ordered(self.operator, order)),
            Wanted::Date(wanted) => {
                parse_date(value).is_some_and(|date| ordered(self.operator, date.cmp(wanted)))
            }
            Wanted::Bool(wanted) => boolean(value) == Some(*wanted),
            Wanted::Net(net) => value
                .trim()
                .parse::<IpAddr>()
                .is_ok_and(|address| net.contains(address) || net.contains(address.to_canonical())),
            Wanted::Bytes(wanted) => bytes(value).is_some_and(|bytes| bytes == *wanted),
            Wanted::Later(template) => template
                .text(context)
                .map(|text| typed(self.operator, &text))
                .is_some_and(|wanted| self.matches(&wanted, value, context)),
            Wanted::Nothing => false,
        }
    }
}

/// A value that the parser left as text.
fn text(operator: Operator, text: &str, variables: bool) -> Wanted {
    match family(operator) {
        Family::Text => Wanted::Text(Pattern::new(text, Reading { variables, wildcards: false })),
        Family::Like => Wanted::Text(Pattern::new(text, Reading { variables, wildcards: true })),
        Family::Arn => arn(text, variables),
        _ => {
            let template = Template::new(text, Reading { variables, wildcards: false });
            if template.keys().next().is_some() {
                return Wanted::Later(template);
            }
            let text = template.text(&Context::new());
            text.map_or(Wanted::Nothing, |text| typed(operator, &text))
        }
    }
}

fn arn(text: &str, variables: bool) -> Wanted {
    let reading = Reading { variables, wildcards: true };
    match ArnPattern::parse(text) {
        Some(pattern) => {
            Wanted::Arn(Box::new(pattern.parts.map(|part| Pattern::new(&part, reading))))
        }
        // `*`, or a variable that holds a whole ARN.
        None if text == "*" || text.starts_with("${") => Wanted::Text(Pattern::new(text, reading)),
        None => Wanted::Nothing,
    }
}

/// A text that holds no variable any more.
fn typed(operator: Operator, text: &str) -> Wanted {
    let known = match family(operator) {
        Family::Folded => Some(Wanted::Folded(text.to_lowercase().into())),
        Family::Number => number(text).map(Wanted::Number),
        Family::Date => parse_date(text).map(Wanted::Date),
        Family::Bool | Family::Null => boolean(text).map(Wanted::Bool),
        Family::Bytes => bytes(text).map(Wanted::Bytes),
        Family::Net => IpNet::parse(text).map(Wanted::Net),
        Family::Text | Family::Like | Family::Arn => None,
    };
    known.unwrap_or(Wanted::Nothing)
}

fn same_folded(lower: &str, value: &str) -> bool {
    if value.is_ascii() { lower.eq_ignore_ascii_case(value) } else { lower == value.to_lowercase() }
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|number| number.is_finite())
}

fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// Padding may be missing, as some clients leave it out.
fn bytes(text: &str) -> Option<Vec<u8>> {
    base64::engine::general_purpose::STANDARD_NO_PAD.decode(text.trim().trim_end_matches('=')).ok()
}
