//! `kennel iam`: why a call was allowed or denied, and the least policy that a role needs. Everything is asked of
//! AWS's own APIs, so both work at AWS as well.

pub(super) mod advice;
pub(super) mod event;
pub(super) mod explain;
pub(super) mod least;
pub(super) mod narrow;
pub(super) mod principals;

use clap::{Args, Subcommand};

use crate::client::Client;
use crate::error::ClientError;
use crate::target::TargetArguments;

/// Arguments of `kennel iam`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Why a call was allowed or denied: each policy and statement in order, and the fix
    Explain(explain::Explain),
    /// The policy that a role has needed, resource by resource, from what it did
    LeastPrivilege(least::LeastPrivilege),
}

pub(super) fn run(arguments: Arguments) -> Result<(), ClientError> {
    let client = Client::new(arguments.target.resolve()?);
    match arguments.verb {
        Verb::Explain(arguments) => explain::run(&client, &arguments),
        Verb::LeastPrivilege(arguments) => least::run(&client, &arguments),
    }
}

#[cfg(test)]
pub(super) mod tests;
