//! Functions themselves: create, read, list, delete, update code and configuration.

use std::collections::BTreeMap;

use kennel_wire::ServiceError;
use rusqlite::Connection;
use serde::Deserialize;
use serde_json::{Value, json};

use super::configuration::{self, MAX_LAYERS, Settings};
use super::error::{Outcome, Refused, conflict, constraint, invalid, no_function, stale_revision};
use super::names::{self, Home, LATEST};
use super::package::UNPACKED;
use super::rows::{
    self, AliasRow, Architecture, Code, Configuration, FunctionRow, LayerUse, VersionRow,
};
use super::upload::{CodeInput, refuse_image};
use super::{Lambda, facts, optional, page, tags, text, typed, uuid, versions, with_marker};
use crate::context::{Context, Timestamp};
use crate::service::Answer;

/// Functions of one page.
const PAGE: usize = 50;

/// The service that a function's role must trust.
const SERVICE: &str = "lambda.amazonaws.com";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Create {
    function_name: String,
    code: CodeInput,
    package_type: Option<String>,
    #[serde(default)]
    publish: bool,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(flatten)]
    settings: Settings,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateCode {
    function_name: String,
    #[serde(flatten)]
    code: CodeInput,
    architectures: Option<Vec<Architecture>>,
    #[serde(default)]
    publish: bool,
    #[serde(default)]
    dry_run: bool,
    revision_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateConfiguration {
    function_name: String,
    revision_id: Option<String>,
    #[serde(flatten)]
    settings: Settings,
}

impl Lambda {
    pub(super) async fn create_function(&self, context: &Context, input: Value) -> Answer {
        let request: Create = typed(input)?;
        let home = self.inner.home.clone();
        let name = names::unqualified(&request.function_name, &home)?;
        if request.package_type.as_deref().is_some_and(|kind| kind != "Zip") {
            return Err(refuse_image());
        }
        let settings = request.settings;
        let mut wanted = settings.apply(configuration::defaults(&name), &name, &home)?;
        self.inner
            .iam
            .check_pass_role(&context.caller, &wanted.role, SERVICE)
            .map_err(typed_user)?;
        tags::check(&request.tags)?;
        // Asked before the code is taken in, and again where the row is written.
        if self.read(|c| rows::function(c, &name))?.is_some() {
            return Err(taken(&name));
        }
        let (code, hold) = self.receive(request.code).await?;
        configuration::check_program(&wanted, self.inner.shelf.bootstrap(&code.sha256))?;
        let (now, publish, tags) = (context.now, request.publish, request.tags);
        let answer = self
            .write(move |c| {
                wanted.layers = layers(c, &home, settings.layers.as_deref(), Vec::new(), &code)?;
                let mut function = FunctionRow {
                    name: name.clone(),
                    id: uuid(),
                    created: now,
                    last_version: 0,
                    published: None,
                    reserved: None,
                    tags,
                };
                if !rows::insert_function(c, &function)? {
                    return Err(Refused::Service(taken(&name)));
                }
                let latest = VersionRow {
                    function: name,
                    version: 0,
                    configuration: wanted,
                    code,
                    modified: now,
                    revision: uuid(),
                };
                rows::put_version(c, &latest)?;
                written(c, &home, &mut function, &latest, publish.then_some(now))
            })
            .await?;
        drop(hold);
        Ok(answer)
    }

    pub(super) fn get_function(&self, context: &Context, input: &Value) -> Answer {
        let found = self.resolve(text(input, "FunctionName"), optional(input, "Qualifier"))?;
        let row = &found.version;
        let location =
            self.location(&context.endpoint, &row.function, &row.code.sha256, context.now);
        let mut answer = json!({
            "Configuration": configuration::shown(row, &self.inner.home, found.qualifier.as_deref()),
            "Code": {"RepositoryType": "S3", "Location": location},
        });
        if !found.function.tags.is_empty() {
            answer["Tags"] = json!(found.function.tags);
        }
        if let Some(reserved) = found.function.reserved {
            answer["Concurrency"] = json!({"ReservedConcurrentExecutions": reserved});
        }
        Ok(answer)
    }

    pub(super) fn get_function_configuration(&self, input: &Value) -> Answer {
        let found = self.resolve(text(input, "FunctionName"), optional(input, "Qualifier"))?;
        let qualifier = found.qualifier.as_deref();
        Ok(configuration::shown(&found.version, &self.inner.home, qualifier))
    }

    pub(super) fn list_functions(&self, input: &Value) -> Answer {
        let home = &self.inner.home;
        let every = optional(input, "FunctionVersion") == Some("ALL");
        let rows = self.read(|c| {
            let mut all = Vec::new();
            for function in rows::functions(c)? {
                if every {
                    all.extend(rows::versions(c, &function.name)?);
                } else {
                    all.extend(rows::version(c, &function.name, 0)?);
                }
            }
            Ok(all)
        })?;
        let key = |row: &VersionRow| format!("{}:{}", row.function, row.version);
        let (rows, marker) = page(input, PAGE, rows, key);
        let shown: Vec<Value> = rows
            .iter()
            .map(|row| {
                let version = names::version_text(row.version);
                configuration::listed(row, home, every.then_some(version.as_str()))
            })
            .collect();
        Ok(with_marker(json!({"Functions": shown}), marker))
    }

    pub(super) async fn delete_function(&self, input: &Value) -> Answer {
        let home = self.inner.home.clone();
        let named =
            names::qualified(text(input, "FunctionName"), optional(input, "Qualifier"), &home)?;
        let arn = home.function_arn(&named.name, named.qualifier.as_deref());
        let Some(qualifier) = named.qualifier else {
            let name = named.name;
            let code = self
                .write(move |c| {
                    let versions = rows::versions(c, &name)?;
                    if rows::function(c, &name)?.is_none() {
                        return Err(Refused::Service(no_function(&arn)));
                    }
                    rows::remove_function(c, &name)?;
                    Ok(versions.into_iter().flat_map(|row| code_of(&row)).collect())
                })
                .await?;
            self.release(code).await;
            // boto3 reads the status from the response itself.
            return Ok(json!({"StatusCode": 204}));
        };
        if qualifier == LATEST {
            return Err(invalid(
                "$LATEST version cannot be deleted without deleting the function.",
            ));
        }
        let Some(number) = names::version_number(&qualifier) else {
            return Err(invalid("Deletion of aliases is not currently supported."));
        };
        let name = named.name;
        let code = self
            .write(move |c| {
                let row = rows::version(c, &name, number)?.ok_or_else(|| no_function(&arn))?;
                let pointing: Vec<String> = rows::settings::<AliasRow>(c, &name)?
                    .into_iter()
                    .filter(|(_, a)| {
                        a.version == number || a.also.is_some_and(|(also, _)| also == number)
                    })
                    .map(|(alias, _)| home.function_arn(&name, Some(&alias)))
                    .collect();
                if !pointing.is_empty() {
                    return Err(Refused::Service(conflict(format!(
                        "Unable to delete version because the following aliases reference it: [{}]",
                        pointing.join(", ")
                    ))));
                }
                rows::remove_version(c, &name, number)?;
                rows::remove_settings(c, &name, &number.to_string())?;
                Ok(code_of(&row))
            })
            .await?;
        self.release(code).await;
        Ok(json!({"StatusCode": 204}))
    }

    pub(super) async fn update_function_code(&self, context: &Context, input: Value) -> Answer {
        let request: UpdateCode = typed(input)?;
        let home = self.inner.home.clone();
        let name = names::unqualified(&request.function_name, &home)?;
        // Asked before the code is taken in, and again where the row is written.
        let before = self.resolve(&name, None)?;
        check_revision(&before.version, request.revision_id.as_deref())?;
        let architecture = request.architectures.as_deref().map(configuration::one).transpose()?;
        let (code, hold) = self.receive(request.code).await?;
        let bootstrap = self.inner.shelf.bootstrap(&code.sha256);
        let (now, publish, dry_run) = (context.now, request.publish, request.dry_run);
        let revision = request.revision_id;
        let (answer, old) = self
            .write(move |c| {
                let (mut function, mut latest) = current(c, &home, &name)?;
                check_revision(&latest, revision.as_deref())?;
                let old = latest.code.sha256.clone();
                latest.code = code;
                if let Some(architecture) = architecture {
                    latest.configuration.architecture = architecture;
                }
                configuration::check_program(&latest.configuration, bootstrap)?;
                check_size(&latest.code, &latest.configuration.layers)?;
                if dry_run {
                    return Ok((configuration::shown(&latest, &home, None), None));
                }
                latest.modified = now;
                latest.revision = uuid();
                rows::put_version(c, &latest)?;
                let answer = written(c, &home, &mut function, &latest, publish.then_some(now))?;
                Ok((answer, Some(old)))
            })
            .await?;
        drop(hold);
        self.release(old.into_iter().collect()).await;
        Ok(answer)
    }

    pub(super) async fn update_configuration(&self, context: &Context, input: Value) -> Answer {
        let request: UpdateConfiguration = typed(input)?;
        let home = self.inner.home.clone();
        let name = names::unqualified(&request.function_name, &home)?;
        let settings = request.settings;
        if let Some(role) = settings.role() {
            self.inner.iam.check_pass_role(&context.caller, role, SERVICE).map_err(typed_user)?;
        }
        let shelf = self.inner.shelf.clone();
        let (now, revision) = (context.now, request.revision_id);
        let (answer, old) = self
            .write(move |c| {
                let (_, mut latest) = current(c, &home, &name)?;
                check_revision(&latest, revision.as_deref())?;
                let old = code_of(&latest);
                let before = latest.configuration.clone();
                let mut wanted = settings.apply(latest.configuration, &name, &home)?;
                let kept = std::mem::take(&mut wanted.layers);
                wanted.layers = layers(c, &home, settings.layers.as_deref(), kept, &latest.code)?;
                if wanted.runtime != before.runtime {
                    let bootstrap = shelf.bootstrap(&latest.code.sha256);
                    configuration::check_program(&wanted, bootstrap)?;
                }
                latest.configuration = wanted;
                latest.modified = now;
                latest.revision = uuid();
                rows::put_version(c, &latest)?;
                Ok((configuration::shown(&latest, &home, None), old))
            })
            .await?;
        self.release(old).await;
        Ok(answer)
    }
}

/// IAM's refusals of a role, as Lambda's errors are.
fn typed_user(error: ServiceError) -> ServiceError {
    error.with("Type", "User")
}

fn taken(name: &str) -> ServiceError {
    conflict(format!("Function already exist: {name}"))
}

/// Everything on the shelf that a version refers to.
pub(super) fn code_of(row: &VersionRow) -> Vec<String> {
    let mut code = vec![row.code.sha256.clone()];
    code.extend(row.configuration.layers.iter().map(|layer| layer.code.sha256.clone()));
    code
}

/// The function and its `$LATEST`.
pub(super) fn current(
    c: &Connection,
    home: &Home,
    name: &str,
) -> Outcome<(FunctionRow, VersionRow)> {
    let named = names::Named { name: name.to_owned(), qualifier: None };
    let found = facts::look_up(c, home, &named)?;
    Ok((found.function, found.version))
}

/// # Errors
/// `PreconditionFailedException` where the caller knows another revision.
pub(super) fn check_revision(row: &VersionRow, given: Option<&str>) -> Result<(), ServiceError> {
    match given {
        Some(given) if given != row.revision => Err(stale_revision("GetFunction/GetAlias")),
        _ => Ok(()),
    }
}

/// The answer to a change of `$LATEST`: itself, or the version that is published of it at `publish`.
fn written(
    c: &Connection,
    home: &Home,
    function: &mut FunctionRow,
    latest: &VersionRow,
    publish: Option<Timestamp>,
) -> Outcome<Value> {
    let Some(now) = publish else { return Ok(configuration::shown(latest, home, None)) };
    let row = versions::publish(c, function, latest, None, now)?;
    Ok(configuration::shown(&row, home, Some(&row.version.to_string())))
}

/// The layers of a request as the rows know them; those that a version has where it names none. One that
/// the version uses already may be named again even when it was deleted.
fn layers(
    c: &Connection,
    home: &Home,
    given: Option<&[String]>,
    kept: Vec<LayerUse>,
    code: &Code,
) -> Outcome<Vec<LayerUse>> {
    let Some(given) = given else { return Ok(kept) };
    if given.len() > MAX_LAYERS {
        return Err(Refused::Service(invalid(format!(
            "Cannot reference more than {MAX_LAYERS} layers."
        ))));
    }
    let mut found: Vec<(String, LayerUse)> = Vec::new();
    for arn in given {
        let (name, version) = names::layer(arn, home)?;
        let Some(version) = version else {
            return Err(Refused::Service(constraint(
                arn,
                "layers",
                "Member must satisfy regular expression pattern: arn:aws:lambda:REGION:ACCOUNT:layer:NAME:VERSION",
            )));
        };
        let layer = match rows::layer(c, &name, version)? {
            Some(row) => LayerUse { arn: arn.clone(), code: row.code },
            None => kept
                .iter()
                .find(|layer| layer.arn == *arn)
                .cloned()
                .ok_or_else(|| invalid(format!("Layer version {arn} does not exist.")))?,
        };
        if let Some((_, other)) = found.iter().find(|(other, _)| *other == name) {
            return Err(Refused::Service(invalid(format!(
                "Two different versions of the same layer are not allowed to be referenced in the same function. {} and {arn}",
                other.arn
            ))));
        }
        found.push((name, layer));
    }
    let layers: Vec<LayerUse> = found.into_iter().map(|(_, layer)| layer).collect();
    check_size(code, &layers)?;
    Ok(layers)
}

/// # Errors
/// Where code and layers together are over AWS's limit.
fn check_size(code: &Code, layers: &[LayerUse]) -> Result<(), ServiceError> {
    let bytes = layers.iter().fold(code.unpacked, |sum, l| sum.saturating_add(l.code.unpacked));
    if bytes < UNPACKED {
        return Ok(());
    }
    Err(invalid(format!(
        "Function code combined with layers exceeds the maximum allowed size of {UNPACKED} bytes. The actual size is {bytes} bytes."
    )))
}

/// What a version is published from: a new one is made only when this has changed.
pub(super) fn fingerprint(code: &Code, configuration: &Configuration) -> Outcome<String> {
    use sha2::Digest as _;
    let text = serde_json::to_string(&(code, configuration))
        .map_err(|e| Refused::Service(crate::service::state_failed(&e)))?;
    Ok(sha2::Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect())
}
