//! What alarms do: the actions of a state are run, and history says how that went.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use kennel_scaling::alarm::State;

use super::history::{self, Item};
use super::rows::{self, Row};
use super::{AlarmAction, Alarms, Fired};
use crate::context::Timestamp;

/// How long one action may take.
const PATIENCE: Duration =
    if cfg!(test) { Duration::from_millis(200) } else { Duration::from_secs(5) };
/// Alarms whose actions run at the same time.
const AT_ONCE: usize = 16;
/// Policies of Application Auto Scaling and of EC2 have this ARN; alarms run them again and again.
const SCALING: &str = "arn:aws:autoscaling:";

/// An alarm that has something to do.
#[derive(Debug)]
pub(super) struct Firing {
    fired: Fired,
    actions: Vec<String>,
    /// When the state changed, where it just has: history tells the actions of a change. Those that are
    /// run again, minute by minute, are not told.
    changed: Option<Timestamp>,
}

impl Firing {
    /// What an alarm has to do in its state, which is new or has stayed; nothing if it has no such
    /// action or they are off.
    pub(super) fn of(alarm: &Row, metric: f64, new: bool) -> Option<Firing> {
        let spec = &alarm.spec;
        let actions: Vec<String> = spec
            .actions(alarm.state)
            .iter()
            .filter(|action| new || action.starts_with(SCALING))
            .cloned()
            .collect();
        if actions.is_empty() || !spec.actions_enabled {
            return None;
        }
        let fired = Fired {
            alarm: spec.name.clone(),
            arn: spec.arn.clone(),
            state: alarm.state,
            threshold: spec.alarm.threshold,
            metric,
            reason: alarm.reason.clone(),
        };
        Some(Firing { fired, actions, changed: new.then_some(alarm.transitioned) })
    }

    /// Whether an alarm that stays in a state has to be looked at.
    pub(super) fn repeats(alarm: &Row, state: State) -> bool {
        let spec = &alarm.spec;
        spec.actions_enabled && spec.actions(state).iter().any(|action| action.starts_with(SCALING))
    }
}

impl Alarms {
    /// Runs actions, several alarms' at a time and those of one alarm one after the other.
    pub(super) async fn fire(&self, now: Timestamp, firings: Vec<Firing>) {
        if firings.is_empty() {
            return;
        }
        let handlers = self.metrics.handlers.all();
        let items: Vec<Item> = futures::stream::iter(firings)
            .map(|firing| run(&handlers, now, firing))
            .buffered(AT_ONCE)
            .flat_map(futures::stream::iter)
            .collect()
            .await;
        if items.is_empty() {
            return;
        }
        let written = self
            .write(move |c| {
                for item in &items {
                    rows::remember(c, item)?;
                }
                Ok(())
            })
            .await;
        if let Err(error) = written {
            tracing::error!("history of alarm actions is lost: {error}");
        }
    }
}

async fn run(handlers: &[Arc<dyn AlarmAction>], now: Timestamp, firing: Firing) -> Vec<Item> {
    let mut items = Vec::new();
    for action in &firing.actions {
        let outcome = run_one(handlers, now, action, &firing.fired).await;
        if let Err(error) = &outcome {
            tracing::warn!("alarm `{}`: action `{action}`: {error}", firing.fired.alarm);
        }
        if let Some(changed) = firing.changed {
            let error = outcome.err();
            items.push(history::action(
                now,
                &firing.fired.alarm,
                changed,
                action,
                error.as_deref(),
            ));
        }
    }
    items
}

async fn run_one(
    handlers: &[Arc<dyn AlarmAction>],
    now: Timestamp,
    action: &str,
    fired: &Fired,
) -> Result<(), String> {
    if !action.starts_with(SCALING) {
        let service = action.split(':').nth(2).unwrap_or_default();
        return Err(format!("actions of `{service}` are not implemented by Kennel"));
    }
    for handler in handlers {
        tokio::time::timeout(PATIENCE, handler.run(now, action, fired))
            .await
            .map_err(|_| format!("it took longer than {PATIENCE:?}"))?;
    }
    if handlers.is_empty() {
        return Err("nothing here scales by alarms".to_owned());
    }
    Ok(())
}
