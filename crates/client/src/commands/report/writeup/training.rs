//! What training on one and on several instances gave, the tuning, and the same training on EC2.

use kennel_report::{Block, Chart, Column, Series, Table, short};
use serde_json::Value;

use super::{Writer, instances, named, number, times, took};
use crate::commands::report::facts::{Area, Curve, Job, Source};
use crate::commands::tuning;
use crate::output::text;

/// Metrics of a job that are shown.
const METRICS: usize = 4;
/// Hyperparameters that are shown.
const PARAMETERS: usize = 6;

impl Writer<'_> {
    pub(super) fn training(&mut self) {
        self.heading("Training");
        let facts = self.facts;
        if self.unknown(Area::Jobs) {
        } else if facts.jobs.is_empty() {
            self.missing(
                "There is no training job that completed.",
                "kennel job start NAME --data photos --instance-type ml.m5.xlarge --wait",
            );
        } else {
            self.jobs(&facts.jobs);
        }
        let single = facts.jobs.iter().find(|job| job.count() == 1);
        let several = facts.jobs.iter().find(|job| job.count() > 1);
        match (single, several) {
            (Some(single), Some(several)) => self.compared(single, several),
            (Some(single), None) => self.missing(
                "No job used more than one instance.",
                format!(
                    "kennel job start NAME --data photos --instance-type {} --instance-count 2 --wait",
                    single.kind()
                ),
            ),
            (None, Some(several)) => self.missing(
                "No job used a single instance, to compare with.",
                format!("kennel job start NAME --data photos --instance-type {} --wait", several.kind()),
            ),
            (None, None) => {}
        }
        self.tuned();
        if let Some(job) = facts.jobs.first() {
            self.on_ec2(&job.own);
        }
    }

    fn jobs(&mut self, jobs: &[Job]) {
        let metrics = common(jobs);
        let mut columns = vec![Column::words("job"), Column::words("instances")];
        columns.extend(["training", "billed", "cost"].map(Column::numbers));
        // A space after the colon is where a head may be broken.
        let heads = metrics.iter().map(|metric| Column::numbers(&metric.replace(':', ": ")));
        columns.extend(heads);
        let rows = jobs
            .iter()
            .map(|job| {
                let cost = self.cost(job);
                let mut cells = vec![
                    named(&job.own, "TrainingJobName"),
                    format!("{}\u{a0}×\u{a0}{}", job.count(), job.kind()),
                    took(job.training_s()),
                    format!("{}\u{a0}×\u{a0}{}\u{a0}s", job.count(), job.billable_s()),
                    self.money(cost),
                ];
                cells.extend(metrics.iter().map(|metric| {
                    last(&job.own, metric)
                        .map_or_else(|| "–".to_owned(), |value| short(round(value)))
                }));
                cells
            })
            .collect();
        self.blocks.push(Block::Table(Table { columns, rows }));
        for job in jobs.iter().filter(|job| text(&job.own, "TrainingJobStatus") != "Completed") {
            let status = text(&job.own, "TrainingJobStatus");
            let reason = text(&job.own, "FailureReason");
            let words = format!("{} is {status}. {reason}", named(&job.own, "TrainingJobName"));
            self.blocks.push(Block::text(words.trim_end().to_owned()));
        }
        let mut charts: Vec<Chart> =
            ["loss", "acc"].iter().filter_map(|w| chart(jobs, w)).collect();
        charts.extend(self.trials());
        if charts.iter().all(Chart::is_empty) {
            self.blocks.push(Block::Missing {
                what: "Neither the log nor CloudWatch has the jobs' metrics over time.".to_owned(),
                command: None,
            });
        }
        self.blocks.push(Block::Charts(charts));
    }

    fn compared(&mut self, single: &Job, several: &Job) {
        let (one, more) = (single.training_s(), several.training_s());
        let billed = |job: &Job| job.count() as f64 * job.billable_s() as f64;
        let mut words = format!(
            "{} on {} trained for {} where {} on one took {}",
            named(&several.own, "TrainingJobName"),
            instances(several.count()),
            took(more),
            named(&single.own, "TrainingJobName"),
            took(one)
        );
        let faster = one / more.max(1e-9);
        if one > 0.0 && more > 0.0 {
            words.push_str(&format!(", {} as fast", times(faster)));
        }
        if billed(single) > 0.0 {
            let ratio = billed(several) / billed(single);
            words.push_str(&format!(", for {} the billed instance-seconds", times(ratio)));
        }
        words.push('.');
        let differing: Vec<String> = common(&[single, several])
            .iter()
            .filter_map(|metric| {
                let (a, b) = (last(&single.own, metric)?, last(&several.own, metric)?);
                Some(format!("{metric} {} against {}", short(round(b)), short(round(a))))
            })
            .take(2)
            .collect();
        if !differing.is_empty() {
            words.push_str(&format!(" At the end: {}.", differing.join(", ")));
        }
        if one > 0.0 && more > 0.0 {
            let count = several.count() as f64;
            words.push_str(&match faster {
                // Half of what would be ideal beyond one instance is a gain worth its name.
                f if f >= 1.0 + (count - 1.0) * 0.5 => format!(
                    " The work was shared: {} % of the ideal {} times.",
                    number(100.0 * f / count, 0),
                    number(count, 0)
                ),
                f if f > 1.05 => {
                    " Some of the work was shared; for a job of this length one instance is the cheaper choice.".to_owned()
                }
                _ => {
                    " More instances brought no time here: a job this short is not worth sharing, or its code does not share.".to_owned()
                }
            });
        }
        self.led("One or several.", words);
    }

    /// The objective of the trials in the order in which they began.
    fn trials(&self) -> Option<Chart> {
        let tuned = self.facts.tuning.as_ref()?;
        let mut trials: Vec<(f64, f64)> = tuned
            .trials
            .iter()
            .filter_map(|trial| Some((trial["CreationTime"].as_f64()?, tuning::value(trial)?)))
            .collect();
        trials.sort_by(|a, b| a.0.total_cmp(&b.0));
        let points: Vec<(f64, f64)> =
            trials.iter().enumerate().map(|(index, (_, y))| (index as f64 + 1.0, *y)).collect();
        let (metric, _) = tuning::objective(&tuned.own);
        (points.len() > 1).then(|| Chart {
            title: format!("{metric} of the trials"),
            x_label: "trial".to_owned(),
            series: vec![Series { name: "trials".to_owned(), class: "s2".to_owned(), points }],
            mark: None,
            shares: false,
        })
    }

    fn tuned(&mut self) {
        if self.unknown(Area::Tuning) {
            return;
        }
        let Some(tuned) = &self.facts.tuning else {
            self.missing(
                "There is no tuning job that completed.",
                "kennel tune s3://BUCKET/PHOTOS",
            );
            return;
        };
        let (metric, more) = tuning::objective(&tuned.own);
        let config = &tuned.own["HyperParameterTuningJobConfig"];
        let mut words = format!(
            "{} ({}) ran {} trials to {} `{metric}`",
            named(&tuned.own, "HyperParameterTuningJobName"),
            text(config, "Strategy"),
            tuned.trials.len(),
            if more { "maximize" } else { "minimize" },
        );
        let best = &tuned.own["BestTrainingJob"];
        if let Some(value) = tuning::value(best) {
            words.push_str(&format!(
                "; the best is {} with {}",
                named(best, "TrainingJobName"),
                short(round(value))
            ));
        }
        let found = best["TunedHyperParameters"].as_object();
        let found: Vec<String> = found
            .into_iter()
            .flatten()
            .map(|(name, value)| {
                let value = value.as_str().unwrap_or_default();
                let shown =
                    value.parse::<f64>().map_or_else(|_| value.to_owned(), |v| short(round(v)));
                format!("{name} {shown}")
            })
            .collect();
        if !found.is_empty() {
            words.push_str(&format!(" by {}", super::some(&found, PARAMETERS)));
        }
        words.push('.');
        let job = tuned.best.as_ref().map(|own| Job {
            own: own.clone(),
            curves: Vec::new(),
            source: Source::Log,
        });
        if let Some(job) = job {
            let cost = self.cost(&job);
            words.push_str(&format!(
                " That trial was billed for {} × {} s on {}: {}.",
                job.count(),
                job.billable_s(),
                job.kind(),
                self.money(cost)
            ));
        }
        self.led("Tuning.", words);
    }

    /// What SageMaker did for the job, and what stands for it in code on a plain machine.
    fn on_ec2(&mut self, job: &Value) {
        let channels: Vec<String> = job["InputDataConfig"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|channel| text(channel, "ChannelName"))
            .collect();
        let parameters: Vec<String> = job["HyperParameters"]
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, _)| !name.starts_with("sagemaker_"))
            .map(|(name, value)| {
                format!("{name}={}", value.as_str().unwrap_or_default().trim_matches('"'))
            })
            .collect();
        let paths: Vec<String> = channels
            .iter()
            .map(|c| format!("`SM_CHANNEL_{}`", c.to_ascii_uppercase().replace('-', "_")))
            .collect();
        let parameters = match parameters.is_empty() {
            true => "none were given".to_owned(),
            false => format!("`{}`", super::some(&parameters, PARAMETERS)),
        };
        let words = format!(
            "SageMaker put the channels of {} from S3 into folders ({}), passed the hyperparameters ({parameters}), packed what was left in `SM_MODEL_DIR` to {}, kept the log and read the metrics from it. On EC2 the script does all of that itself: copy the photos, write the settings into the code or the command line, keep model and log on the machine's own disk and upload them, stop the machine. `kennel train photos` is one program for both.",
            named(job, "TrainingJobName"),
            super::some(&paths, 3),
            named(&job["ModelArtifacts"], "S3ModelArtifacts"),
        );
        self.led("The same on EC2.", words);
    }
}

