//! `kennel serve`: a model server. Without a model, inside a SageMaker hosting container, the model
//! below /opt/ml is served on all interfaces.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use kennel_infer::engine::{EngineKind, EngineOptions};
use kennel_infer::fetch::FetchOptions;
use kennel_infer::package::Package;

use super::{EngineArguments, container};
use crate::output;
use crate::serve::{Options, Service};
use crate::signals;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// model.tar.gz or a folder with its files; without it the SageMaker hosting contract below
    /// /opt/ml (or KENNEL_ML_ROOT) is followed
    model: Option<PathBuf>,
    /// Port; 0 takes a free one
    #[arg(long, value_name = "PORT", env = "SAGEMAKER_BIND_TO_PORT", default_value_t = 8080)]
    port: u16,
    /// Address to listen on [default: 127.0.0.1; 0.0.0.0 in a container]
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<IpAddr>,
    /// Photos that may wait; more are answered with 429
    #[arg(long, value_name = "N", default_value_t = Options::default().queue)]
    queue: usize,
    /// How long a batch may wait to fill, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    batch_delay_ms: u64,
    /// Largest request body, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = Options::default().max_body)]
    max_body: usize,
    /// Host (or host:port) from which photos may be fetched although it is not public; repeatable
    #[arg(long, value_name = "HOST")]
    allow_url_host: Vec<String>,
    #[command(flatten)]
    engine: EngineArguments,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    let in_container = arguments.model.is_none();
    let model = arguments.model.clone().or_else(container::model_folder).ok_or_else(|| {
        output::usage(
            "no model was given, and there is no /opt/ml/model\nhint: `kennel serve model.tar.gz`",
        )
    })?;
    let default = if in_container { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
    let address = SocketAddr::new(arguments.bind.unwrap_or(default.into()), arguments.port);
    let pipeline = arguments.engine.pipeline();
    let options = Options {
        address,
        engine: EngineOptions { kind: arguments.engine.engine, threads: 1 },
        workers: pipeline.workers,
        batch: pipeline.batch,
        delay: Duration::from_millis(arguments.batch_delay_ms),
        queue: arguments.queue,
        max_body: arguments.max_body,
        fetch: FetchOptions {
            allow_hosts: arguments.allow_url_host.clone(),
            ..FetchOptions::default()
        },
        ..Options::default()
    };
    let package = Package::read(&model)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let name = package.manifest.backbone.name.clone();
        let classes = package.manifest.classes.len();
        let service = Service::bind(options, package).await?;
        // The engine is settled while the model loads; loading the library twice costs nothing.
        let engine =
            arguments.engine.engine.map_or_else(String::new, |k: EngineKind| format!(", {k}"));
        tracing::info!(
            "serving {} ({name}, {classes} classes{engine}) on http://{}",
            model.display(),
            service.address()
        );
        service.run(signals::shutdown()).await?;
        tracing::info!("stopped; every accepted request was answered");
        Ok(())
    })
}
