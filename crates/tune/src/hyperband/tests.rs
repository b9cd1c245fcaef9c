//! Tests of `hyperband`.
