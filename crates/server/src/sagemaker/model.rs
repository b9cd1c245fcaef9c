//! Models and endpoint configurations: definitions that endpoints are made of.

use std::collections::BTreeMap;

use kennel_hosting::instance_type;
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

/// An endpoint configuration as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct EndpointConfig {
    pub request: Value,
    pub arn: String,
    pub created: Timestamp,
}

impl Row for EndpointConfig {
    const KIND: &'static str = "endpoint-config";
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

/// `ProductionVariant`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ProductionVariant {
    pub variant_name: String,
    pub model_name: Option<String>,
    pub initial_instance_count: Option<u32>,
    pub instance_type: Option<String>,
    pub initial_variant_weight: Option<f64>,
    serverless_config: Option<Value>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigRequest {
    endpoint_config_name: String,
    production_variants: Vec<ProductionVariant>,
    #[serde(default)]
    shadow_production_variants: Vec<Value>,
    data_capture_config: Option<DataCapture>,
    async_inference_config: Option<Value>,
    #[serde(default)]
    tags: Vec<Tag>,
}

/// `DataCaptureConfig`: what of an endpoint's traffic is kept in S3.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DataCapture {
    #[serde(default)]
    pub enable_capture: bool,
    /// 0 to 100.
    #[serde(default)]
    pub initial_sampling_percentage: u32,
    #[serde(default)]
    pub destination_s3_uri: String,
    /// `{"CaptureMode": "Input" | "Output" | "InputAndOutput"}` each.
    #[serde(default)]
    pub capture_options: Vec<Value>,
    /// `{"CsvContentTypes": […], "JsonContentTypes": […]}`.
    #[serde(default)]
    pub capture_content_type_header: Option<Value>,
    /// The role that writes: a model's, set when an endpoint is made of the configuration. Without one it was the
    /// caller who may write there.
    #[serde(default)]
    pub role: Option<String>,
}

fn not_implemented(what: &str) -> ServiceError {
    ServiceError::validation(format!(
        "{what} is not implemented by Kennel\nhint: README's table lists what is built"
    ))
}

impl Model {
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

impl EndpointConfig {
    /// The variants of the configuration.
    pub(super) fn variants(&self) -> Result<Vec<ProductionVariant>, ServiceError> {
        let request: ConfigRequest = serde_json::from_value(self.request.clone())
            .map_err(|e| ServiceError::validation(e.to_string()))?;
        Ok(request.production_variants)
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

    pub(super) async fn create_endpoint_config(&self, context: &Context, input: Value) -> Answer {
        let request: ConfigRequest = serde_json::from_value(input.clone())
            .map_err(|e| ServiceError::validation(e.to_string()))?;
        self.check_config(context, &request)?;
        let name = &request.endpoint_config_name;
        let arn = context.arn("sagemaker", &format!("endpoint-config/{}", name.to_lowercase()));
        let taken = ServiceError::validation(format!(
            "Cannot create already existing endpoint configuration \"{arn}\"."
        ));
        let config = EndpointConfig { request: input, arn: arn.clone(), created: context.now };
        self.inner.rows.insert(name, &arn, config, pairs(request.tags), taken).await?;
        Ok(json!({ "EndpointConfigArn": arn }))
    }

    fn check_config(&self, context: &Context, request: &ConfigRequest) -> Result<(), ServiceError> {
        if !request.shadow_production_variants.is_empty() {
            return Err(not_implemented("`ShadowProductionVariants`"));
        }
        if request.async_inference_config.is_some() {
            return Err(not_implemented("`AsyncInferenceConfig`"));
        }
        if request.data_capture_config.as_ref().is_some_and(|c| c.enable_capture) {
            return Err(not_implemented("`DataCaptureConfig`"));
        }
        let mut names = std::collections::BTreeSet::new();
        let mut weights = 0.0;
        for variant in &request.production_variants {
            let name = &variant.variant_name;
            if !names.insert(name) {
                return Err(ServiceError::validation(format!(
                    "variant name `{name}` is used twice"
                )));
            }
            if variant.serverless_config.is_some() {
                return Err(not_implemented("`ServerlessConfig`"));
            }
            let Some(model) = &variant.model_name else {
                return Err(not_implemented(
                    "a variant without `ModelName` (inference components)",
                ));
            };
            self.inner.rows.get::<Model>(model)?.ok_or_else(|| missing_model(context, model))?;
            let Some(instance_type) = &variant.instance_type else {
                return Err(ServiceError::validation(format!(
                    "variant `{name}`: `InstanceType` is missing"
                )));
            };
            if instance_type::find(instance_type).is_none() {
                return Err(ServiceError::validation(format!(
                    "variant `{name}`: instance type `{instance_type}` is not known to Kennel\nhint: choose one such as ml.m5.large; its size only bounds threads and memory here"
                )));
            }
            if variant.initial_instance_count.is_none_or(|count| count == 0) {
                return Err(ServiceError::validation(format!(
                    "variant `{name}`: `InitialInstanceCount` must be at least 1"
                )));
            }
            weights += variant.initial_variant_weight.unwrap_or(1.0);
        }
        if weights <= 0.0 {
            return Err(ServiceError::validation(
                "the variants' weights sum up to 0; at least one must get traffic",
            ));
        }
        Ok(())
    }

    pub(super) fn describe_endpoint_config(&self, context: &Context, input: &Value) -> Answer {
        let name = text(input, "EndpointConfigName");
        let config = self
            .inner
            .rows
            .get::<EndpointConfig>(name)?
            .ok_or_else(|| missing_config(context, name))?;
        let mut request = config.request;
        if let Some(Value::Array(variants)) = request.get_mut("ProductionVariants") {
            for variant in variants.iter_mut().filter_map(Value::as_object_mut) {
                variant.entry("InitialVariantWeight").or_insert(json!(1.0));
            }
        }
        Ok(with_state(
            request,
            json!({
                "EndpointConfigArn": config.arn,
                "CreationTime": config.created.seconds(),
                "EnableNetworkIsolation": false,
            }),
        ))
    }

    pub(super) async fn delete_endpoint_config(&self, context: &Context, input: &Value) -> Answer {
        let name = text(input, "EndpointConfigName");
        let arn = context.arn("sagemaker", &format!("endpoint-config/{}", name.to_lowercase()));
        match self.inner.rows.remove::<EndpointConfig>(name, &arn).await? {
            true => Ok(json!({})),
            false => Err(missing_config(context, name)),
        }
    }

    pub(super) fn list_endpoint_configs(&self, input: &Value) -> Answer {
        let rows = self.inner.rows.all::<EndpointConfig>()?;
        let (shown, next) =
            definitions(input, rows.into_iter().map(|(n, r)| (n, r.created, r.arn)))?;
        let configs: Vec<Value> = shown
            .iter()
            .map(|i| {
                json!({
                    "EndpointConfigName": i.name,
                    "EndpointConfigArn": i.row,
                    "CreationTime": i.created.seconds(),
                })
            })
            .collect();
        Ok(json!({ "EndpointConfigs": configs, "NextToken": next }))
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

pub(super) fn missing_config(context: &Context, name: &str) -> ServiceError {
    let arn = context.arn("sagemaker", &format!("endpoint-config/{}", name.to_lowercase()));
    ServiceError::validation(format!("Could not find endpoint configuration \"{arn}\"."))
}
