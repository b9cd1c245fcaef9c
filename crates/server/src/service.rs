//! What a service is to the gateway: a name, and a function from (operation, input) to output. Inputs
//! have passed the service's model (types, required members, constraints) before they come here, and
//! outputs are encoded by it; neither knows HTTP.

use std::future::Future;
use std::pin::Pin;

use kennel_wire::ServiceError;
use serde_json::Value;

use crate::context::Context;

/// What a call answers: the output shape's members, timestamps as seconds since 1970 (JSON numbers).
pub type Answer = Result<Value, ServiceError>;

/// A service behind the gateway.
pub trait Service: Send + Sync + 'static {
    /// The signing name and model: `sts`, `iam`, `sagemaker`, `logs`, `monitoring`.
    fn name(&self) -> &'static str;

    /// Runs an operation. `input` has the members of the operation's input shape.
    fn call<'a>(
        &'a self,
        context: &'a Context,
        operation: &'a str,
        input: Value,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;
}

/// The error of a database that could not answer: the cause goes to the log, not to the caller.
pub(crate) fn state_failed(error: &dyn std::error::Error) -> ServiceError {
    tracing::error!("{error}");
    ServiceError::internal()
}

/// A failure inside the database's writer: the database's or the service's own answer.
#[derive(Debug)]
pub(crate) enum Refused {
    /// SQLite's.
    Database(rusqlite::Error),
    /// What the caller gets.
    Service(ServiceError),
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        Refused::Database(error)
    }
}

impl From<ServiceError> for Refused {
    fn from(error: ServiceError) -> Self {
        Refused::Service(error)
    }
}

impl From<Refused> for ServiceError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Database(error) => state_failed(&error),
            Refused::Service(error) => error,
        }
    }
}
