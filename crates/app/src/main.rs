//! `kennel`: the one binary. This file is the command line's outline; each command is a module.

mod commands;
mod output;
mod serve;
mod signals;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kennel_base::{ErrorCode, ErrorCoded};

/// From a folder of labelled photos to a served image classifier, in one binary.
#[derive(Debug, Parser)]
#[command(name = "kennel", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Draw a sample set, train, serve and classify: the whole pipeline, offline
    Demo(commands::demo::Arguments),
    /// Train a classifier: a folder of photos in, model.tar.gz out
    Train(Box<commands::train::Arguments>),
    /// Search the hyperparameters of a classifier: many heads on features computed once
    Tune(Box<commands::tune::Arguments>),
    /// Labels and probabilities for photos, folders or addresses
    Predict(commands::predict::Arguments),
    /// Accuracy of a model on a folder of labelled photos
    Evaluate(commands::evaluate::Arguments),
    /// Serve a model over HTTP (SageMaker's hosting contract)
    Serve(commands::serve::Arguments),
    /// Start the platform: the AWS APIs on one port of this machine
    Up(commands::up::Up),
    /// Stop the platform that runs on a data folder
    Down(commands::up::Down),
    /// Look at a folder of photos before training
    #[command(subcommand)]
    Data(commands::data::Command),
    /// Backbones: list, show, pull, add
    #[command(subcommand)]
    Hub(commands::hub::Command),
    /// Engines that run the networks: list, install, bench
    #[command(subcommand)]
    Engine(commands::engine::Command),
    /// Python environments for training scripts: install, list
    #[command(subcommand)]
    Runtime(commands::runtime::Command),
    /// The runtime of a Lambda function that asks an endpoint, started by Lambda
    #[command(hide = true)]
    Bootstrap,
    /// The observer of a training job, started by the platform
    #[command(name = "__observe", hide = true)]
    Observe(commands::observe::Arguments),
    // Clients of the platform's AWS APIs; the variants are in the crate.
    #[command(flatten)]
    Platform(kennel_client::Command),
}

/// What is logged where KENNEL_LOG says nothing. s3s calls every mistake of a caller an error; the access
/// records have them.
const LOG: &str = "info,s3s=off";

fn main() -> ExitCode {
    // A function waits for nothing else: its caller counts the milliseconds.
    if commands::bootstrap::requested() {
        return commands::bootstrap::run();
    }
    // A child of the platform on its way to its own program; it knows no flags and no log.
    if std::env::args_os().nth(1).is_some_and(|name| name == kennel_hosting::launch::SUBCOMMAND) {
        return kennel_hosting::launch::run();
    }
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("KENNEL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(LOG));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        .init();
    let outcome = match cli.command {
        Command::Demo(arguments) => commands::demo::run(arguments),
        Command::Train(arguments) => commands::train::run(*arguments),
        Command::Tune(arguments) => commands::tune::run(*arguments),
        Command::Predict(arguments) => commands::predict::run(arguments),
        Command::Evaluate(arguments) => commands::evaluate::run(arguments),
        Command::Serve(arguments) => commands::serve::run(arguments),
        Command::Up(arguments) => commands::up::up(arguments),
        Command::Down(arguments) => commands::up::down(arguments),
        Command::Data(command) => commands::data::run(command),
        Command::Hub(command) => commands::hub::run(command),
        Command::Engine(command) => commands::engine::run(command),
        Command::Runtime(command) => commands::runtime::run(command),
        Command::Bootstrap => return commands::bootstrap::run(),
        Command::Observe(arguments) => commands::observe::run(arguments),
        Command::Platform(command) => commands::platform_client::run(command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::from(code_of(&error).exit_code())
        }
    }
}

/// The code of the first error in the chain that has one.
pub(crate) fn code_of(error: &anyhow::Error) -> ErrorCode {
    use kennel_infer::classifier::ClassifyError;
    use kennel_infer::engine::EngineError;
    use kennel_infer::hub::HubError;
    use kennel_infer::package::PackageError;
    use kennel_train::collective::CollectiveError;
    use kennel_train::dataset::DatasetError;
    use kennel_train::job::JobError;
    for cause in error.chain() {
        macro_rules! try_each {
            ($($kind:ty),+) => {
                $(if let Some(found) = cause.downcast_ref::<$kind>() { return found.code(); })+
            };
        }
        try_each!(
            kennel_train::tune::TuneError,
            JobError,
            DatasetError,
            CollectiveError,
            HubError,
            PackageError,
            EngineError,
            ClassifyError,
            kennel_client::ClientError,
            kennel_base::HyperparameterError,
            kennel_server::config::ConfigError,
            kennel_server::platform::StartError,
            commands::runtime::RuntimeError,
            output::UsageError
        );
    }
    ErrorCode::Internal
}
