//! `bootstrap`: this program as the custom runtime of a Lambda function that asks an endpoint.
//!
//! Lambda starts a file of this name and speaks to it by the Runtime API, at AWS as on the local
//! platform. What the function does is `classifier`; why the loop is our own is in docs/adr/0020.
//! A cold start waits for all that happens here, so nothing does before the first event that need not.

mod api;
mod classifier;
mod python;

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;

use self::api::RuntimeApi;
use self::classifier::Classifier;

/// Host and port of the Runtime API.
const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";

/// Whether this process is a function's: by the file's name, or `kennel bootstrap` where there is a
/// Runtime API.
pub(crate) fn requested() -> bool {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    if Path::new(&program).file_name() == Some(OsStr::new("bootstrap")) {
        return true;
    }
    arguments.next().is_some_and(|name| name == "bootstrap")
        && arguments.next().is_none()
        && std::env::var_os(RUNTIME_API).is_some()
}

/// Serves events until there is no Runtime API any more.
pub(crate) fn run() -> ExitCode {
    let variable = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    let Some(address) = variable(RUNTIME_API) else {
        eprintln!(
            "`{RUNTIME_API}` is not set\nhint: this is the runtime of a Lambda function, started by Lambda; `kennel function deploy-classifier` makes one"
        );
        return ExitCode::from(2);
    };
    match serve(&RuntimeApi::new(&address), &variable) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A line of the function's log. Where nobody reads it any more, its caller still waits for an answer.
fn say(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Initialises and answers events; ends only with an error.
fn serve(api: &RuntimeApi, variable: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<()> {
    say("Loading Lambda function");
    let classifier = match Classifier::new(variable) {
        Ok(classifier) => classifier,
        Err(failure) => {
            say(&failure);
            api.fail_initialisation(&failure)?;
            bail!("the function could not be initialised: {}", failure.message);
        }
    };
    loop {
        let invocation = api.next()?;
        match classifier.answer(&invocation, super::now_us() / 1000) {
            Ok(answer) => api.respond(&invocation.id, &answer)?,
            Err(failure) => {
                say(&failure);
                api.fail(&invocation.id, &failure)?;
            }
        }
    }
}

#[cfg(test)]
mod tests;
