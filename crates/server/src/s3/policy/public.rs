//! When S3 calls a bucket policy public: when it lets anybody in, and no condition ties that to values that
//! somebody controls.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html#access-control-block-public-access-policy-status>

use kennel_iam::policy::{Condition, Document, Effect, Typed};

/// The condition keys that can make a statement for everybody a private one.
const FIXED: [&str; 17] = [
    "aws:sourcearn",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:sourceowner",
    "aws:sourceaccount",
    "aws:sourceip",
    "aws:sourceorgid",
    "aws:sourceorgpaths",
    "aws:principalaccount",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:principalarn",
    "aws:userid",
    "aws:vpcsourceip",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "s3:dataaccesspointaccount",
    "s3:dataaccesspointarn",
];

/// Does any statement allow everybody?
pub(crate) fn is_public(document: &Document) -> bool {
    document.statements.iter().any(|statement| {
        statement.effect == Effect::Allow
            && statement.is_for_everybody()
            && !statement.conditions.iter().any(fixes)
    })
}

/// Does a condition hold only for values that the author fixed? A wildcard or variable is no fixed
/// value.
fn fixes(condition: &Condition) -> bool {
    let key = condition.key.to_ascii_lowercase();
    condition.demands_its_key()
        && FIXED.contains(&key.as_str())
        && !condition.values.is_empty()
        && condition.values.iter().all(|value| match &value.typed {
            // Ranges wider than these count as everybody.
            Typed::Net(net) if net.address.is_ipv4() => net.prefix >= 8,
            Typed::Net(net) => net.prefix >= 32,
            _ => fixed(&key, &value.text),
        })
}

fn fixed(key: &str, text: &str) -> bool {
    if text.contains("${") {
        return false;
    }
    match key {
        // `AROA…:*` is every session of one role.
        "aws:userid" => !text.trim_end_matches(":*").contains(['*', '?']) && !text.starts_with(':'),
        "s3:dataaccesspointarn" => {
            // The access point's name may be a wildcard, its account may not.
            let account = text.split(':').nth(4).unwrap_or_default();
            account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit())
        }
        _ => !text.contains(['*', '?']),
    }
}

#[cfg(test)]
mod tests;
