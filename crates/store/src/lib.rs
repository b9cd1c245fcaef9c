//! What outlives the process: the state database (SQLite) and objects (files beside it).

pub mod objects;
pub mod state;
