//! Patterns that may hold policy variables.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>.

use super::Context;
use crate::glob::{Glob, Token};

/// A pattern of a policy.
#[derive(Debug, Clone)]
pub(crate) enum Pattern {
    /// Known when the policy is.
    Fixed(Glob),
    /// Known when a request is there.
    Variable(Template),
}

/// How a text is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// `${…}` are variables (from version 2012 on).
    pub(crate) variables: bool,
    /// `*` and `?` are wildcards.
    pub(crate) wildcards: bool,
}

/// A text with variables.
#[derive(Debug, Clone)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Debug, Clone)]
enum Piece {
    Fixed(Token),
    Variable { key: String, default: Option<String> },
}

impl Pattern {
    pub(crate) fn new(text: &str, reading: Reading) -> Self {
        let template = Template::new(text, reading);
        if template.keys().next().is_some() {
            return Pattern::Variable(template);
        }
        let fixed = template.0.into_iter().filter_map(|piece| match piece {
            Piece::Fixed(token) => Some(token),
            Piece::Variable { .. } => None,
        });
        Pattern::Fixed(Glob::from_tokens(fixed))
    }

    /// Does the text match? Never when a variable has no value.
    pub(crate) fn matches(&self, text: &str, context: &Context) -> bool {
        match self {
            Pattern::Fixed(glob) => glob.matches(text),
            Pattern::Variable(template) => {
                template.tokens(context).is_some_and(|t| Glob::from_tokens(t).matches(text))
            }
        }
    }
}

impl Template {
    pub(crate) fn new(text: &str, reading: Reading) -> Self {
        let plain = |text: &str| -> Vec<Piece> {
            if text.is_empty() {
                Vec::new()
            } else if reading.wildcards {
                crate::glob::tokens(text).into_iter().map(Piece::Fixed).collect()
            } else {
                vec![Piece::Fixed(Token::Text(text.to_owned()))]
            }
        };
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, inside, behind)) = next_variable(rest, reading) {
            pieces.extend(plain(before));
            pieces.push(variable(inside));
            rest = behind;
        }
        pieces.extend(plain(rest));
        Template(pieces)
    }

    /// The variables' keys, as the author wrote them.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Fixed(_) => None,
            Piece::Variable { key, .. } => Some(key.as_str()),
        })
    }

    /// With the variables' values, which are never read as wildcards; `None` when one has no value.
    pub(crate) fn tokens(&self, context: &Context) -> Option<Vec<Token>> {
        let resolve = |piece: &Piece| match piece {
            Piece::Fixed(token) => Some(token.clone()),
            Piece::Variable { key, default } => match context.get(key) {
                Some([value]) => Some(Token::Text(value.clone())),
                // A key with several values cannot be a variable.
                Some([_, _, ..]) => None,
                Some([]) | None => default.clone().map(Token::Text),
            },
        };
        self.0.iter().map(resolve).collect()
    }

    /// As plain text; wildcards stand as they are.
    pub(crate) fn text(&self, context: &Context) -> Option<String> {
        let pieces = self.tokens(context)?;
        Some(
            pieces
                .iter()
                .map(|token| match token {
                    Token::Text(text) => text.as_str(),
                    Token::Star => "*",
                    Token::One => "?",
                })
                .collect(),
        )
    }
}

/// What stands before, in and after the first `${…}`.
fn next_variable(text: &str, reading: Reading) -> Option<(&str, &str, &str)> {
    let (before, after) = text.split_once("${").filter(|_| reading.variables)?;
    let (inside, behind) = after.split_once('}')?;
    Some((before, inside, behind))
}

/// What stands in `${…}`: an escaped character, a key, or a key and its default.
fn variable(inside: &str) -> Piece {
    if matches!(inside, "*" | "?" | "$") {
        return Piece::Fixed(Token::Text(inside.to_owned()));
    }
    let (key, default) = match inside.split_once(',') {
        Some((key, default)) => {
            let default = default.trim();
            let quoted = default.strip_prefix('\'').and_then(|d| d.strip_suffix('\''));
            (key, Some(quoted.unwrap_or(default).to_owned()))
        }
        None => (inside, None),
    };
    Piece::Variable { key: key.trim().to_owned(), default }
}
