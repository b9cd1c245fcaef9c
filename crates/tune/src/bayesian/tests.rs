//! Tests of `bayesian`.
