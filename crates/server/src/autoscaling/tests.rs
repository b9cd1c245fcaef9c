//! The service on a real database with real alarms, called as the gateway calls it; what is scaled is made
//! up.

mod acting;
mod operations;

use std::collections::HashMap;

use kennel_wire::ServiceModel;

use super::resource::{Facts, Instance, Load, Scaling};
use super::*;
use crate::cloudwatch::Metrics;
use crate::cloudwatch::alarms::Fired;
use crate::context::{Caller, Principal};

/// A whole minute.
const NOW: Timestamp = Timestamp(1_800_000_000_000);
const ACCOUNT: &str = "123456789012";

/// Resources whose facts a test sets.
#[derive(Debug, Default)]
struct Made {
    facts: Mutex<HashMap<Resource, Facts>>,
    loads: Mutex<HashMap<Resource, Load>>,
    /// What scaling is refused with.
    refusal: Mutex<Option<String>>,
    /// Every count that was asked for.
    asked: Mutex<Vec<u32>>,
}

/// Cores of the made-up machine.
const CORES: u32 = 4;

impl Resources for Made {
    fn facts(&self, of: &Resource) -> Result<Option<Facts>, ServiceError> {
        Ok(self.facts.lock().unwrap().get(of).cloned())
    }

    fn load(&self, of: &Resource) -> Option<Load> {
        self.loads.lock().unwrap().get(of).copied()
    }

    fn scale<'a>(&'a self, of: &'a Resource, count: u32, _: Timestamp) -> Scaling<'a> {
        Box::pin(async move {
            if let Some(reason) = self.refusal.lock().unwrap().clone() {
                return Err(ServiceError::validation(reason));
            }
            self.asked.lock().unwrap().push(count);
            self.facts.lock().unwrap().get_mut(of).unwrap().desired = count;
            Ok(())
        })
    }

    fn cores(&self) -> u32 {
        CORES
    }

    fn held<'a>(&'a self) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(std::future::pending())
    }
}

struct Stand {
    folder: tempfile::TempDir,
    metrics: Metrics,
    made: Arc<Made>,
    service: Autoscaling,
}

fn variant(endpoint: &str) -> Resource {
    Resource::Variant { endpoint: endpoint.to_owned(), variant: "AllTraffic".to_owned() }
}

fn open(folder: &std::path::Path, made: Arc<Made>, mode: Mode) -> (Metrics, Autoscaling) {
    let migrations = [crate::cloudwatch::MIGRATIONS, MIGRATIONS];
    let database = Database::open(&folder.join("state.db"), &migrations).unwrap();
    let options = crate::cloudwatch::Options { now: || NOW, ..Default::default() };
    let (metrics, _) = Metrics::new(database.clone(), options);
    let inner = Inner {
        database,
        alarms: metrics.alarms(),
        resources: made,
        account: ACCOUNT.to_owned(),
        mode,
        now: || NOW,
        deciding: tokio::sync::Mutex::default(),
        fired: Mutex::default(),
        fast: Mutex::default(),
        unsettled: AtomicBool::new(true),
        changed: Notify::new(),
    };
    let service = Autoscaling { inner: Arc::new(inner) };
    metrics.alarms().on_action(Arc::new(alarm::Action::of(&service)));
    (metrics, service)
}

/// With a variant `endpoint/dogs/variant/AllTraffic` of one ready ml.m5.large.
fn stand(mode: Mode) -> Stand {
    let folder = tempfile::tempdir().unwrap();
    let made = Arc::new(Made::default());
    let (metrics, service) = open(folder.path(), made.clone(), mode);
    let stand = Stand { folder, metrics, made, service };
    stand.has(&variant("dogs"), 1, "ml.m5.large");
    stand
}

fn context_at(now: Timestamp) -> Context {
    let caller = Caller {
        account: ACCOUNT.to_owned(),
        principal: Principal::Root,
        access_key: "AKIA".to_owned(),
    };
    Context {
        request_id: "r".to_owned(),
        caller,
        region: "us-east-1".to_owned(),
        now,
        endpoint: "http://127.0.0.1:4566".to_owned(),
    }
}

/// Whole numbers without a fraction, as the encoder writes seconds.
fn whole(value: Value) -> Value {
    match value {
        Value::Number(n) => match n.as_f64() {
            Some(f) if f.fract() == 0.0 && f.abs() < 1e15 => json!(f as i64),
            _ => Value::Number(n),
        },
        Value::Array(items) => items.into_iter().map(whole).collect(),
        Value::Object(map) => Value::Object(map.into_iter().map(|(k, v)| (k, whole(v))).collect()),
        other => other,
    }
}

