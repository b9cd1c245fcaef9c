//! `kennel up` and `kennel down`: the platform in this process, and its end.

use std::io::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use kennel_client::default_data_dir;
use kennel_server::config::{self, Config};
use kennel_server::folder::ServerInfo;
use kennel_server::platform::{Options, Platform};
use rustix::process::{Pid, Signal};

use crate::output;
use crate::signals;

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Where everything is kept [default: the platform's data folder]
    #[arg(long, value_name = "DIR", env = "KENNEL_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Port; 0 takes a free one [default: 4566]
    #[arg(long, value_name = "PORT", env = "KENNEL_PORT")]
    port: Option<u16>,
    /// Address to listen on [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS", env = "KENNEL_BIND")]
    bind: Option<IpAddr>,
    /// Region [default: us-east-1]
    #[arg(long, value_name = "NAME", env = "KENNEL_REGION")]
    region: Option<String>,
    /// Account id, 12 digits, at the first start [default: made up and kept]
    #[arg(long, value_name = "ID", env = "KENNEL_ACCOUNT", value_parser = account)]
    account: Option<String>,
    /// Configuration [default: kennel.toml in the data folder]
    #[arg(long, value_name = "FILE", env = "KENNEL_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Down {
    /// The data folder of the server to stop [default: the platform's data folder]
    #[arg(long, value_name = "DIR", env = "KENNEL_DATA_DIR")]
    data_dir: Option<PathBuf>,
}

fn account(text: &str) -> Result<String, String> {
    config::check_account(text).map(|()| text.to_owned())
}

/// How long `kennel down` waits: training jobs get their SIGTERM and their time.
const DOWN: Duration = Duration::from_secs(150);

pub(crate) fn up(arguments: Up) -> anyhow::Result<()> {
    let data_dir = arguments.data_dir.unwrap_or_else(default_data_dir);
    let file = match arguments.config {
        Some(path) => Config::load(&path, true)?,
        None => Config::load(&data_dir.join("kennel.toml"), false)?,
    };
    let kennel = std::env::current_exe().context("where this program itself is")?;
    let defaults = Options::new(data_dir, kennel);
    let options = Options {
        bind: arguments.bind.or(file.server.bind).unwrap_or(defaults.bind),
        port: arguments.port.or(file.server.port).unwrap_or(defaults.port),
        region: arguments.region.or(file.server.region).unwrap_or(defaults.region.clone()),
        account: arguments.account.or(file.server.account),
        // Jobs and endpoints use the same backbones, features and engines as the commands do.
        environment: [
            ("KENNEL_CACHE", kennel_infer::paths::cache_folder()),
            ("KENNEL_DATA", kennel_infer::paths::data_folder()),
        ]
        .map(|(name, path)| (name.to_owned(), path.display().to_string()))
        .into(),
        runtimes: file.runtimes.into_iter().map(|(name, r)| (name, r.python)).collect(),
        remote_s3: file.remote_s3,
        retry_scale: file.lambda.retry_wait_scale,
        scaling_mode: file.autoscaling.mode,
        ..defaults
    };
    if !options.bind.is_loopback() {
        tracing::warn!(
            "listening on {}: whoever reaches it and holds a key of this account can use it",
            options.bind
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let platform = Platform::start(options).await?;
        let info = platform.info().clone();
        // Scripts read the first line of stdout; people read the rest.
        let mut out = std::io::stdout();
        let _ = writeln!(out, "{}", info.url);
        let _ = out.flush();
        tracing::info!(
            "kennel is up: {} (account {}, region {})",
            info.url,
            info.account,
            info.region
        );
        tracing::info!("for the AWS tools in a shell: eval \"$(kennel env)\"");
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let waiting = tokio::spawn(async move {
            signals::shutdown().await;
            tracing::info!(
                "stopping: answers in progress are finished, jobs go on at the next start"
            );
            stop.send_replace(true);
        });
        platform.run(stopped).await;
        waiting.abort();
        tracing::info!("stopped; everything acknowledged is on disk");
        Ok(())
    })
}

pub(crate) fn down(arguments: Down) -> anyhow::Result<()> {
    let data_dir = arguments.data_dir.unwrap_or_else(default_data_dir);
    let path = data_dir.join("server.json");
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            output::line(format!("nothing runs on `{}`", data_dir.display()));
            return Ok(());
        }
        Err(e) => return Err(e).with_context(|| format!("cannot read `{}`", path.display())),
    };
    let info: ServerInfo = serde_json::from_slice(&text)
        .with_context(|| format!("`{}` is not what `kennel up` wrote", path.display()))?;
    let pid = i32::try_from(info.pid).ok().and_then(Pid::from_raw);
    let Some(pid) = pid else { anyhow::bail!("`{}` names no process", path.display()) };
    if rustix::process::kill_process(pid, Signal::TERM).is_err() {
        let _ = std::fs::remove_file(&path);
        output::line(format!("the server (pid {}) had ended already", info.pid));
        return Ok(());
    }
    let begun = Instant::now();
    while rustix::process::test_kill_process(pid).is_ok() && path.exists() {
        if begun.elapsed() > DOWN {
            anyhow::bail!(
                "the server (pid {}) is still stopping\nhint: look at its log, or end it with `kill -9 {}`; nothing acknowledged is lost",
                info.pid,
                info.pid
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    output::line(format!("stopped {} (pid {})", info.url, info.pid));
    Ok(())
}
