//! How asynchronous invocations are handled: retries, age, destinations.

use kennel_wire::ServiceError;
use rusqlite::Connection;
use serde::Deserialize;
use serde_json::{Value, json};

use super::configuration::queue;
use super::error::{Outcome, Refused, constraint, invalid, no_function, not_found};
use super::facts;
use super::names::{self, Home, LATEST, Named};
use super::rows::{self, EventRow};
use super::{Lambda, optional, page, text, typed, with_marker};
use crate::context::Context;
use crate::service::Answer;

/// Tries after the first one where nothing else is set, as on AWS.
pub(super) const DEFAULT_RETRIES: u32 = 2;
/// Seconds that an invocation is kept where nothing else is set: six hours, as on AWS.
pub(super) const DEFAULT_AGE: u32 = 21_600;
/// Configurations of one page.
const PAGE: usize = 50;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Destination {
    destination: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Destinations {
    on_success: Option<Destination>,
    on_failure: Option<Destination>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    function_name: String,
    qualifier: Option<String>,
    maximum_retry_attempts: Option<u32>,
    maximum_event_age_in_seconds: Option<u32>,
    destination_config: Option<Destinations>,
}

impl Lambda {
    pub(super) async fn put_event_config(&self, context: &Context, input: &Value) -> Answer {
        self.change_event_config(context, input, true).await
    }

    pub(super) async fn update_event_config(&self, context: &Context, input: &Value) -> Answer {
        self.change_event_config(context, input, false).await
    }

    async fn change_event_config(&self, context: &Context, input: &Value, anew: bool) -> Answer {
        let request: Request = typed(input.clone())?;
        let home = self.inner.home.clone();
        let named = place(&request.function_name, request.qualifier.as_deref(), &home)?;
        if request.maximum_retry_attempts.is_none()
            && request.maximum_event_age_in_seconds.is_none()
            && request.destination_config.is_none()
        {
            return Err(invalid(
                "You must specify at least one of error handling or destination setting.",
            ));
        }
        if let Some(retries) = request.maximum_retry_attempts.filter(|n| *n > 2) {
            return Err(constraint(
                &retries.to_string(),
                "maximumRetryAttempts",
                "Member must have value less than or equal to 2",
            ));
        }
        if let Some(age) =
            request.maximum_event_age_in_seconds.filter(|age| !(60..=DEFAULT_AGE).contains(age))
        {
            return Err(constraint(
                &age.to_string(),
                "maximumEventAgeInSeconds",
                "Member must have value between 60 and 21600",
            ));
        }
        let now = context.now;
        self.write(move |c| {
            facts::look_up(c, &home, &named)?;
            let qualifier = named.qualifier.as_deref().unwrap_or(LATEST);
            let mut row = match rows::setting(c, &named.name, qualifier)? {
                Some(row) if !anew => row,
                None if !anew => return Err(Refused::Service(missing(&home, &named))),
                _ => EventRow::default(),
            };
            row.retries = request.maximum_retry_attempts.or(row.retries);
            row.max_age = request.maximum_event_age_in_seconds.or(row.max_age);
            if let Some(to) = request.destination_config {
                if let Some(to) = to.on_success {
                    row.on_success = destination(c, &home, &named.name, to)?;
                }
                if let Some(to) = to.on_failure {
                    row.on_failure = destination(c, &home, &named.name, to)?;
                }
            }
            row.modified = now;
            rows::put_setting(c, &named.name, qualifier, &row)?;
            Ok(shown(&row, &home, &named.name, qualifier))
        })
        .await
    }

    pub(super) fn get_event_config(&self, input: &Value) -> Answer {
        let home = &self.inner.home;
        let named = place(text(input, "FunctionName"), optional(input, "Qualifier"), home)?;
        let qualifier = named.qualifier.as_deref().unwrap_or(LATEST);
        let row = self.read(|c| {
            facts::look_up(c, home, &named)?;
            rows::setting::<EventRow>(c, &named.name, qualifier)
        })?;
        let row = row.ok_or_else(|| missing(home, &named))?;
        Ok(shown(&row, home, &named.name, qualifier))
    }

    pub(super) async fn delete_event_config(&self, input: &Value) -> Answer {
        let home = self.inner.home.clone();
        let named = place(text(input, "FunctionName"), optional(input, "Qualifier"), &home)?;
        self.write(move |c| {
            facts::look_up(c, &home, &named)?;
            let qualifier = named.qualifier.as_deref().unwrap_or(LATEST);
            if !rows::remove_setting::<EventRow>(c, &named.name, qualifier)? {
                return Err(Refused::Service(missing(&home, &named)));
            }
            Ok(json!({}))
        })
        .await
    }

    pub(super) fn list_event_configs(&self, input: &Value) -> Answer {
        let home = &self.inner.home;
        let name = names::unqualified(text(input, "FunctionName"), home)?;
        let rows = self.read(|c| {
            let named = Named { name: name.clone(), qualifier: None };
            facts::look_up(c, home, &named)?;
            rows::settings::<EventRow>(c, &name)
        })?;
        let (rows, marker) = page(input, PAGE, rows, |(qualifier, _)| qualifier.clone());
        let shown: Vec<Value> =
            rows.iter().map(|(qualifier, row)| shown(row, home, &name, qualifier)).collect();
        Ok(with_marker(json!({"FunctionEventInvokeConfigs": shown}), marker))
    }
}

fn place(function: &str, qualifier: Option<&str>, home: &Home) -> Result<Named, ServiceError> {
    names::qualified(function, qualifier, home)
}

fn missing(home: &Home, named: &Named) -> ServiceError {
    let qualifier = named.qualifier.as_deref().unwrap_or(LATEST);
    let arn = home.function_arn(&named.name, Some(qualifier));
    not_found(format!("The function {arn} doesn't have an EventInvokeConfig"))
}

/// A function of this account or a queue; an empty ARN takes the destination away.
fn destination(
    c: &Connection,
    home: &Home,
    own: &str,
    given: Destination,
) -> Outcome<Option<String>> {
    let Some(arn) = given.destination.filter(|arn| !arn.is_empty()) else { return Ok(None) };
    if !arn.contains(":lambda:") {
        return Ok(Some(queue(&arn, home)?));
    }
    let named = names::parse(&arn, home)?;
    if named.name == own {
        return Err(Refused::Service(invalid(
            "You can't specify the function as a destination for itself.",
        )));
    }
    if rows::function(c, &named.name)?.is_none() {
        return Err(Refused::Service(no_function(&arn)));
    }
    Ok(Some(arn))
}

fn shown(row: &EventRow, home: &Home, name: &str, qualifier: &str) -> Value {
    let target = |arn: &Option<String>| match arn {
        Some(arn) => json!({"Destination": arn}),
        None => json!({}),
    };
    let mut answer = json!({
        "LastModified": row.modified.seconds(),
        "FunctionArn": home.function_arn(name, Some(qualifier)),
        "DestinationConfig": {
            "OnSuccess": target(&row.on_success),
            "OnFailure": target(&row.on_failure),
        },
    });
    if let Some(retries) = row.retries {
        answer["MaximumRetryAttempts"] = json!(retries);
    }
    if let Some(age) = row.max_age {
        answer["MaximumEventAgeInSeconds"] = json!(age);
    }
    answer
}
