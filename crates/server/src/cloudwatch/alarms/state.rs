//! SetAlarmState, EnableAlarmActions, DisableAlarmActions.

use kennel_wire::ServiceError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::actions::Firing;
use super::reason::Words;
use super::rows::{self, Row};
use super::{AlarmSpec, Alarms, MetricsError, evaluate};
use crate::context::{Context, Timestamp};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Input {
    alarm_name: String,
    state_value: String,
    state_reason: String,
    state_reason_data: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Names {
    pub(super) alarm_names: Vec<String>,
}

impl Alarms {
    /// The state holds until the next evaluation, which finds the real one.
    pub(super) async fn set_state(
        &self,
        context: &Context,
        input: Input,
    ) -> Result<Value, MetricsError> {
        if let Some(data) = &input.state_reason_data
            && serde_json::from_str::<Value>(data).is_err()
        {
            return Err(ServiceError::new(
                "InvalidFormat",
                400,
                "StateReasonData was not syntactically valid JSON.",
            )
            .into());
        }
        let now = context.now;
        let state = rows::state_named(&input.state_value);
        let words = Words { reason: input.state_reason, data: input.state_reason_data };
        let name = input.alarm_name;
        let (old, words) = self
            .write(move |c| {
                let old = rows::find(c, &name)?.ok_or_else(|| unknown(&name))?;
                rows::set_state(c, now, &old, state, &words)?;
                Ok((old, words))
            })
            .await?;
        if state != old.state {
            let metric = self.newest(old.spec.clone(), now).await?;
            let new = Row { state, reason: words.reason, transitioned: now, ..old };
            self.fire(now, Firing::of(&new, metric, true).into_iter().collect()).await;
        }
        Ok(json!({}))
    }

    /// The newest datapoint that an alarm would be evaluated by; not a number when there is none.
    async fn newest(&self, spec: AlarmSpec, now: Timestamp) -> Result<f64, MetricsError> {
        let at = now.0.div_euclid(1000);
        self.metrics.read(move |c| evaluate::newest(c, &spec, at)).await
    }

    /// Names that no alarm has are left out, as nothing in AWS's model says otherwise.
    pub(super) async fn enable_actions(
        &self,
        context: &Context,
        names: Names,
        enabled: bool,
    ) -> Result<Value, MetricsError> {
        let now = context.now;
        self.write(move |c| {
            for name in &names.alarm_names {
                if let Some(mut alarm) = rows::find(c, name)?
                    && alarm.spec.actions_enabled != enabled
                {
                    alarm.spec.actions_enabled = enabled;
                    rows::put(c, now, &alarm.spec)?;
                }
            }
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }
}

fn unknown(name: &str) -> ServiceError {
    ServiceError::new("ResourceNotFound", 404, format!("Alarm does not exist: {name}"))
}
