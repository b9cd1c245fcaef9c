//! AWS's wire: which service and operation a request means, signatures, the JSON, query and REST
//! codecs driven by the service models, and the error shapes of each protocol. No service logic.

pub mod body;
mod codes;
mod constraints;
mod encoded;
mod error;
pub mod json;
pub mod model;
mod pattern;
pub mod query;
pub mod resolve;
pub mod rest;
pub mod sigv4;
mod time;
mod xml;

pub use encoded::Encoded;
pub use error::{Fault, ServiceError};
pub use model::{Operation, ServiceModel};
pub use resolve::{Route, resolve};
pub use sigv4::{Scope, Secret, SignatureRefusal, Verified};
