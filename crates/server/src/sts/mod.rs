//! STS: who am I, and temporary credentials. Sessions are rows of IAM's tables.
//!
//! Source: <https://docs.aws.amazon.com/STS/latest/APIReference/>.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use kennel_iam::Arn;
use kennel_iam::policy::{Document, Kind, limits};
use kennel_iam::trust::{self, Party};
use kennel_store::state::rusqlite::Connection;
use kennel_wire::ServiceError;
use serde_json::{Map, Value, json};

use crate::context::{Caller, Context, Principal};
use crate::iam::error::{Outcome, access_denied, malformed, validation};
use crate::iam::input::Call;
use crate::iam::sessions::{self, NewSession};
use crate::iam::{self, Iam};
use crate::service::{Answer, Service};

/// STS over IAM's credentials; cheap to clone.
#[derive(Debug, Clone)]
pub struct Sts {
    iam: Iam,
}

impl Sts {
    /// STS for the account of `iam`.
    pub fn new(iam: Iam) -> Self {
        Sts { iam }
    }
}

impl Service for Sts {
    fn name(&self) -> &'static str {
        "sts"
    }

    fn call<'a>(
        &'a self,
        context: &'a Context,
        operation: &'a str,
        input: Value,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(async move {
            let call = Call::new(self.iam.account(), context, input);
            match operation {
                "GetCallerIdentity" => Ok(json!({
                    "UserId": context.caller.user_id(),
                    "Account": context.caller.account,
                    "Arn": context.caller.arn(),
                })),
                "AssumeRole" => self.iam.add(move |c| assume_role(&call, c)).await,
                "GetSessionToken" => self.iam.add(move |c| session_token(&call, c)).await,
                "GetAccessKeyInfo" => self.key_info(&call),
                _ => Err(ServiceError::not_implemented("sts", operation)),
            }
        })
    }
}

impl Sts {
    fn key_info(&self, call: &Call) -> Answer {
        let key = call.required("AccessKeyId")?;
        if iam::knows_key(&self.iam, key)? {
            Ok(json!({"Account": call.account}))
        } else {
            Err(validation(format!("Access key {key} belongs to no account of this server")))
        }
    }
}

fn party(caller: &Caller) -> (String, Option<String>) {
    let role = match &caller.principal {
        Principal::Role { role_arn, .. } => Some(role_arn.clone()),
        Principal::Root | Principal::User { .. } => None,
    };
    (caller.arn(), role)
}

