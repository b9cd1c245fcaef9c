//! TagResource, UntagResource, ListTagsForResource. Tags say more than names here: `kennel:mode` says how
//! a target's policies decide.

use std::collections::BTreeMap;

use kennel_wire::ServiceError;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::mode::{self, Mode};
use super::rows::{self, TargetRow};
use super::targets::check_bounds;
use super::{Autoscaling, list, text};
use crate::service::{Answer, Refused};

/// AWS's limit of tags on one resource.
const TAGS: usize = 50;

/// # Errors
/// `TooManyTagsException`.
pub(super) fn check_count(tags: &BTreeMap<String, String>) -> Result<(), ServiceError> {
    if tags.len() <= TAGS {
        return Ok(());
    }
    let message =
        format!("the resource would have {} tags; at most {TAGS} are allowed", tags.len());
    Err(ServiceError::new("TooManyTagsException", 400, message))
}

fn missing(arn: &str) -> ServiceError {
    let message = format!("The specified resource does not exist: {arn}");
    ServiceError::new("ResourceNotFoundException", 400, message).with("ResourceName", arn)
}

impl Autoscaling {
    async fn change_tags(
        &self,
        arn: &str,
        change: impl FnOnce(&mut TargetRow) + Send + 'static,
    ) -> Answer {
        let (arn, default) = (arn.to_owned(), self.inner.mode);
        self.write(move |c| {
            let Some(mut row) = rows::target_by_arn(c, &arn)? else {
                return Err(Refused::Service(missing(&arn)));
            };
            change(&mut row);
            mode::check(&row.tags)?;
            check_count(&row.tags)?;
            check_bounds(&row.resource, row.bounds, Mode::of_target(&row.tags, default))?;
            rows::put_target(c, &row)
        })
        .await?;
        self.inner.changed.notify_one();
        Ok(json!({}))
    }

    pub(super) async fn tag(&self, input: &Value) -> Answer {
        let tags = input.get("Tags").cloned().unwrap_or_else(|| json!({}));
        let tags = BTreeMap::<String, String>::deserialize(&tags)
            .map_err(|e| ServiceError::validation(e.to_string()))?;
        self.change_tags(text(input, "ResourceARN"), move |row| row.tags.extend(tags)).await
    }

    pub(super) async fn untag(&self, input: &Value) -> Answer {
        let keys: Vec<String> =
            list(input, "TagKeys").unwrap_or_default().into_iter().map(str::to_owned).collect();
        self.change_tags(text(input, "ResourceARN"), move |row| {
            row.tags.retain(|key, _| !keys.contains(key));
        })
        .await
    }

    pub(super) fn list_tags(&self, input: &Value) -> Answer {
        let arn = text(input, "ResourceARN");
        let row = self.read(|c| rows::target_by_arn(c, arn))?.ok_or_else(|| missing(arn))?;
        Ok(json!({ "Tags": row.tags }))
    }
}
