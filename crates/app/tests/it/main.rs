//! The binary from outside, as a user, a script or SageMaker runs it. One test program for all of it,
//! so that it is linked once and its tests share a trained model.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod cli;
mod container;
mod demo;
mod instances;
mod platform;
mod python;
mod support;
mod train;
