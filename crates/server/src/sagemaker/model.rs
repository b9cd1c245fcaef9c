//! Models and endpoint configurations ([`config`]): definitions that endpoints are made of.

mod config;

use std::collections::BTreeMap;

use kennel_wire::ServiceError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::image;
use super::listing::{Filter, Item, page};
use super::objects::Location;
use super::rows::Row;
use super::training::text;
use super::{SageMaker, Tag, pairs};
use crate::context::{Context, Timestamp};
use crate::service::Answer;

pub(super) use config::{DataCapture, EndpointConfig, ProductionVariant, missing_config};

/// A model as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Model {
    pub request: Value,
    pub arn: String,
    pub created: Timestamp,
}

impl Row for Model {
    const KIND: &'static str = "model";
    fn created(&self) -> Timestamp {
        self.created
    }
}

/// What of CreateModel's input decides what runs.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ModelRequest {
    model_name: String,
    primary_container: Option<Container>,
    #[serde(default)]
    containers: Vec<Container>,
    execution_role_arn: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

/// `ContainerDefinition`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Container {
    pub image: Option<String>,
    pub model_data_url: Option<String>,
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    mode: Option<String>,
    model_data_source: Option<Value>,
    model_package_name: Option<String>,
}

fn not_implemented(what: &str) -> ServiceError {
    ServiceError::validation(format!(
        "{what} is not implemented by Kennel\nhint: README's table lists what is built"
    ))
}

impl Model {
    /// The execution role.
    pub(super) fn role(&self) -> Option<String> {
        let role = self.request.get("ExecutionRoleArn").and_then(Value::as_str);
        role.map(str::to_owned)
    }

    /// The one container.
    pub(super) fn container(&self) -> Result<Container, ServiceError> {
        let request: ModelRequest = serde_json::from_value(self.request.clone())
            .map_err(|e| ServiceError::validation(e.to_string()))?;
        request.container()
    }
}

impl ModelRequest {
    fn container(&self) -> Result<Container, ServiceError> {
        match (&self.primary_container, self.containers.as_slice()) {
            (Some(container), []) => Ok(container.clone()),
            (None, [container]) => Ok(container.clone()),
            (None, []) => Err(ServiceError::validation(
                "one of `PrimaryContainer` and `Containers` must be given",
            )),
            (Some(_), _) => Err(ServiceError::validation(
                "only one of `PrimaryContainer` and `Containers` may be given",
            )),
            (None, _) => Err(not_implemented("a model of several containers")),
        }
    }

    fn check(&self) -> Result<(), ServiceError> {
        let container = self.container()?;
        if container.mode.as_deref().is_some_and(|mode| mode != "SingleModel") {
            return Err(not_implemented("container mode `MultiModel`"));
        }
        if container.model_data_source.is_some() {
            return Err(not_implemented("`ModelDataSource`"));
        }
        if container.model_package_name.is_some() {
            return Err(not_implemented("`ModelPackageName`"));
        }
        let Some(image) = &container.image else {
            return Err(ServiceError::validation("`Image` of the container is missing"));
        };
        image::program(image)?;
        match &container.model_data_url {
            Some(url) => Location::parse(url).map(|_| ()),
            None => Err(ServiceError::validation(
                "`ModelDataUrl` of the container is missing\nhint: give the `s3://…/model.tar.gz` of a training job",
            )),
        }
    }
}

impl SageMaker {
    /// Model data and source code, where somebody may give them.
    fn may_read_data(&self, context: &Context, request: &ModelRequest) -> Result<(), ServiceError> {
        let role = request.execution_role_arn.as_deref();
        let source = "SAGEMAKER_SUBMIT_DIRECTORY";
        for container in request.primary_container.iter().chain(&request.containers) {
            let code = container.environment.get(source).filter(|uri| uri.starts_with("s3://"));
            for uri in container.model_data_url.iter().chain(code) {
                let location = Location::parse(uri)?;
                if !self.inner.objects.given(role, &context.caller, &location) {
                    let (role, region) = (role.unwrap_or_default(), &context.region);
                    return Err(ServiceError::validation(format!(
                        "Could not access model data at {uri}. Please ensure that the role \"{role}\" exists and that its trust relationship policy allows the action \"sts:AssumeRole\" for the service principal \"sagemaker.amazonaws.com\". Also ensure that the role has \"s3:GetObject\" permissions and that the object is located in {region}."
                    )));
                }
            }
        }
        Ok(())
    }

