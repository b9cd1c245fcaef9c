//! CloudTrail: LookupEvents over the access records, for `kennel iam explain` and for whoever reads AWS's
//! trail. Unlike AWS's LookupEvents, which knows management events of 90 days, this one also has data events
//! (objects of S3, invocations of endpoints and functions), and all that is kept: 400 days. `EventId` is the
//! request id, and `additionalEventData` holds what IAM was asked for the call. Trails cannot be made.
//!
//! Source: <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html>.

mod event;
mod resource;

use std::future::Future;
use std::pin::Pin;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kennel_wire::ServiceError;
use serde_json::{Value, json};

use self::event::Place;
use crate::authorize::Lookup as _;
use crate::context::{Context, Timestamp};
use crate::iam::Iam;
use crate::records::{self, Attribute, Lookup};
use crate::service::{Answer, Service};

/// Events of a page, unless fewer are asked for.
const PAGE: usize = 50;

/// The service; cheap to clone.
#[derive(Debug, Clone)]
pub struct CloudTrail {
    iam: Iam,
}

impl CloudTrail {
    /// Over the database of `iam`, which holds the access records.
    pub fn new(iam: Iam) -> Self {
        CloudTrail { iam }
    }

    async fn lookup_events(&self, context: &Context, input: &Value) -> Answer {
        // There are no insights here, and so no events of them.
        if input.get("EventCategory").is_some() {
            return Ok(json!({"Events": []}));
        }
        let Some(mut lookup) = self.lookup(context, input)? else {
            return Ok(json!({"Events": []}));
        };
        let most = lookup.most;
        lookup.most += 1;
        let mut found = self.iam.read_apart(move |c| Ok(records::find(c, &lookup)?)).await?;
        let more = found.len() > most;
        found.truncate(most);
        let place = Place { account: self.iam.account(), region: &context.region };
        let events: Vec<Value> = found.iter().map(|record| event::event(record, place)).collect();
        let mut answer = json!({"Events": events});
        if let Some(last) = found.last().filter(|_| more) {
            answer["NextToken"] = json!(URL_SAFE_NO_PAD.encode(last.id.to_string()));
        }
        Ok(answer)
    }
}

fn refused(code: &str, message: impl Into<String>) -> ServiceError {
    ServiceError::new(code, 400, message)
}

fn position(token: &str) -> Option<i64> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    std::str::from_utf8(&bytes).ok()?.parse().ok()
}

impl CloudTrail {
    /// What a call asks for; `None` when nothing can be found.
    fn lookup(&self, context: &Context, input: &Value) -> Result<Option<Lookup>, ServiceError> {
        let moment = |name: &str| {
            let seconds = input.get(name).and_then(Value::as_f64)?;
            // Far below 2^63 by the codec's own limits.
            Some(Timestamp((seconds * 1000.0) as i64))
        };
        let (since, until) = (moment("StartTime"), moment("EndTime"));
        let since = since.unwrap_or(Timestamp(i64::MIN));
        let until = until.unwrap_or(Timestamp(i64::MAX));
        if since > until {
            let text = "The start time must be before the end time.";
            return Err(refused("InvalidTimeRangeException", text));
        }
        let most = input.get("MaxResults").and_then(Value::as_u64).unwrap_or(PAGE as u64);
        let most = usize::try_from(most).unwrap_or(PAGE).clamp(1, PAGE);
        let before = match input.get("NextToken").and_then(Value::as_str) {
            Some(token) => Some(position(token).ok_or_else(|| {
                refused("InvalidNextTokenException", "The specified token is not valid.")
            })?),
            None => None,
        };
        let attributes = input.get("LookupAttributes").and_then(Value::as_array);
        let attribute = match attributes.map(Vec::as_slice).unwrap_or_default() {
            [] => None,
            [one] => match self.attribute(context, one)? {
                Some(attribute) => Some(attribute),
                None => return Ok(None),
            },
            _ => {
                let text = "You may specify only one lookup attribute.";
                return Err(refused("InvalidLookupAttributesException", text));
            }
        };
        Ok(Some(Lookup { attribute, since, until, before, most }))
    }

    /// `None`: nothing here can have it.
    fn attribute(
        &self,
        context: &Context,
        input: &Value,
    ) -> Result<Option<Attribute>, ServiceError> {
        let text = |name: &str| input.get(name).and_then(Value::as_str).unwrap_or_default();
        let value = text("AttributeValue").to_owned();
        Ok(Some(match text("AttributeKey") {
            "EventId" => Attribute::RequestId(value),
            "EventName" => Attribute::EventName(value),
            "ReadOnly" => match value.as_str() {
                "true" => Attribute::ReadOnly(true),
                "false" => Attribute::ReadOnly(false),
                other => {
                    let text = format!("ReadOnly is `true` or `false`, not `{other}`.");
                    return Err(refused("InvalidLookupAttributesException", text));
                }
            },
            "Username" => Attribute::UserName(value),
            "ResourceName" => {
                let account = self.iam.account();
                let mut arns = resource::candidates(&value, &context.region, account);
                // Users and roles may have paths, which their names do not tell.
                let known = [self.iam.role(&value), self.iam.user(&value)];
                arns.extend(known.into_iter().flatten().map(|known| known.arn));
                arns.sort();
                arns.dedup();
                Attribute::Resource(arns)
            }
            "ResourceType" => match resource::globs(&value) {
                Some((globs, deeper)) => Attribute::ResourceType(globs, deeper),
                None => return Ok(None),
            },
            "EventSource" => Attribute::Service(event::service(&value)),
            "AccessKeyId" => Attribute::AccessKey(value),
            // The model has let only these through.
            _ => return Ok(None),
        }))
    }
}

impl Service for CloudTrail {
    fn name(&self) -> &'static str {
        "cloudtrail"
    }

    fn call<'a>(
        &'a self,
        context: &'a Context,
        operation: &'a str,
        input: Value,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(async move {
            match operation {
                "LookupEvents" => self.lookup_events(context, &input).await,
                _ => Err(ServiceError::not_implemented("cloudtrail", operation)),
            }
        })
    }
}

#[cfg(test)]
mod tests;
