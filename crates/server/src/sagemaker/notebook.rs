//! Notebook instances: only what `get_execution_role()` asks of one on a notebook, its role. Nothing
//! runs; the row exists so that `/opt/ml/metadata/resource-metadata.json` can name it.

use kennel_wire::ServiceError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::listing::{Filter, Item, page};
use super::model::with_state;
use super::rows::Row;
use super::training::text;
use super::{SageMaker, Tag, pairs};
use crate::context::{Context, Timestamp};
use crate::service::Answer;

/// A notebook instance as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct NotebookInstance {
    pub request: Value,
    pub arn: String,
    pub created: Timestamp,
}

impl Row for NotebookInstance {
    const KIND: &'static str = "notebook-instance";
    fn created(&self) -> Timestamp {
        self.created
    }
}

/// Kennel keeps the record and starts no notebook: AWS's own word for one that does not run.
const STATUS: &str = "Stopped";

fn missing() -> ServiceError {
    ServiceError::validation("RecordNotFound")
}

impl SageMaker {
    pub(super) async fn create_notebook_instance(&self, context: &Context, input: Value) -> Answer {
        let name = text(&input, "NotebookInstanceName").to_owned();
        let role = text(&input, "RoleArn");
        self.inner.iam.check_pass_role(&context.caller, role, "sagemaker.amazonaws.com")?;
        let tags: Vec<Tag> =
            serde_json::from_value(input.get("Tags").cloned().unwrap_or(json!([])))
                .map_err(|e| ServiceError::validation(e.to_string()))?;
        let arn = context.arn("sagemaker", &format!("notebook-instance/{}", name.to_lowercase()));
        let taken = ServiceError::validation(format!(
            "Cannot create a duplicate Notebook Instance ({arn})"
        ));
        let row = NotebookInstance { request: input, arn: arn.clone(), created: context.now };
        self.inner.rows.insert(&name, &arn, row, pairs(tags), taken).await?;
        Ok(json!({ "NotebookInstanceArn": arn }))
    }

    pub(super) fn describe_notebook_instance(&self, input: &Value) -> Answer {
        let row = self
            .inner
            .rows
            .get::<NotebookInstance>(text(input, "NotebookInstanceName"))?
            .ok_or_else(missing)?;
        Ok(with_state(
            row.request,
            json!({
                "NotebookInstanceArn": row.arn,
                "NotebookInstanceStatus": STATUS,
                "FailureReason": "Kennel keeps the record of a notebook instance and runs none",
                "CreationTime": row.created.seconds(),
                "LastModifiedTime": row.created.seconds(),
            }),
        ))
    }

    pub(super) fn list_notebook_instances(&self, input: &Value) -> Answer {
        let filter: Filter = serde_json::from_value(input.clone())
            .map_err(|e| ServiceError::validation(e.to_string()))?;
        let items = self
            .inner
            .rows
            .all::<NotebookInstance>()?
            .into_iter()
            .map(|(name, row)| Item {
                name,
                created: row.created,
                modified: row.created,
                status: STATUS.to_owned(),
                row,
            })
            .collect();
        let (shown, next) = page(&filter, items, false)?;
        let list: Vec<Value> = shown
            .iter()
            .map(|i| {
                json!({
                    "NotebookInstanceName": i.name,
                    "NotebookInstanceArn": i.row.arn,
                    "NotebookInstanceStatus": i.status,
                    "InstanceType": i.row.request.get("InstanceType"),
                    "CreationTime": i.created.seconds(),
                })
            })
            .collect();
        Ok(json!({ "NotebookInstances": list, "NextToken": next }))
    }

    pub(super) async fn delete_notebook_instance(
        &self,
        context: &Context,
        input: &Value,
    ) -> Answer {
        let name = text(input, "NotebookInstanceName");
        let arn = context.arn("sagemaker", &format!("notebook-instance/{}", name.to_lowercase()));
        match self.inner.rows.remove::<NotebookInstance>(name, &arn).await? {
            true => Ok(json!({})),
            false => Err(missing()),
        }
    }
}
