//! `kennel iam least-privilege`: the policy that a role has needed, by Access Analyzer's policy generation.

use std::time::Duration;

use clap::Args;
use kennel_iam::policy::Kind as PolicyKind;
use serde_json::{Value, json};

use super::advice::policy_of;
use super::narrow::{self, Plan};
use super::principals::{Reader, document};
use crate::client::{Client, Service, encode};
use crate::clock;
use crate::commands::{account, logs};
use crate::error::ClientError;
use crate::output::{self, Spinner, note};

/// Pause before a policy is asked for again; doubled up to [`SLOWEST`].
const POLL: Duration = Duration::from_millis(50);
const SLOWEST: Duration = Duration::from_secs(3);
/// Longest wait for a policy.
const PATIENCE: Duration = Duration::from_secs(600);

/// Arguments of `kennel iam least-privilege`.
#[derive(Debug, Args)]
pub(in crate::commands) struct LeastPrivilege {
    /// Role (or user), name or ARN
    role: String,
    /// How far back its calls count: 12h, 30d
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = logs::since)]
    since: Duration,
    /// Put the policy in place of those that the role has, after showing the difference
    #[arg(long)]
    apply: bool,
    /// Do not ask
    #[arg(long, requires = "apply")]
    yes: bool,
    /// Print one JSON object: role, policy, changes
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    trail: TrailArguments,
}

/// Where AWS finds what was called; Kennel has its own records.
#[derive(Debug, Clone, Default, Args)]
pub(in crate::commands) struct TrailArguments {
    /// With --aws: the trail that has the calls, an ARN
    #[arg(long, value_name = "ARN", requires = "access_role")]
    trail: Option<String>,
    /// With --aws: the role by which Access Analyzer reads the trail, an ARN
    #[arg(long, value_name = "ARN", requires = "trail")]
    access_role: Option<String>,
}

/// Generates policies for one window of time.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Generator<'a> {
    client: &'a Client,
    trail: String,
    access_role: String,
    /// Epoch seconds.
    start: i64,
    end: i64,
}

impl<'a> Generator<'a> {
    /// For calls from `start` to `end`, in epoch seconds.
    ///
    /// # Errors
    /// At AWS, when it is not said where the calls are recorded.
    pub(in crate::commands) fn new(
        client: &'a Client,
        trail: &TrailArguments,
        (start, end): (i64, i64),
    ) -> Result<Self, ClientError> {
        let (trail, access_role) = match (&trail.trail, &trail.access_role) {
            (Some(trail), Some(role)) => (trail.clone(), role.clone()),
            _ if client.target().endpoint.is_none() => {
                return Err(ClientError::Usage(
                    "AWS needs to know which trail has the calls\nhint: name it with --trail ARN, and with --access-role ARN a role that may read it"
                        .to_owned(),
                ));
            }
            // The platform has one record of everything and reads it itself; the API wants names.
            _ => {
                let (region, account) = (&client.target().region, account(client)?);
                (
                    format!("arn:aws:cloudtrail:{region}:{account}:trail/kennel"),
                    format!("arn:aws:iam::{account}:role/kennel"),
                )
            }
        };
        Ok(Generator { client, trail, access_role, start, end })
    }

