//! AWS's wire: which service and operation a request means, signatures, the JSON, query and REST
//! codecs driven by the service models, and the error shapes of each protocol. No service logic.

mod error;

pub use error::{Fault, ServiceError};
