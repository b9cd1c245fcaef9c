//! The policy language: parse and validate. Pure: no I/O, no clock.
