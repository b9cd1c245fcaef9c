//! What the autoscaler sees of provisioned concurrency, and how it sets it.

use kennel_wire::ServiceError;

use super::Lambda;
use super::concurrency::there;
use super::error::{Refused, invalid};
use super::names::LATEST;
use super::rows::{self, ProvisionedRow, ProvisionedStatus};
use crate::context::Timestamp;

/// Provisioned concurrency of an alias or version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProvisionedFacts {
    /// Environments that are asked for; 0 where none are.
    pub requested: u32,
    /// Environments that there are.
    pub allocated: u32,
    /// Why there will be no more, where they cannot be made.
    pub failed: Option<String>,
}

impl Lambda {
    /// What is provisioned; `None` where the function, alias or version does not exist.
    ///
    /// # Errors
    /// When the rows cannot be read, or for `$LATEST`, which cannot have any.
    pub(crate) fn provisioned_facts(
        &self,
        function: &str,
        qualifier: &str,
    ) -> Result<Option<ProvisionedFacts>, ServiceError> {
        if qualifier == LATEST {
            return Err(invalid(
                "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
            ));
        }
        let home = &self.inner.home;
        let row = self.read(|c| match there(c, home, function, qualifier) {
            Ok(()) => Ok(Some(rows::setting::<ProvisionedRow>(c, function, qualifier)?)),
            Err(Refused::Service(error)) if error.code == "ResourceNotFoundException" => Ok(None),
            Err(other) => Err(other),
        })?;
        Ok(row.map(|row| ProvisionedFacts {
            requested: row.as_ref().map_or(0, |row| row.requested),
            allocated: self.allocation(function, qualifier).allocated,
            failed: row
                .filter(|row| row.status == ProvisionedStatus::Failed)
                .map(|row| row.reason.unwrap_or_default()),
        }))
    }

    /// Asks for `count` environments; for 0 the configuration goes, as AWS's autoscaler has it.
    ///
    /// # Errors
    /// As PutProvisionedConcurrencyConfig.
    pub(crate) async fn scale_provisioned(
        &self,
        function: &str,
        qualifier: &str,
        count: u32,
        now: Timestamp,
    ) -> Result<(), ServiceError> {
        if count > 0 {
            return self.provision(function, qualifier, count, now).await.map(drop);
        }
        self.forget_allocation(function, qualifier);
        let home = self.inner.home.clone();
        let (function, qualifier) = (function.to_owned(), qualifier.to_owned());
        self.write(move |c| {
            there(c, &home, &function, &qualifier)?;
            rows::remove_setting::<ProvisionedRow>(c, &function, &qualifier)?;
            Ok(())
        })
        .await
    }
}
