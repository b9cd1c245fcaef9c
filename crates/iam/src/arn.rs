//! Amazon resource names: `arn:partition:service:region:account:resource`, and patterns over them.

use std::fmt;
use std::str::FromStr;

/// One resource's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Arn {
    /// `aws`, `aws-cn`, …
    pub partition: String,
    /// `iam`, `sagemaker`, …
    pub service: String,
    /// Empty for global services.
    pub region: String,
    /// 12 digits, `aws` for AWS's own policies, or empty (S3).
    pub account: String,
    /// What follows, colons and slashes included.
    pub resource: String,
}

/// Why a string is no ARN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an ARN\nhint: an ARN looks like `arn:aws:iam::123456789012:role/name`")]
pub struct ArnError(pub String);

impl FromStr for Arn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let [prefix, partition, service, region, account, resource] = parts.as_slice() else {
            return Err(ArnError(text.to_owned()));
        };
        let blank = |s: &str| s.chars().any(|c| c.is_whitespace() || c.is_control());
        let bad = *prefix != "arn"
            || partition.is_empty()
            || service.is_empty()
            || resource.is_empty()
            || text.len() > 2048
            || blank(text);
        if bad {
            return Err(ArnError(text.to_owned()));
        }
        Ok(Arn {
            partition: (*partition).to_owned(),
            service: (*service).to_owned(),
            region: (*region).to_owned(),
            account: (*account).to_owned(),
            resource: (*resource).to_owned(),
        })
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Arn { partition, service, region, account, resource } = self;
        write!(f, "arn:{partition}:{service}:{region}:{account}:{resource}")
    }
}

impl Arn {
    /// The name at the end of a path: `Dog` of `role/service-role/Dog`, when the resource is of `kind`.
    pub fn name_of(&self, kind: &str) -> Option<&str> {
        let path = self.resource.strip_prefix(kind)?.strip_prefix('/')?;
        path.rsplit('/').next().filter(|name| !name.is_empty())
    }
}

/// A pattern over ARNs, as a policy's `Resource` has it: each part may hold `*`, `?` and policy variables
/// such as `${aws:username}`. Parts that the author left out are `*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ArnPattern {
    /// The five parts after `arn`, in order.
    pub parts: [String; 5],
}

impl ArnPattern {
    /// Splits a pattern; `None` when it does not begin with `arn:`. Colons inside `${…}` do not split.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("arn:")?;
        let mut parts: Vec<String> = Vec::new();
        let mut current = String::new();
        let mut variable = false;
        let mut previous = '\0';
        for c in rest.chars() {
            match c {
                '{' if previous == '$' => variable = true,
                '}' => variable = false,
                _ => {}
            }
            if c == ':' && !variable && parts.len() < 4 {
                parts.push(std::mem::take(&mut current));
            } else {
                current.push(c);
            }
            previous = c;
        }
        parts.push(current);
        parts.resize(5, "*".to_owned());
        let parts: [String; 5] = parts.try_into().ok()?;
        Some(ArnPattern { parts })
    }

    /// Does the pattern match? Parts are compared one by one, so a `*` never crosses a colon before
    /// the resource. Policy variables are compared as they stand.
    pub fn matches(&self, arn: &Arn) -> bool {
        let Arn { partition, service, region, account, resource } = arn;
        let parts = [partition, service, region, account, resource];
        self.parts.iter().zip(parts).all(|(pattern, text)| crate::matches(pattern, text))
    }
}

impl fmt::Display for ArnPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:{}", self.parts.join(":"))
    }
}

#[cfg(test)]
mod tests;
