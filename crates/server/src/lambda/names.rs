//! What callers may write for a function: its name, a partial ARN, an ARN, each with a qualifier. Pure.

use kennel_wire::ServiceError;

use super::error::{constraint, invalid, no_function, not_found};

/// The qualifier of the unpublished version.
pub(crate) const LATEST: &str = "$LATEST";

/// Longest name of a function.
pub(crate) const MAX_NAME: usize = 64;

/// Whose functions a name means where it does not say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Home {
    /// 12 digits.
    pub account: String,
    /// The platform's region.
    pub region: String,
}

impl Home {
    /// `arn:aws:lambda:R:A:function:NAME`, with `:QUALIFIER` where there is one.
    pub(crate) fn function_arn(&self, name: &str, qualifier: Option<&str>) -> String {
        let base = format!("arn:aws:lambda:{}:{}:function:{name}", self.region, self.account);
        match qualifier {
            Some(qualifier) => format!("{base}:{qualifier}"),
            None => base,
        }
    }

    /// `arn:aws:lambda:R:A:layer:NAME`.
    pub(crate) fn layer_arn(&self, name: &str) -> String {
        format!("arn:aws:lambda:{}:{}:layer:{name}", self.region, self.account)
    }
}

/// A function as a caller named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// The function's name, 1 to 64 letters, digits, `-` and `_`.
    pub name: String,
    /// A version's number, `$LATEST` or an alias's name.
    pub qualifier: Option<String>,
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// `us-east-1`, `us-gov-west-1`: letters in groups, one digit at the end.
fn is_region(text: &str) -> bool {
    let mut parts = text.split('-').rev();
    let digit = parts.next().is_some_and(|p| p.len() == 1 && p.bytes().all(|b| b.is_ascii_digit()));
    let words: Vec<&str> = parts.collect();
    digit
        && (2..=4).contains(&words.len())
        && words.iter().all(|w| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase()))
        && words.last().is_some_and(|first| first.len() == 2 || *first == "eusc")
}

/// A version's number, `$LATEST`, or an alias's name.
pub(crate) fn is_qualifier(text: &str) -> bool {
    text == LATEST || (is_word(text) && text.len() <= 128)
}

/// A version's number; `$LATEST` is 0.
pub(crate) fn version_number(qualifier: &str) -> Option<u64> {
    if qualifier == LATEST {
        return Some(0);
    }
    let digits = !qualifier.is_empty() && qualifier.bytes().all(|b| b.is_ascii_digit());
    // Longer numbers are no version's, and `01` is not `1`.
    if !digits || qualifier.starts_with('0') {
        return None;
    }
    qualifier.parse().ok()
}

/// A version as answers write it.
pub(crate) fn version_text(version: u64) -> String {
    if version == 0 { LATEST.to_owned() } else { version.to_string() }
}

/// Reads what a caller wrote for a function.
///
/// # Errors
/// `ValidationException` where it is none of the forms, `ResourceNotFoundException` for another account's or
/// region's.
pub(crate) fn parse(text: &str, home: &Home) -> Result<Named, ServiceError> {
    let malformed = || {
        constraint(
            text,
            "functionName",
            "Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}(-gov)?-[a-z]+-\\d{1}:)?(\\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\\$LATEST|[a-zA-Z0-9-_]+))?",
        )
    };
    let mut parts: Vec<&str> = text.split(':').collect();
    let mut region = None;
    let mut account = None;
    if parts.first() == Some(&"arn") {
        let whole = parts.len() >= 7
            && parts.get(1).is_some_and(|p| p.starts_with("aws"))
            && parts.get(2) == Some(&"lambda")
            && parts.get(5) == Some(&"function");
        if !whole {
            return Err(malformed());
        }
        parts.drain(..3);
    }
    if parts.len() > 1 && parts.first().is_some_and(|p| is_region(p)) {
        region = Some(parts.remove(0));
    }
    if parts.len() > 1 && parts.first().is_some_and(|p| is_account(p)) {
        account = Some(parts.remove(0));
    }
    if parts.len() > 1 && parts.first() == Some(&"function") {
        parts.remove(0);
    }
    let (name, qualifier) = match parts.as_slice() {
        [name] => (*name, None),
        [name, qualifier] => (*name, Some(*qualifier)),
        _ => return Err(malformed()),
    };
    if !is_word(name) || !qualifier.is_none_or(is_qualifier) {
        return Err(malformed());
    }
    if name.len() > MAX_NAME {
        return Err(constraint(
            text,
            "functionName",
            "Member must have length less than or equal to 64",
        ));
    }
    if let Some(region) = region.filter(|region| *region != home.region) {
        return Err(not_found(format!(
            "Functions from '{region}' are not reachable in this region ('{}')",
            home.region
        )));
    }
    if let Some(account) = account.filter(|account| *account != home.account) {
        let theirs = Home { account: account.to_owned(), region: home.region.clone() };
        return Err(no_function(&theirs.function_arn(name, qualifier)));
    }
    Ok(Named { name: name.to_owned(), qualifier: qualifier.map(str::to_owned) })
}

