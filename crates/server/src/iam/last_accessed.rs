//! GenerateServiceLastAccessedDetails and its two readers: which of the services that policies allow were
//! called, and when. The report is made from the access records when it is asked for, so that its job is
//! complete at once, and kept for a week. An attempt counts, allowed or not, as it does at AWS.
//!
//! Two things differ from AWS: records are there after half a second and not after four hours, and actions
//! are told for every service. `TrackedActionsLastAccessed` has the actions that were called and those that
//! policies name without wildcards.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetServiceLastAccessedDetails.html>.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kennel_iam::policy::{Document, Effect, Scope};
use kennel_store::state::rusqlite::{Connection, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Iam;
use super::entities::{Entity, Kind};
use super::error::{Outcome, no_such_entity};
use super::held::{self, Named};
use super::input::{Call, Page, seconds};
use crate::context::Timestamp;
use crate::records::{self, Identity};
use crate::service::Answer;

/// How far back records count: AWS's tracking period.
const PERIOD: Duration = Duration::from_secs(400 * 86_400);
/// How long a report is kept, as AWS keeps it.
const KEPT: Duration = Duration::from_secs(7 * 86_400);
/// Reports at most; the oldest goes first.
const JOBS: i64 = 500;

/// The services that Kennel serves, by the names in actions, and what AWS calls them.
///
/// Source of the names: the Service Authorization Reference.
const SERVED: [(&str, &str); 10] = [
    ("access-analyzer", "AWS IAM Access Analyzer"),
    ("application-autoscaling", "AWS Application Auto Scaling"),
    ("cloudtrail", "AWS CloudTrail"),
    ("cloudwatch", "Amazon CloudWatch"),
    ("iam", "AWS Identity and Access Management"),
    ("lambda", "AWS Lambda"),
    ("logs", "Amazon CloudWatch Logs"),
    ("s3", "Amazon S3"),
    ("sagemaker", "Amazon SageMaker"),
    ("sts", "AWS Security Token Service"),
];

/// A report as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    services: Vec<OfService>,
}

#[derive(Debug, Serialize, Deserialize)]
struct OfService {
    namespace: String,
    /// All who may call the service, with their last call.
    entities: Vec<OfEntity>,
    /// By name; with the last call, if there was one, and who made it.
    actions: BTreeMap<String, Option<(i64, String)>>,
    region: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct OfEntity {
    arn: String,
    name: String,
    id: String,
    path: String,
    role: bool,
    last: Option<i64>,
}

/// What is wanted.
struct Wanted {
    account: String,
    region: String,
    arn: String,
    now: Timestamp,
    actions: bool,
}

/// GenerateServiceLastAccessedDetails.
pub(super) async fn generate(iam: &Iam, call: &Call, region: &str) -> Answer {
    let actions = call.text("Granularity") == Some("ACTION_LEVEL");
    let wanted = Wanted {
        account: call.account.clone(),
        region: region.to_owned(),
        arn: call.required("Arn")?.to_owned(),
        now: call.now,
        actions,
    };
    let report = iam.read_apart(move |c| report(c, &wanted)).await?;
    let text = serde_json::to_string(&report).map_err(|e| crate::service::state_failed(&e))?;
    let (id, now) = (uuid::Uuid::new_v4().to_string(), call.now);
    let kept = id.clone();
    let oldest = now.0 - i64::try_from(KEPT.as_millis()).unwrap_or(0);
    iam.add(move |c| {
        c.execute("DELETE FROM last_accessed_jobs WHERE created < ?1", [oldest])?;
        c.execute(
            "DELETE FROM last_accessed_jobs WHERE id IN (
                SELECT id FROM last_accessed_jobs ORDER BY created DESC LIMIT -1 OFFSET ?1)",
            [JOBS - 1],
        )?;
        c.execute(
            "INSERT INTO last_accessed_jobs (id, created, action_level, report)
             VALUES (?1, ?2, ?3, ?4)",
            params![kept, now.0, actions, text],
        )?;
        Ok(())
    })
    .await?;
    Ok(json!({"JobId": id}))
}