impl Stand {
    /// The resource exists, with so many instances, all ready.
    fn has(&self, of: &Resource, count: u32, kind: &str) {
        let facts = Facts {
            desired: count,
            ready: count,
            busy: None,
            failed: None,
            instance: matches!(of, Resource::Variant { .. }).then(|| Instance {
                name: kind.to_owned(),
                burstable: kind.starts_with("ml.t"),
                vcpus: 2,
            }),
        };
        self.made.facts.lock().unwrap().insert(of.clone(), facts);
    }

    fn facts(&self, change: impl FnOnce(&mut Facts)) {
        change(self.made.facts.lock().unwrap().get_mut(&variant("dogs")).unwrap());
    }

    fn desired(&self) -> u32 {
        self.made.facts.lock().unwrap()[&variant("dogs")].desired
    }

    fn load(&self, load: Load) {
        self.made.loads.lock().unwrap().insert(variant("dogs"), load);
    }

    async fn call_at(&self, now: Timestamp, operation: &str, input: Value) -> Answer {
        let model = ServiceModel::by_name("application-autoscaling").unwrap();
        let shape = model.operation(operation).unwrap();
        let bytes = serde_json::to_vec(&input).unwrap();
        let input = kennel_wire::json::decode(model, shape, &bytes)?;
        let answer = self.service.call(&context_at(now), operation, input).await?;
        let body = kennel_wire::json::encode(model, shape, &answer);
        let written: Value = serde_json::from_slice(&body).unwrap_or(json!({}));
        assert_eq!(whole(written), whole(answer.clone()), "{operation} fits the model");
        Ok(answer)
    }

    async fn ok(&self, operation: &str, input: Value) -> Value {
        self.call_at(NOW, operation, input).await.unwrap()
    }

    async fn refused(&self, operation: &str, input: Value) -> (String, String) {
        let error = self.call_at(NOW, operation, input).await.unwrap_err();
        (error.code, error.message)
    }

    /// `dogs` is registered, with changes to the call.
    async fn register(&self, changes: Value) -> String {
        let input = with(dogs(), json!({"MinCapacity": 1, "MaxCapacity": 4}));
        let answer = self.ok("RegisterScalableTarget", with(input, changes)).await;
        answer["ScalableTargetARN"].as_str().unwrap().to_owned()
    }

    /// A policy `track` of ten invocations a minute; answers its ARN and its alarms' names.
    async fn track(&self, changes: Value) -> (String, Vec<String>) {
        let answer = self.ok("PutScalingPolicy", with(tracking(), changes)).await;
        let names = answer["Alarms"].as_array().unwrap().iter();
        (
            answer["PolicyARN"].as_str().unwrap().to_owned(),
            names.map(|alarm| alarm["AlarmName"].as_str().unwrap().to_owned()).collect(),
        )
    }

    /// An alarm fires.
    async fn fire(&self, now: Timestamp, arn: &str, alarm: &str, metric: f64) {
        let fired = Fired {
            alarm: alarm.to_owned(),
            arn: format!("arn:aws:cloudwatch:us-east-1:{ACCOUNT}:alarm:{alarm}"),
            state: kennel_scaling::alarm::State::Alarm,
            threshold: 10.0,
            metric,
            reason: String::new(),
        };
        self.service.fire(now, arn, &fired).await.unwrap();
    }

    async fn activities(&self, changes: Value) -> Vec<Value> {
        let input = with(json!({"ServiceNamespace": "sagemaker"}), changes);
        let answer = self.ok("DescribeScalingActivities", input).await;
        answer["ScalingActivities"].as_array().unwrap().clone()
    }
}

fn with(mut input: Value, changes: Value) -> Value {
    for (member, value) in changes.as_object().unwrap() {
        input[member] = value.clone();
    }
    input
}

fn named(endpoint: &str) -> Value {
    json!({
        "ServiceNamespace": "sagemaker",
        "ResourceId": variant(endpoint).to_string(),
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    })
}

fn dogs() -> Value {
    named("dogs")
}

fn tracking() -> Value {
    with(
        dogs(),
        json!({
            "PolicyName": "track",
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": {
                "TargetValue": 10.0,
                "PredefinedMetricSpecification": {
                    "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance",
                },
            },
        }),
    )
}

fn later(seconds: i64) -> Timestamp {
    Timestamp(NOW.0 + seconds * 1000)
}
