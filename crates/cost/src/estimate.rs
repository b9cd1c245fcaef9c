//! The arithmetic of AWS's bill, with its rounding.
//!
//! SageMaker bills each instance by the second (<https://aws.amazon.com/sagemaker/ai/pricing/>), a training
//! job for its billable seconds times its instances (DescribeTrainingJob, `BillableTimeInSeconds`). EC2 bills
//! Linux by the second, a minute at least. Lambda rounds a duration up to a millisecond, and the time that
//! provisioned concurrency is on up to five minutes (<https://aws.amazon.com/lambda/pricing/>).

use crate::amount::Amount;
use crate::catalogue::{Architecture, Catalogue, Usage};
use crate::error::CostError;
use crate::words::{dollars, hours};

/// Hours of a month as AWS's own calculator counts them.
pub fn hours_a_month() -> f64 {
    730.0
}

/// A training job.
#[derive(Debug, Clone, Copy)]
pub struct Training<'a> {
    /// Instance type.
    pub instance_type: &'a str,
    /// Instances.
    pub count: u32,
    /// Billable seconds, of each instance.
    pub billable_s: u64,
    /// Managed spot training.
    pub spot: bool,
    /// Region.
    pub region: &'a str,
}

/// What a training job costs: billable seconds × instances × the price of a second.
///
/// # Errors
/// When the type has no price there.
pub fn training(
    catalogue: &Catalogue,
    instance_type: &str,
    count: u32,
    billable_s: u64,
    spot: bool,
    region: &str,
) -> Result<Amount, CostError> {
    training_of(catalogue, &Training { instance_type, count, billable_s, spot, region })
}

fn training_of(catalogue: &Catalogue, job: &Training<'_>) -> Result<Amount, CostError> {
    let usage = if job.spot { Usage::TrainingSpot } else { Usage::Training };
    let mut amount = instances(
        catalogue,
        usage,
        job.instance_type,
        f64::from(job.count),
        job.billable_s as f64,
        job.region,
    )?;
    if job.spot {
        amount.notes.push(
            "spot prices move by the hour; a job that is interrupted goes on from its checkpoints"
                .to_owned(),
        );
    }
    Ok(amount)
}

/// `count` instances (a fraction is an average) for `seconds` each.
///
/// # Errors
/// When the type has no price there, or a number is none.
pub fn instances(
    catalogue: &Catalogue,
    usage: Usage,
    instance_type: &str,
    count: f64,
    seconds: f64,
    region: &str,
) -> Result<Amount, CostError> {
    let count = sensible("number of instances", count)?;
    let mut billed = sensible("time", seconds)?.ceil();
    let mut amount = Amount::nothing(region);
    if usage.is_ec2() && billed > 0.0 && billed < 60.0 {
        billed = 60.0;
        amount.notes.push("EC2 bills a minute at least".to_owned());
    }
    let price = catalogue.hourly(usage, instance_type, region)?;
    let kind = catalogue.instance(instance_type);
    let name = kind.map_or_else(|| instance_type.to_owned(), |kind| usage.name_of(kind));
    let what = format!("{} × {name} ({usage})", hours(count));
    amount.add(what, count * billed / 3600.0, "instance-hours", &price);
    Ok(amount)
}

/// A tuning job: its trials are training jobs.
#[derive(Debug, Clone)]
pub struct Tuning<'a> {
    /// What each trial runs on.
    pub instance_type: &'a str,
    /// Instances of one trial.
    pub count: u32,
    /// Billable seconds of each trial.
    pub trials: &'a [u64],
    /// Managed spot training.
    pub spot: bool,
    /// Region.
    pub region: &'a str,
}

/// What a tuning job costs: the sum of its trials.
///
/// # Errors
/// When the type has no price there.
pub fn tuning(catalogue: &Catalogue, job: &Tuning<'_>) -> Result<Amount, CostError> {
    let total = job.trials.iter().fold(0_u64, |sum, seconds| sum.saturating_add(*seconds));
    let (instance_type, count, region) = (job.instance_type, job.count, job.region);
    let mut amount = training(catalogue, instance_type, count, total, job.spot, region)?;
    if let Some(item) = amount.items.first_mut() {
        item.what = format!("{} trials, each {}", job.trials.len(), item.what);
    }
    Ok(amount)
}

/// An endpoint variant over some time.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint<'a> {
    /// Instance type.
    pub instance_type: &'a str,
    /// Instances on average over the time.
    pub average_instances: f64,
    /// How long, in hours.
    pub hours: f64,
    /// GB in and out.
    pub data_gb: f64,
    /// Region.
    pub region: &'a str,
}

/// What an endpoint variant costs.
///
/// # Errors
/// When the type has no price there, or a number is none.
pub fn endpoint(catalogue: &Catalogue, of: &Endpoint<'_>) -> Result<Amount, CostError> {
    let seconds = sensible("number of hours", of.hours)? * 3600.0;
    let average = of.average_instances;
    let mut amount =
        instances(catalogue, Usage::Hosting, of.instance_type, average, seconds, of.region)?;
    let gb = sensible("number of gigabytes", of.data_gb)?;
    if gb > 0.0 {
        match catalogue.endpoint_data(of.region) {
            Some(price) => {
                amount.add("data in and out of the endpoint".to_owned(), gb, "GB", &price);
            }
            None => amount.notes.push(format!("no price of data is known in `{}`", of.region)),
        }
    }
    Ok(amount)
}

