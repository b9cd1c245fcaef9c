//! Buckets, functions and endpoints.

use std::collections::BTreeMap;

use kennel_iam::policy::{Document, Kind as PolicyKind};
use serde_json::{Value, json};

use super::Gatherer;
use crate::client::{Service, encode};
use crate::clock;
use crate::commands::audit::facts::{Bucket, Endpoint, Function, Instances};
use crate::commands::iam::explain::function_policy;
use crate::commands::iam::principals::document;
use crate::error::ClientError;
use crate::output::text;
use crate::xml;

/// Pages of a log that are read.
const LOG_PAGES: usize = 10;
/// CloudWatch keeps hours for long, but one answer has at most 1,440 points.
const METRIC_DAYS: i64 = 14;
const DAY: i64 = 86_400;
const HOUR: i64 = 3600;

impl Gatherer<'_> {
    pub(super) fn buckets(&mut self) -> Result<(), ClientError> {
        let listed = self.client.list_buckets();
        for (name, _) in self.or_note("buckets", listed)?.unwrap_or_default() {
            let found = self.bucket(&name);
            if let Some(bucket) = self.or_note(&format!("bucket `{name}`"), found)? {
                self.facts.buckets.push(bucket);
            }
        }
        Ok(())
    }

    fn bucket(&self, name: &str) -> Result<Bucket, ClientError> {
        let part = |operation: &str, part: &str| self.client.bucket_part(operation, name, part);
        let element = |operation: &str, own: &str| -> Result<Option<xml::Element>, ClientError> {
            let Some(body) = part(operation, own)? else { return Ok(None) };
            let operation = format!("s3:{operation}");
            xml::parse(&body).map(Some).map_err(|reason| ClientError::Answer { operation, reason })
        };
        let is = |e: Option<&xml::Element>, name: &str| {
            e.and_then(|e| e.text(name)).is_some_and(|t| t.eq_ignore_ascii_case("true"))
        };
        let status = element("GetBucketPolicyStatus", "policyStatus")?;
        let block = element("GetPublicAccessBlock", "publicAccessBlock")?;
        let policy = match part("GetBucketPolicy", "policy")? {
            Some(body) => {
                let text = String::from_utf8_lossy(&body);
                Some(document(
                    &format!("the policy of bucket `{name}`"),
                    &text,
                    PolicyKind::Resource,
                )?)
            }
            None => None,
        };
        Ok(Bucket {
            name: name.to_owned(),
            public: is(status.as_ref(), "IsPublic"),
            policy,
            restricted: is(block.as_ref(), "RestrictPublicBuckets"),
            blocked: is(block.as_ref(), "BlockPublicPolicy"),
        })
    }

    fn lambda(&self, operation: &str, path: &str) -> Result<Value, ClientError> {
        self.client.rest(Service::Lambda, operation, http::Method::GET, path, None)
    }

    /// All pages of a list of Lambda's.
    fn lambda_pages(
        &self,
        operation: &str,
        path: &str,
        member: &str,
    ) -> Result<Vec<Value>, ClientError> {
        let mut all = Vec::new();
        let mut marker = String::new();
        loop {
            let page = match marker.is_empty() {
                true => self.lambda(operation, path)?,
                false => self.lambda(operation, &format!("{path}?Marker={}", encode(&marker)))?,
            };
            all.extend(page[member].as_array().cloned().unwrap_or_default());
            match page["NextMarker"].as_str() {
                // The same marker again would be asked for ever.
                Some(next) if !next.is_empty() && next != marker => marker = next.to_owned(),
                _ => return Ok(all),
            }
        }
    }

    pub(super) fn functions(&mut self) -> Result<(), ClientError> {
        let listed = self.lambda_pages("ListFunctions", "/2015-03-31/functions", "Functions");
        for function in self.or_note("functions", listed)?.unwrap_or_default() {
            let name = text(&function, "FunctionName");
            let policy = self.function_policy(&name);
            let policy = self.or_note(&format!("the policy of function `{name}`"), policy)?;
            let urls = self.lambda_pages(
                "ListFunctionUrlConfigs",
                &format!("/2021-10-31/functions/{}/urls", encode(&name)),
                "FunctionUrlConfigs",
            );
            let urls = self.or_note(&format!("the URLs of function `{name}`"), urls)?;
            let group = function["LoggingConfig"]["LogGroup"].as_str().map(str::to_owned);
            let group = group.unwrap_or_else(|| format!("/aws/lambda/{name}"));
            let reports = self.reports(&group);
            let reports = self.or_note(&format!("the log of function `{name}`"), reports)?;
            let (reports, used) = reports.unwrap_or_default();
            let arn = text(&function, "FunctionArn");
            let urls: BTreeMap<String, String> = urls
                .unwrap_or_default()
                .iter()
                .map(|url| {
                    let of = text(url, "FunctionArn");
                    let qualifier = of.strip_prefix(&format!("{arn}:")).unwrap_or_default();
                    (qualifier.to_owned(), text(url, "AuthType"))
                })
                .collect();
            self.facts.functions.push(Function {
                name,
                role: text(&function, "Role"),
                memory: function["MemorySize"].as_u64().unwrap_or(0),
                policy: policy.flatten(),
                urls,
                reports,
                used,
                arn,
            });
        }
        Ok(())
    }

    fn function_policy(&self, name: &str) -> Result<Option<Document>, ClientError> {
        let Some(text) = function_policy(self.client, name)? else { return Ok(None) };
        let what = format!("the policy of function `{name}`");
        document(&what, &text, PolicyKind::Resource).map(Some)
    }

    /// How many REPORT lines there are, and the most memory that one tells, in MB.
    fn reports(&self, group: &str) -> Result<(usize, u64), ClientError> {
        let mut body = json!({
            "logGroupName": group,
            "filterPattern": "REPORT",
            "startTime": self.start().saturating_mul(1000),
        });
        let (mut count, mut most) = (0, 0);
        for _ in 0..LOG_PAGES {
            let page = self.client.json(Service::Logs, "FilterLogEvents", &body)?;
            for event in page["events"].as_array().into_iter().flatten() {
                if let Some(used) = event["message"].as_str().and_then(memory_used) {
                    count += 1;
                    most = most.max(used);
                }
            }
            match page["nextToken"].as_str() {
                Some(next) if !next.is_empty() && body["nextToken"] != next => {
                    body["nextToken"] = next.into();
                }
                _ => break,
            }
        }
        Ok((count, most))
    }

    pub(super) fn endpoints(&mut self) -> Result<(), ClientError> {
        let body = json!({"StatusEquals": "InService", "MaxResults": 100});
        let listed =
            self.client.json_pages(Service::SageMaker, "ListEndpoints", &body, "Endpoints");
        for endpoint in self.or_note("endpoints", listed)?.unwrap_or_default() {
            let name = text(&endpoint, "EndpointName");
            let found = self.endpoint(&name);
            if let Some(endpoint) = self.or_note(&format!("endpoint `{name}`"), found)? {
                self.facts.endpoints.push(endpoint);
            }
        }
        Ok(())
    }

    fn endpoint(&self, name: &str) -> Result<Endpoint, ClientError> {
        let ask =
            |operation: &str, body: Value| self.client.json(Service::SageMaker, operation, &body);
        let own = ask("DescribeEndpoint", json!({"EndpointName": name}))?;
        let configuration = text(&own, "EndpointConfigName");
        let configuration =
            ask("DescribeEndpointConfig", json!({"EndpointConfigName": configuration}))?;
        let variants = own["ProductionVariants"].as_array().cloned().unwrap_or_default();
        let since = self.facts.now - METRIC_DAYS * DAY;
        let mut last_invoked = None;
        let mut instances = Vec::new();
        for variant in &variants {
            let variant_name = text(variant, "VariantName");
            let configured = configuration["ProductionVariants"].as_array().into_iter().flatten();
            let kind = configured
                .filter(|v| v["VariantName"] == variant["VariantName"])
                .find_map(|v| v["InstanceType"].as_str());
            // A serverless variant is billed by what it does.
            if let Some(kind) = kind {
                let count = variant["CurrentInstanceCount"].as_u64().unwrap_or(0);
                let (variant, kind) = (variant_name.clone(), kind.to_owned());
                instances.push(Instances { variant, kind, count });
            }
            last_invoked = last_invoked.max(self.last_invoked(name, &variant_name, since)?);
        }
        let time = |value: &Value| value.as_f64().map(|seconds| seconds as i64);
        Ok(Endpoint {
            name: name.to_owned(),
            arn: text(&own, "EndpointArn"),
            status: text(&own, "EndpointStatus"),
            created: time(&own["CreationTime"]),
            changed: time(&own["LastModifiedTime"]),
            instances,
            last_invoked,
            since,
        })
    }

    /// The last hour in which a variant was invoked.
    fn last_invoked(
        &self,
        endpoint: &str,
        variant: &str,
        since: i64,
    ) -> Result<Option<i64>, ClientError> {
        let body = json!({
            "Namespace": "AWS/SageMaker",
            "MetricName": "Invocations",
            "Dimensions": [
                { "Name": "EndpointName", "Value": endpoint },
                { "Name": "VariantName", "Value": variant },
            ],
            "StartTime": since.div_euclid(HOUR) * HOUR,
            "EndTime": self.facts.now + 1,
            "Period": HOUR,
            "Statistics": ["Sum"],
        });
        let found = self.client.json(Service::CloudWatch, "GetMetricStatistics", &body)?;
        let points = found["Datapoints"].as_array().into_iter().flatten();
        Ok(points
            .filter(|point| point["Sum"].as_f64().is_some_and(|sum| sum > 0.0))
            .filter_map(|point| match &point["Timestamp"] {
                Value::String(iso) => clock::from_iso(iso),
                seconds => seconds.as_f64().map(|seconds| seconds as i64),
            })
            .max())
    }
}

/// `41` of a line `REPORT RequestId: … Max Memory Used: 41 MB`.
pub(in crate::commands::audit) fn memory_used(line: &str) -> Option<u64> {
    let (_, rest) = line.strip_prefix("REPORT ")?.split_once("Max Memory Used: ")?;
    rest.split_whitespace().next()?.parse().ok()
}
