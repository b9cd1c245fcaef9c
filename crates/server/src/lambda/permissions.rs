//! Resource policies of functions, versions and aliases, one statement at a time.
//!
//! Source of a statement's shape:
//! <https://docs.aws.amazon.com/lambda/latest/dg/access-control-resource-based.html>.

use kennel_wire::ServiceError;
use serde_json::{Map, Value, json};

use super::error::{Refused, conflict, invalid, not_found, stale_revision, user};
use super::facts;
use super::names::{self, LATEST};
use super::rows::{self, PolicyRow};
use super::{Lambda, optional, text, uuid};
use crate::service::Answer;

/// Bytes of a policy.
const MAX_POLICY: usize = 20_480;

impl Lambda {
    pub(super) async fn add_permission(&self, input: &Value) -> Answer {
        let home = self.inner.home.clone();
        let named =
            names::qualified(text(input, "FunctionName"), optional(input, "Qualifier"), &home)?;
        if named.qualifier.as_deref() == Some(LATEST) {
            return Err(invalid("We currently do not support adding policies for $LATEST."));
        }
        let arn = home.function_arn(&named.name, named.qualifier.as_deref());
        let statement = statement(input, &arn)?;
        let sid = text(input, "StatementId").to_owned();
        let revision = optional(input, "RevisionId").map(str::to_owned);
        let added = statement.clone();
        self.write(move |c| {
            facts::look_up(c, &home, &named)?;
            let place = place(named.qualifier.as_deref());
            let row: Option<PolicyRow> = rows::setting(c, &named.name, place)?;
            let mut row =
                row.unwrap_or_else(|| PolicyRow { statements: Vec::new(), revision: uuid() });
            if revision.is_some_and(|given| given != row.revision) {
                return Err(Refused::Service(stale_revision("GetPolicy")));
            }
            if row.statements.iter().any(|other| other["Sid"] == json!(sid)) {
                return Err(Refused::Service(conflict(format!(
                    "The statement id ({sid}) provided already exists. Please provide a new statement id, or remove the existing statement."
                ))));
            }
            row.statements.push(added);
            row.revision = uuid();
            let size = document(&row).to_string().len();
            if size > MAX_POLICY {
                return Err(Refused::Service(user(
                    "PolicyLengthExceededException",
                    400,
                    format!("The final policy size ({size}) is bigger than the limit ({MAX_POLICY})."),
                )));
            }
            rows::put_setting(c, &named.name, place, &row)?;
            Ok(())
        })
        .await?;
        Ok(json!({"Statement": statement.to_string()}))
    }

    pub(super) async fn remove_permission(&self, input: &Value) -> Answer {
        let home = self.inner.home.clone();
        let named =
            names::qualified(text(input, "FunctionName"), optional(input, "Qualifier"), &home)?;
        let sid = text(input, "StatementId").to_owned();
        let revision = optional(input, "RevisionId").map(str::to_owned);
        self.write(move |c| {
            facts::look_up(c, &home, &named)?;
            let place = place(named.qualifier.as_deref());
            let row: Option<PolicyRow> = rows::setting(c, &named.name, place)?;
            let mut row =
                row.ok_or_else(|| not_found("No policy is associated with the given resource."))?;
            if revision.is_some_and(|given| given != row.revision) {
                return Err(Refused::Service(stale_revision("GetPolicy")));
            }
            let before = row.statements.len();
            row.statements.retain(|statement| statement["Sid"] != json!(sid));
            if row.statements.len() == before {
                return Err(Refused::Service(not_found(format!(
                    "Statement {sid} is not found in resource policy."
                ))));
            }
            row.revision = uuid();
            if row.statements.is_empty() {
                rows::remove_setting::<PolicyRow>(c, &named.name, place)?;
            } else {
                rows::put_setting(c, &named.name, place, &row)?;
            }
            Ok(json!({}))
        })
        .await
    }

    pub(super) fn get_policy(&self, input: &Value) -> Answer {
        let home = &self.inner.home;
        let named =
            names::qualified(text(input, "FunctionName"), optional(input, "Qualifier"), home)?;
        let row: Option<PolicyRow> = self.read(|c| {
            facts::look_up(c, home, &named)?;
            rows::setting(c, &named.name, place(named.qualifier.as_deref()))
        })?;
        let row = row.ok_or_else(|| not_found("The resource you requested does not exist."))?;
        Ok(json!({"Policy": document(&row).to_string(), "RevisionId": row.revision}))
    }
}

/// Where the policy of a qualifier lies; `$LATEST` has the function's.
pub(super) fn place(qualifier: Option<&str>) -> &str {
    qualifier.filter(|q| *q != LATEST).unwrap_or_default()
}

/// The policy document.
pub(super) fn document(row: &PolicyRow) -> Value {
    json!({"Version": "2012-10-17", "Id": "default", "Statement": row.statements})
}

/// The statement that AddPermission's members mean, on the function, version or alias `arn`.
fn statement(input: &Value, arn: &str) -> Result<Value, ServiceError> {
    let action = text(input, "Action");
    let url_auth = optional(input, "FunctionUrlAuthType");
    if url_auth.is_some() && action != "lambda:InvokeFunctionUrl" {
        return Err(invalid(
            "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action",
        ));
    }
    let mut equals = Map::new();
    let mut equal = |key: &str, value: Option<&str>| {
        if let Some(value) = value {
            equals.insert(key.to_owned(), json!(value));
        }
    };
    equal("lambda:FunctionUrlAuthType", url_auth);
    equal("AWS:SourceAccount", optional(input, "SourceAccount"));
    equal("aws:PrincipalOrgID", optional(input, "PrincipalOrgID"));
    equal("lambda:EventSourceToken", optional(input, "EventSourceToken"));
    let mut condition = Map::new();
    if !equals.is_empty() {
        condition.insert("StringEquals".to_owned(), Value::Object(equals));
    }
    if let Some(source) = optional(input, "SourceArn") {
        condition.insert("ArnLike".to_owned(), json!({"AWS:SourceArn": source}));
    }
    if let Some(via) = input.get("InvokedViaFunctionUrl").and_then(Value::as_bool) {
        let bool = json!({"lambda:InvokedViaFunctionUrl": via.to_string()});
        condition.insert("Bool".to_owned(), bool);
    }
    let mut statement = json!({
        "Sid": text(input, "StatementId"),
        "Effect": "Allow",
        "Principal": principal(text(input, "Principal"))?,
        "Action": action,
        "Resource": arn,
    });
    if !condition.is_empty() {
        statement["Condition"] = Value::Object(condition);
    }
    Ok(statement)
}

/// An account, an ARN, a service, or everybody.
fn principal(given: &str) -> Result<Value, ServiceError> {
    let account = given.len() == 12 && given.bytes().all(|b| b.is_ascii_digit());
    if given == "*" {
        Ok(json!("*"))
    } else if account {
        Ok(json!({"AWS": format!("arn:aws:iam::{given}:root")}))
    } else if given.starts_with("arn:aws:iam::") || given.starts_with("arn:aws:sts::") {
        Ok(json!({"AWS": given}))
    } else if given.ends_with(".amazonaws.com") && !given.contains([':', '/', '*']) {
        Ok(json!({"Service": given}))
    } else {
        Err(invalid(
            "The provided principal was invalid. Please check the principal and try again.",
        ))
    }
}
