//! Starting a tuning job of the native algorithm and staying with it to its end.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{describe, report, wait};
use crate::client::{Client, Service};
use crate::clock;
use crate::commands::{as_name, default_bucket, image, role_arn};
use crate::error::ClientError;
use crate::output::{line, note, text};
use crate::s3::Location;
use crate::target::TargetArguments;

/// SageMaker's limit on tuning jobs' names.
const MAX_NAME: usize = 32;
/// Disk of an instance in GB; the API wants a number.
const VOLUME_GB: u32 = 30;

/// A hyperparameter and the values to search for it. Scalings are SageMaker's: `Auto`, `Linear`,
/// `Logarithmic`, `ReverseLogarithmic`.
#[derive(Debug, Clone, PartialEq)]
pub enum TuningRange {
    /// Any number from `min` to `max`.
    Continuous {
        /// Hyperparameter.
        name: String,
        /// Lowest value.
        min: f64,
        /// Highest value.
        max: f64,
        /// Scale of the search.
        scaling: String,
    },
    /// Any whole number from `min` to `max`.
    Integer {
        /// Hyperparameter.
        name: String,
        /// Lowest value.
        min: i64,
        /// Highest value.
        max: i64,
        /// Scale of the search.
        scaling: String,
    },
    /// One of these.
    Categorical {
        /// Hyperparameter.
        name: String,
        /// The choices.
        values: Vec<String>,
    },
}

/// A tuning job of the native algorithm.
#[derive(Debug, Clone)]
pub struct TuningRequest {
    /// Photos: `s3://BUCKET/PREFIX`, one channel with all splits.
    pub data: String,
    /// Name; from the time where there is none.
    pub name: Option<String>,
    /// Trials in all.
    pub trials: usize,
    /// Trials at a time, at most 10.
    pub parallel: usize,
    /// `Random`, `Grid`, `Bayesian` or `Hyperband`.
    pub strategy: String,
    /// Epochs of Hyperband's first rung and of a whole training.
    pub hyperband: Option<(u32, u32)>,
    /// Whether more of the metric is better.
    pub maximize: bool,
    /// The objective, such as `validation:accuracy`.
    pub metric: String,
    /// What is searched; nothing means that the platform chooses (Autotune).
    pub ranges: Vec<TuningRange>,
    /// Hyperparameters that all trials share.
    pub fixed: BTreeMap<String, String>,
    /// Stop trials that are worse than the median of those before.
    pub early_stopping: bool,
    /// End when a trial is at least this good.
    pub target: Option<f64>,
    /// End when this many trials in a row have brought nothing; at least 3 for SageMaker.
    pub not_improving: Option<usize>,
    /// Seed of the choices.
    pub seed: Option<u64>,
    /// Where models go; below `tuning/` in the default bucket where nothing is said.
    pub output: Option<String>,
    /// Instance type, such as `ml.m5.large`.
    pub instance_type: String,
    /// Execution role, name or ARN; the platform's where nothing is said.
    pub role: Option<String>,
    /// Where the report goes at the end.
    pub report: PathBuf,
}

/// Starts a tuning job on the platform, waits for its end with progress on stderr, prints its trials, best
/// first, and fetches its report.
///
/// # Errors
/// When the platform does not run, refuses the job, or the job fails.
pub fn tune(target: &TargetArguments, request: &TuningRequest) -> Result<(), ClientError> {
    let client = Client::new(target.resolve()?);
    let name = start(&client, request)?;
    wait(&client, &name)?;
    report(&client, &describe(&client, &name)?, &request.report)?;
    note(format!("report: {}", request.report.display()));
    Ok(())
}

