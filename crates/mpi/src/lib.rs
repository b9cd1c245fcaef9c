//! MPI as a library that `kennel` loads at run time, so that one and the same binary runs with and without
//! an MPI on the machine (docs/adr/0016). The other half is `kennel_train::collective::plugin`.
//!
//! Built with `cargo build --release -p kennel-mpi --features mpi`; without the feature it is empty.

#[cfg(feature = "mpi")]
#[allow(
    unsafe_code,
    reason = "functions with a C interface, called through pointers that the other side describes"
)]
mod abi;