    /// The policy that a role or user has needed; `None` when nothing is recorded of it.
    ///
    /// # Errors
    /// What Access Analyzer answers, or why it has no policy.
    pub(in crate::commands) fn policy(
        &self,
        principal: &str,
    ) -> Result<Option<Value>, ClientError> {
        let body = json!({
            "policyGenerationDetails": { "principalArn": principal },
            "cloudTrailDetails": {
                "trails": [{ "cloudTrailArn": self.trail, "allRegions": true }],
                "accessRole": self.access_role,
                "startTime": clock::iso(self.start),
                "endTime": clock::iso(self.end),
            },
        });
        let ask = |operation: &str, method, path: &str, body: Option<&Value>| {
            self.client.rest(Service::AccessAnalyzer, operation, method, path, body)
        };
        let put = http::Method::PUT;
        let job = ask("StartPolicyGeneration", put, "/policy/generation", Some(&body))?;
        let answer = |reason: &str| ClientError::Answer {
            operation: "access-analyzer:StartPolicyGeneration".to_owned(),
            reason: reason.to_owned(),
        };
        let id = job["jobId"].as_str().ok_or_else(|| answer("no jobId"))?;
        let path = format!("/policy/generation/{}", encode(id));
        let (mut pause, mut waited) = (POLL, Duration::ZERO);
        let mut spinner = Spinner::start();
        loop {
            let found = ask("GetGeneratedPolicy", http::Method::GET, &path, None)?;
            match found["jobDetails"]["status"].as_str() {
                Some("SUCCEEDED") => return merged(&found["generatedPolicyResult"]),
                Some("IN_PROGRESS") if waited < PATIENCE => {}
                state => {
                    let why = found["jobDetails"]["jobError"]["message"].as_str();
                    return Err(ClientError::Failed(format!(
                        "no policy was generated for `{principal}`: {}",
                        why.or(state).unwrap_or("no reason was given")
                    )));
                }
            }
            spinner.say(format!("what {principal} has needed"));
            std::thread::sleep(pause);
            waited += pause;
            pause = (pause * 2).min(SLOWEST);
        }
    }
}

/// The statements of all generated policies as one policy.
fn merged(result: &Value) -> Result<Option<Value>, ClientError> {
    let mut statements = Vec::new();
    for generated in result["generatedPolicies"].as_array().into_iter().flatten() {
        let text = generated["policy"].as_str().unwrap_or("{}");
        let policy: Value = serde_json::from_str(text).map_err(|e| ClientError::Answer {
            operation: "access-analyzer:GetGeneratedPolicy".to_owned(),
            reason: e.to_string(),
        })?;
        match policy["Statement"].clone() {
            Value::Array(found) => statements.extend(found),
            Value::Null => {}
            one => statements.push(one),
        }
    }
    Ok(Some(statements).filter(|all| !all.is_empty()).map(|all| policy_of(&all)))
}

pub(super) fn run(client: &Client, arguments: &LeastPrivilege) -> Result<(), ClientError> {
    let role = Reader::new(client).find(&arguments.role)?;
    let now = clock::epoch_millis() / 1000;
    let past = i64::try_from(arguments.since.as_secs()).unwrap_or(i64::MAX);
    // What is being asked now belongs to the next second at the latest.
    let window = (now.saturating_sub(past).max(0), now + 1);
    let generator = Generator::new(client, &arguments.trail, window)?;
    let Some(policy) = generator.policy(&role.arn)? else {
        return Err(ClientError::Failed(format!(
            "nothing is recorded that `{}` did since {}, so there is nothing to derive a policy from\nhint: let it do its work once with the rights that it has, or name a longer time with --since",
            role.name,
            clock::shown(window.0 as f64)
        )));
    };
    let needed = document("the generated policy", &policy.to_string(), PolicyKind::Identity)?;
    let plan = Plan::new(&role, &policy, &needed);
    if arguments.json {
        output::json(&json!({
            "role": role.arn,
            "policy": policy,
            "changes": plan.as_json(),
        }));
    } else {
        output::json(&policy);
    }
    if plan.is_empty() {
        note(format!("{} has just this policy already", plan.whom()));
        return Ok(());
    }
    if !arguments.apply {
        note(format!(
            "\nhint: `kennel iam least-privilege {} --apply` puts it in place of what is there now, after showing the difference; by hand:\n{}",
            role.name,
            plan.commands().join("\n")
        ));
        return Ok(());
    }
    note(format!("\n{}", plan.shown(&role)));
    if !narrow::confirmed(arguments.yes)? {
        note("nothing was changed");
        return Ok(());
    }
    plan.apply(client)?;
    note(format!("{} has what it needs and no more", plan.whom()));
    Ok(())
}
