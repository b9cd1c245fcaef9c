//! PutScalingPolicy, DescribeScalingPolicies, DeleteScalingPolicy.

use std::collections::BTreeSet;

use kennel_wire::ServiceError;
use serde_json::{Value, json};

use super::policy::{self, Meaning};
use super::resource::Resource;
use super::rows::{self, PolicyKind, PolicyRow, TargetRow};
use super::{
    Autoscaling, Filter, list, no_target, not_found, optional, paged, place, resource, text,
    too_many,
};
use crate::context::{Context, Timestamp};
use crate::service::{Answer, Refused};

/// AWS's quota of policies of one target.
const POLICIES: usize = 50;

/// Each kind and the member that configures it.
const CONFIGURATIONS: [(PolicyKind, &str); 2] = [
    (PolicyKind::TargetTracking, "TargetTrackingScalingPolicyConfiguration"),
    (PolicyKind::Step, "StepScalingPolicyConfiguration"),
];

/// The kind that a request says, and its configuration; the kind of the policy that is there where it does
/// not say one.
fn kind(input: &Value, old: Option<PolicyKind>) -> Result<(PolicyKind, Value), ServiceError> {
    let said = match optional(input, "PolicyType") {
        Some("PredictiveScaling") => {
            return Err(ServiceError::validation(
                "PredictiveScaling is not implemented by Kennel\nhint: TargetTrackingScaling follows the load; PutScheduledAction prepares for what is known beforehand",
            ));
        }
        Some("TargetTrackingScaling") => Some(PolicyKind::TargetTracking),
        Some(_) => Some(PolicyKind::Step),
        None => None,
    };
    // AWS: "If you don't specify a policy type, the default is StepScaling" for a new policy.
    let kind = said.or(old).unwrap_or(PolicyKind::Step);
    if let Some(old) = old.filter(|old| *old != kind) {
        return Err(ServiceError::validation(format!(
            "the policy is of the type {} and cannot become {}\nhint: delete it first",
            old.name(),
            kind.name()
        )));
    }
    let mut configuration = None;
    for (of, member) in CONFIGURATIONS {
        let Some(given) = input.get(member).filter(|given| !given.is_null()) else { continue };
        if of != kind {
            return Err(ServiceError::validation(format!(
                "{member} must not be specified for a policy of the type {}",
                kind.name()
            )));
        }
        configuration = Some(given.clone());
    }
    match configuration {
        Some(configuration) => Ok((kind, configuration)),
        None => Err(ServiceError::validation(format!(
            "{}PolicyConfiguration must be specified for a policy of the type {}",
            kind.name(),
            kind.name()
        ))),
    }
}

impl Autoscaling {
    pub(super) async fn put_policy(&self, context: &Context, input: &Value) -> Answer {
        let of = resource(input)?;
        let name = text(input, "PolicyName").to_owned();
        let (old, there) =
            self.read(|c| Ok((rows::policy(c, &of, &name)?, rows::target(c, &of)?)))?;
        let target = there.ok_or_else(|| no_target(&of))?;
        let (kind, configuration) = kind(input, old.as_ref().map(|old| old.kind))?;
        let meaning = policy::read(&of, kind, &configuration)?;
        let row = match old {
            Some(old) => PolicyRow { configuration, ..old },
            None => PolicyRow {
                arn: format!(
                    "arn:aws:autoscaling:{}:{}:scalingPolicy:{}:resource/{}/{of}:policyName/{name}",
                    target.region,
                    self.inner.account,
                    uuid::Uuid::new_v4(),
                    of.namespace()
                ),
                name,
                kind,
                created: context.now,
                configuration,
                alarms: match kind {
                    PolicyKind::TargetTracking => {
                        policy::alarm_names(&of, &target.region, &self.inner.account)
                    }
                    PolicyKind::Step => Vec::new(),
                },
            },
        };
        let (written, tracked) = (row.clone(), meaning.clone());
        let resource = of.clone();
        let new = self.write(move |c| put(c, &resource, &written, &tracked)).await?;
        // A restart makes alarms that lack, so the row is first.
        if let Err(e) = self.make_alarms(&row, &meaning, context.now).await {
            if new {
                let (resource, name) = (of, row.name);
                self.write(move |c| rows::remove_policy(c, &resource, &name)).await?;
            }
            return Err(e);
        }
        self.inner.changed.notify_one();
        Ok(json!({ "PolicyARN": row.arn, "Alarms": alarms(&row) }))
    }

