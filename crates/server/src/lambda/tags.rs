//! Tags of functions; versions and aliases have none.

use std::collections::BTreeMap;

use kennel_wire::ServiceError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{Refused, invalid, no_function};
use super::names::{self, Home};
use super::rows;
use super::{Lambda, text, typed};
use crate::service::Answer;

/// Tags of one function.
const MAX_TAGS: usize = 50;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    resource: String,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Untag {
    resource: String,
    #[serde(default)]
    tag_keys: Vec<String>,
}

impl Lambda {
    pub(super) async fn tag_resource(&self, input: &Value) -> Answer {
        let request: Tag = typed(input.clone())?;
        let name = tagged(&request.resource, &self.inner.home)?;
        check(&request.tags)?;
        self.write(move |c| {
            let function = rows::function(c, &name)?;
            let mut function = function.ok_or_else(|| no_function(&request.resource))?;
            function.tags.extend(request.tags);
            check(&function.tags)?;
            rows::update_function(c, &function)?;
            Ok(json!({}))
        })
        .await
    }

    pub(super) async fn untag_resource(&self, input: &Value) -> Answer {
        let request: Untag = typed(input.clone())?;
        let name = tagged(&request.resource, &self.inner.home)?;
        self.write(move |c| {
            let Some(mut function) = rows::function(c, &name)? else {
                return Err(Refused::Service(no_function(&request.resource)));
            };
            request.tag_keys.iter().for_each(|key| drop(function.tags.remove(key)));
            rows::update_function(c, &function)?;
            Ok(json!({}))
        })
        .await
    }

    pub(super) fn list_tags(&self, input: &Value) -> Answer {
        let arn = text(input, "Resource");
        let name = tagged(arn, &self.inner.home)?;
        let function = self.read(|c| rows::function(c, &name))?;
        let function = function.ok_or_else(|| no_function(arn))?;
        Ok(json!({"Tags": function.tags}))
    }
}

/// The function that a tagged ARN names.
fn tagged(arn: &str, home: &Home) -> Result<String, ServiceError> {
    let named = names::parse(arn, home)?;
    if named.qualifier.is_some() {
        return Err(invalid(
            "Tags on function aliases and versions are not supported. Please specify a function ARN.",
        ));
    }
    Ok(named.name)
}

/// # Errors
/// `InvalidParameterValueException` for too many, or for names that are AWS's own.
pub(super) fn check(tags: &BTreeMap<String, String>) -> Result<(), ServiceError> {
    if tags.len() > MAX_TAGS {
        return Err(invalid("Number of tags exceeds resource tag limit."));
    }
    match tags.keys().find(|key| key.to_ascii_lowercase().starts_with("aws:")) {
        Some(_) => Err(invalid("System tag keys cannot be created or removed by users.")),
        None => Ok(()),
    }
}
