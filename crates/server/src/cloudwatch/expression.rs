//! Metric math: `+ - * /` with parentheses over ids and numbers, and SUM, AVG, MIN and MAX over
//! `METRICS()` or `[m1, m2]`. Everything else is refused as not implemented. See
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html>.

use std::collections::BTreeMap;

use kennel_wire::ServiceError;

use super::error::validation;

/// Values by time, in seconds.
pub(super) type TimeSeries = BTreeMap<i64, f64>;

/// A parsed expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    Number(f64),
    Id(String),
    Binary(Box<Expression>, char, Box<Expression>),
    /// A function over several series.
    Fold(Fold, Over),
}

/// What a function does with the values of one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fold {
    Sum,
    Average,
    Minimum,
    Maximum,
}

/// Which series a function takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Over {
    /// `METRICS()`: every metric of the request.
    Metrics,
    /// `[m1, m2]`.
    Ids(Vec<String>),
}

/// Parentheses may nest this deep.
const DEPTH: usize = 32;

impl Expression {
    /// Reads an expression.
    pub(super) fn parse(text: &str) -> Result<Self, ServiceError> {
        let mut parser = Parser { text, rest: text };
        let expression = parser.sum(0)?;
        if !parser.rest.trim_start().is_empty() {
            return Err(parser.refused());
        }
        Ok(expression)
    }
}

/// A series or a number.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Number(f64),
    Series(TimeSeries),
}

/// Applies `+ - * /`. Two series have a value where both have one; what is not finite is left out.
pub(super) fn binary(left: Operand, operator: char, right: Operand) -> Operand {
    let apply = |a: f64, b: f64| match operator {
        '+' => a + b,
        '-' => a - b,
        '*' => a * b,
        _ => a / b,
    };
    let series: TimeSeries = match (left, right) {
        (Operand::Number(a), Operand::Number(b)) => return Operand::Number(apply(a, b)),
        (Operand::Series(a), Operand::Number(b)) => {
            a.into_iter().map(|(time, a)| (time, apply(a, b))).collect()
        }
        (Operand::Number(a), Operand::Series(b)) => {
            b.into_iter().map(|(time, b)| (time, apply(a, b))).collect()
        }
        (Operand::Series(a), Operand::Series(b)) => {
            a.into_iter().filter_map(|(time, a)| Some((time, apply(a, *b.get(&time)?)))).collect()
        }
    };
    Operand::Series(series.into_iter().filter(|(_, value)| value.is_finite()).collect())
}

