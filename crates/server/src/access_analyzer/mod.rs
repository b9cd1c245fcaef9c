//! Access Analyzer's policy generation: the narrowest policy that covers what a user or role was allowed to
//! do, made from the access records. Unlike AWS's it names every resource exactly, and it is there at once:
//! a job has succeeded when StartPolicyGeneration answers. Jobs are in memory, the last [`JOBS`] of them; a
//! restart forgets them, and whoever still needs one starts another. Analyzers are not built.
//!
//! `cloudTrailDetails` may be left out, which AWS's model allows and AWS's service does not: the last 90 days
//! count then. Of what it says only the times matter, as there is one trail here.
//!
//! Source: <https://docs.aws.amazon.com/access-analyzer/latest/APIReference/API_StartPolicyGeneration.html>.

mod policy;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kennel_wire::ServiceError;
use serde_json::{Value, json};

use crate::context::{Context, Timestamp};
use crate::iam::Iam;
use crate::iam::held::identity;
use crate::records;
use crate::service::{Answer, Service};

/// How far back records count unless the call says.
const PERIOD: Duration = Duration::from_secs(90 * 86_400);
/// Jobs that are kept.
const JOBS: usize = 200;

/// The service; cheap to clone.
#[derive(Debug, Clone)]
pub struct AccessAnalyzer {
    iam: Iam,
    /// The newest last.
    jobs: Arc<Mutex<VecDeque<Job>>>,
}

/// A job, done.
#[derive(Debug, Clone)]
struct Job {
    id: String,
    /// The caller's, so that a repeated call is one job.
    token: Option<String>,
    principal: String,
    started: Timestamp,
    since: Timestamp,
    until: Timestamp,
    /// As the call named them; their only use is to be told again.
    trails: Value,
    /// None where nothing was done.
    policy: Option<String>,
}

fn refused(reason: &str, message: impl Into<String>) -> ServiceError {
    ServiceError::validation(message).with("reason", reason)
}

impl AccessAnalyzer {
    /// Over the database of `iam`, which holds the access records.
    pub fn new(iam: Iam) -> Self {
        AccessAnalyzer { iam, jobs: Arc::default() }
    }

    async fn start(&self, context: &Context, input: &Value) -> Answer {
        let text = |at: &str| input.pointer(at).and_then(Value::as_str).map(str::to_owned);
        let principal = text("/policyGenerationDetails/principalArn").unwrap_or_default();
        let token = text("/clientToken");
        let again = self.find(|job| token.is_some() && job.token == token);
        if let Some(job) = again {
            return if job.principal == principal {
                Ok(json!({"jobId": job.id}))
            } else {
                let message = "the client token belongs to a generation for another principal";
                Err(ServiceError::new("ConflictException", 409, message)
                    .with("resourceId", job.id)
                    .with("resourceType", "PolicyGeneration"))
            };
        }
        let moment = |name: &str| {
            let seconds = input.pointer(&format!("/cloudTrailDetails/{name}"))?.as_f64()?;
            // Far below 2^63 by the codec's own limits.
            Some(Timestamp((seconds * 1000.0) as i64))
        };
        let until = moment("endTime").unwrap_or(context.now);
        let ninety = i64::try_from(PERIOD.as_millis()).unwrap_or(0);
        let since = moment("startTime").unwrap_or(Timestamp(until.0.saturating_sub(ninety)));
        if since > until {
            let message = "the start time must be before the end time";
            return Err(refused("fieldValidationFailed", message));
        }
        let (account, arn) = (self.iam.account().to_owned(), principal.clone());
        let found = self.iam.read_apart(move |c| {
            let identity = identity(c, &account, &arn)?;
            Ok(records::used(c, &identity, since, until)?)
        });
        let used = found.await.map_err(|e| match e.code.as_str() {
            "NoSuchEntity" | "InvalidInput" => {
                let message = format!("the principal `{principal}` does not exist");
                refused("fieldValidationFailed", message)
            }
            _ => e,
        })?;
        let job = Job {
            id: uuid::Uuid::new_v4().to_string(),
            token,
            principal,
            started: context.now,
            since,
            until,
            trails: input.pointer("/cloudTrailDetails/trails").cloned().unwrap_or(json!([])),
            policy: policy::least(&used),
        };
        let id = job.id.clone();
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.len() >= JOBS {
            jobs.pop_front();
        }
        jobs.push_back(job);
        Ok(json!({"jobId": id}))
    }

