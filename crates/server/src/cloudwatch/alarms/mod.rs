//! CloudWatch alarms: rows of the state database, evaluated by [`kennel_scaling::alarm`] and acted on.
//! `put`, `describe`, `history`, `tags` are the operations; `rows` is the SQL; `reason` the words of a
//! state; `evaluate` finds the states of all alarms that are due; `actions` runs what they say.
//!
//! Level-triggered: an evaluation looks at the stored points and the stored state alone, so that a
//! restart goes on where the platform stopped. Metric math, anomaly bands and composite alarms are not
//! built.

mod actions;
mod describe;
mod evaluate;
mod history;
mod put;
mod reason;
mod rows;
mod state;
mod tags;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

use kennel_scaling::alarm::{Alarm, State};
use kennel_store::state::rusqlite::Connection;
use kennel_wire::ServiceError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(super) use self::rows::SCHEMA;
use super::{Metrics, MetricsError, parse};
use crate::context::{Context, Timestamp};
use crate::service::{Refused, state_failed};

/// AWS's quota of alarms in a region.
const MOST_ALARMS: i64 = 5_000;

/// What an alarm watches, and what it does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AlarmSpec {
    /// At most 255 characters; an alarm of this name is replaced.
    pub(crate) name: String,
    /// `arn:aws:cloudwatch:REGION:ACCOUNT:alarm:NAME` ([`Context::arn`]).
    pub(crate) arn: String,
    pub(crate) namespace: String,
    pub(crate) metric: String,
    pub(crate) dimensions: BTreeMap<String, String>,
    /// `Average`, `Sum` …, or a percentile: `p99`.
    pub(crate) statistic: String,
    /// Only points of this unit; otherwise of all.
    pub(crate) unit: Option<String>,
    /// 10, 20, 30 or a multiple of 60. Below 60 the alarm is a high-resolution one.
    pub(crate) period_s: u32,
    pub(crate) alarm: Alarm,
    /// The caller gave `DatapointsToAlarm`, so that it is described and counted in reasons.
    pub(crate) datapoints_given: bool,
    /// AWS's `TreatMissingData` was given.
    pub(crate) missing_given: bool,
    /// `EvaluateLowSampleCountPercentile`: `evaluate` or `ignore`.
    pub(crate) low_sample_count: Option<String>,
    pub(crate) actions_enabled: bool,
    pub(crate) ok_actions: Vec<String>,
    pub(crate) alarm_actions: Vec<String>,
    pub(crate) insufficient_actions: Vec<String>,
    pub(crate) description: Option<String>,
    /// Of a new alarm; those of an old one stay.
    pub(crate) tags: BTreeMap<String, String>,
}

impl AlarmSpec {
    /// What is to be done in a state.
    fn actions(&self, state: State) -> &[String] {
        match state {
            State::Ok => &self.ok_actions,
            State::Alarm => &self.alarm_actions,
            State::InsufficientData => &self.insufficient_actions,
        }
    }

    /// Evaluated every ten seconds, over points of seconds.
    fn high_resolution(&self) -> bool {
        self.period_s < 60
    }
}

/// An alarm's state as an action sees it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fired {
    /// The alarm's name.
    pub(crate) alarm: String,
    pub(crate) arn: String,
    pub(crate) state: State,
    pub(crate) threshold: f64,
    /// The newest datapoint of the evaluation range; not a number when there is none.
    pub(crate) metric: f64,
    /// CloudWatch's words.
    pub(crate) reason: String,
}

/// Does what actions `arn:aws:autoscaling:…` ask for.
///
/// It is called when an alarm comes into the action's state, and once a minute while it stays there:
/// "For Auto Scaling actions, the alarm continues to invoke the action once per minute that the alarm
/// remains in the new state", which the guide says of alarms of any resolution,
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html>.
/// A run that takes longer than five seconds is dropped at its next await.
pub(crate) trait AlarmAction: Send + Sync {
    /// Runs one action of one alarm; other handlers' ARNs are to be left alone.
    fn run<'a>(
        &'a self,
        now: Timestamp,
        action_arn: &'a str,
        fired: &'a Fired,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

/// Who acts.
#[derive(Clone, Default)]
pub(super) struct Handlers(Arc<RwLock<Vec<Arc<dyn AlarmAction>>>>);

impl std::fmt::Debug for Handlers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handlers").finish_non_exhaustive()
    }
}