/// Creates the tuning job; answers its name.
pub(super) fn start(client: &Client, request: &TuningRequest) -> Result<String, ClientError> {
    let data = Location::parse(&request.data)?.to_string();
    let name = match &request.name {
        Some(name) => name.clone(),
        None => as_name(&format!("kennel-{}", clock::stamp()), MAX_NAME),
    };
    let output = match &request.output {
        Some(place) => Location::parse(place)?.to_string(),
        None => default_bucket(client)?.with_key("tuning/").to_string(),
    };
    let mut config = json!({
        "Strategy": request.strategy,
        "HyperParameterTuningJobObjective": {
            "Type": if request.maximize { "Maximize" } else { "Minimize" },
            "MetricName": request.metric,
        },
        "ResourceLimits": {
            "MaxNumberOfTrainingJobs": request.trials,
            "MaxParallelTrainingJobs": request.parallel,
        },
        "TrainingJobEarlyStoppingType": if request.early_stopping { "Auto" } else { "Off" },
    });
    if request.strategy == "Grid" {
        // SageMaker counts the combinations itself.
        config["ResourceLimits"] = json!({ "MaxParallelTrainingJobs": request.parallel });
    }
    if let Some((min, max)) = request.hyperband {
        config["StrategyConfig"] =
            json!({ "HyperbandStrategyConfig": { "MinResource": min, "MaxResource": max } });
    }
    if let Some(seed) = request.seed {
        config["RandomSeed"] = json!(seed);
    }
    let mut criteria = serde_json::Map::new();
    if let Some(target) = request.target {
        criteria.insert("TargetObjectiveMetricValue".to_owned(), json!(target));
    }
    if let Some(count) = request.not_improving {
        criteria.insert(
            "BestObjectiveNotImproving".to_owned(),
            json!({ "MaxNumberOfTrainingJobsNotImproving": count }),
        );
    }
    if !criteria.is_empty() {
        config["TuningJobCompletionCriteria"] = Value::Object(criteria);
    }
    if !request.ranges.is_empty() {
        config["ParameterRanges"] = ranges(&request.ranges);
    }
    let mut body = json!({
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": config,
        "TrainingJobDefinition": {
            "StaticHyperParameters": request.fixed,
            "AlgorithmSpecification": {
                "TrainingImage": image(client, "image-classification")?,
                "TrainingInputMode": "File",
            },
            "RoleArn": role_arn(client, request.role.as_deref())?,
            "InputDataConfig": [{
                "ChannelName": "train",
                "DataSource": {"S3DataSource": {
                    "S3DataType": "S3Prefix", "S3Uri": data, "S3DataDistributionType": "FullyReplicated",
                }},
            }],
            "OutputDataConfig": {"S3OutputPath": output},
            "ResourceConfig": {
                "InstanceCount": 1,
                "InstanceType": request.instance_type,
                "VolumeSizeInGB": VOLUME_GB,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 86_400},
        },
    });
    if request.ranges.is_empty() {
        body["Autotune"] = json!({ "Mode": "Enabled" });
    }
    let answer = client.json(Service::SageMaker, "CreateHyperParameterTuningJob", &body)?;
    line(text(&answer, "HyperParameterTuningJobArn"));
    Ok(name)
}

/// `ParameterRanges`.
fn ranges(ranges: &[TuningRange]) -> Value {
    let (mut continuous, mut integer, mut categorical) = (Vec::new(), Vec::new(), Vec::new());
    let numbers = |name: &str, min: String, max: String, scaling: &str| json!({ "Name": name, "MinValue": min, "MaxValue": max, "ScalingType": scaling });
    for range in ranges {
        match range {
            TuningRange::Continuous { name, min, max, scaling } => {
                continuous.push(numbers(name, min.to_string(), max.to_string(), scaling));
            }
            TuningRange::Integer { name, min, max, scaling } => {
                integer.push(numbers(name, min.to_string(), max.to_string(), scaling));
            }
            TuningRange::Categorical { name, values } => {
                categorical.push(json!({ "Name": name, "Values": values }));
            }
        }
    }
    json!({
        "ContinuousParameterRanges": continuous,
        "IntegerParameterRanges": integer,
        "CategoricalParameterRanges": categorical,
    })
}