/// Folds series time by time; a time needs a value in one of them.
pub(super) fn fold(fold: Fold, all: &[TimeSeries]) -> TimeSeries {
    let mut times: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    for (time, value) in all.iter().flatten() {
        times.entry(*time).or_default().push(*value);
    }
    times
        .into_iter()
        .map(|(time, values)| {
            let value = match fold {
                Fold::Sum => values.iter().sum(),
                Fold::Average => values.iter().sum::<f64>() / values.len() as f64,
                Fold::Minimum => values.iter().copied().fold(f64::INFINITY, f64::min),
                Fold::Maximum => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            };
            (time, value)
        })
        .collect()
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn refused(&self) -> ServiceError {
        validation(format!(
            "Error in expression: `{}` is not implemented\nhint: ids, numbers, + - * /, and SUM, AVG, MIN, MAX of METRICS() or [ids] are",
            self.text
        ))
    }

    fn eat(&mut self, symbol: char) -> bool {
        match self.rest.trim_start().strip_prefix(symbol) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self, of: fn(char) -> bool) -> &'a str {
        let rest = self.rest.trim_start();
        let (word, rest) = rest.split_at(rest.find(|c| !of(c)).unwrap_or(rest.len()));
        self.rest = rest;
        word
    }

    fn sum(&mut self, depth: usize) -> Result<Expression, ServiceError> {
        self.chain(depth, ['+', '-'], Self::product)
    }

    fn product(&mut self, depth: usize) -> Result<Expression, ServiceError> {
        self.chain(depth, ['*', '/'], Self::atom)
    }

    fn chain(
        &mut self,
        depth: usize,
        operators: [char; 2],
        next: fn(&mut Self, usize) -> Result<Expression, ServiceError>,
    ) -> Result<Expression, ServiceError> {
        let mut left = next(self, depth)?;
        let mut length = 0;
        while let Some(operator) = operators.into_iter().find(|&symbol| self.eat(symbol)) {
            length += 1;
            if length > 500 {
                return Err(self.refused());
            }
            left = Expression::Binary(Box::new(left), operator, Box::new(next(self, depth)?));
        }
        Ok(left)
    }

    fn atom(&mut self, depth: usize) -> Result<Expression, ServiceError> {
        if depth > DEPTH {
            return Err(self.refused());
        }
        if self.eat('(') {
            let inner = self.sum(depth + 1)?;
            return if self.eat(')') { Ok(inner) } else { Err(self.refused()) };
        }
        let word = self.word(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
        match word.chars().next() {
            Some('0'..='9' | '.') => {
                word.parse().map(Expression::Number).map_err(|_| self.refused())
            }
            Some('a'..='z') if !word.contains('.') => Ok(Expression::Id(word.to_owned())),
            Some('A'..='Z') => {
                let fold = match word {
                    "SUM" => Fold::Sum,
                    "AVG" => Fold::Average,
                    "MIN" => Fold::Minimum,
                    "MAX" => Fold::Maximum,
                    _ => return Err(self.refused()),
                };
                self.over().map(|over| Expression::Fold(fold, over)).ok_or_else(|| self.refused())
            }
            _ => Err(self.refused()),
        }
    }

    fn over(&mut self) -> Option<Over> {
        let id = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !self.eat('(') {
            return None;
        }
        let over = if self.eat('[') {
            let mut ids = Vec::new();
            loop {
                let word = self.word(id);
                if word.is_empty() {
                    return None;
                }
                ids.push(word.to_owned());
                if !self.eat(',') {
                    break;
                }
            }
            self.eat(']').then_some(Over::Ids(ids))?
        } else {
            (self.word(id) == "METRICS" && self.eat('(') && self.eat(')'))
                .then_some(Over::Metrics)?
        };
        self.eat(')').then_some(over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> f64 {
        fn value(expression: Expression) -> f64 {
            match expression {
                Expression::Number(number) => number,
                Expression::Binary(a, operator, b) => {
                    let (a, b) = (Operand::Number(value(*a)), Operand::Number(value(*b)));
                    match binary(a, operator, b) {
                        Operand::Number(number) => number,
                        Operand::Series(_) => panic!("a series"),
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        value(Expression::parse(text).unwrap())
    }

    #[test]
    fn arithmetic_binds_as_usual() {
        assert_eq!(number("1 + 2*3 - (4 - 2) / 2"), 6.0);
        assert_eq!(number("8/2/2"), 2.0);
    }

    #[test]
    fn functions_ids_and_what_is_not_built() {
        assert_eq!(Expression::parse(" m1 ").unwrap(), Expression::Id("m1".to_owned()));
        let ids = Over::Ids(vec!["m1".to_owned(), "m2".to_owned()]);
        assert_eq!(
            Expression::parse("AVG([m1, m2])").unwrap(),
            Expression::Fold(Fold::Average, ids)
        );
        assert_eq!(
            Expression::parse("SUM( METRICS() )").unwrap(),
            Expression::Fold(Fold::Sum, Over::Metrics)
        );
        for wrong in [
            "FILL(m1, 0)",
            "SELECT AVG(x) FROM y",
            "m1 +",
            "(m1",
            "m1 m2",
            "SUM(m1)",
            "",
            "1..2",
            "m1 > 2",
            "SUM([])",
        ] {
            assert!(
                Expression::parse(wrong).unwrap_err().message.contains("not implemented"),
                "{wrong}"
            );
        }
        assert!(Expression::parse(&"(".repeat(2000)).is_err());
    }

    #[test]
    fn series_meet_where_both_have_values() {
        let a = TimeSeries::from([(0, 6.0), (60, 8.0), (120, 1.0)]);
        let b = TimeSeries::from([(0, 2.0), (120, 0.0), (180, 4.0)]);
        let quotient = binary(Operand::Series(a.clone()), '/', Operand::Series(b.clone()));
        assert_eq!(quotient, Operand::Series(TimeSeries::from([(0, 3.0)])));
        assert_eq!(
            fold(Fold::Sum, &[a.clone(), b.clone()]),
            TimeSeries::from([(0, 8.0), (60, 8.0), (120, 1.0), (180, 4.0)])
        );
        assert_eq!(fold(Fold::Average, &[a, b])[&0], 4.0);
    }

    proptest! {
        #[test]
        fn no_expression_panics(text in "[a-zA-Z0-9 +*/()\\[\\],._-]{0,40}") {
            let _ = Expression::parse(&text);
        }
    }
}
