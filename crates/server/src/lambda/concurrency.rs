//! Reserved and provisioned concurrency, and the account's limits. What is asked for is a row; what has
//! become of it the dispatcher says (`facts`).

use kennel_scaling::concurrency::SettingError;
use kennel_wire::ServiceError;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::aliases::alias;
use super::error::{Outcome, Refused, invalid, no_function, refusal, user};
use super::facts::shown;
use super::functions::current;
use super::names::{self, Home, LATEST};
use super::package::{INLINE, UNPACKED};
use super::rows::{self, AliasRow, FunctionRow, ProvisionedRow, ProvisionedStatus};
use super::{Lambda, page, text, with_marker};
use crate::context::{Context, Timestamp};
use crate::service::Answer;

/// Concurrent executions of the account.
pub(crate) const ACCOUNT: u32 = 1000;
/// Of them at least so many stay for functions that have reserved none.
pub(crate) const UNRESERVED: u32 = 100;
/// Bytes of all code, AWS's default quota.
const CODE_STORAGE: u64 = 80_530_636_800;
/// Configurations of one page.
const PAGE: usize = 50;

fn number(input: &Value, member: &str) -> Result<u32, ServiceError> {
    let number = input.get(member).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    number.ok_or_else(|| invalid(format!("{member} is not a number that can be reached")))
}

impl Lambda {
    pub(super) async fn put_reserved(&self, input: &Value) -> Answer {
        let home = self.inner.home.clone();
        let name = names::unqualified(text(input, "FunctionName"), &home)?;
        let wanted = number(input, "ReservedConcurrentExecutions")?;
        self.write(move |c| {
            let (mut function, _) = current(c, &home, &name)?;
            if wanted > ACCOUNT.saturating_sub(claimed(c, Some(&name))?).saturating_sub(UNRESERVED)
            {
                return refuse(SettingError::ReservedBelowUnreservedMinimum {
                    minimum: UNRESERVED,
                });
            }
            let provisioned = provisioned(c, &name, None)?;
            // 0 is let through: it is how a function is stopped at once.
            if wanted > 0 && wanted < provisioned {
                return refuse(SettingError::ReservedBelowProvisioned {
                    reserved: wanted,
                    provisioned: provisioned.into(),
                });
            }
            function.reserved = Some(wanted);
            rows::update_function(c, &function)?;
            Ok(json!({"ReservedConcurrentExecutions": wanted}))
        })
        .await
    }

    pub(super) fn get_reserved(&self, input: &Value) -> Answer {
        let home = &self.inner.home;
        let name = names::unqualified(text(input, "FunctionName"), home)?;
        Ok(match self.resolve(&name, None)?.function.reserved {
            Some(reserved) => json!({"ReservedConcurrentExecutions": reserved}),
            None => json!({}),
        })
    }

    pub(super) async fn delete_reserved(&self, input: &Value) -> Answer {
        let home = self.inner.home.clone();
        let name = names::unqualified(text(input, "FunctionName"), &home)?;
        self.write(move |c| {
            let (mut function, _) = current(c, &home, &name)?;
            function.reserved = None;
            rows::update_function(c, &function)?;
            Ok(json!({}))
        })
        .await
    }

    pub(super) async fn put_provisioned(&self, context: &Context, input: &Value) -> Answer {
        let home = self.inner.home.clone();
        let (name, qualifier) = place(input, &home)?;
        let wanted = number(input, "ProvisionedConcurrentExecutions")?;
        if wanted == 0 {
            return refuse(SettingError::NothingProvisioned).map_err(ServiceError::from);
        }
        let row = self.provision(&name, &qualifier, wanted, context.now).await?;
        Ok(shown(&row, self.allocation(&name, &qualifier)))
    }

    /// Asks for `wanted` environments, at least one, of an alias or version.
    pub(super) async fn provision(
        &self,
        name: &str,
        qualifier: &str,
        wanted: u32,
        now: Timestamp,
    ) -> Result<ProvisionedRow, ServiceError> {
        let home = self.inner.home.clone();
        let (name, qualifier) = (name.to_owned(), qualifier.to_owned());
        self.write(move |c| {
            let (function, _) = current(c, &home, &name)?;
            exclusive(c, &home, &name, &qualifier)?;
            fits(c, &function, &qualifier, wanted)?;
            let row = ProvisionedRow {
                requested: wanted,
                status: ProvisionedStatus::InProgress,
                reason: None,
                modified: now,
            };
            rows::put_setting(c, &name, &qualifier, &row)?;
            Ok(row)
        })
        .await
    }

    pub(super) fn get_provisioned(&self, input: &Value) -> Answer {
        let home = &self.inner.home;
        let (name, qualifier) = place(input, home)?;
        let row = self.read(|c| {
            there(c, home, &name, &qualifier)?;
            rows::setting::<ProvisionedRow>(c, &name, &qualifier)
        })?;
        let row = row.ok_or_else(|| {
            user(
                "ProvisionedConcurrencyConfigNotFoundException",
                404,
                "No Provisioned Concurrency Config found for this function",
            )
        })?;
        Ok(shown(&row, self.allocation(&name, &qualifier)))
    }

    pub(super) fn list_provisioned(&self, input: &Value) -> Answer {
        let home = &self.inner.home;
        let name = names::unqualified(text(input, "FunctionName"), home)?;
        let rows = self.read(|c| {
            current(c, home, &name)?;
            rows::settings::<ProvisionedRow>(c, &name)
        })?;
        let (rows, marker) = page(input, PAGE, rows, |(qualifier, _)| qualifier.clone());
        let listed: Vec<Value> = rows
            .iter()
            .map(|(qualifier, row)| {
                let mut item = shown(row, self.allocation(&name, qualifier));
                item["FunctionArn"] = json!(home.function_arn(&name, Some(qualifier)));
                item
            })
            .collect();
        Ok(with_marker(json!({"ProvisionedConcurrencyConfigs": listed}), marker))
    }