    /// Makes or replaces the alarms of a policy.
    pub(super) async fn make_alarms(
        &self,
        row: &PolicyRow,
        meaning: &Meaning,
        now: Timestamp,
    ) -> Result<(), ServiceError> {
        let specs = policy::alarms(row, meaning);
        if specs.is_empty() {
            return Ok(());
        }
        match self.inner.alarms.put(now, specs).await {
            Ok(_) => Ok(()),
            Err(e) if e.code == "LimitExceeded" => Err(too_many(e.message)),
            Err(e) => Err(e),
        }
    }

    /// Deletes alarms and forgets what they said.
    pub(super) async fn delete_alarms(&self, names: Vec<String>) -> Result<(), ServiceError> {
        if names.is_empty() {
            return Ok(());
        }
        self.forget_fired(&names);
        self.inner.alarms.delete(names).await
    }

    pub(super) fn describe_policies(&self, input: &Value) -> Answer {
        let filter = Filter::of(input);
        let names: Option<BTreeSet<&str>> =
            list(input, "PolicyNames").map(|names| names.into_iter().collect());
        let found: Vec<(TargetRow, Vec<PolicyRow>)> = self.read(|c| {
            let targets = rows::targets(c)?.into_iter().filter(|t| filter.wants(&t.resource));
            targets.map(|t| Ok((t.clone(), rows::policies(c, &t.resource)?))).collect()
        })?;
        let mut items = Vec::new();
        for (target, policies) in found {
            for row in policies {
                if names.as_ref().is_some_and(|names| !names.contains(row.name.as_str())) {
                    continue;
                }
                // Neither part has a control character.
                let key = format!("{}\u{1}{}", target.resource, row.name);
                items.push((key, described(&target.resource, &row)));
            }
        }
        items.sort_by(|(a, _), (b, _)| a.cmp(b));
        paged(input, "ScalingPolicies", items)
    }

    pub(super) async fn delete_policy(&self, input: &Value) -> Answer {
        let of = resource(input)?;
        let name = text(input, "PolicyName").to_owned();
        let Some(row) = self.read(|c| rows::policy(c, &of, &name))? else {
            return Err(not_found(format!("No scaling policy found for {}", place(&of))));
        };
        // A step policy's alarms are the user's, and stay.
        self.delete_alarms(row.alarms.into_iter().map(|alarm| alarm.name).collect()).await?;
        self.write(move |c| rows::remove_policy(c, &of, &name)).await?;
        self.inner.changed.notify_one();
        Ok(json!({}))
    }
}

/// Writes a policy; true where it is a new one.
fn put(
    c: &rusqlite::Connection,
    of: &Resource,
    row: &PolicyRow,
    meaning: &Meaning,
) -> rows::Outcome<bool> {
    // Looked at again: it may have been deregistered meanwhile.
    if rows::target(c, of)?.is_none() {
        return Err(Refused::Service(no_target(of)));
    }
    let others: Vec<PolicyRow> =
        rows::policies(c, of)?.into_iter().filter(|other| other.name != row.name).collect();
    if others.len() >= POLICIES {
        return Err(Refused::Service(too_many(format!(
            "`{of}` has {POLICIES} scaling policies already, which is the most"
        ))));
    }
    for other in &others {
        let theirs = policy::read(of, other.kind, &other.configuration)?;
        if meaning.metric.is_some() && theirs.metric == meaning.metric {
            return Err(Refused::Service(ServiceError::validation(
                "Only one TargetTrackingScaling policy for a given metric specification is allowed.",
            )));
        }
    }
    let new = rows::policy(c, of, &row.name)?.is_none();
    rows::put_policy(c, of, row)?;
    Ok(new)
}

fn alarms(row: &PolicyRow) -> Vec<Value> {
    let named = |alarm: &rows::AlarmName| json!({"AlarmName": alarm.name, "AlarmARN": alarm.arn});
    row.alarms.iter().map(named).collect()
}

fn described(of: &Resource, row: &PolicyRow) -> Value {
    let mut answer = json!({
        "PolicyARN": row.arn,
        "PolicyName": row.name,
        "ServiceNamespace": of.namespace(),
        "ResourceId": of.to_string(),
        "ScalableDimension": of.dimension(),
        "PolicyType": row.kind.name(),
        "Alarms": alarms(row),
        "CreationTime": row.created.seconds(),
    });
    for (kind, member) in CONFIGURATIONS {
        if kind == row.kind {
            answer[member] = row.configuration.clone();
        }
    }
    answer
}
