//! A client of the AWS APIs that the command line needs, signed like any other.
//!
//! There is no private control interface: what `kennel job`, `kennel bucket` and the others do goes
//! through the same signed requests as boto3's, to the local platform or, with `--aws`, to AWS.

mod client;
mod clock;
pub mod commands;
pub mod env;
mod error;
mod files;
mod output;
mod paths;
mod profile;
mod s3;
mod sign;
mod target;
mod transfer;
mod xml;

#[cfg(test)]
mod testing;

pub use client::{Client, ClientOptions, InvokeRequest, Invoked};
pub use commands::{Command, TuningRange, TuningRequest, run, tune};
pub use error::{ClientError, ServiceFailure};
pub use paths::{
    DEFAULT_EXECUTION_ROLE, NATIVE_IMAGE, ROOT_CREDENTIALS_FILE, SERVER_FILE, default_data_dir,
};
pub use s3::{Listing, Object};
pub use target::{Credentials, RootCredentials, ServerRecord, Target, TargetArguments};
