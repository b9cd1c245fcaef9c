//! Published versions: immutable, numbered, with code and configuration of their own.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::configuration;
use super::error::{Outcome, Refused, invalid};
use super::functions::{check_revision, current, fingerprint};
use super::names;
use super::rows::{self, FunctionRow, VersionRow};
use super::{Lambda, facts, optional, page, text, uuid, with_marker};
use crate::context::{Context, Timestamp};
use crate::service::Answer;

/// Versions of one page.
const PAGE: usize = 50;

impl Lambda {
    pub(super) async fn publish_version(&self, context: &Context, input: &Value) -> Answer {
        let home = self.inner.home.clone();
        let name = names::unqualified(text(input, "FunctionName"), &home)?;
        if optional(input, "PublishTo").is_some() {
            return Err(super::error::not_built("PublishTo", "leave it out"));
        }
        let sha256 = optional(input, "CodeSha256").filter(|s| !s.is_empty()).map(str::to_owned);
        let revision = optional(input, "RevisionId").map(str::to_owned);
        let description = optional(input, "Description").map(str::to_owned);
        let now = context.now;
        self.write(move |c| {
            let (mut function, latest) = current(c, &home, &name)?;
            check_revision(&latest, revision.as_deref())?;
            let has = configuration::code_sha256(&latest.code.sha256);
            if let Some(given) = sha256.filter(|given| *given != has) {
                return Err(Refused::Service(invalid(format!(
                    "CodeSHA256 ({given}) is different from current CodeSHA256 in $LATEST ({has}). Please try again with the CodeSHA256 in $LATEST."
                ))));
            }
            let row = publish(c, &mut function, &latest, description, now)?;
            Ok(configuration::shown(&row, &home, Some(&row.version.to_string())))
        })
        .await
    }

    pub(super) fn list_versions(&self, input: &Value) -> Answer {
        let home = &self.inner.home;
        let name = names::unqualified(text(input, "FunctionName"), home)?;
        let rows = self.read(|c| {
            let named = names::Named { name: name.clone(), qualifier: None };
            facts::look_up(c, home, &named)?;
            rows::versions(c, &name)
        })?;
        let (rows, marker) = page(input, PAGE, rows, |row| row.version.to_string());
        let shown: Vec<Value> = rows
            .iter()
            .map(|row| configuration::listed(row, home, Some(&names::version_text(row.version))))
            .collect();
        Ok(with_marker(json!({"Versions": shown}), marker))
    }
}

/// Publishes `$LATEST`; answers the last version again where neither code nor configuration have changed
/// since, as AWS does.
pub(super) fn publish(
    c: &Connection,
    function: &mut FunctionRow,
    latest: &VersionRow,
    description: Option<String>,
    now: Timestamp,
) -> Outcome<VersionRow> {
    let from = fingerprint(&latest.code, &latest.configuration)?;
    if function.published.as_ref() == Some(&from)
        && let Some(last) = rows::version(c, &function.name, function.last_version)?
    {
        return Ok(last);
    }
    function.last_version += 1;
    function.published = Some(from);
    rows::update_function(c, function)?;
    let mut row = VersionRow {
        version: function.last_version,
        modified: now,
        revision: uuid(),
        ..latest.clone()
    };
    if let Some(description) = description {
        row.configuration.description = description;
    }
    rows::put_version(c, &row)?;
    Ok(row)
}