fn report(c: &Connection, wanted: &Wanted) -> Outcome<Report> {
    let (entities, documents): (Vec<Entity>, Vec<Document>) =
        match held::named(c, &wanted.account, &wanted.arn)? {
            Named::Entity(entity) => {
                let held = held::of_entity(c, &entity)?;
                (vec![*entity], held.into_iter().map(|held| held.document).collect())
            }
            Named::Policy { arn, held } => (held::holders(c, &arn)?, vec![held.document]),
        };
    let since = Timestamp(wanted.now.0 - i64::try_from(PERIOD.as_millis()).unwrap_or(0));
    let mut services: Vec<OfService> = namespaces(&documents)
        .into_iter()
        .map(|namespace| OfService {
            actions: match wanted.actions {
                true => {
                    named_actions(&documents, &namespace).into_iter().map(|a| (a, None)).collect()
                }
                false => BTreeMap::new(),
            },
            namespace,
            entities: Vec::new(),
            region: wanted.region.clone(),
        })
        .collect();
    for entity in &entities {
        let arn = entity.arn(&wanted.account);
        let identity = Identity { arn: arn.clone(), created: Timestamp(entity.created) };
        let uses = records::last_uses(c, &identity, since, wanted.actions)?;
        for service in &mut services {
            let of_this = || uses.iter().filter(|last| last.service == service.namespace);
            service.entities.push(OfEntity {
                arn: arn.clone(),
                name: entity.name.clone(),
                id: entity.id.clone(),
                path: entity.path.clone(),
                role: entity.kind == Kind::Role,
                last: of_this().map(|last| last.at.0).max(),
            });
            for last in of_this() {
                let Some(operation) = &last.operation else { continue };
                let known = service.actions.entry(operation.clone()).or_default();
                if known.as_ref().is_none_or(|(at, _)| *at < last.at.0) {
                    *known = Some((last.at.0, arn.clone()));
                }
            }
        }
    }
    Ok(Report { services })
}

/// The services that policies allow anything of: those they name, and for wildcards all of Kennel's.
fn namespaces(documents: &[Document]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let allows = documents.iter().flat_map(|d| &d.statements).filter(|s| s.effect == Effect::Allow);
    for statement in allows {
        match &statement.action {
            Scope::In(patterns) => {
                for pattern in patterns {
                    match pattern.vendor.as_str() {
                        "*" => all.extend(SERVED.map(|(name, _)| name.to_owned())),
                        vendor => drop(all.insert(vendor.to_ascii_lowercase())),
                    }
                }
            }
            Scope::NotIn(patterns) => {
                let excepted = |name: &str| {
                    patterns.iter().any(|p| {
                        p.name == "*" && (p.vendor == "*" || p.vendor.eq_ignore_ascii_case(name))
                    })
                };
                let rest = SERVED.iter().map(|(name, _)| *name).filter(|name| !excepted(name));
                all.extend(rest.map(str::to_owned));
            }
        }
    }
    all
}

/// The actions of a service that policies allow by their full name.
fn named_actions(documents: &[Document], namespace: &str) -> BTreeSet<String> {
    let allows = documents.iter().flat_map(|d| &d.statements).filter(|s| s.effect == Effect::Allow);
    let patterns = allows.flat_map(|statement| match &statement.action {
        Scope::In(patterns) => patterns.as_slice(),
        Scope::NotIn(_) => &[],
    });
    patterns
        .filter(|p| p.vendor.eq_ignore_ascii_case(namespace) && !p.name.contains(['*', '?']))
        .map(|p| p.name.clone())
        .collect()
}

/// A kept report.
struct Job {
    created: i64,
    actions: bool,
    report: Report,
}