    pub(super) async fn create_model(&self, context: &Context, input: Value) -> Answer {
        let request: ModelRequest = serde_json::from_value(input.clone())
            .map_err(|e| ServiceError::validation(e.to_string()))?;
        request.check()?;
        if let Some(role) = &request.execution_role_arn {
            self.inner.iam.check_pass_role(&context.caller, role, "sagemaker.amazonaws.com")?;
        }
        self.may_read_data(context, &request)?;
        let arn = context.arn("sagemaker", &format!("model/{}", request.model_name.to_lowercase()));
        let taken =
            ServiceError::validation(format!("Cannot create already existing model \"{arn}\"."));
        let model = Model { request: input, arn: arn.clone(), created: context.now };
        self.inner
            .rows
            .insert(&request.model_name, &arn, model, pairs(request.tags), taken)
            .await?;
        Ok(json!({ "ModelArn": arn }))
    }

    pub(super) fn describe_model(&self, context: &Context, input: &Value) -> Answer {
        let name = text(input, "ModelName");
        let model =
            self.inner.rows.get::<Model>(name)?.ok_or_else(|| missing_model(context, name))?;
        Ok(with_state(
            model.request,
            json!({
                "ModelArn": model.arn,
                "CreationTime": model.created.seconds(),
                "EnableNetworkIsolation": false,
            }),
        ))
    }

    pub(super) async fn delete_model(&self, context: &Context, input: &Value) -> Answer {
        let name = text(input, "ModelName");
        let arn = context.arn("sagemaker", &format!("model/{}", name.to_lowercase()));
        match self.inner.rows.remove::<Model>(name, &arn).await? {
            true => Ok(json!({})),
            false => Err(missing_model(context, name)),
        }
    }

    pub(super) fn list_models(&self, input: &Value) -> Answer {
        let rows = self.inner.rows.all::<Model>()?;
        let (shown, next) =
            definitions(input, rows.into_iter().map(|(n, r)| (n, r.created, r.arn)))?;
        let models: Vec<Value> = shown
            .iter()
            .map(|i| json!({ "ModelName": i.name, "ModelArn": i.row, "CreationTime": i.created.seconds() }))
            .collect();
        Ok(json!({ "Models": models, "NextToken": next }))
    }
}

/// A page of definitions: the row of an item is its ARN.
fn definitions(
    input: &Value,
    rows: impl Iterator<Item = (String, Timestamp, String)>,
) -> Result<super::listing::Page<String>, ServiceError> {
    let filter: Filter = serde_json::from_value(input.clone())
        .map_err(|e| ServiceError::validation(e.to_string()))?;
    let items = rows
        .map(|(name, created, arn)| Item {
            name,
            created,
            modified: created,
            status: String::new(),
            row: arn,
        })
        .collect();
    page(&filter, items, false)
}

/// The request's members (without tags) with those of `state` on top.
pub(super) fn with_state(request: Value, state: Value) -> Value {
    match (request, state) {
        (Value::Object(mut request), Value::Object(state)) => {
            request.remove("Tags");
            request.extend(state.into_iter().filter(|(_, value)| !value.is_null()));
            Value::Object(request)
        }
        (_, state) => state,
    }
}

pub(super) fn missing_model(context: &Context, name: &str) -> ServiceError {
    let arn = context.arn("sagemaker", &format!("model/{}", name.to_lowercase()));
    ServiceError::validation(format!("Could not find model \"{arn}\"."))
}
