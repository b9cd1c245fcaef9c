//! Environments that run tests/runtime.py.

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use kennel_hosting::Command;
use kennel_hosting::function::{Environment, EnvironmentOptions, Invocation};

/// The interpreter itself (the one in PATH may be a script around it), and the folder it is installed in.
pub(crate) static PYTHON: LazyLock<(String, String)> = LazyLock::new(|| {
    let ask = ["-c", "import sys; print(sys.executable); print(sys.base_prefix)"];
    let output = std::process::Command::new("python3").args(ask).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines().map(str::to_owned);
    (lines.next().unwrap(), lines.next().unwrap())
});

pub(crate) fn python(init: &str) -> EnvironmentOptions {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/runtime.py");
    let mut command = Command::new([PYTHON.0.clone(), script.display().to_string()]);
    command.environment.insert("INIT".to_owned(), init.to_owned());
    EnvironmentOptions { command, ..EnvironmentOptions::default() }
}

pub(crate) async fn start(options: EnvironmentOptions) -> Environment {
    Environment::start(&super::launcher().await, options).await.unwrap()
}

pub(crate) async fn environment(init: &str) -> Environment {
    start(python(init)).await
}

/// An event for tests/runtime.py: Python.
pub(crate) struct Event<'a>(pub(crate) &'a str);

impl Event<'_> {
    pub(crate) fn invocation(&self) -> Invocation {
        Invocation {
            request_id: "request-1".to_owned(),
            payload: self.0.to_owned().into(),
            // awslambdaric dies of what is not above zero.
            deadline_ms: 4_102_444_800_000,
            timeout: Duration::from_secs(60),
            ..Invocation::default()
        }
    }
}

impl From<Event<'_>> for Invocation {
    fn from(event: Event<'_>) -> Invocation {
        event.invocation()
    }
}

/// The state letter of a process, `T` where it is stopped, and a space where there is none.
pub(crate) fn state(pid: i32) -> char {
    after_name(pid).and_then(|rest| rest.trim_start().chars().next()).unwrap_or(' ')
}

/// Its processor time in ticks.
pub(crate) fn ticks(pid: i32) -> u64 {
    let rest = after_name(pid).unwrap();
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn after_name(pid: i32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.to_owned())
}