fn job(call: &Call, c: &Connection) -> Outcome<Job> {
    let id = call.required("JobId")?;
    let found: Option<(i64, bool, String)> = c
        .prepare_cached(
            "SELECT created, action_level, report FROM last_accessed_jobs WHERE id = ?1",
        )?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let unknown = || no_such_entity(format!("Job ID {id} cannot be found."));
    let (created, actions, text) = found.ok_or_else(unknown)?;
    let report = serde_json::from_str(&text).map_err(|e| crate::service::state_failed(&e))?;
    Ok(Job { created, actions, report })
}

/// GetServiceLastAccessedDetails.
pub(crate) fn get(call: &Call, c: &Connection) -> Outcome<Value> {
    let Job { created, actions, report } = job(call, c)?;
    let page = call.page(report.services, |service| service.namespace.clone())?;
    let shown = page.items.iter().map(|service| service.show(actions)).collect();
    let level = if actions { "ACTION_LEVEL" } else { "SERVICE_LEVEL" };
    Ok(Page::<()>::answer(
        page.marker,
        vec![
            ("JobStatus", json!("COMPLETED")),
            ("JobType", json!(level)),
            ("JobCreationDate", seconds(created)),
            ("JobCompletionDate", seconds(created)),
            ("ServicesLastAccessed", Value::Array(shown)),
        ],
    ))
}

impl OfService {
    fn show(&self, actions: bool) -> Value {
        let known = SERVED.iter().find(|(name, _)| *name == self.namespace);
        let mut members = Map::new();
        let mut set = |name: &str, value: Value| members.insert(name.to_owned(), value);
        set("ServiceName", json!(known.map_or(self.namespace.as_str(), |(_, name)| name)));
        set("ServiceNamespace", json!(self.namespace));
        let used = self.entities.iter().filter_map(|e| e.last.map(|at| (at, &e.arn)));
        set("TotalAuthenticatedEntities", json!(used.clone().count()));
        if let Some((at, arn)) = used.max() {
            set("LastAuthenticated", seconds(at));
            set("LastAuthenticatedEntity", json!(arn));
            set("LastAuthenticatedRegion", json!(self.region));
        }
        if actions {
            let tracked = self.actions.iter().map(|(name, last)| match last {
                Some((at, arn)) => json!({
                    "ActionName": name,
                    "LastAccessedEntity": arn,
                    "LastAccessedTime": seconds(*at),
                    "LastAccessedRegion": self.region,
                }),
                None => json!({"ActionName": name}),
            });
            set("TrackedActionsLastAccessed", Value::Array(tracked.collect()));
        }
        Value::Object(members)
    }
}

/// GetServiceLastAccessedDetailsWithEntities.
pub(crate) fn with_entities(call: &Call, c: &Connection) -> Outcome<Value> {
    let Job { created, report, .. } = job(call, c)?;
    let namespace = call.required("ServiceNamespace")?;
    let service = report.services.into_iter().find(|service| service.namespace == namespace);
    let entities = service.map(|service| service.entities).unwrap_or_default();
    let page = call.page(entities, |entity| entity.arn.clone())?;
    let shown = page.items.iter().map(|entity| {
        let kind = if entity.role { "ROLE" } else { "USER" };
        let mut shown = json!({"EntityInfo": {
            "Arn": entity.arn,
            "Name": entity.name,
            "Type": kind,
            "Id": entity.id,
            "Path": entity.path,
        }});
        if let Some(at) = entity.last {
            shown["LastAuthenticated"] = seconds(at);
        }
        shown
    });
    let shown = shown.collect();
    Ok(Page::<()>::answer(
        page.marker,
        vec![
            ("JobStatus", json!("COMPLETED")),
            ("JobCreationDate", seconds(created)),
            ("JobCompletionDate", seconds(created)),
            ("EntityDetailsList", Value::Array(shown)),
        ],
    ))
}

#[cfg(test)]
mod tests;
