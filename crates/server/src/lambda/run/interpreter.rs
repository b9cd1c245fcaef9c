//! The Python that functions run with: `[runtimes.python]` of the configuration (or of the exact version,
//! `[runtimes."python3.12"]`), else what `kennel runtime install python` has put into the data folder.

use std::path::{Path, PathBuf};

use kennel_wire::ServiceError;

use crate::lambda::Lambda;
use crate::lambda::error::user;
use crate::sagemaker::INSTALLED;

/// An interpreter with AWS's runtime interface client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::lambda) struct Interpreter {
    pub(super) python: PathBuf,
    /// Folders that it needs to read.
    pub(super) read: Vec<PathBuf>,
}

impl Lambda {
    /// The interpreter for `python3.12` and the like. One installation serves all versions of Python that a
    /// function may name; which it is stands in the log's first line.
    ///
    /// # Errors
    /// `InvalidRuntimeException` where there is none, with what to do.
    pub(in crate::lambda) fn interpreter(
        &self,
        runtime: &str,
    ) -> Result<Interpreter, ServiceError> {
        let family = runtime.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == 'x');
        if family != "python" {
            return Err(unavailable(format!(
                "runtime `{runtime}` is not implemented by Kennel\nhint: `python3.x` and `provided.al2023` are built"
            )));
        }
        let configured = [runtime, family].into_iter().find_map(|n| self.inner.runtimes.get(n));
        if let Some(python) = configured {
            return Ok(Interpreter { read: needs(python), python: python.clone() });
        }
        let folder = self.inner.data.join("runtimes").join(family);
        let python = folder.join("bin").join("python");
        // Without the marker `kennel runtime install` is at work there, or was interrupted.
        if folder.join(INSTALLED).is_file() && python.is_file() {
            return Ok(Interpreter { read: needs(&python), python });
        }
        Err(unavailable(format!(
            "runtime `{runtime}` is not installed\nhint: `kennel runtime install python`, or `[runtimes.python] python = …` in kennel.toml (an interpreter with `awslambdaric`)"
        )))
    }
}

fn unavailable(message: String) -> ServiceError {
    user("InvalidRuntimeException", 502, message)
}

/// The installation of an interpreter, and of the one that a virtual environment is made from.
fn needs(python: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let mut add = |program: &Path| {
        // `PREFIX/bin/python`
        let prefix = program.parent().and_then(Path::parent);
        if let Some(prefix) = prefix.filter(|p| p.components().count() > 1)
            && !folders.contains(&prefix.to_owned())
        {
            folders.push(prefix.to_owned());
        }
    };
    add(python);
    // Links one by one: a virtual environment's python may lead to another one's.
    let mut program = python.to_owned();
    for _ in 0..8 {
        let Ok(next) = std::fs::read_link(&program) else { break };
        program = program.parent().map_or_else(|| next.clone(), |folder| folder.join(&next));
        add(&program);
    }
    if let Ok(real) = python.canonicalize() {
        add(&real);
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::needs;

    #[test]
    fn a_virtual_environment_needs_the_installation_that_it_is_made_from() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let (real, environment) = (root.join("python3.11"), root.join("venv"));
        for prefix in [&real, &environment] {
            std::fs::create_dir_all(prefix.join("bin")).unwrap();
        }
        std::fs::write(real.join("bin/python3.11"), "").unwrap();
        let link = |to: &str, at: &std::path::Path| std::os::unix::fs::symlink(to, at).unwrap();
        link("../../python3.11/bin/python3.11", &environment.join("bin/python3"));
        link("python3", &environment.join("bin/python"));
        let folders = needs(&environment.join("bin/python"));
        assert!(folders.contains(&environment), "{folders:?}");
        assert!(folders.contains(&real), "{folders:?}");
        // The root of the file system is never one of them.
        assert!(needs(std::path::Path::new("/python")).is_empty());
    }
}