impl Handlers {
    fn all(&self) -> Vec<Arc<dyn AlarmAction>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The alarms of the platform; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Alarms {
    metrics: Metrics,
}

impl Metrics {
    /// The alarms on these metrics.
    pub(crate) fn alarms(&self) -> Alarms {
        Alarms { metrics: self.clone() }
    }
}

impl Alarms {
    /// Makes or replaces alarms, all or none, and answers their ARNs. A replaced alarm keeps its state
    /// and its tags.
    ///
    /// # Errors
    /// `LimitExceeded` over AWS's quota; the database's.
    pub(crate) async fn put(
        &self,
        now: Timestamp,
        specs: Vec<AlarmSpec>,
    ) -> Result<Vec<String>, ServiceError> {
        self.write(move |c| {
            for spec in &specs {
                rows::put(c, now, spec)?;
            }
            if rows::count(c)? > MOST_ALARMS {
                return Err(ServiceError::new(
                    "LimitExceeded",
                    400,
                    format!("The maximum limit of {MOST_ALARMS} alarms was reached."),
                )
                .into());
            }
            Ok(specs.into_iter().map(|spec| spec.arn).collect())
        })
        .await
    }

    /// Deletes alarms. Names that no alarm has are left out; history stays.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn delete(&self, names: Vec<String>) -> Result<(), ServiceError> {
        self.delete_at((self.metrics.now)(), names).await
    }

    async fn delete_at(&self, now: Timestamp, names: Vec<String>) -> Result<(), ServiceError> {
        self.write(move |c| {
            for name in &names {
                rows::delete(c, now, name)?;
            }
            Ok(())
        })
        .await
    }

    /// An alarm's state now, from its row (microseconds); nothing when there is no such alarm.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn state(&self, name: &str) -> Result<Option<State>, ServiceError> {
        let found = self.metrics.database.read(|c| rows::state(c, name));
        found.map_err(|e| state_failed(&e))?.map_err(|e| state_failed(&e))
    }

    /// Adds who acts on `arn:aws:autoscaling:…`.
    pub(crate) fn on_action(&self, action: Arc<dyn AlarmAction>) {
        let mut handlers = self.metrics.handlers.0.write().unwrap_or_else(PoisonError::into_inner);
        handlers.push(action);
    }

    /// Runs an operation of alarms.
    pub(super) async fn call(
        &self,
        context: &Context,
        operation: &str,
        input: Value,
    ) -> Result<Value, MetricsError> {
        match operation {
            "PutMetricAlarm" => self.put_metric_alarm(context, parse(input)?).await,
            "DescribeAlarms" => self.describe(parse(input)?).await,
            "DescribeAlarmsForMetric" => self.describe_for_metric(parse(input)?).await,
            "DescribeAlarmHistory" => self.history(parse(input)?).await,
            "SetAlarmState" => self.set_state(context, parse(input)?).await,
            "EnableAlarmActions" => self.enable_actions(context, parse(input)?, true).await,
            "DisableAlarmActions" => self.enable_actions(context, parse(input)?, false).await,
            "DeleteAlarms" => {
                // What AWS answers for names that no alarm has: nothing.
                let names: state::Names = parse(input)?;
                self.delete_at(context.now, names.alarm_names).await?;
                Ok(json!({}))
            }
            "TagResource" => self.tag(parse(input)?).await,
            "UntagResource" => self.untag(parse(input)?).await,
            "ListTagsForResource" => self.tags(parse(input)?).await,
            _ => Err(ServiceError::not_implemented("monitoring", operation).into()),
        }
    }

    async fn write<T, F>(&self, work: F) -> Result<T, ServiceError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Refused> + Send + 'static,
    {
        let written = self.metrics.database.write(work).await;
        written.map_err(|e| state_failed(&e))?.map_err(ServiceError::from)
    }
}

#[cfg(test)]
mod tests;
