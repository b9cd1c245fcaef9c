//! DescribeScalingActivities.

use kennel_scaling::scaler::NotScaled;
use kennel_wire::ServiceError;
use serde_json::{Value, json};

use super::rows::{self, ActivityRow, Wanted};
use super::{Autoscaling, Filter, after, page_size};
use crate::service::Answer;

impl Autoscaling {
    pub(super) fn describe_activities(&self, input: &Value) -> Answer {
        let filter = Filter::of(input);
        let size = page_size(input)?;
        let before = match after(input)? {
            None => i64::MAX,
            Some(number) => number.parse().map_err(|_| {
                let message = "The next token supplied is invalid";
                ServiceError::new("InvalidNextTokenException", 400, message)
            })?,
        };
        let kept =
            input.get("IncludeNotScaledActivities").and_then(Value::as_bool).unwrap_or(false);
        let wanted = Wanted {
            namespace: filter.namespace,
            resource: filter.resource,
            kept,
            before,
            most: size + 1,
        };
        let mut found = self.read(|c| rows::activities(c, &wanted))?;
        let more = found.len() > size;
        found.truncate(size);
        let next = found.last().filter(|_| more).map(|(number, _)| *number);
        // A namespace's resources have one dimension here.
        found.retain(|(_, row)| filter.wants(&row.resource));
        let shown: Vec<Value> = found.iter().map(|(_, row)| described(row)).collect();
        let mut answer = json!({ "ScalingActivities": shown });
        if let Some(next) = next {
            answer["NextToken"] = json!(super::token(&next.to_string()));
        }
        Ok(answer)
    }
}

fn described(row: &ActivityRow) -> Value {
    let mut answer = json!({
        "ActivityId": row.id,
        "ServiceNamespace": row.resource.namespace(),
        "ResourceId": row.resource.to_string(),
        "ScalableDimension": row.resource.dimension(),
        "Description": row.description,
        "Cause": row.cause,
        "StartTime": row.started.seconds(),
        "StatusCode": row.status.name(),
    });
    if let Some(ended) = row.ended {
        answer["EndTime"] = json!(ended.seconds());
    }
    for (member, given) in [("StatusMessage", &row.message), ("Details", &row.details)] {
        if let Some(given) = given {
            answer[member] = json!(given);
        }
    }
    if !row.not_scaled.is_empty() {
        answer["NotScaledReasons"] = row.not_scaled.iter().map(reason).collect();
    }
    answer
}

fn reason(of: &NotScaled) -> Value {
    let mut answer = json!({ "Code": of.code.as_str() });
    for (member, given) in [
        ("MaxCapacity", of.max_capacity),
        ("MinCapacity", of.min_capacity),
        ("CurrentCapacity", of.current_capacity),
    ] {
        if let Some(given) = given {
            answer[member] = json!(given);
        }
    }
    answer
}
