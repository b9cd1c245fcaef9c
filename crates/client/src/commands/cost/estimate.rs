//! `kennel cost estimate`: from arguments, or from what a job, an endpoint or a function is.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use kennel_cost::{
    Amount, Architecture, Catalogue, Endpoint, Function, Storage, Tuning, dollars, endpoint,
    function, hours_a_month, storage, training, tuning,
};
use serde_json::{Value, json};

use super::facts::{Fleet, average_duration_ms, fleets, provisioned};
use super::{as_json, prices, region, region_of, seconds, shown};
use crate::client::{Client, Service, encode};
use crate::error::ClientError;
use crate::output::{self, line, text};
use crate::target::TargetArguments;

/// What is estimated.
#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// A training job: `kennel cost estimate training JOB`, or with --instance-type and --time
    Training(TrainingArguments),
    /// A tuning job and its trials
    Tuning(TuningArguments),
    /// An endpoint, with its scaling policy where it has one
    Endpoint(EndpointArguments),
    /// A function, with its provisioned concurrency
    Function(FunctionArguments),
    /// Objects in S3
    Storage(StorageArguments),
}

#[derive(Debug, Args)]
pub(super) struct TrainingArguments {
    /// A job that has run; flags say what would be different
    name: Option<String>,
    /// Instance type
    #[arg(long, value_name = "TYPE")]
    instance_type: Option<String>,
    /// Instances
    #[arg(long, value_name = "N")]
    count: Option<u32>,
    /// Billable time of each instance: 90s, 15m, 2h
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    time: Option<f64>,
    /// On managed spot instances
    #[arg(long)]
    spot: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct TuningArguments {
    /// A tuning job that has run
    name: Option<String>,
    /// Trials
    #[arg(long, value_name = "N")]
    trials: Option<u32>,
    /// Instance type
    #[arg(long, value_name = "TYPE")]
    instance_type: Option<String>,
    /// Instances of a trial
    #[arg(long, value_name = "N")]
    count: Option<u32>,
    /// Billable time of a trial: 90s, 15m, 2h
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    time: Option<f64>,
    /// On managed spot instances
    #[arg(long)]
    spot: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct EndpointArguments {
    /// An endpoint that exists
    name: Option<String>,
    /// Instance type
    #[arg(long, value_name = "TYPE")]
    instance_type: Option<String>,
    /// How long [default: a month]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    time: Option<f64>,
    /// Fewest instances of the scaling policy
    #[arg(long, value_name = "N")]
    min: Option<u32>,
    /// Most instances of the scaling policy
    #[arg(long, value_name = "N")]
    max: Option<u32>,
    /// Instances on average
    #[arg(long, value_name = "N", conflicts_with_all = ["at", "simulation"])]
    average_instances: Option<f64>,
    /// Hours at a number of instances, as in 1=600; repeatable
    #[arg(long, value_name = "COUNT=HOURS", value_parser = count_hours, conflicts_with = "simulation")]
    at: Vec<(f64, f64)>,
    /// What `kennel scale simulate --json` said
    #[arg(long, value_name = "FILE")]
    simulation: Option<PathBuf>,
    /// GB in and out
    #[arg(long, value_name = "GB", default_value_t = 0.0)]
    data_gb: f64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct FunctionArguments {
    /// A function that exists; its memory, processors, durations and provisioned concurrency are taken
    name: Option<String>,
    /// Invocations
    #[arg(long, value_name = "N", default_value_t = 100_000.0)]
    requests: f64,
    /// How long one takes, in milliseconds [default: 200, or the function's average]
    #[arg(long, value_name = "MS")]
    duration: Option<f64>,
    /// Memory in MB [default: 128, or the function's]
    #[arg(long, value_name = "MB")]
    memory: Option<f64>,
    /// On arm64
    #[arg(long)]
    arm: bool,
    /// Provisioned concurrency [default: 0, or the function's]
    #[arg(long, value_name = "N")]
    provisioned: Option<u32>,
    /// How long that is on [default: a month]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    provisioned_time: Option<f64>,
    /// Take off what is free each month
    #[arg(long)]
    free_tier: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct StorageArguments {
    /// GB, Standard storage
    #[arg(long, value_name = "GB")]
    gb: f64,
    /// For how many months
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    months: f64,
    /// PUT, COPY, POST and LIST requests
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    puts: f64,
    /// GET and other requests
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    gets: f64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn count_hours(given: &str) -> Result<(f64, f64), String> {
    let wrong = || "expected COUNT=HOURS, as in 2=100".to_owned();
    let (count, hours) = given.split_once('=').ok_or_else(wrong)?;
    let number = |text: &str| {
        text.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0).ok_or_else(wrong)
    };
    Ok((number(count)?, number(hours)?))
}

pub(super) fn run(target: &TargetArguments, what: &What) -> Result<(), ClientError> {
    let catalogue = prices::catalogue();
    let client = || Ok::<_, ClientError>(Client::new(target.resolve()?));
    let region = region(target);
    let at = At { catalogue: &catalogue, region: &region };
    match what {
        What::Training(given) => {
            let job = match &given.name {
                Some(name) => client()?.json(
                    Service::SageMaker,
                    "DescribeTrainingJob",
                    &json!({"TrainingJobName": name}),
                )?,
                None => Value::Null,
            };
            print(&at.training(&job, given)?, given.json);
        }
        What::Tuning(given) => {
            let (job, trials) = match &given.name {
                Some(name) => {
                    let body = json!({"HyperParameterTuningJobName": name});
                    let client = client()?;
                    let operation = "DescribeHyperParameterTuningJob";
                    let job = client.json(Service::SageMaker, operation, &body)?;
                    let trials = client.json_pages(
                        Service::SageMaker,
                        "ListTrainingJobsForHyperParameterTuningJob",
                        &body,
                        "TrainingJobSummaries",
                    )?;
                    (job, trials)
                }
                None => (Value::Null, Vec::new()),
            };
            print(&at.tuning(&job, &trials, given)?, given.json);
        }
        What::Endpoint(given) => {
            let found = match &given.name {
                Some(name) => fleets(&client()?, name)?,
                None => Vec::new(),
            };
            let average = match &given.simulation {
                Some(path) => Some(simulated(path)?),
                None => None,
            };
            at.endpoint(&found, average, given)?;
        }
        What::Function(given) => {
            let facts = match &given.name {
                Some(name) => Facts::of(&client()?, name)?,
                None => Facts::default(),
            };
            print(&at.function(&facts, given)?, given.json);
        }
        What::Storage(given) => {
            let of = Storage {
                gb: given.gb,
                months: given.months,
                puts: given.puts,
                gets: given.gets,
                region: &region,
            };
            print(&storage(&catalogue, &of)?, given.json);
        }
    }
    Ok(())
}

fn print(amount: &Amount, json: bool) {
    if json { output::json(&as_json(amount)) } else { line(shown(amount)) }
}

/// Prices, and where.
struct At<'a> {
    catalogue: &'a Catalogue,
    region: &'a str,
}

/// What must be said, with the flag that says it.
fn needed<T>(value: Option<T>, flag: &str, what: &str) -> Result<T, ClientError> {
    value.ok_or_else(|| {
        ClientError::Usage(format!(
            "{what} is not known\nhint: say it with {flag}, or name one that exists"
        ))
    })
}

impl At<'_> {
    fn training(&self, job: &Value, given: &TrainingArguments) -> Result<Amount, ClientError> {
        let resources = &job["ResourceConfig"];
        let kind = given.instance_type.as_deref().or(resources["InstanceType"].as_str());
        let kind = needed(kind, "--instance-type", "the instance type")?;
        let own = resources["InstanceCount"].as_u64().and_then(|n| u32::try_from(n).ok());
        let count = given.count.or(own).unwrap_or(1);
        let billed = given.time.or_else(|| job["BillableTimeInSeconds"].as_f64());
        let billed = match (billed, &given.name) {
            (Some(billed), _) => billed.ceil() as u64,
            (None, Some(name)) => {
                return Err(ClientError::Usage(format!(
                    "job `{name}` has not ended, so its billable time is not known\nhint: say it with --time, or wait with `kennel job wait {name}`"
                )));
            }
            (None, None) => return needed(None, "--time", "the billable time"),
        };
        let spot = given.spot || job["EnableManagedSpotTraining"].as_bool().unwrap_or(false);
        let region = region_of(job["TrainingJobArn"].as_str()).unwrap_or(self.region);
        Ok(training(self.catalogue, kind, count, billed, spot, region)?)
    }

    fn tuning(
        &self,
        job: &Value,
        found: &[Value],
        given: &TuningArguments,
    ) -> Result<Amount, ClientError> {
        // One definition, or the first of several.
        let own = match job["TrainingJobDefinition"].is_object() {
            true => &job["TrainingJobDefinition"],
            false => &job["TrainingJobDefinitions"][0],
        };
        let resources = &own["ResourceConfig"];
        let kind = given.instance_type.as_deref().or(resources["InstanceType"].as_str());
        let kind = needed(kind, "--instance-type", "the instance type")?;
        let count = resources["InstanceCount"].as_u64().and_then(|n| u32::try_from(n).ok());
        let count = given.count.or(count).unwrap_or(1);
        let took = |trial: &Value| {
            let between =
                trial["TrainingEndTime"].as_f64()? - trial["TrainingStartTime"].as_f64()?;
            Some(between.ceil().max(1.0) as u64)
        };
        let ran: Vec<u64> = found.iter().filter_map(took).collect();
        let trials = match (given.trials, given.time) {
            (None, None) if !ran.is_empty() => ran,
            (trials, time) => {
                let average = ran.iter().sum::<u64>() as f64 / ran.len().max(1) as f64;
                let time = time.or(Some(average).filter(|a| *a > 0.0));
                let time = needed(time, "--time", "the billable time of a trial")?;
                let wanted = &job["HyperParameterTuningJobConfig"]["ResourceLimits"];
                let wanted = wanted["MaxNumberOfTrainingJobs"].as_u64();
                let wanted = trials.or_else(|| wanted.and_then(|n| u32::try_from(n).ok()));
                let trials = needed(wanted, "--trials", "the number of trials")?;
                vec![time.ceil() as u64; trials.min(100_000) as usize]
            }
        };
        let spot = given.spot || own["EnableManagedSpotTraining"].as_bool().unwrap_or(false);
        let region = region_of(job["HyperParameterTuningJobArn"].as_str()).unwrap_or(self.region);
        let of = Tuning { instance_type: kind, count, trials: &trials, spot, region };
        Ok(tuning(self.catalogue, &of)?)
    }

    fn endpoint(
        &self,
        found: &[Fleet],
        simulated: Option<f64>,
        given: &EndpointArguments,
    ) -> Result<(), ClientError> {
        let hours = given.time.map_or_else(hours_a_month, |seconds| seconds / 3600.0);
        let mut hours = hours;
        let mut average = given.average_instances.or(simulated);
        if !given.at.is_empty() {
            hours = given.at.iter().map(|(_, hours)| hours).sum();
            let instance_hours: f64 = given.at.iter().map(|(count, hours)| count * hours).sum();
            average = Some(if hours > 0.0 { instance_hours / hours } else { 0.0 });
        }
        let own = match found {
            [] => {
                let kind = given.instance_type.clone();
                let kind = needed(kind, "--instance-type", "the instance type")?;
                vec![Fleet { kind, count: 1, ..Fleet::default() }]
            }
            found => found.to_vec(),
        };
        let mut parts = Vec::new();
        for fleet in &own {
            let kind = given.instance_type.as_deref().unwrap_or(&fleet.kind);
            let region = fleet.region.as_deref().unwrap_or(self.region);
            let of = |instances: f64, data_gb: f64| {
                let of = Endpoint {
                    instance_type: kind,
                    average_instances: instances,
                    hours,
                    data_gb,
                    region,
                };
                endpoint(self.catalogue, &of)
            };
            let min = given.min.or(fleet.bounds.map(|b| b.0));
            let max = given.max.or(fleet.bounds.map(|b| b.1));
            if let (Some(min), Some(max)) = (min, max)
                && min > max
            {
                return Err(ClientError::Usage(format!(
                    "the fewest instances, {min}, are more than the most, {max}"
                )));
            }
            let now = f64::from(fleet.count);
            let usual = average.unwrap_or(now.max(f64::from(min.unwrap_or(0))));
            let data = given.data_gb / own.len() as f64;
            let bound = |count: Option<u32>| {
                count.map(|n| of(f64::from(n), data).map(|a| (n, a))).transpose()
            };
            parts.push((fleet.variant.clone(), of(usual, data)?, bound(min)?, bound(max)?));
        }
        if given.json {
            let listed: Vec<Value> = parts
                .iter()
                .map(|(variant, amount, min, max)| {
                    json!({
                        "variant": variant, "estimate": as_json(amount),
                        "at_min": min.as_ref().map(|(_, a)| as_json(a)),
                        "at_max": max.as_ref().map(|(_, a)| as_json(a)),
                    })
                })
                .collect();
            let sum: f64 = parts.iter().map(|part| part.1.dollars).sum();
            output::json(&json!({"hours": hours, "dollars": sum, "variants": listed}));
            return Ok(());
        }
        for (at, (variant, amount, min, max)) in parts.iter().enumerate() {
            if parts.len() > 1 {
                line(format!("{}variant {variant}", if at > 0 { "\n" } else { "" }));
            }
            line(shown(amount));
            let end = |name: &str, bound: &Option<(u32, Amount)>| {
                bound.as_ref().map(|(n, a)| format!("{} at its {name} of {n}", a.said()))
            };
            let ends: Vec<String> =
                [end("fewest", min), end("most", max)].into_iter().flatten().collect();
            if !ends.is_empty() {
                line(format!("- with its scaling policy: {}", ends.join(", ")));
            }
        }
        let sum: f64 = parts.iter().map(|part| part.1.dollars).sum();
        if parts.len() > 1 {
            line(format!("\nall variants: {}", dollars(sum)));
        }
        line(format!("- for {} hours", kennel_cost::hours(hours)));
        Ok(())
    }

    fn function(&self, facts: &Facts, given: &FunctionArguments) -> Result<Amount, ClientError> {
        let month = hours_a_month();
        let provisioned = given.provisioned.unwrap_or(facts.provisioned);
        let memory = given.memory.or(facts.memory).unwrap_or(128.0);
        let duration = given.duration.or(facts.duration).unwrap_or(200.0);
        let of = Function {
            requests: given.requests,
            duration_ms: duration,
            memory_mb: memory,
            architecture: match given.arm || facts.arm {
                true => Architecture::Arm,
                false => Architecture::X86,
            },
            provisioned,
            provisioned_hours: given.provisioned_time.map_or(month, |seconds| seconds / 3600.0),
            provisioned_share: 1.0,
            free_tier: given.free_tier,
            region: facts.region.as_deref().unwrap_or(self.region),
        };
        let mut amount = function(self.catalogue, &of)?;
        let measured = match (given.duration, facts.duration) {
            (None, Some(_)) => " (its average in the last two weeks, measured here)",
            (None, None) => " (assumed; say it with --duration)",
            _ => "",
        };
        amount.notes.push(format!(
            "{} invocations of {} ms{measured} with {} MB on {}",
            super::quantity(given.requests),
            super::quantity(duration.ceil()),
            super::quantity(memory),
            if of.architecture == Architecture::Arm { "arm64" } else { "x86_64" },
        ));
        Ok(amount)
    }
}

/// What a function is.
#[derive(Debug, Default)]
struct Facts {
    memory: Option<f64>,
    arm: bool,
    duration: Option<f64>,
    provisioned: u32,
    region: Option<String>,
}

impl Facts {
    fn of(client: &Client, name: &str) -> Result<Facts, ClientError> {
        let path = format!("/2015-03-31/functions/{}/configuration", encode(name));
        let found = client.rest(
            Service::Lambda,
            "GetFunctionConfiguration",
            http::Method::GET,
            &path,
            None,
        )?;
        let ready = provisioned(client, name)?;
        Ok(Facts {
            memory: found["MemorySize"].as_f64(),
            arm: found["Architectures"][0] == "arm64",
            duration: average_duration_ms(client, &text(&found, "FunctionName"))?,
            provisioned: ready.iter().map(|(_, count)| count).sum(),
            region: region_of(found["FunctionArn"].as_str()).map(str::to_owned),
        })
    }
}

/// The average number of instances of a simulation: its instance-hours over its time.
fn simulated(path: &Path) -> Result<f64, ClientError> {
    let wrong = |why: &str| {
        ClientError::Usage(format!(
            "`{}` is no outcome of a simulation: {why}\nhint: write one with `kennel scale simulate … --json > FILE`",
            path.display()
        ))
    };
    let text = std::fs::read_to_string(path).map_err(ClientError::file("read", path))?;
    let value: Value = serde_json::from_str(&text).map_err(|error| wrong(&error.to_string()))?;
    let outcome = if value["outcome"].is_object() { &value["outcome"] } else { &value };
    let hours = outcome["instance_hours"].as_f64().ok_or_else(|| wrong("no `instance_hours`"))?;
    let timeline = outcome["timeline"].as_array().map(Vec::as_slice).unwrap_or_default();
    let at = |index: usize| timeline.get(index).and_then(|moment| moment["at_s"].as_f64());
    // The timeline's moments begin their buckets: the last one lasts as long as the others.
    let (last, bucket) = match (at(0), at(1), at(timeline.len().wrapping_sub(1))) {
        (Some(first), Some(second), Some(last)) => (last, second - first),
        _ => return Err(wrong("no `timeline` of two moments")),
    };
    let seconds = last + bucket;
    match seconds > 0.0 && hours.is_finite() && hours >= 0.0 {
        true => Ok(hours * 3600.0 / seconds),
        false => Err(wrong("its time is zero")),
    }
}
