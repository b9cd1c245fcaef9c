//! The endpoint, the function, and what scales them.

use serde_json::{Value, json};

use super::{Gatherer, list};
use crate::client::{Service, encode};
use crate::commands::endpoint;
use crate::commands::function::invoke::{Asked, ask};
use crate::commands::report::facts::{Area, Call, Endpoint, Function, Load, Scaled, Use};
use crate::error::ClientError;
use crate::output::text;

/// Scaling activities that are asked for.
const ACTIVITIES: usize = 50;
const SAGEMAKER: &str = "AWS/SageMaker";
const LAMBDA: &str = "AWS/Lambda";

impl Gatherer<'_> {
    pub(super) fn endpoint(&mut self, named: Option<&str>) -> Result<(), ClientError> {
        let own = match named {
            Some(name) => Some(endpoint::describe(self.client, name)?),
            None => {
                let listed = self.newest("ListEndpoints", "Endpoints", "InService");
                let listed = self.or_unknown(Area::Endpoint, "endpoints", listed)?;
                match listed.first().map(|endpoint| text(endpoint, "EndpointName")) {
                    Some(name) => {
                        let found = endpoint::describe(self.client, &name);
                        self.or_note(&format!("endpoint `{name}`"), found)?
                    }
                    None => None,
                }
            }
        };
        let Some(own) = own else { return Ok(()) };
        let name = text(&own, "EndpointName");
        let body = json!({ "EndpointConfigName": text(&own, "EndpointConfigName") });
        let config = self.sagemaker("DescribeEndpointConfig", &body);
        let config = self.or_note(&format!("the configuration of `{name}`"), config)?;
        let mut load = Vec::new();
        for variant in own["ProductionVariants"].as_array().into_iter().flatten() {
            let variant = text(variant, "VariantName");
            let found = self.load(&name, &variant);
            let what = format!("the metrics of `{name}`");
            load.extend(self.or_note(&what, found)?.flatten());
        }
        self.facts.endpoint = Some(Endpoint { own, config: config.unwrap_or_default(), load });
        Ok(())
    }

    /// What CloudWatch has of a variant; none where it had no request.
    fn load(&self, endpoint: &str, variant: &str) -> Result<Option<Load>, ClientError> {
        let dimensions = [("EndpointName", endpoint), ("VariantName", variant)];
        let metric = |name| self.by_day(SAGEMAKER, name, &dimensions);
        let invocations = self.sum(&metric("Invocations"))?;
        if invocations <= 0.0 {
            return Ok(None);
        }
        let errors = self.sum(&metric("Invocation5XXErrors"))?;
        let latency = self.statistics(&metric("ModelLatency"), &["p50", "p99"])?;
        let newest = latency.last().map(|(_, values)| values.as_slice()).unwrap_or_default();
        // Microseconds.
        let at = |index: usize| newest.get(index).copied().flatten().map(|us| us / 1000.0);
        let (p50_ms, p99_ms) = (at(0), at(1));
        Ok(Some(Load { variant: variant.to_owned(), invocations, errors, p50_ms, p99_ms }))
    }

    fn lambda(&self, operation: &str, path: &str) -> Result<Value, ClientError> {
        self.client.rest(Service::Lambda, operation, http::Method::GET, path, None)
    }

    pub(super) fn function(&mut self, named: Option<&str>) -> Result<(), ClientError> {
        let own = match named {
            Some(name) => {
                let path = format!("/2015-03-31/functions/{}/configuration", encode(name));
                Some(self.lambda("GetFunctionConfiguration", &path)?)
            }
            None => {
                let listed = self.lambda("ListFunctions", "/2015-03-31/functions");
                let mut listed = self.or_unknown(Area::Function, "functions", listed)?;
                let functions = list(&mut listed, "Functions");
                let endpoint = self.facts.endpoint.as_ref();
                let endpoint = endpoint.map(|endpoint| text(&endpoint.own, "EndpointName"));
                asking(functions, endpoint.as_deref())
            }
        };
        let Some(own) = own else { return Ok(()) };
        let name = text(&own, "FunctionName");
        let at = |rest: &str| format!("/2019-09-30/functions/{}/{rest}", encode(&name));
        let reserved = self.lambda("GetFunctionConcurrency", &at("concurrency"));
        let what = format!("the concurrency of `{name}`");
        let reserved = self.or_unknown(Area::Reserved, &what, reserved)?;
        let ready = at("provisioned-concurrency?List=ALL");
        let ready = self.lambda("ListProvisionedConcurrencyConfigs", &ready);
        let what = format!("the provisioned concurrency of `{name}`");
        let mut ready = self.or_unknown(Area::Provisioned, &what, ready)?;
        let used = self.used(&name);
        let use_ = self.or_note(&format!("the metrics of `{name}`"), used)?.unwrap_or_default();
        self.facts.function = Some(Function {
            own,
            reserved: reserved["ReservedConcurrentExecutions"].as_u64(),
            provisioned: list(&mut ready, "ProvisionedConcurrencyConfigs"),
            use_,
            call: None,
        });
        Ok(())
    }

    fn used(&self, function: &str) -> Result<Use, ClientError> {
        let dimensions = [("FunctionName", function)];
        let metric = |name| self.by_day(LAMBDA, name, &dimensions);
        let invocations = self.sum(&metric("Invocations"))?;
        let mut used = Use { invocations, ..Use::default() };
        if invocations > 0.0 {
            used.errors = self.sum(&metric("Errors"))?;
            used.throttles = self.sum(&metric("Throttles"))?;
            let durations = self.statistics(&metric("Duration"), &["Sum", "SampleCount"])?;
            let total = |index: usize| -> f64 {
                durations.iter().filter_map(|(_, v)| v.get(index).copied().flatten()).sum()
            };
            used.mean_ms = Some(total(0) / total(1)).filter(|mean| mean.is_finite());
        }
        Ok(used)
    }

    /// Calls the function; an answer that is an error is a fact like any other.
    pub(super) fn call(&mut self, payload: Vec<u8>) -> Result<(), ClientError> {
        let Some(function) = &mut self.facts.function else {
            return Err(ClientError::Usage(
                "there is no function to call\nhint: `kennel function deploy-classifier --endpoint NAME` makes one, or name one with --function"
                    .to_owned(),
            ));
        };
        let event = String::from_utf8_lossy(&payload).into_owned();
        let name = text(&function.own, "FunctionName");
        // What stands ready is what callers are to use.
        let ready = function.provisioned.first().map(|config| text(config, "FunctionArn"));
        let qualifier = ready.and_then(|arn| arn.rsplit(':').next().map(str::to_owned));
        let asked = Asked { qualifier: qualifier.as_deref(), payload, log: true };
        let told = match ask(self.client, &name, asked) {
            Ok(told) => told,
            // A function that is throttled or may not be called is told of, too.
            Err(ClientError::Service(refusal)) => {
                let answer = format!("{} ({})", refusal.message, refusal.code);
                let failure = Some("refused".to_owned());
                function.call = Some(Call { event, qualifier, answer, failure, report: None });
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let log = told.log.unwrap_or_default();
        let report = log.lines().rev().find(|line| line.starts_with("REPORT "));
        // `REPORT RequestId: …\tDuration: 1.23 ms\t…`
        let report = report.map(|line| {
            let parts = line.split('\t').skip(1).map(str::trim).filter(|part| !part.is_empty());
            parts.collect::<Vec<_>>().join(", ")
        });
        function.call = Some(Call {
            event,
            qualifier,
            answer: String::from_utf8_lossy(&told.answer).into_owned(),
            failure: told.failure,
            report,
        });
        Ok(())
    }

    pub(super) fn scaling(&mut self) -> Result<(), ClientError> {
        let endpoint = self.facts.endpoint.as_ref().map(|e| text(&e.own, "EndpointName"));
        let function = self.facts.function.as_ref().map(|f| text(&f.own, "FunctionName"));
        let wanted = [
            ("sagemaker", endpoint.map(|name| format!("endpoint/{name}/"))),
            ("lambda", function.map(|name| format!("function:{name}:"))),
        ];
        for (namespace, prefix) in wanted {
            let Some(prefix) = prefix else { continue };
            let body = json!({ "ServiceNamespace": namespace });
            let found = self.client.json_pages(
                Service::AutoScaling,
                "DescribeScalableTargets",
                &body,
                "ScalableTargets",
            );
            let targets = self.or_unknown(Area::Scaling, "what is scaled", found)?;
            for own in targets {
                // An endpoint's name may be written in any case.
                let resource = text(&own, "ResourceId").to_ascii_lowercase();
                if resource.starts_with(&prefix.to_ascii_lowercase()) {
                    let found = self.scaled(own);
                    let found = self.or_note(&format!("`{resource}`"), found)?;
                    self.facts.scaling.extend(found);
                }
            }
        }
        Ok(())
    }

    fn scaled(&self, own: Value) -> Result<Scaled, ClientError> {
        let ask =
            |operation: &str, body: &Value| self.client.json(Service::AutoScaling, operation, body);
        let mut body = json!({
            "ServiceNamespace": own["ServiceNamespace"],
            "ResourceId": own["ResourceId"],
            "ScalableDimension": own["ScalableDimension"],
        });
        let policies = list(&mut ask("DescribeScalingPolicies", &body)?, "ScalingPolicies");
        body["MaxResults"] = ACTIVITIES.into();
        let activities = list(&mut ask("DescribeScalingActivities", &body)?, "ScalingActivities");
        // Targets without an ARN cannot have tags.
        let fast = match own["ScalableTargetARN"].as_str() {
            Some(arn) if self.facts.local => {
                ask("ListTagsForResource", &json!({ "ResourceARN": arn }))
                    .is_ok_and(|tags| tags["Tags"]["kennel:mode"] == "fast")
            }
            _ => false,
        };
        Ok(Scaled { own, policies, activities, fast })
    }
}

/// The function that has the endpoint's name among its variables, else the one that was changed last.
fn asking(mut functions: Vec<Value>, endpoint: Option<&str>) -> Option<Value> {
    functions.sort_by_key(|function| std::cmp::Reverse(text(function, "LastModified")));
    let asks = |function: &Value| {
        let variables = function["Environment"]["Variables"].as_object();
        variables.is_some_and(|all| all.values().any(|value| value.as_str() == endpoint))
    };
    let place = functions.iter().position(|f| endpoint.is_some() && asks(f)).unwrap_or(0);
    functions.into_iter().nth(place)
}
