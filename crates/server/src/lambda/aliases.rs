//! Aliases: names for versions, with a share of the invocations for a second one.

use std::collections::BTreeMap;

use kennel_scaling::routing::validate_weights;
use rusqlite::Connection;
use serde::Deserialize;
use serde_json::{Value, json};

use super::concurrency::exclusive;
use super::error::{
    Outcome, Refused, conflict, constraint, no_function, not_found, refusal, stale_revision,
};
use super::functions::current;
use super::names::{self, Home, LATEST, version_text};
use super::rows::{self, AliasRow, ProvisionedRow, ProvisionedStatus};
use super::{Lambda, optional, page, text, typed, uuid, with_marker};
use crate::service::Answer;

/// Aliases of one page.
const PAGE: usize = 50;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Routing {
    #[serde(default)]
    additional_version_weights: BTreeMap<String, f64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    function_name: String,
    name: String,
    function_version: Option<String>,
    description: Option<String>,
    routing_config: Option<Routing>,
    revision_id: Option<String>,
}

impl Lambda {
    pub(super) async fn create_alias(&self, input: &Value) -> Answer {
        let request: Request = typed(input.clone())?;
        let home = self.inner.home.clone();
        let function = names::unqualified(&request.function_name, &home)?;
        if !names::is_alias(&request.name) {
            return Err(constraint(
                &request.name,
                "name",
                "Member must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)",
            ));
        }
        self.write(move |c| {
            current(c, &home, &function)?;
            if rows::setting::<AliasRow>(c, &function, &request.name)?.is_some() {
                let arn = home.function_arn(&function, Some(&request.name));
                return Err(Refused::Service(conflict(format!("Alias already exists: {arn}"))));
            }
            let wanted = request.function_version.as_deref().unwrap_or(LATEST);
            let version = existing(c, &home, &function, wanted)?;
            let row = AliasRow {
                name: request.name,
                version,
                also: routing(c, &home, &function, version, request.routing_config)?,
                description: request.description.unwrap_or_default(),
                revision: uuid(),
            };
            rows::put_setting(c, &function, &row.name, &row)?;
            Ok(shown(&row, &home, &function))
        })
        .await
    }

    pub(super) fn get_alias(&self, input: &Value) -> Answer {
        let home = &self.inner.home;
        let function = names::unqualified(text(input, "FunctionName"), home)?;
        let row = self.read(|c| {
            current(c, home, &function)?;
            alias(c, home, &function, text(input, "Name"))
        })?;
        Ok(shown(&row, home, &function))
    }

    pub(super) async fn update_alias(&self, input: &Value) -> Answer {
        let request: Request = typed(input.clone())?;
        let home = self.inner.home.clone();
        let function = names::unqualified(&request.function_name, &home)?;
        self.write(move |c| {
            current(c, &home, &function)?;
            let mut row = alias(c, &home, &function, &request.name)?;
            if request.revision_id.is_some_and(|given| given != row.revision) {
                return Err(Refused::Service(stale_revision("GetAlias")));
            }
            let before = row.version;
            if let Some(version) = &request.function_version {
                row.version = existing(c, &home, &function, version)?;
            }
            let kept = |also: Option<(u64, f64)>| Routing {
                additional_version_weights: also
                    .map(|(version, weight)| (version.to_string(), weight))
                    .into_iter()
                    .collect(),
            };
            // Routing that is kept must still fit the version.
            let wanted = request.routing_config.unwrap_or_else(|| kept(row.also));
            row.also = routing(c, &home, &function, row.version, Some(wanted))?;
            if let Some(description) = request.description {
                row.description = description;
            }
            row.revision = uuid();
            rows::put_setting(c, &function, &row.name, &row)?;
            if row.version != before
                && let Some(mut provisioned) =
                    rows::setting::<ProvisionedRow>(c, &function, &row.name)?
            {
                exclusive(c, &home, &function, &row.name)?;
                // The environments of the old version are no use to the new one.
                provisioned.status = ProvisionedStatus::InProgress;
                provisioned.reason = None;
                rows::put_setting(c, &function, &row.name, &provisioned)?;
            }
            Ok(shown(&row, &home, &function))
        })
        .await
    }

    pub(super) async fn delete_alias(&self, input: &Value) -> Answer {
        let home = self.inner.home.clone();
        let function = names::unqualified(text(input, "FunctionName"), &home)?;
        let name = text(input, "Name").to_owned();
        self.forget_allocation(&function, &name);
        self.write(move |c| {
            current(c, &home, &function)?;
            // As on AWS, deleting what is not there is no error; all that hangs on the alias goes with it.
            if rows::setting::<AliasRow>(c, &function, &name)?.is_some() {
                rows::remove_settings(c, &function, &name)?;
            }
            Ok(json!({}))
        })
        .await
    }

    pub(super) fn list_aliases(&self, input: &Value) -> Answer {
        let home = &self.inner.home;
        let function = names::unqualified(text(input, "FunctionName"), home)?;
        let version = optional(input, "FunctionVersion").map(names::version_number);
        let rows = self.read(|c| {
            current(c, home, &function)?;
            rows::settings::<AliasRow>(c, &function)
        })?;
        let rows: Vec<AliasRow> = rows
            .into_iter()
            .map(|(_, row)| row)
            .filter(|row| version.is_none_or(|version| version == Some(row.version)))
            .collect();
        let (rows, marker) = page(input, PAGE, rows, |row| row.name.clone());
        let shown: Vec<Value> = rows.iter().map(|row| shown(row, home, &function)).collect();
        Ok(with_marker(json!({"Aliases": shown}), marker))
    }
}

/// # Errors
/// `ResourceNotFoundException` where there is no such alias.
pub(super) fn alias(c: &Connection, home: &Home, function: &str, name: &str) -> Outcome<AliasRow> {
    let row = rows::setting(c, function, name)?;
    Ok(row.ok_or_else(|| {
        not_found(format!("Cannot find alias arn: {}", home.function_arn(function, Some(name))))
    })?)
}

fn existing(c: &Connection, home: &Home, function: &str, version: &str) -> Outcome<u64> {
    let missing = || no_function(&home.function_arn(function, Some(version)));
    let number = names::version_number(version).ok_or_else(missing)?;
    Ok(rows::version(c, function, number)?.ok_or_else(missing)?.version)
}

/// The second version and its share, checked.
fn routing(
    c: &Connection,
    home: &Home,
    function: &str,
    version: u64,
    given: Option<Routing>,
) -> Outcome<Option<(u64, f64)>> {
    let weights: Vec<(String, f64)> =
        given.unwrap_or_default().additional_version_weights.into_iter().collect();
    validate_weights(&version_text(version), &weights)
        .map_err(|e| refusal(e.aws_code(), 400, &e))?;
    let Some((other, weight)) = weights.into_iter().next() else { return Ok(None) };
    Ok(Some((existing(c, home, function, &other)?, weight)))
}

fn shown(row: &AliasRow, home: &Home, function: &str) -> Value {
    let mut answer = json!({
        "AliasArn": home.function_arn(function, Some(&row.name)),
        "Name": row.name,
        "FunctionVersion": version_text(row.version),
        "Description": row.description,
        "RevisionId": row.revision,
    });
    if let Some((version, weight)) = row.also {
        answer["RoutingConfig"] =
            json!({"AdditionalVersionWeights": {version.to_string(): weight}});
    }
    answer
}
