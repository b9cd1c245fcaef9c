//! Rules about a trainer's steps.

use serde_json::{Map, json};

use super::{Finding, Parameters};
use crate::recording::Recording;
use crate::stats;

/// Fewer steps say nothing about their spread; SageMaker's own limit.
const FEWEST: usize = 100;
const MOST_NAMED: usize = 20;

/// StepOutlier: steps that take longer than the mean and some standard deviations.
pub(super) fn outlier(
    recording: &Recording,
    parameters: &mut Parameters<'_>,
) -> Result<Finding, String> {
    let stddev = parameters.number("stddev", 3.0, 0.0, 1e6)?;
    let ignored = parameters.count("n_outliers", 10)?;
    let mode = parameters.text("mode").filter(|mode| !mode.is_empty() && mode != "None");
    let phase = mode.as_deref().unwrap_or("step");
    let hosts = recording.phase(phase);
    let most = hosts.iter().map(|(_, phase)| phase.events.len()).max().unwrap_or(0);
    if most <= FEWEST {
        let finding = Finding::fine(format!(
            "not judged: it takes more than {FEWEST} steps, there are {most}"
        ));
        return Ok(finding.counted(0, most));
    }
    let (mut found, mut samples, mut violations, mut details) = (Vec::new(), 0, 0, Map::new());
    for (host, steps) in hosts.iter().filter(|(_, phase)| phase.events.len() > FEWEST) {
        let times: Vec<f64> = steps.events.iter().map(|e| e.duration_us as f64 / 1000.0).collect();
        let (mean, deviation) = (stats::mean(&times), stats::deviation(&times));
        let limit = mean + stddev * deviation;
        let slow: Vec<usize> = (0..times.len()).filter(|i| times[*i] > limit).collect();
        samples += times.len();
        let numbers: Vec<u64> = slow
            .iter()
            .take(MOST_NAMED)
            .map(|i| steps.events[*i].step.unwrap_or(*i as u64))
            .collect();
        let summary = stats::summary(times.iter().copied());
        details.insert(
            (*host).to_owned(),
            json!({
                "step_stats": summary.map(|s| json!({
                    "mean": s.mean, "max": s.max, "p99": s.p99, "p95": s.p95, "p50": s.p50, "min": s.min
                })),
                "stddev": deviation,
                "number_of_outliers": slow.len(),
                "step_numbers": numbers,
                "phase": phase,
            }),
        );
        if slow.len() > ignored {
            violations += slow.len();
            let longest = times.iter().copied().fold(0.0, f64::max);
            // What they cost says whether it matters.
            let lost: f64 = slow.iter().map(|i| times[*i] - mean).sum::<f64>() / 1000.0;
            let words = format!(
                "{host}: {} of {} steps take more than {limit:.2} ms, the longest {longest:.1} ms, where the mean \
                 is {mean:.2} ms, and together cost {lost:.2} s",
                slow.len(),
                times.len()
            );
            found.push((slow.len(), words));
        }
    }
    // The worst instance stands for all; the details have every one.
    found.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let others = match found.len() {
        0 | 1 => String::new(),
        count => {
            format!("; {} in all", kennel_report::plural(count as u64, "instance", "instances"))
        }
    };
    let finding = match found.first() {
        None => Finding::fine("the steps take about the same time"),
        Some((_, worst)) => Finding::issue(
            format!("some steps take much longer than the others ({worst}{others})."),
            "Look in the timelines at what else ran then: another process, evaluation, or saving tensors at too many \
             steps.",
        ),
    };
    Ok(finding.counted(violations, samples).with(json!({"step_details": details})))
}

/// MaxInitializationTime: minutes until the first step.
pub(super) fn initialization(
    recording: &Recording,
    parameters: &mut Parameters<'_>,
) -> Result<Finding, String> {
    let threshold = parameters.number("threshold", 20.0, 0.0, 1e6)?;
    let first = recording.phase("step").iter().map(|(_, phase)| phase.first_us / 1000).min();
    let Some((begin, end)) = recording.span_ms().filter(|_| !recording.phases.is_empty()) else {
        return Ok(Finding::fine("not judged: no steps were recorded"));
    };
    let minutes = first.unwrap_or(end).saturating_sub(begin) as f64 / 60_000.0;
    let details = json!({"step_num": {"first": first}, "minutes": minutes});
    let took = if minutes < 2.0 {
        format!("{:.1} s", minutes * 60.0)
    } else {
        format!("{minutes:.1} minutes")
    };
    let finding = match (minutes > threshold, first) {
        (true, Some(_)) => Finding::issue(
            format!("the first step came after {took}; {threshold} minutes are the limit."),
            "That time went into reading photos and the frozen network; the feature cache saves it the next time, \
             and `--engine onnxruntime` or smaller photos shorten it.",
        ),
        (true, None) => Finding::issue(
            format!("there is no step yet after {took}."),
            "Look at which phase it is in: a long scan means slow disks, long features a slow engine or large photos.",
        ),
        (false, Some(_)) => Finding::fine(format!("the first step came after {took}")),
        (false, None) => Finding::fine(format!("no step yet after {took}")),
    };
    let violations = usize::from(minutes > threshold);
    Ok(finding.counted(violations, 1).with(details))
}
