//! The policy language: parse and validate. Pure: no I/O, no clock.
//!
//! [`policy::Document`] is a policy as the author wrote it, typed; [`trust`] decides whether a role's
//! trust policy lets somebody take the role. Evaluation of identity policies is not built yet.

mod arn;
mod glob;
pub mod policy;
pub mod trust;

pub use arn::{Arn, ArnError, ArnPattern};
pub use glob::matches;
