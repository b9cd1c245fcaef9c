//! Several processes that train one model together: the trait that the trainer sees, and what carries it.
//!
//! [`Single`] is one process. [`plugin`] is MPI, in a library that is loaded where a launcher started
//! several processes (docs/adr/0016). [`World`] decides which, and sees to it that no process leaves the
//! others waiting: an error or a panic of one ends all.

mod bytes;
mod environment;
mod heartbeat;
#[allow(
    unsafe_code,
    reason = "the one place that loads a library and calls its functions; each call says why it is sound"
)]
mod plugin;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod watchdog;
mod world;

use std::fmt::Debug;
use std::path::PathBuf;

use kennel_base::{ErrorCode, ErrorCoded};

pub use bytes::{broadcast_bytes, gather_bytes, sum};
pub use heartbeat::{Progress, alongside};
pub use plugin::find as find_plugin;
pub use watchdog::Watchdog;
pub use world::World;

/// Names a file that an instance makes when it ends all: where a network is cut, the launcher waits for the other
/// hosts and does not come back by itself.
pub const ABORTED: &str = "KENNEL_ABORTED";

/// Processes ("instances") that work on one thing, each with a rank from 0.
///
/// Every rank calls the same operations in the same order with the same lengths. One that does not leaves
/// the others waiting until the [`Watchdog`] ends them. Operations are called from one thread at a time,
/// [`Collective::abort`] from any.
pub trait Collective: Debug + Send + Sync {
    /// This process, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn size(&self) -> usize;

    /// Replaces every value by its sum over all ranks; all ranks get the same bits.
    ///
    /// # Errors
    /// When the engine refuses. The other ranks may be waiting: the caller has to end with it.
    fn all_reduce_sum(&self, values: &mut [f32]) -> Result<(), CollectiveError>;

    /// Replaces the values by those of `root`.
    ///
    /// # Errors
    /// As [`Collective::all_reduce_sum`], and when there is no rank `root`.
    fn broadcast(&self, values: &mut [f32], root: usize) -> Result<(), CollectiveError>;

    /// Waits until all ranks are here.
    ///
    /// # Errors
    /// As [`Collective::all_reduce_sum`].
    fn barrier(&self) -> Result<(), CollectiveError>;

    /// Ends all ranks at once with this exit code.
    fn abort(&self, code: i32) -> !;
}

/// Why several instances cannot work together.
#[derive(Debug, thiserror::Error)]
pub enum CollectiveError {
    /// Several were started, and the library for them is not there.
    #[error(
        "a launcher started {instances} instances, but there is no MPI library beside `{program}`\nhint: build it with `cargo build --release -p kennel-mpi --features mpi`, or name it in KENNEL_MPI; on one machine `kennel train DIR --instances N` works without"
    )]
    NoPlugin {
        /// How many, in words.
        instances: String,
        /// The program.
        program: String,
    },
    /// The library cannot be used.
    #[error(
        "the MPI library `{path}` cannot be used: {reason}\nhint: build it from the same sources as `kennel`, on this system: `cargo build --release -p kennel-mpi --features mpi`"
    )]
    Plugin {
        /// The library.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The launcher and the library do not belong together.
    #[error(
        "{said} instances were started, but the MPI library found {found}: the launcher is that of another MPI\nhint: use the `mpirun` of the Open MPI that `libkennel_mpi.so` was built with"
    )]
    WrongLauncher {
        /// Instances that the launcher or the command line says.
        said: usize,
        /// Instances that MPI says.
        found: usize,
    },
    /// The number on the command line is not the launcher's.
    #[error(
        "`--instances {asked}` was asked for, but the launcher started {found}\nhint: leave `--instances` out under a launcher, or correct its `-n`"
    )]
    WrongSize {
        /// Instances asked for.
        asked: usize,
        /// Instances there are.
        found: usize,
    },
    /// The instances are not set up alike.
    #[error(
        "the instances differ in {what}: here it is `{here}`, on instance {rank} `{there}`\nhint: start all with the same program, options and engine"
    )]
    Differ {
        /// In what.
        what: &'static str,
        /// What it is here.
        here: String,
        /// The other instance, from 0.
        rank: usize,
        /// What it is there.
        there: String,
    },
    /// An operation failed.
    #[error(
        "{operation} over {size} instances failed: {reason}\nhint: run the same command again to go on from the checkpoint"
    )]
    Failed {
        /// Which.
        operation: &'static str,
        /// Ranks.
        size: usize,
        /// Why.
        reason: String,
    },
}

impl ErrorCoded for CollectiveError {
    fn code(&self) -> ErrorCode {
        match self {
            CollectiveError::NoPlugin { .. }
            | CollectiveError::WrongLauncher { .. }
            | CollectiveError::Differ { .. }
            | CollectiveError::WrongSize { .. } => ErrorCode::InvalidInput,
            CollectiveError::Plugin { .. } => ErrorCode::Unavailable,
            CollectiveError::Failed { .. } => ErrorCode::Upstream,
        }
    }
}

/// One process, alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Single;

impl Collective for Single {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn all_reduce_sum(&self, _: &mut [f32]) -> Result<(), CollectiveError> {
        Ok(())
    }

    fn broadcast(&self, _: &mut [f32], root: usize) -> Result<(), CollectiveError> {
        check_root("broadcast", root, 1)
    }

    fn barrier(&self) -> Result<(), CollectiveError> {
        Ok(())
    }

    fn abort(&self, code: i32) -> ! {
        std::process::exit(code)
    }
}

fn check_root(operation: &'static str, root: usize, size: usize) -> Result<(), CollectiveError> {
    if root < size {
        return Ok(());
    }
    Err(CollectiveError::Failed { operation, size, reason: format!("there is no rank {root}") })
}