    pub(super) async fn delete_provisioned(&self, input: &Value) -> Answer {
        let home = self.inner.home.clone();
        let (name, qualifier) = place(input, &home)?;
        self.forget_allocation(&name, &qualifier);
        self.write(move |c| {
            there(c, &home, &name, &qualifier)?;
            rows::remove_setting::<ProvisionedRow>(c, &name, &qualifier)?;
            Ok(json!({}))
        })
        .await
    }

    pub(super) fn get_account_settings(&self) -> Answer {
        let (claimed, bytes, functions) = self
            .read(|c| Ok((claimed(c, None)?, rows::code_bytes(c)?, rows::functions(c)?.len())))?;
        Ok(json!({
            "AccountLimit": {
                "TotalCodeSize": CODE_STORAGE,
                "CodeSizeUnzipped": UNPACKED,
                "CodeSizeZipped": INLINE,
                "ConcurrentExecutions": ACCOUNT,
                "UnreservedConcurrentExecutions": ACCOUNT.saturating_sub(claimed),
            },
            "AccountUsage": {"TotalCodeSize": bytes, "FunctionCount": functions},
        }))
    }
}

/// The function and the version or alias that a provisioned configuration is of.
fn place(input: &Value, home: &Home) -> Result<(String, String), ServiceError> {
    let name = names::unqualified(text(input, "FunctionName"), home)?;
    let qualifier = text(input, "Qualifier");
    if qualifier.is_empty() || qualifier == LATEST {
        return refuse(SettingError::Unpublished).map_err(ServiceError::from);
    }
    Ok((name, qualifier.to_owned()))
}

/// # Errors
/// `ResourceNotFoundException` where the function, version or alias does not exist.
pub(super) fn there(c: &Connection, home: &Home, name: &str, qualifier: &str) -> Outcome<()> {
    current(c, home, name)?;
    match names::version_number(qualifier) {
        Some(number) => {
            let missing = || no_function(&home.function_arn(name, Some(qualifier)));
            rows::version(c, name, number)?.ok_or_else(missing)?;
        }
        None => drop(alias(c, home, name, qualifier)?),
    }
    Ok(())
}

/// A version has provisioned concurrency of its own or through one alias, not both; an alias that has it
/// routes to one published version.
pub(super) fn exclusive(c: &Connection, home: &Home, name: &str, qualifier: &str) -> Outcome<()> {
    let has =
        |q: &str| -> Outcome<bool> { Ok(rows::setting::<ProvisionedRow>(c, name, q)?.is_some()) };
    // Another alias of the version that has provisioned concurrency.
    let other = |version: u64| -> Outcome<bool> {
        for (alias, row) in rows::settings::<AliasRow>(c, name)? {
            if row.version == version && alias != qualifier && has(&alias)? {
                return Ok(true);
            }
        }
        Ok(false)
    };
    if let Some(number) = names::version_number(qualifier) {
        there(c, home, name, qualifier)?;
        return if other(number)? {
            refuse(SettingError::VersionHasProvisionedAlias)
        } else {
            Ok(())
        };
    }
    let alias = alias(c, home, name, qualifier)?;
    if alias.version == 0 {
        refuse(SettingError::Unpublished)
    } else if alias.also.is_some() {
        refuse(SettingError::WeightedAlias)
    } else if has(&alias.version.to_string())? || other(alias.version)? {
        refuse(SettingError::AlreadyProvisioned)
    } else {
        Ok(())
    }
}

/// Do so many environments fit into what the function has reserved, or into what nobody has?
fn fits(c: &Connection, function: &FunctionRow, qualifier: &str, wanted: u32) -> Outcome<()> {
    let others = provisioned(c, &function.name, Some(qualifier))?;
    let total = others.saturating_add(wanted);
    match function.reserved {
        Some(reserved) if total > reserved => refuse(SettingError::ProvisionedAboveReserved),
        Some(_) => Ok(()),
        None => {
            let free = ACCOUNT.saturating_sub(claimed(c, Some(&function.name))?);
            if total > free {
                let available = free.saturating_sub(others).into();
                return refuse(SettingError::ProvisionedAboveUnreserved { available });
            }
            if total > free.saturating_sub(UNRESERVED) {
                return refuse(SettingError::ProvisionedBelowUnreservedMinimum {
                    minimum: UNRESERVED,
                });
            }
            Ok(())
        }
    }
}

fn refuse<T>(error: SettingError) -> Outcome<T> {
    let code = error.aws_code();
    let status = if code == "ResourceConflictException" { 409 } else { 400 };
    Err(Refused::Service(refusal(code, status, &error)))
}

/// Provisioned environments of a function, without those of one qualifier.
fn provisioned(c: &Connection, name: &str, without: Option<&str>) -> Outcome<u32> {
    let rows = rows::settings::<ProvisionedRow>(c, name)?;
    let rows = rows.into_iter().filter(|(qualifier, _)| Some(qualifier.as_str()) != without);
    Ok(rows.fold(0, |sum: u32, (_, row)| sum.saturating_add(row.requested)))
}

/// Concurrency that is not free for all: what functions reserve, and what others have provisioned without a
/// reservation.
fn claimed(c: &Connection, without: Option<&str>) -> Outcome<u32> {
    let mut sum = 0u32;
    for function in rows::functions(c)? {
        if without == Some(function.name.as_str()) {
            continue;
        }
        let own = match function.reserved {
            Some(reserved) => reserved,
            None => provisioned(c, &function.name, None)?,
        };
        sum = sum.saturating_add(own);
    }
    Ok(sum)
}