/// The names of the final metrics that jobs have, those of validation first.
fn common<J: std::borrow::Borrow<Job>>(jobs: &[J]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for job in jobs {
        for metric in job.borrow().own["FinalMetricDataList"].as_array().into_iter().flatten() {
            let name = text(metric, "MetricName");
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names.sort_by_key(|name| rank(name));
    names.truncate(METRICS);
    names
}

/// Validation tells more than test, and both more than training.
fn rank(name: &str) -> u8 {
    let name = name.to_ascii_lowercase();
    if name.contains("valid") {
        0
    } else if name.contains("test") {
        1
    } else {
        2
    }
}

fn last(job: &Value, metric: &str) -> Option<f64> {
    let mut all = job["FinalMetricDataList"].as_array()?.iter();
    all.find(|m| m["MetricName"] == metric)?["Value"].as_f64()
}

/// Metrics are 32-bit numbers at AWS: digits beyond those are noise.
fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let power = 10_f64.powf(5.0 - value.abs().log10().floor());
    let rounded = (value * power).round() / power;
    if rounded.is_finite() { rounded } else { value }
}

/// One metric of all jobs; of each the one that says most.
fn chart(jobs: &[Job], word: &str) -> Option<Chart> {
    let of = |job: &Job| -> Option<Curve> {
        let mut curves: Vec<&Curve> = job
            .curves
            .iter()
            .filter(|c| c.name.to_ascii_lowercase().contains(word) && c.points.len() > 1)
            .collect();
        curves.sort_by_key(|curve| rank(&curve.name));
        curves.first().map(|curve| (*curve).clone())
    };
    let found: Vec<(&Job, Curve)> = jobs.iter().filter_map(|job| Some((job, of(job)?))).collect();
    let (first, curve) = found.first()?;
    let x_label = match first.source {
        Source::Log => "reports (epochs)",
        Source::Minutes => "minutes",
    };
    let same = found.iter().all(|(_, other)| other.name == curve.name);
    let classes = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"];
    let series = found
        .iter()
        .zip(classes)
        .map(|((job, curve), class)| Series {
            name: match same {
                true => text(&job.own, "TrainingJobName"),
                false => format!("{} {}", text(&job.own, "TrainingJobName"), curve.name),
            },
            class: class.to_owned(),
            points: curve.points.clone(),
        })
        .collect();
    let title = if same { curve.name.clone() } else { word.replace("acc", "accuracy") };
    // Shares have an axis in percent.
    let share = |(_, y): &(f64, f64)| (0.0..=1.0).contains(y);
    let shares = word == "acc" && found.iter().all(|(_, curve)| curve.points.iter().all(share));
    Some(Chart { title, x_label: x_label.to_owned(), series, mark: None, shares })
}
