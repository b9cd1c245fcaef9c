//! What to run: the part of a specification that every kind of child shares.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// A program with its arguments and surroundings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments; the program is looked up in PATH unless it has a slash.
    pub argv: Vec<String>,
    /// Variables beside the few that every child inherits
    /// (see [`inherited_environment`](crate::process::inherited_environment)); these win.
    pub environment: BTreeMap<String, String>,
    /// Folder to start in; the server's own without it.
    pub folder: Option<PathBuf>,
}

impl Command {
    /// A command without extra variables.
    pub fn new<T: Into<String>>(argv: impl IntoIterator<Item = T>) -> Command {
        Command { argv: argv.into_iter().map(Into::into).collect(), ..Command::default() }
    }
}
