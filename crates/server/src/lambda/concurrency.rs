//! Reserved and provisioned concurrency, and the account's limits. What is asked for is a row; what has
//! become of it the dispatcher says (`facts`).

use kennel_wire::ServiceError;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::aliases::alias;
use super::error::{Outcome, Refused, conflict, invalid, no_function, user};
use super::facts::shown;
use super::functions::current;
use super::names::{self, Home, LATEST};
use super::package::{INLINE, UNPACKED};
use super::rows::{self, AliasRow, FunctionRow, ProvisionedRow, ProvisionedStatus};
use super::{Lambda, page, text, with_marker};
use crate::context::Context;
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
                return Err(Refused::Service(invalid(format!(
                    "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [{UNRESERVED}]."
                ))));
            }
            let provisioned = provisioned(c, &name, None)?;
            // 0 is let through: it is how a function is stopped at once.
            if wanted > 0 && wanted < provisioned {
                return Err(Refused::Service(invalid(format!(
                    "ReservedConcurrentExecutions {wanted} should not be lower than function's total provisioned concurrency [{provisioned}]."
                ))));
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
            return Err(super::error::constraint(
                "0",
                "provisionedConcurrentExecutions",
                "Member must have value greater than or equal to 1",
            ));
        }
        let now = context.now;
        let key = (name.clone(), qualifier.clone());
        let row = self
            .write(move |c| {
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
            .await?;
        Ok(shown(&row, self.allocation(&key.0, &key.1)))
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
        return Err(invalid(
            "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
        ));
    }
    Ok((name, qualifier.to_owned()))
}

/// # Errors
/// `ResourceNotFoundException` where the function, version or alias does not exist.
fn there(c: &Connection, home: &Home, name: &str, qualifier: &str) -> Outcome<()> {
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

/// A version has provisioned concurrency of its own or through one alias, not both.
fn exclusive(c: &Connection, home: &Home, name: &str, qualifier: &str) -> Outcome<()> {
    let has =
        |q: &str| -> Outcome<bool> { Ok(rows::setting::<ProvisionedRow>(c, name, q)?.is_some()) };
    let Some(number) = names::version_number(qualifier) else {
        let alias = alias(c, home, name, qualifier)?;
        if alias.version == 0 {
            return Err(Refused::Service(invalid(
                "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
            )));
        }
        if has(&alias.version.to_string())? {
            return Err(Refused::Service(conflict(
                "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
            )));
        }
        return Ok(());
    };
    there(c, home, name, qualifier)?;
    for (alias, row) in rows::settings::<AliasRow>(c, name)? {
        if row.version == number && has(&alias)? {
            return Err(Refused::Service(conflict(
                "Version is pointed by a Provisioned Concurrency alias",
            )));
        }
    }
    Ok(())
}

/// Do so many environments fit into what the function has reserved, or into what nobody has?
fn fits(c: &Connection, function: &FunctionRow, qualifier: &str, wanted: u32) -> Outcome<()> {
    let refuse = |text: String| Err(Refused::Service(invalid(text)));
    let others = provisioned(c, &function.name, Some(qualifier))?;
    let total = others.saturating_add(wanted);
    match function.reserved {
        Some(reserved) if total > reserved => refuse(
            "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
                .to_owned(),
        ),
        Some(_) => Ok(()),
        None => {
            let free = ACCOUNT.saturating_sub(claimed(c, Some(&function.name))?);
            if total > free {
                return refuse(format!(
                    "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [{free}]."
                ));
            }
            if total > free.saturating_sub(UNRESERVED) {
                return refuse(format!(
                    "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [{UNRESERVED}]."
                ));
            }
            Ok(())
        }
    }
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