fn assume_role(call: &Call, c: &Connection) -> Outcome<Value> {
    let arn = call.required("RoleArn")?;
    let name = call.required("RoleSessionName")?;
    if arn.parse::<Arn>().is_err() {
        return Err(validation(format!("{arn} is invalid")).into());
    }
    if name.len() < 2 || !iam::input::is_name(name, 64) {
        return Err(validation(format!(
            "1 validation error detected: Value '{name}' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]*"
        ))
        .into());
    }
    refuse_mfa(call)?;
    let duration = duration(call, 3_600, 43_200)?;
    let policy = call.text("Policy");
    if let Some(text) = policy {
        if text.chars().count() > limits::SESSION {
            let text = "Serialized session policy exceeds 2048 characters";
            return Err(ServiceError::new("PackedPolicyTooLarge", 400, text).into());
        }
        Document::parse(text, Kind::Identity).map_err(|e| malformed(&e))?;
    }
    let denied = |action: &str| {
        access_denied(format!(
            "User: {} is not authorized to perform: sts:{action} on resource: {arn}",
            call.caller.arn()
        ))
    };
    // Whether a role exists is nobody's business but its account's.
    let Some((role, document)) = iam::role_and_trust(c, &call.account, arn)? else {
        return Err(denied("AssumeRole").into());
    };
    let (own_arn, role_arn) = party(&call.caller);
    let account = call.caller.account.as_str();
    let party = match (&call.caller.principal, &role_arn) {
        (Principal::User { id, .. }, _) => Party::User { account, arn: &own_arn, id },
        (Principal::Role { id, .. }, Some(role_arn)) => {
            Party::Session { account, role_arn, role_id: id, session_arn: &own_arn }
        }
        _ => Party::Root { account },
    };
    let facts = [
        ("sts:ExternalId", call.text("ExternalId")),
        ("sts:RoleSessionName", Some(name)),
        ("sts:SourceIdentity", call.text("SourceIdentity")),
        ("aws:PrincipalArn", Some(role_arn.as_deref().unwrap_or(&own_arn))),
        ("aws:PrincipalAccount", Some(account)),
    ];
    let wanted = [
        ("AssumeRole", true),
        ("TagSession", !call.list("Tags").is_empty()),
        ("SetSourceIdentity", call.text("SourceIdentity").is_some()),
    ];
    for (action, _) in wanted.iter().filter(|(_, wanted)| *wanted) {
        if !trust::allows(&document, &format!("sts:{action}"), party, &facts) {
            return Err(denied(action).into());
        }
    }
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    if seconds > role.max_session {
        let text =
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
        return Err(validation(text).into());
    }
    if matches!(call.caller.principal, Principal::Role { .. }) && seconds > 3_600 {
        let text = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.";
        return Err(validation(text).into());
    }
    let credentials = sessions::insert(
        c,
        &NewSession {
            owner: Some(&role.id),
            name: Some(name),
            policy,
            details: details(call),
            now: call.now,
            duration,
        },
    )?;
    let mut answer = json!({
        "Credentials": credentials.show(),
        "AssumedRoleUser": {
            "AssumedRoleId": format!("{}:{name}", role.id),
            "Arn": format!("arn:aws:sts::{}:assumed-role/{}/{name}", call.account, role.name),
        },
    });
    if let Some(policy) = policy {
        answer["PackedPolicySize"] = json!((policy.len() * 100).div_ceil(limits::SESSION).min(100));
    }
    if let Some(identity) = call.text("SourceIdentity") {
        answer["SourceIdentity"] = json!(identity);
    }
    Ok(answer)
}

/// What of the request the evaluator will want to know.
fn details(call: &Call) -> Option<String> {
    let mut kept = Map::new();
    for name in ["PolicyArns", "Tags", "TransitiveTagKeys", "SourceIdentity", "ExternalId"] {
        if let Some(value) = call.input.get(name) {
            kept.insert(name.to_owned(), value.clone());
        }
    }
    (!kept.is_empty()).then(|| Value::Object(kept).to_string())
}

fn session_token(call: &Call, c: &Connection) -> Outcome<Value> {
    if call.caller.access_key.starts_with("ASIA") {
        let text = "Cannot call GetSessionToken with session credentials";
        return Err(access_denied(text).into());
    }
    refuse_mfa(call)?;
    // AWS gives the root one hour, whatever it asks for.
    let duration = if call.caller.principal == Principal::Root {
        duration(call, 3_600, 129_600)?.min(Duration::from_secs(3_600))
    } else {
        duration(call, 43_200, 129_600)?
    };
    let owner = iam::owner(c, &call.caller.principal)?;
    let credentials = sessions::insert(
        c,
        &NewSession {
            owner: owner.as_deref(),
            name: None,
            policy: None,
            details: None,
            now: call.now,
            duration,
        },
    )?;
    Ok(json!({"Credentials": credentials.show()}))
}

/// Nobody has a device here, so no code can be right.
fn refuse_mfa(call: &Call) -> Outcome<()> {
    if call.text("SerialNumber").or(call.text("TokenCode")).is_some() {
        let text = "MultiFactorAuthentication failed with invalid MFA one time pass code. ";
        return Err(access_denied(text).into());
    }
    Ok(())
}

fn duration(call: &Call, usual: i64, most: i64) -> Outcome<Duration> {
    let seconds = call.integer("DurationSeconds").unwrap_or(usual);
    let bound = if seconds < 900 {
        "greater than or equal to 900".to_owned()
    } else if seconds > most {
        format!("less than or equal to {most}")
    } else {
        return Ok(Duration::from_secs(u64::try_from(seconds).unwrap_or(900)));
    };
    Err(validation(format!(
        "1 validation error detected: Value '{seconds}' at 'durationSeconds' failed to satisfy constraint: Member must have value {bound}"
    ))
    .into())
}

#[cfg(test)]
mod tests;
