//! Layers: zips that are laid beside a function's code. A version keeps what it uses when the layer's
//! version is deleted.

use serde::Deserialize;
use serde_json::{Value, json};

use super::configuration::{code_sha256, last_modified};
use super::error::{constraint, invalid, not_found};
use super::names::{self, Home};
use super::rows::{self, LayerRow};
use super::upload::CodeInput;
use super::{Lambda, optional, page, text, typed, with_marker};
use crate::context::Context;
use crate::service::Answer;

/// Layers or versions of one page.
const PAGE: usize = 50;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Publish {
    layer_name: String,
    content: CodeInput,
    #[serde(default)]
    description: String,
    #[serde(default)]
    compatible_runtimes: Vec<String>,
    #[serde(default)]
    compatible_architectures: Vec<String>,
    license_info: Option<String>,
}

impl Lambda {
    pub(super) async fn publish_layer(&self, context: &Context, input: Value) -> Answer {
        let request: Publish = typed(input)?;
        let home = self.inner.home.clone();
        let (name, version) = names::layer(&request.layer_name, &home)?;
        if version.is_some() {
            return Err(invalid("A layer is published by its name or its ARN without a version."));
        }
        let (code, hold) = self.receive(request.content).await?;
        let row = LayerRow {
            name,
            version: 0,
            code,
            description: request.description,
            created: context.now,
            runtimes: request.compatible_runtimes,
            architectures: request.compatible_architectures,
            license: request.license_info,
        };
        let row = self.write(move |c| rows::add_layer(c, row)).await?;
        drop(hold);
        Ok(self.layer_shown(context, &row))
    }

    pub(super) fn get_layer(&self, context: &Context, input: &Value) -> Answer {
        let (name, _) = names::layer(text(input, "LayerName"), &self.inner.home)?;
        let version = input.get("VersionNumber").and_then(Value::as_u64).unwrap_or(0);
        self.one_layer(context, &name, version)
    }

    pub(super) fn get_layer_by_arn(&self, context: &Context, input: &Value) -> Answer {
        let arn = text(input, "Arn");
        match names::layer(arn, &self.inner.home)? {
            (name, Some(version)) => self.one_layer(context, &name, version),
            (_, None) => Err(constraint(
                arn,
                "arn",
                "Member must satisfy regular expression pattern: arn:aws:lambda:REGION:ACCOUNT:layer:NAME:VERSION",
            )),
        }
    }

    fn one_layer(&self, context: &Context, name: &str, version: u64) -> Answer {
        match self.read(|c| rows::layer(c, name, version))? {
            Some(row) => Ok(self.layer_shown(context, &row)),
            None => Err(not_found("The resource you requested does not exist.")),
        }
    }

    pub(super) fn list_layers(&self, input: &Value) -> Answer {
        let home = &self.inner.home;
        let rows = self.read(rows::layers)?;
        // By name, newest first: the first that fits of each name is the latest.
        let mut latest: Vec<LayerRow> = rows.into_iter().filter(|row| fits(row, input)).collect();
        latest.dedup_by(|row, first| row.name == first.name);
        let (rows, marker) = page(input, PAGE, latest, |row| row.name.clone());
        let shown: Vec<Value> = rows
            .iter()
            .map(|row| {
                json!({
                    "LayerName": row.name,
                    "LayerArn": home.layer_arn(&row.name),
                    "LatestMatchingVersion": listed(row, home),
                })
            })
            .collect();
        Ok(with_marker(json!({"Layers": shown}), marker))
    }

    pub(super) fn list_layer_versions(&self, input: &Value) -> Answer {
        let home = &self.inner.home;
        let (name, _) = names::layer(text(input, "LayerName"), home)?;
        let rows = self.read(rows::layers)?;
        let rows = rows.into_iter().filter(|row| row.name == name && fits(row, input)).collect();
        let (rows, marker) = page(input, PAGE, rows, |row: &LayerRow| row.version.to_string());
        let shown: Vec<Value> = rows.iter().map(|row| listed(row, home)).collect();
        Ok(with_marker(json!({"LayerVersions": shown}), marker))
    }

    pub(super) async fn delete_layer(&self, input: &Value) -> Answer {
        let (name, _) = names::layer(text(input, "LayerName"), &self.inner.home)?;
        let version = input.get("VersionNumber").and_then(Value::as_u64).unwrap_or(0);
        // As on AWS, deleting what is not there is no error.
        let row = self.write(move |c| rows::remove_layer(c, &name, version)).await?;
        self.release(row.into_iter().map(|row| row.code.sha256).collect()).await;
        Ok(json!({}))
    }

    fn layer_shown(&self, context: &Context, row: &LayerRow) -> Value {
        let home = &self.inner.home;
        let mut answer = listed(row, home);
        answer["LayerArn"] = json!(home.layer_arn(&row.name));
        answer["Content"] = json!({
            "Location":
                self.location(&context.endpoint, &row.name, &row.code.sha256, context.now),
            "CodeSha256": code_sha256(&row.code.sha256),
            "CodeSize": row.code.size,
        });
        answer
    }
}

/// Does a layer's version pass the filters of a list?
fn fits(row: &LayerRow, input: &Value) -> bool {
    let has = |list: &[String], wanted: Option<&str>| {
        wanted.is_none_or(|wanted| list.iter().any(|item| item == wanted))
    };
    has(&row.runtimes, optional(input, "CompatibleRuntime"))
        && has(&row.architectures, optional(input, "CompatibleArchitecture"))
}

fn listed(row: &LayerRow, home: &Home) -> Value {
    let mut answer = json!({
        "LayerVersionArn": format!("{}:{}", home.layer_arn(&row.name), row.version),
        "Version": row.version,
        "Description": row.description,
        "CreatedDate": last_modified(row.created),
    });
    if !row.runtimes.is_empty() {
        answer["CompatibleRuntimes"] = json!(row.runtimes);
    }
    if !row.architectures.is_empty() {
        answer["CompatibleArchitectures"] = json!(row.architectures);
    }
    if let Some(license) = &row.license {
        answer["LicenseInfo"] = json!(license);
    }
    answer
}
