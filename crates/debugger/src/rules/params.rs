//! Parameters of rules: strings in, typed values or a sentence out.

use std::collections::{BTreeMap, BTreeSet};

use regex::{Regex, RegexBuilder};

use crate::text::shown;

/// The most patterns in one parameter.
const MAX_PATTERNS: usize = 50;
/// The largest compiled pattern, in bytes.
const MAX_PATTERN_SIZE: usize = 1 << 20;

/// The parameters of one rule. Remembers which it was asked for, to find those that nobody knows.
#[derive(Debug)]
pub(super) struct Params<'a> {
    given: &'a BTreeMap<String, String>,
    known: BTreeSet<&'static str>,
}

impl<'a> Params<'a> {
    pub(super) fn new(given: &'a BTreeMap<String, String>) -> Self {
        // What SageMaker sets for the rule's container, not for the rule.
        let known = BTreeSet::from(["base_trial", "source_s3_uri"]);
        Params { given, known }
    }

    /// The text of a parameter. Python's `None` and empty text mean that it is not given.
    pub(super) fn text(&mut self, name: &'static str) -> Option<&'a str> {
        self.known.insert(name);
        let text = self.given.get(name)?.trim();
        (!text.is_empty() && text != "None").then_some(text)
    }

    pub(super) fn maybe_number(&mut self, name: &'static str) -> Result<Option<f64>, String> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Some(number)),
            _ => Err(format!("the parameter `{name}` is `{}`, not a number", shown(text))),
        }
    }

    pub(super) fn number(&mut self, name: &'static str, default: f64) -> Result<f64, String> {
        Ok(self.maybe_number(name)?.unwrap_or(default))
    }

    pub(super) fn maybe_integer(&mut self, name: &'static str) -> Result<Option<u64>, String> {
        match self.maybe_number(name)? {
            None => Ok(None),
            // AWS's page calls some of them floats, so `10.0` is 10.
            Some(number) if number >= 0.0 && number.fract() == 0.0 && number < 1e15 => {
                Ok(Some(number as u64))
            }
            Some(_) => Err(format!("the parameter `{name}` is not a whole number of 0 or more")),
        }
    }

    pub(super) fn integer(&mut self, name: &'static str, default: u64) -> Result<u64, String> {
        Ok(self.maybe_integer(name)?.unwrap_or(default))
    }

    pub(super) fn flag(&mut self, name: &'static str, default: bool) -> Result<bool, String> {
        match self.text(name).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(default),
            Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(text) => {
                Err(format!("the parameter `{name}` is `{}`, not True or False", shown(text)))
            }
        }
    }

    pub(super) fn list(&mut self, name: &'static str) -> Vec<String> {
        self.text(name).map(split).unwrap_or_default()
    }

    pub(super) fn regexes(&mut self, name: &'static str) -> Result<Option<Vec<Regex>>, String> {
        let Some(text) = self.text(name) else { return Ok(None) };
        regexes(text).map(Some).map_err(|error| format!("the parameter `{name}`: {error}"))
    }

    /// Everything was asked for: refuses what is left.
    pub(super) fn done(self) -> Result<(), String> {
        let other = |name: &&String| {
            // One per run to compare with, as the SDK numbers them.
            !self.known.contains(name.as_str()) && !name.starts_with("other_trial")
        };
        let Some(unknown) = self.given.keys().find(other) else { return Ok(()) };
        let known: Vec<&str> = self.known.into_iter().collect();
        Err(format!(
            "the rule has no parameter `{}`; hint: it has {}",
            shown(unknown),
            known.join(", ")
        ))
    }
}

/// Regular expressions from text: a JSON list, or expressions with commas between. A comma in brackets
/// belongs to its expression.
pub(crate) fn regexes(text: &str) -> Result<Vec<Regex>, String> {
    let parts = split(text);
    if parts.len() > MAX_PATTERNS {
        return Err(format!("more than {MAX_PATTERNS} regular expressions"));
    }
    parts
        .iter()
        .map(|part| {
            RegexBuilder::new(part).size_limit(MAX_PATTERN_SIZE).build().map_err(|_| {
                format!(
                    "`{}` is not a regular expression that Kennel knows; hint: look-around and \
                     back-references are not taken",
                    shown(part)
                )
            })
        })
        .collect()
}

fn split(text: &str) -> Vec<String> {
    if let Ok(list) = serde_json::from_str::<Vec<String>>(text) {
        return list;
    }
    let (mut parts, mut part, mut depth) = (Vec::new(), String::new(), 0i32);
    for c in text.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if c == ',' && depth <= 0 {
            parts.push(std::mem::take(&mut part));
        } else {
            part.push(c);
        }
    }
    parts.push(part);
    parts.iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// Tensors by collection or by name: the union, as AWS says.
#[derive(Debug, Default)]
pub(super) struct Selector {
    collections: Vec<String>,
    regexes: Vec<Regex>,
}

impl Selector {
    pub(super) fn new(collections: &[&str], pattern: &str) -> Result<Selector, String> {
        let regexes = if pattern.is_empty() { Vec::new() } else { regexes(pattern)? };
        Ok(Selector { collections: collections.iter().map(|&name| name.into()).collect(), regexes })
    }

    /// What `collection_names` and `tensor_regex` say, if they say anything.
    pub(super) fn given(params: &mut Params<'_>) -> Result<Option<Selector>, String> {
        let collections = params.list("collection_names");
        let regexes = params.regexes("tensor_regex")?;
        if collections.is_empty() && regexes.is_none() {
            return Ok(None);
        }
        Ok(Some(Selector { collections, regexes: regexes.unwrap_or_default() }))
    }

    pub(super) fn by_regexes(regexes: Vec<Regex>) -> Selector {
        Selector { collections: Vec::new(), regexes }
    }

    pub(super) fn matches(&self, name: &str, collections: &[String]) -> bool {
        self.collections.iter().any(|wanted| wanted == "all" || collections.contains(wanted))
            || self.regexes.iter().any(|regex| regex.is_match(name))
    }
}

#[cfg(test)]
mod tests;