    fn find(&self, wanted: impl Fn(&Job) -> bool) -> Option<Job> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.iter().find(|job| wanted(job)).cloned()
    }

    fn job(&self, input: &Value) -> Result<Job, ServiceError> {
        let id = input.get("jobId").and_then(Value::as_str).unwrap_or_default();
        self.find(|job| job.id == id).ok_or_else(|| {
            let message = format!(
                "there is no policy generation `{id}`\nhint: a restart of the server forgets them; start another"
            );
            refused("other", message)
        })
    }

    fn get(&self, input: &Value) -> Answer {
        let flag = |name: &str| input.get(name).and_then(Value::as_bool).unwrap_or(false);
        if flag("includeServiceLevelTemplate") {
            // Records have actions, so there is no service of which less is known.
            let message = "service-level templates are not implemented by Kennel";
            return Err(refused("notSupported", message));
        }
        let job = self.job(input)?;
        let policies: Vec<Value> = job.policy.iter().map(|text| json!({"policy": text})).collect();
        Ok(json!({
            "jobDetails": {
                "jobId": job.id,
                "status": "SUCCEEDED",
                "startedOn": job.started.seconds(),
                "completedOn": job.started.seconds(),
            },
            "generatedPolicyResult": {
                "properties": {
                    "principalArn": job.principal,
                    "isComplete": true,
                    "cloudTrailProperties": {
                        "trailProperties": job.trails,
                        "startTime": job.since.seconds(),
                        "endTime": job.until.seconds(),
                    },
                },
                "generatedPolicies": policies,
            },
        }))
    }

    /// The newest first.
    fn list(&self, input: &Value) -> Answer {
        let principal = input.get("principalArn").and_then(Value::as_str);
        let most = input.get("maxResults").and_then(Value::as_u64).unwrap_or(100).clamp(1, 100);
        let most = usize::try_from(most).unwrap_or(100);
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rest = jobs.iter().rev().filter(|job| principal.is_none_or(|p| job.principal == p));
        if let Some(token) = input.get("nextToken").and_then(Value::as_str) {
            let after = URL_SAFE_NO_PAD.decode(token).ok().and_then(|b| String::from_utf8(b).ok());
            // A job that is gone meanwhile has nothing older than it.
            let after = after.ok_or_else(|| refused("cannotParse", "invalid nextToken"))?;
            rest.find(|job| job.id == after);
        }
        let shown: Vec<&Job> = rest.by_ref().take(most).collect();
        let more = rest.next().is_some();
        let show = |job: &&Job| {
            json!({
                "jobId": job.id,
                "principalArn": job.principal,
                "status": "SUCCEEDED",
                "startedOn": job.started.seconds(),
                "completedOn": job.started.seconds(),
            })
        };
        let mut answer =
            json!({"policyGenerations": shown.iter().map(show).collect::<Vec<Value>>()});
        if let Some(last) = shown.last().filter(|_| more) {
            answer["nextToken"] = json!(URL_SAFE_NO_PAD.encode(&last.id));
        }
        Ok(answer)
    }
}

impl Service for AccessAnalyzer {
    fn name(&self) -> &'static str {
        "access-analyzer"
    }

    fn call<'a>(
        &'a self,
        context: &'a Context,
        operation: &'a str,
        input: Value,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(async move {
            match operation {
                "StartPolicyGeneration" => self.start(context, &input).await,
                "GetGeneratedPolicy" => self.get(&input),
                "ListPolicyGenerations" => self.list(&input),
                "CancelPolicyGeneration" => {
                    let job = self.job(&input)?;
                    let message = format!("policy generation `{}` has finished", job.id);
                    Err(refused("other", message))
                }
                _ => Err(ServiceError::not_implemented("access-analyzer", operation)),
            }
        })
    }
}

#[cfg(test)]
mod tests;
