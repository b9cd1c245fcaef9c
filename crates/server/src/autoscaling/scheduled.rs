//! PutScheduledAction, DescribeScheduledActions, DeleteScheduledAction, and what is done when one is due.

use std::collections::BTreeSet;

use kennel_scaling::scaler::Bounds;
use kennel_scaling::schedule::Schedule;
use kennel_wire::ServiceError;
use serde_json::{Value, json};

use super::mode::Mode;
use super::rows::{self, ActivityRow, ActivityStatus, ScheduledRow, TargetRow};
use super::targets::check_bounds;
use super::{
    Autoscaling, Filter, capacity, list, no_target, not_found, optional, paged, place, resource,
    text, too_many, words,
};
use crate::context::{Context, Timestamp};
use crate::service::{Answer, Refused};

/// AWS's quota of scheduled actions of one target.
const ACTIONS: usize = 200;

fn moment(input: &Value, member: &str) -> Option<Timestamp> {
    let seconds = input.get(member)?.as_f64()?;
    // Casts saturate; the model has checked that it is a time.
    Some(Timestamp((seconds * 1000.0) as i64))
}

/// When an action is due next, after `now`; `None` when never again.
fn due(row: &ScheduledRow, now: Timestamp) -> Result<Option<i64>, ServiceError> {
    let schedule = Schedule::parse(&row.schedule, row.timezone.as_deref())
        .map_err(|e| ServiceError::validation(e.to_string()))?;
    let start = row.start.unwrap_or(row.created);
    // A time that is the start itself counts.
    let after = now.0.max(start.0.saturating_sub(1));
    let next = schedule.anchored(start.0).next(after);
    Ok(next.filter(|next| row.end.is_none_or(|end| *next <= end.0)))
}

impl Autoscaling {
    pub(super) async fn put_scheduled(&self, context: &Context, input: &Value) -> Answer {
        let of = resource(input)?;
        let name = text(input, "ScheduledActionName").to_owned();
        let action = input.get("ScalableTargetAction").cloned();
        let bounds = match &action {
            Some(action) => {
                Some((capacity(action, "MinCapacity")?, capacity(action, "MaxCapacity")?))
            }
            None => None,
        };
        let (input, now, default) = (input.clone(), context.now, self.inner.mode);
        let (account, resource) = (self.inner.account.clone(), of);
        self.write(move |c| {
            let refused = |message: String| Refused::Service(ServiceError::validation(message));
            let target =
                rows::target(c, &resource)?.ok_or_else(|| Refused::Service(no_target(&resource)))?;
            let old = rows::scheduled(c, &resource, &name)?;
            if old.is_none() && rows::all_scheduled(c, &resource)?.len() >= ACTIONS {
                return Err(Refused::Service(too_many(format!(
                    "`{resource}` has {ACTIONS} scheduled actions already, which is the most"
                ))));
            }
            // An update leaves out what stays.
            let before = old.as_ref();
            let schedule = optional(&input, "Schedule")
                .map(str::to_owned)
                .or_else(|| before.map(|old| old.schedule.clone()))
                .ok_or_else(|| refused("Schedule must be specified".to_owned()))?;
            let (min, max) = bounds.unwrap_or((
                before.and_then(|old| old.min),
                before.and_then(|old| old.max),
            ));
            let row = ScheduledRow {
                arn: before.map_or_else(
                    || {
                        format!(
                            "arn:aws:autoscaling:{}:{account}:scheduledAction:{}:resource/{}/{resource}:scheduledActionName/{name}",
                            target.region,
                            uuid::Uuid::new_v4(),
                            resource.namespace()
                        )
                    },
                    |old| old.arn.clone(),
                ),
                created: before.map_or(now, |old| old.created),
                name,
                schedule,
                timezone: optional(&input, "Timezone")
                    .map(str::to_owned)
                    .or_else(|| before.and_then(|old| old.timezone.clone())),
                start: moment(&input, "StartTime").or_else(|| before.and_then(|old| old.start)),
                end: moment(&input, "EndTime").or_else(|| before.and_then(|old| old.end)),
                min,
                max,
            };
            if row.min.is_none() && row.max.is_none() {
                return Err(refused(
                    "ScalableTargetAction must have a MinCapacity or a MaxCapacity".to_owned(),
                ));
            }
            if let (Some(start), Some(end)) = (row.start, row.end)
                && end <= start
            {
                return Err(refused("EndTime must be after StartTime".to_owned()));
            }
            let mode = Mode::of_target(&target.tags, default);
            let wanted = Bounds {
                min: row.min.unwrap_or(1),
                max: row.max.or(row.min).unwrap_or(u32::MAX),
            };
            check_bounds(&resource, wanted, mode)?;
            let due = due(&row, now)?;
            if due.is_none() {
                return Err(refused(format!(
                    "the schedule `{}` has no time after now{}",
                    row.schedule,
                    if row.end.is_some() { " and up to EndTime" } else { "" }
                )));
            }
            rows::put_scheduled(c, &resource, &row, due)
        })
        .await?;
        self.inner.changed.notify_one();
        Ok(json!({}))
    }

