//! `kennel __observe CONFIG`: the child beside a training job that samples what the instances use,
//! evaluates the debugger's rules and makes the profiler's report. Started by the platform only
//! (`kennel_server::observation`); verdicts go to stdout, a JSON object a line.

use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use kennel_debugger::{Evaluator, RuleSpec};
use kennel_profiler::{About, Analysis, Instance, Sampler, SystemWriter};
use kennel_server::observation::{Config, Ended, RuleLine};

use crate::output::line;
use crate::signals;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The platform's instructions
    config: PathBuf,
}

/// How often new tensors are looked for.
const RULES_EVERY: Duration = Duration::from_millis(500);
/// How often the job's end is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    let text = std::fs::read(&arguments.config)
        .with_context(|| format!("cannot read `{}`", arguments.config.display()))?;
    let config: Config = serde_json::from_slice(&text)
        .with_context(|| format!("`{}` is no observer's file", arguments.config.display()))?;
    let stop = signals::stop_flag()?;
    let mut rules = Rules::new(&config);
    let mut profile = Profile::new(&config)?;
    let mut next_rules = Instant::now();
    let ended = loop {
        // Before looking at the tensors, so that what was written last is seen.
        let ended = std::fs::read(&config.ended).ok();
        let now = super::now_us() / 1000;
        if Instant::now() >= next_rules {
            next_rules = Instant::now() + RULES_EVERY;
            rules.poll(now);
        }
        if let Some(text) = ended {
            break serde_json::from_slice(&text)
                .unwrap_or_else(|_| Ended { status: "Unknown".to_owned(), ended_ms: now });
        }
        if stop.load(Relaxed) {
            break Ended { status: "Unknown".to_owned(), ended_ms: now };
        }
        let pause = match &mut profile {
            Some(profile) => profile.sample()?,
            None => RULES_EVERY,
        };
        // The job waits for this process at its end, and shall not wait for a long interval.
        std::thread::sleep(pause.min(LOOK_EVERY));
    };
    rules.finish(super::now_us() / 1000);
    if let Some(profile) = profile {
        profile.finish(&config, &ended)?;
    }
    Ok(())
}

/// The debugger's rules. A rule that cannot be read is an Error by itself; the others go on.
struct Rules {
    evaluator: Evaluator,
}

impl Rules {
    fn new(config: &Config) -> Rules {
        let mut specs = Vec::new();
        for rule in &config.debug_rules {
            match RuleSpec::from_config(rule) {
                Ok(spec) => specs.push(spec),
                Err(e) => {
                    let name = rule.get("RuleConfigurationName").and_then(|n| n.as_str());
                    tell(name.unwrap_or_default(), "Error", &e.to_string(), false);
                }
            }
        }
        let evaluator = Evaluator::new(specs, &config.tensors, &config.others);
        // What cannot be evaluated is known at once.
        let known: Vec<_> = evaluator
            .verdicts()
            .into_iter()
            .filter(|verdict| verdict.status != kennel_debugger::Status::InProgress)
            .collect();
        Self::tell(&known);
        Rules { evaluator }
    }

    fn poll(&mut self, now: u64) {
        let changed = self.evaluator.poll(now);
        Self::tell(&changed);
    }

    fn finish(&mut self, now: u64) {
        let changed = self.evaluator.finish(now);
        Self::tell(&changed);
    }

    fn tell(verdicts: &[kennel_debugger::Verdict]) {
        for verdict in verdicts {
            let status = verdict.status.name();
            tell(&verdict.configuration, status, &verdict.details, verdict.stop_training);
        }
    }
}

/// The profiler: samples now, a report at the end.
struct Profile {
    config: kennel_profiler::Config,
    sampler: Sampler,
    writer: SystemWriter,
    next: Instant,
}

impl Profile {
    fn new(config: &Config) -> anyhow::Result<Option<Profile>> {
        if config.profiler.is_none() {
            return Ok(None);
        }
        let parsed =
            kennel_profiler::Config::from_request(config.profiler.as_ref(), &config.profiler_rules);
        let parsed = match parsed {
            Ok(parsed) => parsed,
            Err(e) => {
                for rule in &config.profiler_rules {
                    let name = rule.get("RuleConfigurationName").and_then(|n| n.as_str());
                    tell(name.unwrap_or_default(), "Error", &e.to_string(), false);
                }
                return Ok(None);
            }
        };
        let instances = config
            .instances
            .iter()
            .map(|(host, group)| Instance { host: host.clone(), process_group: *group })
            .collect();
        Ok(Some(Profile {
            config: parsed,
            sampler: Sampler::with_threads(instances, config.threads),
            writer: SystemWriter::create(&config.profile)?,
            next: Instant::now(),
        }))
    }

    /// Samples where it is time to; answers how long until the next one.
    fn sample(&mut self) -> anyhow::Result<Duration> {
        let now = Instant::now();
        if now >= self.next {
            self.next = now + Duration::from_millis(self.config.interval_ms);
            let metrics = self.sampler.sample(super::now_us() / 1000);
            self.writer.write(&metrics)?;
        }
        Ok(self.next.saturating_duration_since(Instant::now()))
    }

    fn finish(mut self, config: &Config, ended: &Ended) -> anyhow::Result<()> {
        let metrics = self.sampler.sample(super::now_us() / 1000);
        self.writer.write(&metrics)?;
        self.writer.flush()?;
        let about = About {
            job: config.job.clone(),
            instance_type: config.instance_type.clone(),
            instances: config.instances.len(),
            started_ms: config.started_ms,
            ended_ms: ended.ended_ms,
            status: ended.status.clone(),
            facts: Vec::new(),
        };
        let mut analysis = Analysis::read(&config.profile)?;
        for rule in &self.config.rules {
            let folder = config.rule_output.join(&rule.configuration);
            analysis = analysis.with_parameters(rule.parameters.clone());
            if let Err(e) = analysis.write_rule_output(&folder, &about) {
                tracing::warn!("rule `{}` left no report: {e}", rule.configuration);
            }
        }
        for verdict in analysis.verdicts(&self.config.rules) {
            tell(&verdict.configuration, verdict.status.as_str(), &verdict.details, false);
        }
        Ok(())
    }
}

fn tell(rule: &str, status: &str, details: &str, stop: bool) {
    let verdict = RuleLine {
        rule: rule.to_owned(),
        status: status.to_owned(),
        details: details.to_owned(),
        stop,
    };
    if let Ok(text) = serde_json::to_string(&verdict) {
        line(text);
    }
}
