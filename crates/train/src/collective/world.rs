//! The processes that were started together, and the rule that none leaves the others waiting.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::environment::{Launcher, launcher};
use super::plugin::{self, Mpi};
use super::{Collective, CollectiveError, Single, Watchdog};

/// Exit code after a panic, as Rust's own.
const PANICKED: i32 = 101;

/// Limit of an operation where KENNEL_COLLECTIVE_TIMEOUT says nothing.
const LIMIT: Duration = Duration::from_secs(60);

/// This process and those that were started with it.
#[derive(Debug)]
pub struct World {
    collective: Arc<dyn Collective>,
    mpi: Option<Arc<Mpi>>,
}

impl World {
    /// One process.
    pub fn single() -> World {
        World { collective: Arc::new(Single), mpi: None }
    }

    /// Whether a launcher of several processes started this one.
    pub fn is_launched() -> bool {
        !matches!(
            launcher(|name| std::env::var(name).ok()),
            None | Some(Launcher { size: Some(0 | 1) })
        )
    }

    /// This process's number among those on this machine, and theirs, where the launcher says so.
    pub fn local() -> (usize, usize) {
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
        let rank = number("OMPI_COMM_WORLD_LOCAL_RANK").unwrap_or(0);
        (rank, number("OMPI_COMM_WORLD_LOCAL_SIZE").filter(|n| *n > rank).unwrap_or(rank + 1))
    }

    /// What a launcher started, or one process. MPI is initialised only under a launcher of several.
    ///
    /// `asked` is the number on the command line, compared with what there is.
    ///
    /// # Errors
    /// When several were started that cannot reach each other: they would train one model each.
    pub fn from_environment(asked: Option<usize>) -> Result<World, CollectiveError> {
        let world = match launcher(|name| std::env::var(name).ok()) {
            None | Some(Launcher { size: Some(0 | 1) }) => World::single(),
            Some(launcher) => World::start(launcher)?,
        };
        let found = world.collective.size();
        match asked {
            Some(asked) if asked != found => Err(CollectiveError::WrongSize { asked, found }),
            _ => Ok(world),
        }
    }

    fn start(launcher: Launcher) -> Result<World, CollectiveError> {
        let Some(path) = plugin::find()? else {
            let program = std::env::current_exe().unwrap_or_default().display().to_string();
            let instances = launcher.size.map_or_else(|| "several".into(), |n| n.to_string());
            return Err(CollectiveError::NoPlugin { instances, program });
        };
        let mpi = Arc::new(Mpi::start(&path)?);
        if let Some(said) = launcher.size
            && said != mpi.size()
        {
            return Err(CollectiveError::WrongLauncher { said, found: mpi.size() });
        }
        if mpi.size() == 1 {
            mpi.finalize();
            return Ok(World::single());
        }
        let limit = std::env::var("KENNEL_COLLECTIVE_TIMEOUT")
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .filter(|seconds| *seconds > 0.0)
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .unwrap_or(LIMIT);
        let inner: Arc<dyn Collective> = Arc::clone(&mpi) as _;
        Ok(World { collective: Arc::new(Watchdog::new(inner, limit)?), mpi: Some(mpi) })
    }

    /// The processes.
    pub fn collective(&self) -> &Arc<dyn Collective> {
        &self.collective
    }

    /// Does this process's part of the work. Where it fails and there are others, `report` tells of it and
    /// gives the exit code with which all of them end; neither then nor after a panic does this return.
    ///
    /// Not a panic hook: panics of image decoders are caught and count as bad photos, and a hook would take
    /// them for the end.
    ///
    /// # Errors
    /// The work's, where this process is alone.
    pub fn run<T, E>(
        self,
        report: impl FnOnce(&E) -> i32,
        work: impl FnOnce(&Arc<dyn Collective>) -> Result<T, E>,
    ) -> Result<T, E> {
        let Some(mpi) = &self.mpi else { return work(&self.collective) };
        match catch_unwind(AssertUnwindSafe(|| work(&self.collective))) {
            Ok(Ok(done)) => {
                mpi.finalize();
                Ok(done)
            }
            Ok(Err(error)) => self.collective.abort(report(&error)),
            Err(_) => self.collective.abort(PANICKED),
        }
    }
}
