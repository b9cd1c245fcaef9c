//! Function URLs: an address of a function's own, `…/_lambda-url/ID/`.

use kennel_wire::ServiceError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::configuration::moment;
use super::error::{Refused, conflict, constraint, not_built, not_found};
use super::facts;
use super::names::{self, Home, Named};
use super::rows::{self, UrlAuth, UrlRow};
use super::{Lambda, optional, page, text, typed, with_marker};
use crate::context::{Context, Timestamp};
use crate::service::{Answer, state_failed};

/// Where the gateway routes; the id and a slash follow.
pub(super) const URL_PATH: &str = "/_lambda-url/";

/// URLs of one page.
const PAGE: usize = 50;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    function_name: String,
    qualifier: Option<String>,
    auth_type: Option<UrlAuth>,
    cors: Option<Value>,
    invoke_mode: Option<String>,
}

impl Lambda {
    pub(super) async fn create_url(&self, context: &Context, input: &Value) -> Answer {
        let request: Request = typed(input.clone())?;
        let home = self.inner.home.clone();
        let named = place(&request.function_name, request.qualifier.as_deref(), &home)?;
        refuse_streams(request.invoke_mode.as_deref())?;
        let row = UrlRow {
            id: new_id()?,
            auth: request.auth_type.unwrap_or(UrlAuth::Iam),
            cors: request.cors,
            created: context.now,
            modified: context.now,
        };
        let endpoint = context.endpoint.clone();
        self.write(move |c| {
            facts::look_up(c, &home, &named)?;
            let qualifier = named.qualifier.as_deref().unwrap_or_default();
            if rows::setting::<UrlRow>(c, &named.name, qualifier)?.is_some() {
                let arn = home.function_arn(&named.name, named.qualifier.as_deref());
                return Err(Refused::Service(conflict(format!(
                    "Failed to create function url config for [functionArn = {arn}]. Error message:  FunctionUrlConfig exists for this Lambda function"
                ))));
            }
            rows::put_setting(c, &named.name, qualifier, &row)?;
            let mut answer = shown(&row, &home, &named.name, qualifier, &endpoint);
            if let Some(members) = answer.as_object_mut() {
                members.remove("LastModifiedTime");
            }
            Ok(answer)
        })
        .await
    }

    pub(super) fn get_url(&self, context: &Context, input: &Value) -> Answer {
        let home = &self.inner.home;
        let named = place(text(input, "FunctionName"), optional(input, "Qualifier"), home)?;
        let qualifier = named.qualifier.as_deref().unwrap_or_default();
        let row = self.read(|c| {
            facts::look_up(c, home, &named)?;
            rows::setting::<UrlRow>(c, &named.name, qualifier)
        })?;
        let row = row.ok_or_else(missing)?;
        Ok(shown(&row, home, &named.name, qualifier, &context.endpoint))
    }

    pub(super) async fn update_url(&self, context: &Context, input: &Value) -> Answer {
        let request: Request = typed(input.clone())?;
        let home = self.inner.home.clone();
        let named = place(&request.function_name, request.qualifier.as_deref(), &home)?;
        refuse_streams(request.invoke_mode.as_deref())?;
        let (now, endpoint) = (context.now, context.endpoint.clone());
        self.write(move |c| {
            facts::look_up(c, &home, &named)?;
            let qualifier = named.qualifier.as_deref().unwrap_or_default();
            let row = rows::setting::<UrlRow>(c, &named.name, qualifier)?;
            let mut row = row.ok_or_else(missing)?;
            row.auth = request.auth_type.unwrap_or(row.auth);
            row.cors = request.cors.or(row.cors);
            row.modified = now;
            rows::put_setting(c, &named.name, qualifier, &row)?;
            Ok(shown(&row, &home, &named.name, qualifier, &endpoint))
        })
        .await
    }

    pub(super) async fn delete_url(&self, input: &Value) -> Answer {
        let home = self.inner.home.clone();
        let named = place(text(input, "FunctionName"), optional(input, "Qualifier"), &home)?;
        self.write(move |c| {
            facts::look_up(c, &home, &named)?;
            let qualifier = named.qualifier.as_deref().unwrap_or_default();
            if !rows::remove_setting::<UrlRow>(c, &named.name, qualifier)? {
                return Err(Refused::Service(missing()));
            }
            Ok(json!({}))
        })
        .await
    }

    pub(super) fn list_urls(&self, context: &Context, input: &Value) -> Answer {
        let home = &self.inner.home;
        let name = names::unqualified(text(input, "FunctionName"), home)?;
        let rows = self.read(|c| {
            let named = Named { name: name.clone(), qualifier: None };
            facts::look_up(c, home, &named)?;
            rows::settings::<UrlRow>(c, &name)
        })?;
        let (rows, marker) = page(input, PAGE, rows, |(qualifier, _)| qualifier.clone());
        let shown: Vec<Value> = rows
            .iter()
            .map(|(qualifier, row)| shown(row, home, &name, qualifier, &context.endpoint))
            .collect();
        Ok(with_marker(json!({"FunctionUrlConfigs": shown}), marker))
    }
}

/// A URL is of the function or of an alias.
fn place(function: &str, qualifier: Option<&str>, home: &Home) -> Result<Named, ServiceError> {
    let named = names::qualified(function, qualifier, home)?;
    match named.qualifier.as_deref().filter(|qualifier| !names::is_alias(qualifier)) {
        Some(qualifier) => Err(constraint(
            qualifier,
            "qualifier",
            "Member must satisfy regular expression pattern: ((?!^\\d+$)^[0-9a-zA-Z-_]+$)",
        )),
        None => Ok(named),
    }
}

fn refuse_streams(mode: Option<&str>) -> Result<(), ServiceError> {
    match mode {
        Some(mode) if mode != "BUFFERED" => {
            Err(not_built("response streaming", "set InvokeMode to `BUFFERED`"))
        }
        _ => Ok(()),
    }
}

fn missing() -> ServiceError {
    not_found("The resource you requested does not exist.")
}

/// 32 random lower-case letters and digits.
fn new_id() -> Result<String, ServiceError> {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|e| state_failed(&e))?;
    Ok(bytes.iter().map(|b| char::from(LETTERS[usize::from(b % 32)])).collect())
}

fn time(at: Timestamp) -> String {
    moment(at, "%Y-%m-%dT%H:%M:%S%.3fZ")
}

fn shown(row: &UrlRow, home: &Home, name: &str, qualifier: &str, endpoint: &str) -> Value {
    let qualifier = Some(qualifier).filter(|q| !q.is_empty());
    let mut answer = json!({
        "FunctionUrl": format!("{}{URL_PATH}{}/", endpoint.trim_end_matches('/'), row.id),
        "FunctionArn": home.function_arn(name, qualifier),
        "AuthType": row.auth,
        "CreationTime": time(row.created),
        "LastModifiedTime": time(row.modified),
        "InvokeMode": "BUFFERED",
    });
    if let Some(cors) = &row.cors {
        answer["Cors"] = cors.clone();
    }
    answer
}
