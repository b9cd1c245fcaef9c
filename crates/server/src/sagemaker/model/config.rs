//! Endpoint configurations: which models, on how many instances of which type, with which share of the
//! traffic, and what of the traffic is kept.

use std::collections::BTreeSet;

use kennel_hosting::instance_type;
use kennel_wire::ServiceError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Model, definitions, missing_model, not_implemented, with_state};
use crate::context::{Context, Timestamp};
use crate::sagemaker::objects::Location;
use crate::sagemaker::rows::Row;
use crate::sagemaker::training::text;
use crate::sagemaker::{SageMaker, Tag, pairs};
use crate::service::Answer;

/// An endpoint configuration as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::sagemaker) struct EndpointConfig {
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

/// `ProductionVariant`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sagemaker) struct ProductionVariant {
    pub variant_name: String,
    pub model_name: Option<String>,
    pub initial_instance_count: Option<u32>,
    pub instance_type: Option<String>,
    pub initial_variant_weight: Option<f64>,
    pub routing_config: Option<RoutingConfig>,
    serverless_config: Option<Value>,
    managed_instance_scaling: Option<Value>,
    instance_pools: Option<Value>,
}

/// `ProductionVariantRoutingConfig`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sagemaker) struct RoutingConfig {
    pub routing_strategy: String,
}

/// CreateEndpointConfig's input.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sagemaker) struct ConfigRequest {
    endpoint_config_name: String,
    pub production_variants: Vec<ProductionVariant>,
    /// Their weight over the production variant's is the share of the requests that is copied.
    #[serde(default)]
    pub shadow_production_variants: Vec<ProductionVariant>,
    pub data_capture_config: Option<DataCapture>,
    async_inference_config: Option<Value>,
    explainer_config: Option<Value>,
    #[serde(default)]
    tags: Vec<Tag>,
}

/// `DataCaptureConfig`: what of an endpoint's traffic is kept in S3.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sagemaker) struct DataCapture {
    /// AWS captures unless this says otherwise.
    #[serde(default = "yes")]
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
    /// Refused: objects are not encrypted with keys of their own.
    #[serde(default, skip_serializing)]
    pub kms_key_id: Option<String>,
}

fn yes() -> bool {
    true
}

impl EndpointConfig {
    /// What the configuration says.
    ///
    /// # Errors
    /// When the row is not what was checked.
    pub(in crate::sagemaker) fn read(&self) -> Result<ConfigRequest, ServiceError> {
        serde_json::from_value(self.request.clone())
            .map_err(|e| ServiceError::validation(e.to_string()))
    }
}

impl SageMaker {
    pub(in crate::sagemaker) async fn create_endpoint_config(
        &self,
        context: &Context,
        input: Value,
    ) -> Answer {
        let request: ConfigRequest = serde_json::from_value(input.clone())
            .map_err(|e| ServiceError::validation(e.to_string()))?;
        check_config(&request)?;
        for variant in request.production_variants.iter().chain(&request.shadow_production_variants)
        {
            let model = variant.model_name.as_deref().unwrap_or_default();
            self.inner.rows.get::<Model>(model)?.ok_or_else(|| missing_model(context, model))?;
        }
        let name = &request.endpoint_config_name;
        let arn = context.arn("sagemaker", &format!("endpoint-config/{}", name.to_lowercase()));
        let taken = ServiceError::validation(format!(
            "Cannot create already existing endpoint configuration \"{arn}\"."
        ));
        let config = EndpointConfig { request: input, arn: arn.clone(), created: context.now };
        self.inner.rows.insert(name, &arn, config, pairs(request.tags), taken).await?;
        Ok(json!({ "EndpointConfigArn": arn }))
    }