/// A function over some time.
#[derive(Debug, Clone, Copy)]
pub struct Function<'a> {
    /// Invocations.
    pub requests: f64,
    /// How long one takes, in milliseconds.
    pub duration_ms: f64,
    /// Its memory in MB.
    pub memory_mb: f64,
    /// Its processors.
    pub architecture: Architecture,
    /// Provisioned concurrency; 0 for none.
    pub provisioned: u32,
    /// How long that is on, in hours.
    pub provisioned_hours: f64,
    /// Share of the invocations that it takes; the rest costs what it costs without.
    pub provisioned_share: f64,
    /// Take off what is free each month.
    pub free_tier: bool,
    /// Region.
    pub region: &'a str,
}

/// What a function costs.
///
/// # Errors
/// When the region has no prices, or a number is none.
pub fn function(catalogue: &Catalogue, of: &Function<'_>) -> Result<Amount, CostError> {
    let prices = catalogue.lambda(of.region)?;
    let requests = sensible("number of requests", of.requests)?;
    let milliseconds = sensible("duration", of.duration_ms)?.ceil();
    let gb = sensible("memory", of.memory_mb)? / 1024.0;
    let on = sensible("number of hours", of.provisioned_hours)?;
    let arm = of.architecture == Architecture::Arm;
    let pick = |x86: f64, on_arm: f64| {
        catalogue.price(if arm { on_arm } else { x86 }, prices.verified, &prices.source)
    };
    let provisioned = of.provisioned > 0 && on > 0.0;
    let share = if provisioned { of.provisioned_share.clamp(0.0, 1.0) } else { 0.0 };
    let gb_seconds = requests * milliseconds / 1000.0 * gb;
    let mut amount = Amount::nothing(of.region);
    // "The Lambda free tier does not apply to functions that have Provisioned Concurrency enabled."
    let free = of.free_tier && !provisioned;
    let (free_requests, free_gb_seconds) =
        if free { (prices.free_requests, prices.free_gb_seconds) } else { (0.0, 0.0) };
    let request = catalogue.price(prices.request, prices.verified, &prices.source);
    let billed = (requests - free_requests).max(0.0);
    amount.add("requests".to_owned(), billed, "requests", &request);
    let on_demand = (gb_seconds * (1.0 - share) - free_gb_seconds).max(0.0);
    if share < 1.0 {
        let price = pick(prices.gb_second_x86, prices.gb_second_arm);
        amount.add("duration".to_owned(), on_demand, "GB-seconds", &price);
    }
    if provisioned {
        // Five minutes are the unit.
        let seconds = (on * 12.0).ceil() * 300.0;
        let price = pick(prices.provisioned_gb_second_x86, prices.provisioned_gb_second_arm);
        let what = format!("provisioned concurrency of {}", of.provisioned);
        amount.add(what, f64::from(of.provisioned) * gb * seconds, "GB-seconds", &price);
        let price = pick(prices.provisioned_duration_x86, prices.provisioned_duration_arm);
        let what = "duration on provisioned concurrency".to_owned();
        amount.add(what, gb_seconds * share, "GB-seconds", &price);
        amount.notes.push(
            "provisioned concurrency is billed while it is on, used or not, in steps of five minutes; there is no free tier with it"
                .to_owned(),
        );
    } else if free {
        amount.notes.push(format!(
            "free each month: {} requests and {} GB-seconds of the whole account",
            prices.free_requests, prices.free_gb_seconds
        ));
    }
    Ok(amount)
}

/// Objects in S3 over some time.
#[derive(Debug, Clone, Copy)]
pub struct Storage<'a> {
    /// GB, Standard storage.
    pub gb: f64,
    /// For how many months.
    pub months: f64,
    /// PUT, COPY, POST, LIST.
    pub puts: f64,
    /// GET and the others.
    pub gets: f64,
    /// Region.
    pub region: &'a str,
}

/// What objects in S3 cost.
///
/// # Errors
/// When the region has no prices, or a number is none.
pub fn storage(catalogue: &Catalogue, of: &Storage<'_>) -> Result<Amount, CostError> {
    let prices = catalogue.s3(of.region)?;
    let price = |dollars| catalogue.price(dollars, prices.verified, &prices.source);
    let mut amount = Amount::nothing(of.region);
    let gb_months = sensible("number of gigabytes", of.gb)? * sensible("time", of.months)?;
    amount.add("S3 Standard storage".to_owned(), gb_months, "GB-months", &price(prices.gb_month));
    for (what, requests, dollars) in
        [("PUT, COPY, POST, LIST", of.puts, prices.put), ("GET and others", of.gets, prices.get)]
    {
        let requests = sensible("number of requests", requests)?;
        if requests > 0.0 {
            amount.add(format!("S3 {what}"), requests, "requests", &price(dollars));
        }
    }
    Ok(amount)
}

/// A training job's price in one sentence: "12 billable seconds at ml.m5.xlarge × 2: $0.0015 (us-east-1,
/// prices of 2026-09-24)". Where there is no price, it says that instead.
pub fn sentence(catalogue: &Catalogue, job: &Training<'_>) -> String {
    let unit = if job.billable_s == 1 { "second" } else { "seconds" };
    let spot = if job.spot { ", spot" } else { "" };
    let head =
        format!("{} billable {unit} at {} × {}", job.billable_s, job.instance_type, job.count);
    match training_of(catalogue, job) {
        Ok(amount) => format!(
            "{head}: {}{} ({}{spot}, prices of {})",
            if amount.verified { "" } else { "~" },
            dollars(amount.dollars),
            job.region,
            amount.as_of()
        ),
        Err(_) => format!("{head}: no price of it is known in {}{spot}", job.region),
    }
}

/// A number of things: finite and not negative.
fn sensible(what: &'static str, value: f64) -> Result<f64, CostError> {
    if value.is_finite() && (0.0..1e15).contains(&value) {
        return Ok(value);
    }
    Err(CostError::Number { what, value: value.to_string(), must: "zero or more" })
}

#[cfg(test)]
mod tests;
