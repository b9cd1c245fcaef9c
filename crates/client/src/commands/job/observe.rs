//! Debugger and profiler of a training job: what `kennel job start` asks for, and `kennel job profile`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};

use crate::client::Client;
use crate::error::ClientError;
use crate::output::{line, note, table, text};
use crate::s3::Location;

/// The image that rules name; Kennel evaluates them itself.
const RULES_IMAGE: &str = "kennel/debugger-rules:1";
/// The rule that makes the report.
const REPORT: &str = "ProfilerReport";

/// What looks on while a job trains.
#[derive(Debug, Args)]
pub(super) struct ObserveArguments {
    /// Debugger rule, such as Overfit or LossNotDecreasing,patience=5; repeatable
    #[arg(long = "rule", value_name = "NAME[,PARAMETER=VALUE…]", value_parser = rule)]
    pub(super) rules: Vec<(String, Vec<(String, String)>)>,
    /// Stop the job when a rule finds an issue
    #[arg(long)]
    pub(super) stop_on_issue: bool,
    /// Steps between two saves of the tensors that rules look at
    #[arg(long, value_name = "STEPS", default_value_t = 50)]
    pub(super) save_interval: u64,
    /// Record nothing of what the job does with the machine; `kennel job profile` has nothing to show then
    #[arg(long)]
    pub(super) no_profile: bool,
}

fn rule(given: &str) -> Result<(String, Vec<(String, String)>), String> {
    let mut parts = given.split(',');
    let name = parts.next().unwrap_or_default().trim();
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err("expected a rule's name, as in Overfit".to_owned());
    }
    let parameters = parts.map(super::assignment).collect::<Result<Vec<_>, _>>()?;
    Ok((name.to_owned(), parameters))
}

impl ObserveArguments {
    /// The members of CreateTrainingJob that ask for all this.
    pub(super) fn members(&self, output: &str) -> Map<String, Value> {
        let mut members = Map::new();
        let rules: Vec<Value> = self
            .rules
            .iter()
            .map(|(name, given)| {
                let mut parameters = Map::new();
                parameters.insert("rule_to_invoke".to_owned(), json!(name));
                parameters.extend(given.iter().map(|(k, v)| (k.clone(), json!(v))));
                if self.stop_on_issue {
                    let action = json!([{ "name": "stoptraining" }]).to_string();
                    parameters.insert("action_json".to_owned(), json!(action));
                }
                json!({
                    "RuleConfigurationName": name,
                    "RuleEvaluatorImage": RULES_IMAGE,
                    "RuleParameters": parameters,
                })
            })
            .collect();
        if !rules.is_empty() {
            members.insert("DebugRuleConfigurations".to_owned(), json!(rules));
            // No collections: the platform adds those that rules look at.
            members.insert(
                "DebugHookConfig".to_owned(),
                json!({
                    "S3OutputPath": output,
                    "HookParameters": { "save_interval": self.save_interval.to_string() },
                }),
            );
        }
        if !self.no_profile {
            members.insert("ProfilerConfig".to_owned(), json!({ "S3OutputPath": output }));
            members.insert(
                "ProfilerRuleConfigurations".to_owned(),
                json!([{
                    "RuleConfigurationName": REPORT,
                    "RuleEvaluatorImage": RULES_IMAGE,
                    "RuleParameters": { "rule_to_invoke": REPORT },
                }]),
            );
        }
        members
    }
}

/// The rules of a job and how they stand; none where it has none.
pub(super) fn rules_table(job: &Value) -> Option<String> {
    let statuses = ["DebugRuleEvaluationStatuses", "ProfilerRuleEvaluationStatuses"];
    let rows: Vec<[String; 3]> = statuses
        .iter()
        .flat_map(|name| job[*name].as_array().into_iter().flatten())
        .map(|rule| {
            let details = text(rule, "StatusDetails");
            let first = details.lines().next().unwrap_or_default().to_owned();
            [text(rule, "RuleConfigurationName"), text(rule, "RuleEvaluationStatus"), first]
        })
        .collect();
    (!rows.is_empty()).then(|| table(["rule", "status", "details"], rows))
}

/// Brings a job's profiler report.
pub(super) fn profile(
    client: &Client,
    job: &Value,
    to: Option<PathBuf>,
) -> Result<(), ClientError> {
    let name = text(job, "TrainingJobName");
    let rules = job["ProfilerRuleEvaluationStatuses"].as_array().into_iter().flatten();
    let reporter = rules.map(|r| text(r, "RuleConfigurationName")).find(|n| n.contains("Profiler"));
    let Some(reporter) = reporter else {
        return Err(ClientError::Usage(format!(
            "job `{name}` was not profiled\nhint: start it without --no-profile, or with a ProfilerReport rule"
        )));
    };
    let output = text(&job["OutputDataConfig"], "S3OutputPath");
    let base = output.trim_end_matches('/');
    let uri = format!("{base}/{name}/rule-output/{reporter}/profiler-output/profiler-report.html");
    let at = Location::parse(&uri)?;
    if client.head_object(&at)?.is_none() {
        return Err(ClientError::Failed(format!(
            "job `{name}` has no report yet: {}\nhint: it is made when the training has ended; `kennel job show {name}`",
            text(job, "SecondaryStatus")
        )));
    }
    let to = to.unwrap_or_else(|| Path::new(&format!("{name}-profile.html")).to_owned());
    client.get_file(&at, &to, &|_| {})?;
    if let Some(table) = rules_table(job) {
        line(table);
    }
    note(format!("wrote {}", to.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_and_their_parameters_are_members_of_the_request() {
        let (name, parameters) = rule("Overfit,patience=3,ratio_threshold=0.2").unwrap();
        assert_eq!(name, "Overfit");
        let arguments = ObserveArguments {
            rules: vec![(name, parameters)],
            stop_on_issue: true,
            save_interval: 7,
            no_profile: false,
        };
        let members = arguments.members("s3://b/out");
        let rule = &members["DebugRuleConfigurations"][0];
        assert_eq!(rule["RuleParameters"]["rule_to_invoke"], "Overfit");
        assert_eq!(rule["RuleParameters"]["patience"], "3");
        let action = rule["RuleParameters"]["action_json"].as_str().unwrap();
        assert!(action.contains("stoptraining"), "{action}");
        assert_eq!(members["DebugHookConfig"]["HookParameters"]["save_interval"], "7");
        assert_eq!(
            members["ProfilerRuleConfigurations"][0]["RuleConfigurationName"],
            "ProfilerReport"
        );
        let none = ObserveArguments {
            rules: Vec::new(),
            stop_on_issue: false,
            save_interval: 7,
            no_profile: true,
        };
        assert!(none.members("s3://b/out").is_empty());
        for bad in ["", ",x=1", "Over fit", "Overfit,patience"] {
            assert!(super::rule(bad).is_err(), "{bad}");
        }
    }
}
