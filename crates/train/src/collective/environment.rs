//! What the environment says about a launcher.

/// A launcher that started this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Launcher {
    /// How many it started, where it says so.
    pub(super) size: Option<usize>,
}

/// The launcher that these variables mean, if any.
///
/// SLURM_NTASKS is not among them: a plain script in an allocation has it too.
pub(super) fn launcher(variable: impl Fn(&str) -> Option<String>) -> Option<Launcher> {
    let number = |name: &str| -> Option<usize> { variable(name)?.trim().parse().ok() };
    // Open MPI; MPICH, Intel MPI and Slurm's PMI.
    for name in ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"] {
        if let Some(size) = number(name) {
            return Some(Launcher { size: Some(size) });
        }
    }
    // PMIx alone, as `srun --mpi=pmix` gives it, does not say how many; Slurm says it of the step.
    number("PMIX_RANK").map(|_| Launcher { size: number("SLURM_STEP_NUM_TASKS") })
}
