//! The policy language: parse, validate and evaluate. Pure: no I/O, no clock.
//!
//! [`policy::Document`] is a policy as the author wrote it, typed; [`evaluate`] decides whether a request is
//! allowed by all policies about it, and says why; [`simulate`] is the policy simulator; [`trust`] decides
//! whether a role's trust policy lets somebody take the role; [`findings`] says what is too wide in a
//! document, and [`least`] writes the narrowest one.

mod arn;
pub mod evaluate;
pub mod findings;
mod glob;
pub mod least;
pub mod policy;
pub mod simulate;
pub mod trust;

pub use arn::{Arn, ArnError, ArnPattern};
pub use evaluate::{
    Context, Decision, Outcome, Policies, Policy, PolicyType, Principal, Request, StatementRef,
    Trace, decide, explain,
};
pub use glob::matches;
