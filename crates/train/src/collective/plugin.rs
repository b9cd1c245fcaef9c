//! MPI through `libkennel_mpi.so`, loaded at run time (crates/mpi has the other half).

use std::path::{Path, PathBuf};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use super::{Collective, CollectiveError, check_root};

/// The library's file name.
const FILE: &str = "libkennel_mpi.so";
/// Version of the interface that is spoken here.
const ABI: u32 = 1;

type Abi = extern "C" fn() -> u32;
type Init = unsafe extern "C" fn(*mut u32, *mut u32) -> i32;
type AllReduce = unsafe extern "C" fn(*mut f32, usize) -> i32;
type Broadcast = unsafe extern "C" fn(*mut f32, usize, u32) -> i32;
type Plain = extern "C" fn() -> i32;
type Abort = extern "C" fn(i32);

/// The library, loaded for good.
#[derive(Debug)]
struct Functions {
    init: Init,
    all_reduce_sum: AllReduce,
    broadcast: Broadcast,
    barrier: Plain,
    abort: Abort,
    finalize: Plain,
}

/// Where the library is: KENNEL_MPI, or beside the binary. A library that was built without MPI counts as none,
/// and `KENNEL_MPI=off` says that there is to be none.
///
/// # Errors
/// When there is one that cannot be used.
pub fn find() -> Result<Option<PathBuf>, CollectiveError> {
    let named = std::env::var_os("KENNEL_MPI").filter(|v| !v.is_empty()).map(PathBuf::from);
    if named.as_deref() == Some(Path::new("off")) {
        return Ok(None);
    }
    let is_named = named.is_some();
    let beside = || std::env::current_exe().ok()?.parent().map(|folder| folder.join(FILE));
    let Some(path) = named.or_else(beside) else { return Ok(None) };
    if !is_named && !path.is_file() {
        return Ok(None);
    }
    match load(&path)? {
        Some(_) => Ok(Some(path)),
        None if is_named => Err(refused(&path, "it was built without the feature `mpi`")),
        None => Ok(None),
    }
}

/// Whether a library has MPI in it.
#[cfg(test)]
pub(super) fn has_mpi(path: &Path) -> bool {
    matches!(load(path), Ok(Some(_)))
}

fn refused(path: &Path, reason: impl Into<String>) -> CollectiveError {
    CollectiveError::Plugin { path: path.to_owned(), reason: reason.into() }
}

/// Loads the library; `None` for one without MPI in it.
fn load(path: &Path) -> Result<Option<Functions>, CollectiveError> {
    let said = |e: libloading::Error| {
        // The system's own words are in the source.
        let source = std::error::Error::source(&e).map(|s| format!(": {s}")).unwrap_or_default();
        refused(path, format!("{e}{source}"))
    };
    // SAFETY: loading runs the initialisers of the library and of the MPI that it is linked with. The path
    // is the user's own setting or a file beside this binary, as trusted as the binary itself. Open MPI loads
    // parts of itself later, which look for its symbols: hence the global scope.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) }.map_err(said)?;
    // SAFETY: the types are those of crates/mpi/src/abi.rs. A function of this name exists in that library
    // only, and its version is compared before any other function is looked up.
    let functions = unsafe {
        let Ok(abi) = library.get::<Abi>("kennel_mpi_abi") else { return Ok(None) };
        let found = abi();
        if found != ABI {
            return Err(refused(path, format!("it speaks version {found}, not {ABI}")));
        }
        Functions {
            init: *library.get::<Init>("kennel_mpi_init").map_err(said)?,
            all_reduce_sum: *library.get::<AllReduce>("kennel_mpi_all_reduce_sum").map_err(said)?,
            broadcast: *library.get::<Broadcast>("kennel_mpi_broadcast").map_err(said)?,
            barrier: *library.get::<Plain>("kennel_mpi_barrier").map_err(said)?,
            abort: *library.get::<Abort>("kennel_mpi_abort").map_err(said)?,
            finalize: *library.get::<Plain>("kennel_mpi_finalize").map_err(said)?,
        }
    };
    // The pointers stay valid because the library is never unloaded (MPI could not bear it either).
    std::mem::forget(library);
    Ok(Some(functions))
}

/// The processes that an MPI launcher started.
#[derive(Debug)]
pub(super) struct Mpi {
    functions: Functions,
    rank: usize,
    size: usize,
}

impl Mpi {
    /// Loads the library and initialises MPI, once per process and under a launcher only.
    pub(super) fn start(path: &Path) -> Result<Mpi, CollectiveError> {
        let functions =
            load(path)?.ok_or_else(|| refused(path, "it was built without the feature `mpi`"))?;
        let (mut rank, mut size) = (0, 0);
        // SAFETY: both point to values on this stack, alive over the call.
        let code = unsafe { (functions.init)(&raw mut rank, &raw mut size) };
        if code != 0 {
            return Err(refused(path, format!("MPI cannot be initialised (code {code})")));
        }
        Ok(Mpi { functions, rank: rank as usize, size: size as usize })
    }

    /// Waits for the others and leaves. Not a `Drop`: a process that fails must not come here, or it would
    /// wait for the others while they wait for it.
    pub(super) fn finalize(&self) {
        // The answer says only whether MPI was initialised.
        let _ = (self.functions.finalize)();
    }

    fn checked(&self, operation: &'static str, code: i32) -> Result<(), CollectiveError> {
        if code == 0 {
            return Ok(());
        }
        let reason = format!("MPI answered with code {code}");
        Err(CollectiveError::Failed { operation, size: self.size, reason })
    }
}

impl Collective for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_reduce_sum(&self, values: &mut [f32]) -> Result<(), CollectiveError> {
        // SAFETY: pointer and length are those of one slice, borrowed exclusively for the call.
        let code = unsafe { (self.functions.all_reduce_sum)(values.as_mut_ptr(), values.len()) };
        self.checked("a sum", code)
    }

    fn broadcast(&self, values: &mut [f32], root: usize) -> Result<(), CollectiveError> {
        check_root("a broadcast", root, self.size)?;
        // SAFETY: as above.
        let code =
            unsafe { (self.functions.broadcast)(values.as_mut_ptr(), values.len(), root as u32) };
        self.checked("a broadcast", code)
    }

    fn barrier(&self) -> Result<(), CollectiveError> {
        self.checked("a barrier", (self.functions.barrier)())
    }

    fn abort(&self, code: i32) -> ! {
        if let Some(path) = std::env::var_os(super::ABORTED) {
            // Only a hint for the parent; without it the parent waits for the launcher.
            let _ = std::fs::write(path, b"");
        }
        // With a cut network MPI_Abort may hang too. A process that is gone without MPI_Finalize is noticed
        // by the launcher as well.
        std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_secs(3));
            std::process::exit(code);
        });
        (self.functions.abort)(code);
        std::process::exit(code)
    }
}
