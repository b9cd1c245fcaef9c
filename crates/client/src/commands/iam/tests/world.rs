//! A few roles, users and resources behind the APIs that the commands ask.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::client::encode;
use crate::testing::{Reply, Seen, Server, ok};

pub(in crate::commands) const ACCOUNT: &str = "123456789012";

#[derive(Debug, Clone, Default)]
pub(in crate::commands) struct Role {
    pub trust: Value,
    pub attached: Vec<String>,
    pub inline: BTreeMap<String, Value>,
    pub boundary: Option<String>,
    pub last_used: Option<String>,
}

#[derive(Debug, Default)]
pub(in crate::commands) struct World {
    pub roles: BTreeMap<String, Role>,
    pub managed: BTreeMap<String, Value>,
    /// With their policies, all of which S3 calls public.
    pub buckets: Vec<(String, Option<Value>)>,
    /// CloudTrailEvent of each, newest first.
    pub events: Vec<Value>,
    /// What a role has needed.
    pub generated: BTreeMap<String, Vec<Value>>,
    /// What is answered to operations besides: JSON by name.
    pub more: BTreeMap<String, Value>,
    /// Operations that are refused.
    pub refused: Vec<String>,
}

pub(in crate::commands) fn trust(principal: Value) -> Value {
    json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole" } ] })
}

/// A call that succeeded, by a session of a role.
pub(in crate::commands) fn event(id: &str, name: &str, role: &str) -> Value {
    json!({
        "eventID": id, "requestID": id, "eventName": name, "eventTime": "2026-11-21T11:45:21Z",
        "eventSource": "sagemaker.amazonaws.com", "awsRegion": "us-east-1",
        "sourceIPAddress": "127.0.0.1",
        "userIdentity": {
            "type": "AssumedRole", "accountId": ACCOUNT,
            "arn": format!("arn:aws:sts::{ACCOUNT}:assumed-role/{role}/s"),
            "sessionContext": {
                "sessionIssuer": { "arn": format!("arn:aws:iam::{ACCOUNT}:role/{role}") } },
        },
        "additionalEventData": { "needs": [], "context": {} },
    })
}

/// A member of a form.
pub(in crate::commands) fn parameter(seen: &Seen, name: &str) -> String {
    let form = String::from_utf8_lossy(&seen.body).into_owned();
    let found = form.split('&').filter_map(|pair| pair.split_once('=')).find(|p| p.0 == name);
    let value = found.map_or("", |pair| pair.1);
    percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned()
}

fn refused(code: &str, status: u16) -> Reply {
    let body = format!("<E><Error><Code>{code}</Code><Message>no</Message></Error></E>");
    Reply(status, vec![], body.into_bytes())
}

impl World {
    pub(in crate::commands) fn role(&mut self, name: &str, trust: Value) -> &mut Self {
        self.roles.insert(name.into(), Role { trust, ..Role::default() });
        self
    }

    pub(in crate::commands) fn role_mut(&mut self, name: &str) -> &mut Role {
        self.roles.get_mut(name).unwrap()
    }

    pub(in crate::commands) fn inline(
        &mut self,
        role: &str,
        name: &str,
        policy: Value,
    ) -> &mut Self {
        self.role_mut(role).inline.insert(name.into(), policy);
        self
    }

    pub(in crate::commands) fn start(self) -> Server {
        let polls = AtomicUsize::new(0);
        Server::start(move |seen, _| self.answer(seen, &polls))
    }

    pub(in crate::commands) fn answer(&self, seen: &Seen, polls: &AtomicUsize) -> Reply {
        let action = parameter(seen, "Action");
        let target = seen.header("x-amz-target").and_then(|t| t.rsplit('.').next());
        let operation = target.unwrap_or(&action);
        if self.refused.iter().any(|refused| refused == operation) {
            return refused("AccessDenied", 403);
        }
        if target.is_some() {
            return self.json(operation, seen);
        }
        if !action.is_empty() {
            return self.iam(&action, seen);
        }
        self.rest(seen, polls)
    }

    fn json(&self, operation: &str, seen: &Seen) -> Reply {
        if operation != "LookupEvents" {
            return match self.more.get(operation) {
                Some(answer) => ok(&answer.to_string()),
                None => ok("{}"),
            };
        }
        let body: Value = serde_json::from_slice(&seen.body).unwrap();
        let filter = &body["LookupAttributes"][0];
        let value = filter["AttributeValue"].as_str().unwrap_or_default();
        let fits = |event: &&Value| match filter["AttributeKey"].as_str() {
            Some("EventId") => event["eventID"] == value,
            Some("Username") => event["userIdentity"]["type"] == "Root",
            _ => true,
        };
        let events: Vec<Value> = self
            .events
            .iter()
            .filter(fits)
            .map(|event| json!({ "CloudTrailEvent": event.to_string() }))
            .collect();
        ok(&json!({ "Events": events }).to_string())
    }

