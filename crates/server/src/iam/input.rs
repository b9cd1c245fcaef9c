//! Reading a call's input, and lists that come in pages.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kennel_wire::ServiceError;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::error::{Outcome, validation};
use crate::context::{Caller, Context, Timestamp};

/// One call: who, when, with what.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) account: String,
    pub(crate) caller: Caller,
    pub(crate) now: Timestamp,
    pub(crate) input: Value,
}

impl Call {
    pub(crate) fn new(account: &str, context: &Context, input: Value) -> Self {
        let Context { caller, now, .. } = context;
        Call { account: account.to_owned(), caller: caller.clone(), now: *now, input }
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.input.get(name)?.as_str()
    }

    /// A member that the service's model requires; the codec has seen it already.
    pub(crate) fn required(&self, name: &str) -> Result<&str, ServiceError> {
        self.text(name).ok_or_else(|| {
            validation(format!(
                "1 validation error detected: Value null at '{}' failed to satisfy constraint: Member must not be null",
                lower_first(name)
            ))
        })
    }

    pub(crate) fn integer(&self, name: &str) -> Option<i64> {
        self.input.get(name)?.as_i64()
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.input.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(crate) fn list(&self, name: &str) -> &[Value] {
        self.input.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// The path of something new: `/` unless given.
    pub(crate) fn path(&self, name: &str) -> Result<String, ServiceError> {
        let path = self.text(name).unwrap_or("/");
        let good = path.len() <= 512
            && path.starts_with('/')
            && path.ends_with('/')
            && !path.contains("//")
            && path.bytes().all(|b| b.is_ascii_graphic());
        if !good {
            return Err(validation(
                "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.",
            ));
        }
        Ok(path.to_owned())
    }

    /// The name of something new.
    pub(crate) fn name(&self, member: &str, longest: usize) -> Result<String, ServiceError> {
        let name = self.required(member)?;
        if !is_name(name, longest) {
            return Err(validation(format!(
                "The specified value for {} is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-",
                lower_first(member)
            )));
        }
        Ok(name.to_owned())
    }

    /// One page of `items`, which are in the order of `key`.
    pub(crate) fn page<T>(&self, items: Vec<T>, key: impl Fn(&T) -> String) -> Outcome<Page<T>> {
        let most =
            usize::try_from(self.integer("MaxItems").unwrap_or(100).clamp(1, 1000)).unwrap_or(100);
        let after = match self.text("Marker") {
            Some(marker) => Some(
                URL_SAFE_NO_PAD
                    .decode(marker)
                    .ok()
                    .and_then(|bytes| String::from_utf8(bytes).ok())
                    .ok_or_else(|| validation("Invalid Marker."))?,
            ),
            None => None,
        };
        let mut items: Vec<T> =
            items.into_iter().filter(|i| after.as_ref().is_none_or(|a| key(i) > *a)).collect();
        let marker = match items.get(most.saturating_sub(1)) {
            Some(last) if items.len() > most => Some(URL_SAFE_NO_PAD.encode(key(last))),
            _ => None,
        };
        items.truncate(most);
        Ok(Page { items, marker })
    }
}

/// A part of a list, and where the next part begins.
#[derive(Debug)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) marker: Option<String>,
}

impl<T> Page<T> {
    /// `IsTruncated` and `Marker`, plus what else the answer holds.
    pub(crate) fn answer(marker: Option<String>, members: Vec<(&str, Value)>) -> Value {
        let mut answer: Map<String, Value> =
            members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        answer.insert("IsTruncated".to_owned(), json!(marker.is_some()));
        if let Some(marker) = marker {
            answer.insert("Marker".to_owned(), json!(marker));
        }
        Value::Object(answer)
    }

    /// The answer of a list that has only this.
    pub(crate) fn listed(self, member: &str, show: impl FnMut(T) -> Value) -> Value {
        let values = self.items.into_iter().map(show).collect();
        Self::answer(self.marker, vec![(member, Value::Array(values))])
    }
}

/// Letters, digits and `_+=,.@-`.
pub(crate) fn is_name(name: &str, longest: usize) -> bool {
    (1..=longest).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b))
}

fn lower_first(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or(String::new(), |c| c.to_ascii_lowercase().to_string() + letters.as_str())
}

/// Everything but RFC 3986's unreserved characters, as IAM encodes documents.
const DOCUMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A policy document as IAM's answers hold it.
pub(crate) fn encoded(document: &str) -> String {
    utf8_percent_encode(document, DOCUMENT).to_string()
}

/// A moment as answers hold it; IAM keeps whole seconds.
pub(crate) fn seconds(millis: i64) -> Value {
    json!(millis.div_euclid(1000))
}
