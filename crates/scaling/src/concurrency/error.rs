//! Why a call was throttled and why a setting was refused, in AWS's words.

use std::fmt;

/// Why an invocation was throttled: the `Reason` of `TooManyRequestsException`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The function's reservation is in use, or what its provisioned environments leave of it.
    ReservedFunctionConcurrentInvocationLimitExceeded,
    /// The unreserved pool or the account is in use, or the function grows too fast.
    ConcurrentInvocationLimitExceeded,
    /// Too many requests a second for the unreserved pool.
    FunctionInvocationRateLimitExceeded,
    /// Too many requests a second for the function's reservation.
    ReservedFunctionInvocationRateLimitExceeded,
    /// Too many calls of the API by one caller. The ledger never says so; the gateway may.
    CallerRateLimitExceeded,
}

impl Reason {
    /// AWS's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReservedFunctionConcurrentInvocationLimitExceeded => {
                "ReservedFunctionConcurrentInvocationLimitExceeded"
            }
            Self::ConcurrentInvocationLimitExceeded => "ConcurrentInvocationLimitExceeded",
            Self::FunctionInvocationRateLimitExceeded => "FunctionInvocationRateLimitExceeded",
            Self::ReservedFunctionInvocationRateLimitExceeded => {
                "ReservedFunctionInvocationRateLimitExceeded"
            }
            Self::CallerRateLimitExceeded => "CallerRateLimitExceeded",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An invocation that is not admitted: 429 `TooManyRequestsException`, with `Type` `User`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Throttle {
    /// Why.
    pub reason: Reason,
    /// AWS's message.
    pub message: &'static str,
}

impl Throttle {
    /// A throttle for `reason`.
    pub fn new(reason: Reason) -> Self {
        Self { reason, message: "Rate Exceeded." }
    }
}

/// A setting that AWS refuses. The messages are AWS's own, letter for letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// A reservation that leaves too little unreserved.
    #[error(
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution \
         below its minimum value of [{minimum}]."
    )]
    ReservedBelowUnreservedMinimum {
        /// What must stay unreserved.
        minimum: u32,
    },
    /// A reservation in which the function's provisioned concurrency has no room.
    #[error(
        " ReservedConcurrentExecutions  {reserved} should not be lower than function's total provisioned \
         concurrency [{provisioned}]."
    )]
    ReservedBelowProvisioned {
        /// The reservation that was wanted.
        reserved: u32,
        /// The sum over the function's configurations.
        provisioned: u64,
    },
    /// Provisioned concurrency beyond the function's reservation.
    #[error(
        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
    )]
    ProvisionedAboveReserved,
    /// Provisioned concurrency beyond what the account has.
    #[error(
        "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [{available}]."
    )]
    ProvisionedAboveUnreserved {
        /// The unreserved concurrency, without the configuration itself.
        available: u64,
    },
    /// Provisioned concurrency that leaves too little unreserved.
    #[error(
        "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its \
         minimum value of [{minimum}]."
    )]
    ProvisionedBelowUnreservedMinimum {
        /// What must stay unreserved.
        minimum: u32,
    },
    /// Provisioned concurrency on `$LATEST`, or on an alias that points to it.
    #[error("Provisioned Concurrency Configs cannot be applied to unpublished function versions.")]
    Unpublished,
    /// Provisioned concurrency of 0.
    #[error(
        "1 validation error detected: Value '0' at 'provisionedConcurrentExecutions' failed to satisfy constraint: \
         Member must have value greater than or equal to 1"
    )]
    NothingProvisioned,
    /// A configuration on an alias whose version has one already, on itself or on another alias.
    #[error(
        "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
    )]
    AlreadyProvisioned,
    /// A configuration on a version to which an alias with a configuration points.
    #[error("Version is pointed by a Provisioned Concurrency alias")]
    VersionHasProvisionedAlias,
    /// A configuration on an alias that routes to two versions. The ledger knows no weights and never says so;
    /// its caller does. (Weights may be put on an alias that has a configuration already.)
    #[error("Alias with weights can not be used with Provisioned Concurrency")]
    WeightedAlias,
}

impl SettingError {
    /// The name of AWS's error; the status is 400, but 409 for `ResourceConflictException`.
    pub fn aws_code(&self) -> &'static str {
        match self {
            Self::NothingProvisioned => "ValidationException",
            Self::AlreadyProvisioned | Self::VersionHasProvisionedAlias => {
                "ResourceConflictException"
            }
            Self::ReservedBelowUnreservedMinimum { .. }
            | Self::ReservedBelowProvisioned { .. }
            | Self::ProvisionedAboveReserved
            | Self::ProvisionedAboveUnreserved { .. }
            | Self::ProvisionedBelowUnreservedMinimum { .. }
            | Self::Unpublished
            | Self::WeightedAlias => "InvalidParameterValueException",
        }
    }
}
