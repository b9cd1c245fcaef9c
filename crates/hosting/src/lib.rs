//! Child processes: training instances, model servers and functions, placed, watched, restarted and stopped.
//!
//! Everything that runs models or strangers' code is a process of its own, started through
//! [`launch`] so that it cannot outlive the server, and never inside the server. No AWS wire types
//! here: options are plain, and the server's reconcilers call this crate.

mod command;
pub mod function;
pub mod instance_type;
pub mod launch;
pub mod pool;
pub mod process;
pub mod server_instance;
mod supervisor;
pub mod training;

pub use command::Command;
