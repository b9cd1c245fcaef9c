//! `kennel report`: the writeup of a project, from what AWS's APIs tell about it.
//!
//! [`gather`] makes the calls, [`writeup`] says in words what they told, `kennel_report` draws it.

mod facts;
mod gather;
mod simulation;
mod writeup;

use std::path::{Path, PathBuf};

use clap::Args;
use kennel_report::{Document, html, markdown, pdf};

use super::cost;
use super::function::invoke::{LONGEST_CALL, event};
use super::iam::least::TrailArguments;
use crate::client::{Client, ClientOptions};
use crate::error::ClientError;
use crate::files::write_aside;
use crate::output::{line, note};
use crate::target::TargetArguments;

/// Pages that a PDF is kept to where that can be read.
const PAGES: usize = 2;

/// Arguments of `kennel report`.
#[derive(Debug, Args)]
#[command(
    after_help = "The writeup has the instance choice, training on one and on several instances, the endpoint, \
    the function and its answer, what an audit finds, concurrency, and scaling with a simulation. Every \
    number is one that the APIs told, or is computed from such; what is not there is said, with the command \
    that would bring it."
)]
pub struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    /// The file, whose ending says what it becomes: .html, .md or .pdf; one that exists is replaced
    #[arg(long, short, value_name = "FILE", default_value = "writeup.html", value_parser = output)]
    output: Output,
    /// Its title
    #[arg(long, value_name = "TEXT", default_value = "Writeup: an image classifier in operation")]
    title: String,
    /// Training job to tell of; repeatable [default: the newest with one instance and the newest with more]
    #[arg(long = "job", value_name = "NAME")]
    jobs: Vec<String>,
    /// Tuning job [default: the newest]
    #[arg(long, value_name = "NAME")]
    tuning: Option<String>,
    /// Endpoint [default: the newest in service]
    #[arg(long, value_name = "NAME")]
    endpoint: Option<String>,
    /// Function [default: the one that asks the endpoint]
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Call the function with this event (JSON, @FILE, or @- for standard input) and tell its answer
    #[arg(long, value_name = "PAYLOAD")]
    call: Option<String>,
    #[command(flatten)]
    trail: TrailArguments,
}

/// Where to, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Output {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Html,
    Markdown,
    Pdf,
}

fn output(given: &str) -> Result<Output, String> {
    let path = PathBuf::from(given);
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    let kind = match ending.as_deref() {
        Some("html" | "htm") => Kind::Html,
        Some("md" | "markdown") => Kind::Markdown,
        Some("pdf") => Kind::Pdf,
        _ => return Err("the name must end in .html, .md or .pdf".to_owned()),
    };
    Ok(Output { path, kind })
}

pub(super) fn run(arguments: &Arguments) -> Result<(), ClientError> {
    // Before anything is asked: a bad event, and a folder that is not there.
    let call = arguments.call.as_deref().map(event).transpose()?;
    writable(&arguments.output.path)?;
    let options = ClientOptions { answer_timeout: LONGEST_CALL, ..ClientOptions::default() };
    let client = Client::with_options(arguments.target.resolve()?, options);
    let chosen = gather::Chosen {
        jobs: &arguments.jobs,
        tuning: arguments.tuning.as_deref(),
        endpoint: arguments.endpoint.as_deref(),
        function: arguments.function.as_deref(),
        call,
        trail: &arguments.trail,
    };
    let facts = gather::gather(&client, chosen)?;
    let document = writeup::document(&arguments.title, &facts, &cost::known_prices());
    write_aside(&arguments.output.path, &shown(&document, arguments.output.kind), 0o644)?;
    for text in &facts.notes {
        note(format!("note: {text}"));
    }
    line(arguments.output.path.display());
    Ok(())
}

fn writable(path: &Path) -> Result<(), ClientError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if path.is_dir() || folder.is_some_and(|folder| !folder.is_dir()) {
        return Err(ClientError::Usage(format!(
            "`{}` cannot be written\nhint: name a file in a folder that exists",
            path.display()
        )));
    }
    Ok(())
}

fn shown(document: &Document, kind: Kind) -> Vec<u8> {
    match kind {
        Kind::Html => html(document).into_bytes(),
        Kind::Markdown => markdown(document).into_bytes(),
        Kind::Pdf => pdf(document, PAGES),
    }
}

#[cfg(test)]
mod tests;