/// As [`parse`], with the request's `Qualifier`.
///
/// # Errors
/// As [`parse`]; `InvalidParameterValueException` where both name a qualifier and differ.
pub(crate) fn qualified(
    text: &str,
    qualifier: Option<&str>,
    home: &Home,
) -> Result<Named, ServiceError> {
    let mut named = parse(text, home)?;
    let Some(given) = qualifier.filter(|q| !q.is_empty()) else { return Ok(named) };
    if !is_qualifier(given) {
        return Err(constraint(
            given,
            "qualifier",
            "Member must satisfy regular expression pattern: (|[a-zA-Z0-9$_-]+)",
        ));
    }
    if named.qualifier.as_deref().is_some_and(|own| own != given) {
        return Err(invalid(
            "The derived qualifier from the function name does not match the specified qualifier.",
        ));
    }
    named.qualifier = Some(given.to_owned());
    Ok(named)
}

/// As [`parse`], for operations on the function itself.
///
/// # Errors
/// As [`parse`]; `InvalidParameterValueException` for a version or an alias.
pub(crate) fn unqualified(text: &str, home: &Home) -> Result<String, ServiceError> {
    let named = parse(text, home)?;
    if named.qualifier.as_deref().is_some_and(|qualifier| qualifier != LATEST) {
        return Err(invalid(
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. Please specify either a function name or an unqualified function ARN.",
        ));
    }
    Ok(named.name)
}

/// An alias's name: not only digits, at most 128 letters, digits, `-` and `_`.
pub(crate) fn is_alias(text: &str) -> bool {
    is_word(text) && text.len() <= 128 && !text.bytes().all(|b| b.is_ascii_digit())
}

/// A layer as a caller named it: `NAME`, `arn:…:layer:NAME`, or with `:VERSION`.
///
/// # Errors
/// `ValidationException` for anything else; `ResourceNotFoundException` for another account's or region's.
pub(crate) fn layer(text: &str, home: &Home) -> Result<(String, Option<u64>), ServiceError> {
    let malformed = || {
        constraint(
            text,
            "layerName",
            "Member must satisfy regular expression pattern: (arn:[a-zA-Z0-9-]+:lambda:[a-zA-Z0-9-]+:\\d{12}:layer:[a-zA-Z0-9-_]+)|[a-zA-Z0-9-_]+",
        )
    };
    let named = |name: &str| -> Result<String, ServiceError> {
        if is_word(name) && name.len() <= 140 { Ok(name.to_owned()) } else { Err(malformed()) }
    };
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [name] => Ok((named(name)?, None)),
        ["arn", "aws", "lambda", region, account, "layer", name, rest @ ..] => {
            let name = named(name)?;
            let version = match rest {
                [] => None,
                [version] => Some(version.parse().map_err(|_| malformed())?),
                _ => return Err(malformed()),
            };
            if *region != home.region || *account != home.account {
                return Err(not_found(
                    "The resource you requested does not exist.\nhint: only layers of this account and region are known here",
                ));
            }
            Ok((name, version))
        }
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests;