    fn iam(&self, action: &str, seen: &Seen) -> Reply {
        let document = |policy: &Value| encode(&policy.to_string());
        let members = |items: Vec<String>| {
            items.iter().map(|item| format!("<member>{item}</member>")).collect::<String>()
        };
        let answer = |body: String| ok(&format!("<R><{action}Result>{body}</{action}Result></R>"));
        let arn = parameter(seen, "PolicyArn");
        match action {
            "GetPolicy" => {
                return answer("<Policy><DefaultVersionId>v3</DefaultVersionId></Policy>".into());
            }
            "GetPolicyVersion" => {
                let found = document(&self.managed[&arn]);
                return answer(format!(
                    "<PolicyVersion><Document>{found}</Document></PolicyVersion>"
                ));
            }
            "ListRoles" => {
                let roles = self.roles.keys().map(|n| format!("<RoleName>{n}</RoleName>"));
                return answer(format!("<Roles>{}</Roles>", members(roles.collect())));
            }
            "ListUsers" => return answer(String::new()),
            _ => {}
        }
        let Some(role) = self.roles.get(&parameter(seen, "RoleName")) else {
            return refused("NoSuchEntity", 404);
        };
        let name = parameter(seen, "RoleName");
        answer(match action {
            "GetRole" => {
                let boundary = role.boundary.iter().map(|arn| format!("<PermissionsBoundary><PermissionsBoundaryArn>{arn}</PermissionsBoundaryArn></PermissionsBoundary>"));
                let used = role.last_used.iter().map(|time| {
                    format!("<RoleLastUsed><LastUsedDate>{time}</LastUsedDate></RoleLastUsed>")
                });
                let more: String = boundary.chain(used).collect();
                format!(
                    "<Role><RoleName>{name}</RoleName><RoleId>AROA{name}</RoleId><Arn>arn:aws:iam::{ACCOUNT}:role/{name}</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate><AssumeRolePolicyDocument>{}</AssumeRolePolicyDocument>{more}</Role>",
                    document(&role.trust)
                )
            }
            "ListAttachedRolePolicies" => {
                let all = role.attached.iter().map(|arn| format!("<PolicyArn>{arn}</PolicyArn>"));
                format!("<AttachedPolicies>{}</AttachedPolicies>", members(all.collect()))
            }
            "ListRolePolicies" => {
                let all = role.inline.keys().cloned().collect();
                format!("<PolicyNames>{}</PolicyNames>", members(all))
            }
            "GetRolePolicy" => {
                let found = document(&role.inline[&parameter(seen, "PolicyName")]);
                format!("<PolicyDocument>{found}</PolicyDocument>")
            }
            _ => String::new(),
        })
    }

    fn rest(&self, seen: &Seen, polls: &AtomicUsize) -> Reply {
        let mut words = seen.line.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if method == "PUT" && path == "/policy/generation" {
            let body: Value = serde_json::from_slice(&seen.body).unwrap();
            let arn = body["policyGenerationDetails"]["principalArn"].as_str().unwrap();
            return ok(&json!({ "jobId": arn.rsplit('/').next() }).to_string());
        }
        if let Some(role) = path.strip_prefix("/policy/generation/") {
            if polls.fetch_add(1, Ordering::SeqCst) == 0 {
                return ok(r#"{"jobDetails":{"status":"IN_PROGRESS"}}"#);
            }
            let Some(found) = self.generated.get(role) else {
                return ok(r#"{"jobDetails":{"status":"FAILED","jobError":{"message":"no"}}}"#);
            };
            let all: Vec<Value> =
                found.iter().map(|policy| json!({ "policy": policy.to_string() })).collect();
            let result = json!({ "generatedPolicies": all });
            let answer =
                json!({ "jobDetails": { "status": "SUCCEEDED" }, "generatedPolicyResult": result });
            return ok(&answer.to_string());
        }
        if let Some(answer) = self.more.get(path) {
            return ok(&answer.to_string());
        }
        if path == "/" {
            let names = self
                .buckets
                .iter()
                .map(|(name, _)| format!("<Bucket><Name>{name}</Name></Bucket>"));
            let names: String = names.collect();
            return ok(&format!("<R><Buckets>{names}</Buckets></R>"));
        }
        for (name, policy) in &self.buckets {
            match (path.strip_prefix(&format!("/{name}?")), policy) {
                (Some("policy"), Some(policy)) => return ok(&policy.to_string()),
                (Some("policyStatus"), Some(_)) => {
                    return ok("<PolicyStatus><IsPublic>TRUE</IsPublic></PolicyStatus>");
                }
                (Some("policy" | "policyStatus"), None) => {
                    return refused("NoSuchBucketPolicy", 404);
                }
                (Some(_), _) => return refused("NoSuchPublicAccessBlockConfiguration", 404),
                (None, _) => {}
            }
        }
        refused("ResourceNotFoundException", 404)
    }
}
