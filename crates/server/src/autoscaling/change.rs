//! Decisions become capacities, and capacities become activities: [`Autoscaling::change`] asks the service
//! and notes it, [`Autoscaling::settle`] finds out what has become of it.
//!
//! The services answer at once, by a row of their own, so that no activity is ever `Pending`.

use std::sync::atomic::Ordering;

use kennel_scaling::scaler::{NotScaled, Rule, clamp};
use kennel_wire::ServiceError;

use super::resource::{Facts, Resource};
use super::rows::{self, ActivityRow, ActivityStatus, TargetRow};
use super::{Autoscaling, words};
use crate::context::Timestamp;

/// After so long a change that has not come about never will, and its activity is `Unfulfilled`.
const PATIENCE_MS: i64 = 30 * 60_000;

/// A capacity to be set.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub target: &'a TargetRow,
    /// What there was when it was decided.
    pub facts: &'a Facts,
    pub to: u32,
    pub cause: String,
    /// Whose cooldown begins.
    pub rule: Option<Rule>,
    /// It is tried again until the service takes it, so that a refusal is no activity.
    pub patient: bool,
}

impl Autoscaling {
    /// Sets a capacity; true where the service has taken it. Whoever calls holds `deciding`.
    pub(super) async fn change(
        &self,
        change: Change<'_>,
        now: Timestamp,
    ) -> Result<bool, ServiceError> {
        let Change { target, facts, to, cause, rule, patient } = change;
        let of = target.resource.clone();
        let refusal = match self.inner.resources.scale(&of, to, now).await {
            Ok(()) => None,
            Err(e) if e.status >= 500 => return Err(e),
            Err(_) if patient => return Ok(false),
            Err(e) => Some(e.message),
        };
        let details =
            facts.instance.as_ref().filter(|_| to > facts.desired).and_then(|instance| {
                words::shared_cores(instance, to, self.inner.resources.cores())
            });
        let taken = refusal.is_none();
        let activity = ActivityRow {
            id: uuid::Uuid::new_v4().to_string(),
            resource: of.clone(),
            description: words::setting(&of, to),
            cause,
            started: now,
            ended: refusal.as_ref().map(|_| now),
            status: match refusal {
                None => ActivityStatus::InProgress,
                Some(_) => ActivityStatus::Failed,
            },
            message: Some(match &refusal {
                None => words::waiting(&of, to),
                Some(reason) => words::failed(&of, to, reason),
            }),
            details,
            not_scaled: Vec::new(),
            to: Some(to),
            cooling: taken && rule.is_some(),
        };
        let from = facts.desired;
        self.write(move |c| {
            if !taken {
                // An alarm asks again each minute: once is enough.
                let newest = rows::newest_activity(c, &of)?;
                if newest.is_some_and(|n| n.message == activity.message) {
                    return Ok(());
                }
                rows::add_activity(c, &activity)?;
                return Ok(());
            }
            for (number, mut open) in rows::open_activities(c)? {
                if open.resource == of {
                    override_by(&mut open, to, now);
                    rows::update_activity(c, number, &open)?;
                }
            }
            rows::add_activity(c, &activity)?;
            if let Some(mut target) = rows::target(c, &of)? {
                if let Some(rule) = &rule {
                    target.memory.applied(now.0, from, to, rule);
                }
                target.unbounded = false;
                rows::put_target(c, &target)?;
            }
            Ok(())
        })
        .await?;
        if taken {
            self.inner.unsettled.store(true, Ordering::Release);
            self.inner.changed.notify_one();
        }
        Ok(taken)
    }

    /// Brings a capacity inside the bounds where they have changed. What cannot be done now is tried again
    /// by the task. Whoever calls holds `deciding`.
    pub(super) async fn bring_inside(&self, target: &TargetRow, now: Timestamp) {
        if let Err(e) = self.try_bring_inside(target, now).await {
            tracing::error!("`{}` is not brought inside its bounds: {e}", target.resource);
        }
    }

