//! Tests of `gp`.
