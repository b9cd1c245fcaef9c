//! The library's C interface. Every function answers 0, or one of the codes below; MPI's own errors never
//! come back, its default error handler ends the job.
//!
//! The other side calls [`kennel_mpi_init`] once, collectives from one thread at a time, and
//! [`kennel_mpi_abort`] from any thread at any time.

use std::os::raw::c_int;
use std::sync::{Mutex, PoisonError};

use mpi::Threading;
use mpi::collective::SystemOperation;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Root};

/// Version of this interface; the other side refuses every other one.
const ABI: u32 = 1;

/// A collective was called before `kennel_mpi_init` or after `kennel_mpi_finalize`.
const NOT_INITIALISED: c_int = 1;
/// MPI was initialised before, or does not allow calls from several threads.
const REFUSED: c_int = 2;
/// A null pointer, or a rank that there is not.
const BAD_ARGUMENT: c_int = 3;

/// Values per MPI call: counts are C integers, and the send buffer is bounded by it.
const PIECE: usize = 1 << 24;

struct World {
    /// Held for its `Drop`, which is `MPI_Finalize`.
    _universe: Universe,
    /// Kept between calls: touching fresh memory costs more than the reduction of a head's gradients.
    send: Vec<f32>,
}

static WORLD: Mutex<Option<World>> = Mutex::new(None);

fn with_world(work: impl FnOnce(&mut World, &SimpleCommunicator) -> c_int) -> c_int {
    match WORLD.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        Some(world) => work(world, &SimpleCommunicator::world()),
        None => NOT_INITIALISED,
    }
}

/// Version of the interface.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn kennel_mpi_abi() -> u32 {
    ABI
}

/// `MPI_Init_thread`; writes this process's rank and the number of processes.
///
/// # Safety
/// Both pointers are null or valid for writing.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn kennel_mpi_init(rank: *mut u32, size: *mut u32) -> c_int {
    // SAFETY: the caller promises that each pointer is null or valid for writing.
    let (Some(rank), Some(size)) = (unsafe { (rank.as_mut(), size.as_mut()) }) else {
        return BAD_ARGUMENT;
    };
    let mut world = WORLD.lock().unwrap_or_else(PoisonError::into_inner);
    // Several threads: a monitor must be able to abort while another thread is stuck in a collective.
    let Some((universe, Threading::Multiple)) = mpi::initialize_with_threading(Threading::Multiple)
    else {
        return REFUSED;
    };
    let communicator = universe.world();
    *rank = communicator.rank().unsigned_abs();
    *size = communicator.size().unsigned_abs();
    *world = Some(World { _universe: universe, send: Vec::new() });
    0
}

/// Adds up `length` values over all processes, in place.
///
/// # Safety
/// `values` is null or valid for reading and writing `length` values.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn kennel_mpi_all_reduce_sum(
    values: *mut f32,
    length: usize,
) -> c_int {
    if values.is_null() {
        return BAD_ARGUMENT;
    }
    // SAFETY: not null, and the caller promises `length` values that nobody else touches meanwhile.
    let values = unsafe { std::slice::from_raw_parts_mut(values, length) };
    with_world(|world, communicator| {
        for piece in values.chunks_mut(PIECE) {
            world.send.clear();
            world.send.extend_from_slice(piece);
            communicator.all_reduce_into(&world.send[..], piece, SystemOperation::sum());
        }
        0
    })
}

/// Copies `length` values of process `root` to all others.
///
/// # Safety
/// `values` is null or valid for reading and writing `length` values.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn kennel_mpi_broadcast(
    values: *mut f32,
    length: usize,
    root: u32,
) -> c_int {
    if values.is_null() {
        return BAD_ARGUMENT;
    }
    // SAFETY: as in `kennel_mpi_all_reduce_sum`.
    let values = unsafe { std::slice::from_raw_parts_mut(values, length) };
    with_world(|_, communicator| {
        let Ok(root) = c_int::try_from(root) else { return BAD_ARGUMENT };
        if root >= communicator.size() {
            return BAD_ARGUMENT;
        }
        for piece in values.chunks_mut(PIECE) {
            communicator.process_at_rank(root).broadcast_into(piece);
        }
        0
    })
}

/// Waits until all processes are here.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn kennel_mpi_barrier() -> c_int {
    with_world(|_, communicator| {
        communicator.barrier();
        0
    })
}

/// `MPI_Abort`: ends all processes with this code. Does not wait for a collective under way, and does not
/// return.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn kennel_mpi_abort(code: c_int) {
    SimpleCommunicator::world().abort(code)
}

/// `MPI_Finalize`: waits for all processes, then leaves.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn kennel_mpi_finalize() -> c_int {
    match WORLD.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(_) => 0,
        None => NOT_INITIALISED,
    }
}
