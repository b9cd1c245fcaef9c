//! What outlives the process: the state database (SQLite) and objects (files beside it).

pub mod state;
