//! Tests of `median`.
