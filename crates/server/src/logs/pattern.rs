//! Filter patterns of plain text: required terms, `?alternatives`, `-exclusions`, "quoted phrases".
//! Case matters, a term matches anywhere in the message, and alternatives count only where no term is
//! required, as AWS has it:
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html>.

use kennel_wire::ServiceError;

use super::error::invalid;

/// A parsed filter pattern.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Pattern {
    required: Vec<String>,
    any: Vec<String>,
    excluded: Vec<String>,
}

impl Pattern {
    /// Reads a pattern; an empty one matches everything.
    pub(super) fn parse(text: &str) -> Result<Self, ServiceError> {
        let mut rest = text.trim();
        let what = match rest.chars().next() {
            Some('{') => Some("JSON patterns are"),
            Some('[') => Some("space-delimited patterns are"),
            Some('%') => Some("regular expressions are"),
            _ => None,
        };
        if let Some(what) = what {
            return Err(invalid(format!(
                "Invalid filter pattern: {what} not implemented\nhint: use plain terms, \"phrases\", ?alternatives and -exclusions"
            )));
        }
        let mut pattern = Pattern::default();
        while let Some(first) = rest.chars().next() {
            let list = match first {
                '?' => &mut pattern.any,
                '-' => &mut pattern.excluded,
                _ => &mut pattern.required,
            };
            if matches!(first, '?' | '-') {
                rest = &rest[1..];
            }
            let (term, tail) = term(rest)?;
            if !term.is_empty() {
                list.push(term);
            } else if matches!(first, '?' | '-') {
                return Err(invalid(format!("Invalid filter pattern: `{first}` without a term")));
            }
            rest = tail.trim_start();
        }
        Ok(pattern)
    }

    /// Whether a message passes.
    pub(super) fn matches(&self, message: &str) -> bool {
        let contains = |term: &String| message.contains(term.as_str());
        if self.excluded.iter().any(contains) {
            return false;
        }
        if self.required.is_empty() {
            self.any.is_empty() || self.any.iter().any(contains)
        } else {
            self.required.iter().all(contains)
        }
    }
}

/// The term or phrase that `text` begins with, and what follows it.
fn term(text: &str) -> Result<(String, &str), ServiceError> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let (term, rest) = text.split_at(end);
        return Ok((term.to_owned(), rest));
    };
    let mut term = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((term, &quoted[at + 1..])),
            '\\' => match characters.next() {
                Some((_, escaped @ ('"' | '\\'))) => term.push(escaped),
                Some((_, other)) => term.extend(['\\', other]),
                None => break,
            },
            other => term.push(other),
        }
    }
    Err(invalid("Invalid filter pattern: a quotation mark is not closed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, message: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(message)
    }

    #[test]
    fn terms_phrases_alternatives_and_exclusions() {
        assert!(matches("", "anything"));
        assert!(matches("ERROR", "[ERROR] disk"));
        assert!(!matches("ERROR", "[error] disk"));
        assert!(matches("ERROR disk", "disk: ERROR"));
        assert!(!matches("ERROR disk", "ERROR"));
        assert!(matches("\"Testing Loss:\"", "Testing Loss: 0.3"));
        assert!(!matches("\"Testing Loss:\"", "Testing  Loss: 0.3"));
        assert!(matches("?ERROR ?WARN", "WARN low"));
        assert!(!matches("?ERROR ?WARN", "INFO"));
        assert!(!matches("ERROR -disk", "ERROR disk"));
        assert!(matches("-disk", "ERROR net"));
        assert!(matches(r#"-"a b" "say \"hi\"""#, r#"say "hi""#));
        assert!(matches("Epoch ?never", "Epoch 1"));
    }

    #[test]
    fn what_is_not_built_or_not_whole_is_refused() {
        for pattern in ["{ $.level = \"ERROR\" }", "[ip, user]", "%ab+%"] {
            let error = Pattern::parse(pattern).unwrap_err();
            assert_eq!(error.code, "InvalidParameterException");
            assert!(error.message.contains("not implemented"), "{error}");
        }
        assert!(Pattern::parse("\"open").is_err());
        assert!(Pattern::parse("a -").is_err());
        assert!(Pattern::parse("\"open\\").is_err());
    }

    proptest! {
        #[test]
        fn no_pattern_panics(pattern in ".*", message in ".*") {
            if let Ok(pattern) = Pattern::parse(&pattern) {
                pattern.matches(&message);
            }
        }

        #[test]
        fn a_quoted_message_finds_itself(message in "\\PC{1,40}") {
            let quoted = format!("\"{}\"", message.replace('\\', "\\\\").replace('"', "\\\""));
            prop_assert!(matches(&quoted, &message));
            let without = format!("-{quoted}");
            prop_assert!(!matches(&without, &message));
        }
    }
}