    pub(super) fn describe_scheduled(&self, input: &Value) -> Answer {
        let filter = Filter::of(input);
        let names: Option<BTreeSet<&str>> =
            list(input, "ScheduledActionNames").map(|names| names.into_iter().collect());
        let found: Vec<(TargetRow, Vec<ScheduledRow>)> = self.read(|c| {
            let targets = rows::targets(c)?.into_iter().filter(|t| filter.wants(&t.resource));
            targets.map(|t| Ok((t.clone(), rows::all_scheduled(c, &t.resource)?))).collect()
        })?;
        let mut items = Vec::new();
        for (target, actions) in found {
            for row in actions {
                if names.as_ref().is_some_and(|names| !names.contains(row.name.as_str())) {
                    continue;
                }
                // Neither part has a control character.
                let key = format!("{}\u{1}{}", target.resource, row.name);
                items.push((key, described(&target, &row)));
            }
        }
        items.sort_by(|(a, _), (b, _)| a.cmp(b));
        paged(input, "ScheduledActions", items)
    }

    pub(super) async fn delete_scheduled(&self, input: &Value) -> Answer {
        let of = resource(input)?;
        let name = text(input, "ScheduledActionName").to_owned();
        let resource = of.clone();
        if self.write(move |c| rows::remove_scheduled(c, &resource, &name)).await? {
            Ok(json!({}))
        } else {
            Err(not_found(format!("No scheduled action found for {}", place(&of))))
        }
    }

    /// Does what is due. What was due while the platform was down is done once, now.
    pub(super) async fn do_scheduled(&self, now: Timestamp) -> Result<(), ServiceError> {
        for (target, row) in self.read(|c| rows::due_scheduled(c, now))? {
            let _deciding = self.inner.deciding.lock().await;
            let default = self.inner.mode;
            let target = self.write(move |c| run(c, &target, &row, default, now)).await?;
            if let Some(target) = target {
                self.bring_inside(&target, now).await;
            }
        }
        Ok(())
    }
}

/// Sets the bounds that an action says, and when it is due next. Answers the target where they were set.
fn run(
    c: &rusqlite::Connection,
    target: &TargetRow,
    row: &ScheduledRow,
    default: Mode,
    now: Timestamp,
) -> rows::Outcome<Option<TargetRow>> {
    let of = &target.resource;
    // Both may have changed since they were found to be due.
    let (Some(mut target), Some(row)) = (rows::target(c, of)?, rows::scheduled(c, of, &row.name)?)
    else {
        return Ok(None);
    };
    rows::put_scheduled(c, of, &row, due(&row, now)?)?;
    if target.suspended.scheduled || row.end.is_some_and(|end| end < now) {
        return Ok(None);
    }
    let wanted = Bounds {
        min: row.min.unwrap_or(target.bounds.min),
        max: row.max.unwrap_or(target.bounds.max),
    };
    let what = words::bounds(row.min, row.max);
    let checked = check_bounds(of, wanted, Mode::of_target(&target.tags, default));
    let (status, message) = match &checked {
        Ok(()) => (ActivityStatus::Successful, format!("Successfully set {what}")),
        Err(e) => (ActivityStatus::Failed, format!("Failed to set {what}. Reason: {}", e.message)),
    };
    let activity = ActivityRow {
        id: uuid::Uuid::new_v4().to_string(),
        resource: of.clone(),
        description: format!("Setting {what}"),
        cause: words::scheduled(&row.name),
        started: now,
        ended: Some(now),
        status,
        message: Some(message),
        details: None,
        not_scaled: Vec::new(),
        to: None,
        cooling: false,
    };
    rows::add_activity(c, &activity)?;
    if checked.is_err() {
        return Ok(None);
    }
    target.bounds = wanted;
    target.unbounded = true;
    rows::put_target(c, &target)?;
    Ok(Some(target))
}

fn described(target: &TargetRow, row: &ScheduledRow) -> Value {
    let mut action = json!({});
    for (member, given) in [("MinCapacity", row.min), ("MaxCapacity", row.max)] {
        if let Some(given) = given {
            action[member] = json!(given);
        }
    }
    let mut answer = json!({
        "ScheduledActionName": row.name,
        "ScheduledActionARN": row.arn,
        "ServiceNamespace": target.resource.namespace(),
        "Schedule": row.schedule,
        "ResourceId": target.resource.to_string(),
        "ScalableDimension": target.resource.dimension(),
        "ScalableTargetAction": action,
        "CreationTime": row.created.seconds(),
    });
    if let Some(timezone) = &row.timezone {
        answer["Timezone"] = json!(timezone);
    }
    for (member, time) in [("StartTime", row.start), ("EndTime", row.end)] {
        if let Some(time) = time {
            answer[member] = json!(time.seconds());
        }
    }
    answer
}