    pub(in crate::sagemaker) fn describe_endpoint_config(
        &self,
        context: &Context,
        input: &Value,
    ) -> Answer {
        let name = text(input, "EndpointConfigName");
        let config = self
            .inner
            .rows
            .get::<EndpointConfig>(name)?
            .ok_or_else(|| missing_config(context, name))?;
        let mut request = config.request;
        for list in ["ProductionVariants", "ShadowProductionVariants"] {
            let Some(Value::Array(variants)) = request.get_mut(list) else { continue };
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

    pub(in crate::sagemaker) async fn delete_endpoint_config(
        &self,
        context: &Context,
        input: &Value,
    ) -> Answer {
        let name = text(input, "EndpointConfigName");
        let arn = context.arn("sagemaker", &format!("endpoint-config/{}", name.to_lowercase()));
        match self.inner.rows.remove::<EndpointConfig>(name, &arn).await? {
            true => Ok(json!({})),
            false => Err(missing_config(context, name)),
        }
    }

    pub(in crate::sagemaker) fn list_endpoint_configs(&self, input: &Value) -> Answer {
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

/// What can be said without the models.
fn check_config(request: &ConfigRequest) -> Result<(), ServiceError> {
    if request.async_inference_config.is_some() {
        return Err(not_implemented("`AsyncInferenceConfig`"));
    }
    if request.explainer_config.is_some() {
        return Err(not_implemented("`ExplainerConfig`"));
    }
    let (production, shadows) = (&request.production_variants, &request.shadow_production_variants);
    // https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html
    if !shadows.is_empty() && (production.len() != 1 || shadows.len() != 1) {
        return Err(ServiceError::validation(format!(
            "you can only specify one variant for `ProductionVariants` and one variant for `ShadowProductionVariants`; {} and {} were given",
            production.len(),
            shadows.len()
        )));
    }
    let mut names = BTreeSet::new();
    for variant in production.iter().chain(shadows) {
        if !names.insert(&variant.variant_name) {
            return Err(ServiceError::validation(format!(
                "variant name `{}` is used twice",
                variant.variant_name
            )));
        }
        check_variant(variant)?;
    }
    let weights: f64 = production.iter().map(|v| v.initial_variant_weight.unwrap_or(1.0)).sum();
    if weights <= 0.0 {
        return Err(ServiceError::validation(
            "the variants' weights sum up to 0; at least one must get traffic",
        ));
    }
    request.data_capture_config.as_ref().map_or(Ok(()), check_capture)
}

fn check_variant(variant: &ProductionVariant) -> Result<(), ServiceError> {
    let name = &variant.variant_name;
    if variant.serverless_config.is_some() {
        return Err(not_implemented("`ServerlessConfig`"));
    }
    if variant.managed_instance_scaling.is_some() {
        return Err(not_implemented("`ManagedInstanceScaling`"));
    }
    if variant.instance_pools.is_some() {
        return Err(not_implemented("`InstancePools`"));
    }
    if variant.model_name.is_none() {
        return Err(not_implemented("a variant without `ModelName` (inference components)"));
    }
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
    match variant.routing_config.as_ref().map(|routing| routing.routing_strategy.as_str()) {
        None | Some("RANDOM" | "LEAST_OUTSTANDING_REQUESTS") => Ok(()),
        Some(other) => Err(not_implemented(&format!("`RoutingStrategy` {other}"))),
    }
}

fn check_capture(capture: &DataCapture) -> Result<(), ServiceError> {
    if capture.kms_key_id.as_deref().is_some_and(|key| !key.is_empty()) {
        return Err(not_implemented("`KmsKeyId` of `DataCaptureConfig`"));
    }
    if capture.destination_s3_uri.starts_with("https://") {
        return Err(not_implemented("`DestinationS3Uri` as an https address"));
    }
    Location::parse(&capture.destination_s3_uri).map(|_| ())
}

pub(in crate::sagemaker) fn missing_config(context: &Context, name: &str) -> ServiceError {
    let arn = context.arn("sagemaker", &format!("endpoint-config/{}", name.to_lowercase()));
    ServiceError::validation(format!("Could not find endpoint configuration \"{arn}\"."))
}

#[cfg(test)]
mod tests;