    async fn try_bring_inside(
        &self,
        target: &TargetRow,
        now: Timestamp,
    ) -> Result<(), ServiceError> {
        let Some(facts) = self.inner.resources.facts(&target.resource)? else { return Ok(()) };
        if facts.busy.is_some() {
            return Ok(());
        }
        let to = clamp(facts.desired, target.bounds);
        if to != facts.desired {
            let (min, max) = (target.bounds.min, target.bounds.max);
            let cause = words::bound(facts.desired, min, max);
            let change = Change { target, facts: &facts, to, cause, rule: None, patient: true };
            return self.change(change, now).await.map(drop);
        }
        let of = target.resource.clone();
        self.write(move |c| {
            if let Some(mut target) = rows::target(c, &of)? {
                target.unbounded = false;
                rows::put_target(c, &target)?;
            }
            Ok(())
        })
        .await
    }

    /// Notes that an alarm fired and nothing was scaled; the same reason is noted once in a row.
    pub(super) async fn keep(
        &self,
        of: &Resource,
        cause: String,
        reasons: Vec<NotScaled>,
        now: Timestamp,
    ) -> Result<(), ServiceError> {
        if reasons.is_empty() {
            return Ok(());
        }
        let activity = ActivityRow {
            id: uuid::Uuid::new_v4().to_string(),
            resource: of.clone(),
            description: words::ATTEMPT.to_owned(),
            cause,
            started: now,
            ended: Some(now),
            status: ActivityStatus::Failed,
            message: None,
            details: None,
            not_scaled: reasons,
            to: None,
            cooling: false,
        };
        self.write(move |c| {
            let newest = rows::newest_activity(c, &activity.resource)?;
            let codes = |of: &ActivityRow| of.not_scaled.iter().map(|n| n.code).collect::<Vec<_>>();
            if newest.is_none_or(|newest| codes(&newest) != codes(&activity)) {
                rows::add_activity(c, &activity)?;
            }
            Ok(())
        })
        .await
    }

    /// Ends the activities whose end has come.
    pub(super) async fn settle(&self, now: Timestamp) -> Result<(), ServiceError> {
        let mut open = false;
        for (number, mut row) in self.read(rows::open_activities)? {
            let facts = self.inner.resources.facts(&row.resource)?;
            if !settled(&mut row, facts.as_ref(), now) {
                open = true;
                continue;
            }
            self.write(move |c| {
                let completed = row.cooling && row.status == ActivityStatus::Successful;
                if completed && let Some(mut target) = rows::target(c, &row.resource)? {
                    target.memory.completed(now.0);
                    rows::put_target(c, &target)?;
                }
                rows::update_activity(c, number, &row)
            })
            .await?;
        }
        if !open {
            self.inner.unsettled.store(false, Ordering::Release);
            // One may have begun since the rows were read.
            if !self.read(rows::open_activities)?.is_empty() {
                self.inner.unsettled.store(true, Ordering::Release);
            }
        }
        Ok(())
    }
}

fn override_by(row: &mut ActivityRow, now_wanted: u32, now: Timestamp) {
    let to = row.to.unwrap_or_default();
    row.status = ActivityStatus::Overridden;
    row.message = Some(words::overridden(&row.resource, to, now_wanted));
    row.ended = Some(now);
}

/// Writes into an activity how it ended; false while it goes on.
fn settled(row: &mut ActivityRow, facts: Option<&Facts>, now: Timestamp) -> bool {
    let to = row.to.unwrap_or_default();
    let of = &row.resource;
    let (status, message) = match facts {
        None => {
            (ActivityStatus::Unfulfilled, words::unfulfilled(of, to, "the resource was deleted"))
        }
        Some(facts) if facts.desired != to => {
            override_by(row, facts.desired, now);
            return true;
        }
        Some(facts) if facts.ready == to => (ActivityStatus::Successful, words::fulfilled(of, to)),
        Some(Facts { failed: Some(reason), .. }) => {
            (ActivityStatus::Unfulfilled, words::unfulfilled(of, to, reason))
        }
        Some(_) if now.0.saturating_sub(row.started.0) > PATIENCE_MS => {
            (ActivityStatus::Unfulfilled, words::unfulfilled(of, to, "scaling timed out"))
        }
        Some(_) => return false,
    };
    row.status = status;
    row.message = Some(message);
    row.ended = Some(now);
    true
}
