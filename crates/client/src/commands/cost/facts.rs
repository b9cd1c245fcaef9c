//! What AWS's APIs tell of endpoints and functions, for estimates and for what is up.

use serde_json::{Value, json};

use super::region_of;
use crate::client::{Client, Service, encode};
use crate::clock;
use crate::error::ClientError;
use crate::output::text;

/// Over how long a function's average duration is taken.
const DURATION_DAYS: i64 = 14;

/// The instances of a variant.
#[derive(Debug, Clone, Default)]
pub(super) struct Fleet {
    pub variant: String,
    pub kind: String,
    pub count: u32,
    /// Fewest and most instances of its scaling policy.
    pub bounds: Option<(u32, u32)>,
    pub region: Option<String>,
    /// A copy of the traffic goes there; AWS bills it like any other.
    pub shadow: bool,
}

/// An endpoint's variants with their types; a serverless one has no instances and is left out.
pub(super) fn fleets(client: &Client, name: &str) -> Result<Vec<Fleet>, ClientError> {
    let ask = |operation: &str, body: Value| client.json(Service::SageMaker, operation, &body);
    let own = ask("DescribeEndpoint", json!({"EndpointName": name}))?;
    let configuration = text(&own, "EndpointConfigName");
    let configuration =
        ask("DescribeEndpointConfig", json!({"EndpointConfigName": configuration}))?;
    let bounds = bounds(client, name);
    let region = region_of(own["EndpointArn"].as_str()).map(str::to_owned);
    let mut found = Vec::new();
    for (member, shadow) in [("ProductionVariants", false), ("ShadowProductionVariants", true)] {
        for variant in own[member].as_array().into_iter().flatten() {
            let name = text(variant, "VariantName");
            let configured = configuration[member].as_array().into_iter().flatten();
            let kind = configured
                .filter(|v| v["VariantName"] == variant["VariantName"])
                .find_map(|v| v["InstanceType"].as_str());
            let Some(kind) = kind else { continue };
            let count = variant["CurrentInstanceCount"].as_u64().unwrap_or(0);
            found.push(Fleet {
                bounds: bounds.iter().find(|(of, _)| *of == name).map(|(_, bounds)| *bounds),
                variant: name,
                kind: kind.to_owned(),
                count: u32::try_from(count).unwrap_or(u32::MAX),
                region: region.clone(),
                shadow,
            });
        }
    }
    Ok(found)
}

/// Bounds of an endpoint's scaling policies by variant; nothing where they may not be looked at.
fn bounds(client: &Client, endpoint: &str) -> Vec<(String, (u32, u32))> {
    let body = json!({"ServiceNamespace": "sagemaker"});
    let found = client.json_pages(
        Service::AutoScaling,
        "DescribeScalableTargets",
        &body,
        "ScalableTargets",
    );
    let prefix = format!("endpoint/{endpoint}/variant/");
    let number = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok());
    found
        .unwrap_or_default()
        .iter()
        .filter_map(|target| {
            let variant = target["ResourceId"].as_str()?.strip_prefix(&prefix)?;
            let bounds = (number(&target["MinCapacity"])?, number(&target["MaxCapacity"])?);
            Some((variant.to_owned(), bounds))
        })
        .collect()
}

/// What of a function stands ready: version or alias, and how many.
pub(super) fn provisioned(client: &Client, name: &str) -> Result<Vec<(String, u32)>, ClientError> {
    let path = format!("/2019-09-30/functions/{}/provisioned-concurrency?List=ALL", encode(name));
    let found = lambda_pages(
        client,
        "ListProvisionedConcurrencyConfigs",
        &path,
        "ProvisionedConcurrencyConfigs",
    )?;
    Ok(found
        .iter()
        .map(|one| {
            let arn = text(one, "FunctionArn");
            let qualifier = arn.rsplit(':').next().unwrap_or_default().to_owned();
            // What is asked for is billed, from the first moment on.
            let count = one["RequestedProvisionedConcurrentExecutions"].as_u64().unwrap_or(0);
            (qualifier, u32::try_from(count).unwrap_or(u32::MAX))
        })
        .filter(|(_, count)| *count > 0)
        .collect())
}

/// All pages of a list of Lambda's.
pub(super) fn lambda_pages(
    client: &Client,
    operation: &str,
    path: &str,
    member: &str,
) -> Result<Vec<Value>, ClientError> {
    let mut all = Vec::new();
    let mut marker = String::new();
    loop {
        let sign = if path.contains('?') { '&' } else { '?' };
        let page = match marker.is_empty() {
            true => path.to_owned(),
            false => format!("{path}{sign}Marker={}", encode(&marker)),
        };
        let page = client.rest(Service::Lambda, operation, http::Method::GET, &page, None)?;
        all.extend(page[member].as_array().cloned().unwrap_or_default());
        match page["NextMarker"].as_str() {
            // The same marker again would be asked for ever.
            Some(next) if !next.is_empty() && next != marker => marker = next.to_owned(),
            _ => return Ok(all),
        }
    }
}

/// A metric asked for.
#[derive(Debug)]
pub(super) struct Metric<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub dimensions: &'a [(&'a str, &'a str)],
    pub statistic: &'a str,
    /// Epoch seconds.
    pub since: i64,
    /// Seconds of one value.
    pub period: i64,
}

/// The values of a metric's datapoints.
pub(super) fn metric(
    client: &Client,
    metric: &Metric<'_>,
    now: i64,
) -> Result<Vec<f64>, ClientError> {
    let dimensions: Vec<Value> = metric
        .dimensions
        .iter()
        .map(|(name, value)| json!({"Name": name, "Value": value}))
        .collect();
    let body = json!({
        "Namespace": metric.namespace, "MetricName": metric.name, "Dimensions": dimensions,
        "StartTime": metric.since.div_euclid(60) * 60, "EndTime": now + 1,
        "Period": metric.period, "Statistics": [metric.statistic],
    });
    let found = client.json(Service::CloudWatch, "GetMetricStatistics", &body)?;
    let points = found["Datapoints"].as_array().cloned().unwrap_or_default();
    Ok(points.iter().filter_map(|point| point[metric.statistic].as_f64()).collect())
}

/// How long a function takes on average; none where it was not called.
pub(super) fn average_duration_ms(client: &Client, name: &str) -> Result<Option<f64>, ClientError> {
    let now = clock::epoch_millis() / 1000;
    let wanted = Metric {
        namespace: "AWS/Lambda",
        name: "Duration",
        dimensions: &[("FunctionName", name)],
        statistic: "Average",
        since: now - DURATION_DAYS * 86_400,
        period: DURATION_DAYS * 86_400,
    };
    let values = metric(client, &wanted, now)?;
    Ok(match values.len() {
        0 => None,
        count => Some(values.iter().sum::<f64>() / count as f64),
    })
}
