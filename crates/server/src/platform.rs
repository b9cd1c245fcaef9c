//! The composition root of the platform: opens the data folder, wires the services together, runs them
//! until told to stop.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kennel_base::{ErrorCode, ErrorCoded};
use kennel_hosting::instance_type::Machine;
use kennel_hosting::process::{Launcher, LauncherOptions, ProcessError};
use kennel_store::objects::{FileStore, ObjectError};
use kennel_store::state::{Database, StateError};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::access_analyzer::AccessAnalyzer;
use crate::authorize::PolicyAuthorizer;
use crate::autoscaling::{self, Autoscaling};
use crate::cloudtrail::CloudTrail;
use crate::cloudwatch::{self, Metrics};
use crate::config::RemoteS3;
use crate::context::Clock;
use crate::folder::{DataFolder, FolderError, ServerInfo};
use crate::gateway::{self, Gateway, GatewayOptions, tls};
use crate::iam::{self, Iam, OpenError};
use crate::lambda::{self, Lambda, LambdaError};
use crate::logs::{self, Logs};
use crate::records;
use crate::s3::{self, BucketPolicies};
use crate::sagemaker::{self, SageMaker, ToolkitError};
use crate::sts::Sts;

/// How the platform runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data folder.
    pub data_dir: PathBuf,
    /// Address to listen on.
    pub bind: IpAddr,
    /// Port; 0 takes a free one.
    pub port: u16,
    /// Region of the platform's own ARNs.
    pub region: String,
    /// Account; made up at first start where none is given.
    pub account: Option<String>,
    /// Interpreters by runtime.
    pub runtimes: BTreeMap<String, PathBuf>,
    /// Buckets elsewhere, by name.
    pub remote_s3: BTreeMap<String, RemoteS3>,
    /// The kennel binary, for children.
    pub kennel: PathBuf,
    /// Variables of every child: where the feature cache and the installed engines are.
    pub environment: BTreeMap<String, String>,
    /// What the waits between tries of an asynchronous invocation are multiplied with; AWS's are 1.
    pub retry_scale: f64,
    /// How scaling policies decide that no tag says otherwise of.
    pub scaling_mode: autoscaling::Mode,
}

impl Options {
    /// Defaults for a data folder and a binary.
    pub fn new(data_dir: PathBuf, kennel: PathBuf) -> Self {
        Options {
            data_dir,
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 4566,
            region: "us-east-1".to_owned(),
            account: None,
            runtimes: BTreeMap::new(),
            remote_s3: BTreeMap::new(),
            kennel,
            environment: BTreeMap::new(),
            retry_scale: 1.0,
            scaling_mode: autoscaling::Mode::default(),
        }
    }
}

/// Why the platform cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The state database.
    #[error(transparent)]
    State(#[from] StateError),
    /// The object store.
    #[error("object store: {0}")]
    Objects(#[from] ObjectError),
    /// The root credentials or the default role.
    #[error(transparent)]
    Iam(#[from] OpenError),
    /// The port.
    #[error(
        "cannot listen on {address}: {source}\nhint: another program may use the port; choose another `--port`, or 0 for a free one"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's words.
        source: std::io::Error,
    },
    /// The certificates.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// The launcher of children.
    #[error(transparent)]
    Launcher(#[from] ProcessError),
    /// The script toolkit.
    #[error(transparent)]
    Toolkit(#[from] ToolkitError),
    /// Functions' code.
    #[error(transparent)]
    Lambda(#[from] LambdaError),
}

impl ErrorCoded for StartError {
    fn code(&self) -> ErrorCode {
        match self {
            StartError::Folder(e) => e.code(),
            StartError::State(e) => e.code(),
            StartError::Listen { .. } => ErrorCode::Conflict,
            StartError::Launcher(e) => e.code(),
            StartError::Objects(_) | StartError::Iam(_) => ErrorCode::Unavailable,
            StartError::Tls(_) | StartError::Toolkit(_) | StartError::Lambda(_) => {
                ErrorCode::Unavailable
            }
        }
    }
}

/// A platform that listens; [`Platform::run`] makes it answer.
pub struct Platform {
    folder: DataFolder,
    info: ServerInfo,
    listener: TcpListener,
    tls: Arc<tokio_rustls::rustls::ServerConfig>,
    gateway: Gateway,
    access: gateway::access::AccessWriter,
    logging: logs::Background,
    metering: cloudwatch::Background,
    iam: Iam,
    sagemaker: SageMaker,
    lambda: Lambda,
    autoscaling: Autoscaling,
}

impl std::fmt::Debug for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Platform").field("info", &self.info).finish_non_exhaustive()
    }
}

impl Platform {
    /// Opens the data folder and the port.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let folder = DataFolder::open(&options.data_dir)?;
        let data = folder.path().to_owned();
        let database = Database::open(
            &data.join("state.db"),
            &[
                gateway::access::MIGRATIONS,
                records::MIGRATIONS,
                kennel_store::objects::MIGRATIONS,
                s3::MIGRATIONS,
                iam::MIGRATIONS,
                logs::MIGRATIONS,
                cloudwatch::MIGRATIONS,
                sagemaker::MIGRATIONS,
                lambda::MIGRATIONS,
                autoscaling::MIGRATIONS,
            ],
        )?;
        let now = Clock.now();
        let iam = Iam::open(database.clone(), &data, options.account.as_deref(), now).await?;
        let account = iam.account().to_owned();
        let address = SocketAddr::new(options.bind, options.port);
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| StartError::Listen { address, source })?;
        let address =
            listener.local_addr().map_err(|source| StartError::Listen { address, source })?;
        let reached = match address.ip() {
            ip if ip.is_unspecified() => {
                SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port())
            }
            _ => address,
        };
        let url = format!("http://{reached}");
        let tls = tls::config(&data, &options.region)?;
        let objects = FileStore::open(&data.join("objects"), database.clone())?;
        let (logs, logging) = Logs::new(database.clone(), logs::Options::default());
        let (metrics, metering) = Metrics::new(database.clone(), cloudwatch::Options::default());
        let launcher = Launcher::start(LauncherOptions { kennel: options.kennel.clone() })?;
        let lambda = Lambda::new(lambda::Options {
            database: database.clone(),
            iam: iam.clone(),
            objects: objects.clone(),
            logs: logs.clone(),
            metrics: metrics.recorder(),
            launcher: launcher.clone(),
            data: data.clone(),
            kennel: options.kennel.clone(),
            runtimes: options.runtimes.clone(),
            url: url.clone(),
            region: options.region.clone(),
            account: account.clone(),
            retry_scale: options.retry_scale,
        })?;
        let buckets = BucketPolicies::new(database.clone(), iam.clone());
        let authorizer = PolicyAuthorizer::new(
            iam.clone(),
            vec![Box::new(buckets.clone()), Box::new(lambda.clone())],
            Vec::new(),
        );
        lambda.authorize_with(authorizer.clone());
        let (access_log, access) = gateway::access::access_log(database.clone());
        let sagemaker = SageMaker::new(sagemaker::Options {
            database: database.clone(),
            iam: iam.clone(),
            objects: objects.clone(),
            rights: sagemaker::Rights {
                authorizer: authorizer.clone(),
                access: access_log.clone(),
                region: options.region.clone(),
                clock: Clock,
            },
            logs: logs.clone(),
            metrics: metrics.recorder(),
            alarms: metrics.alarms(),
            launcher,
            data: data.clone(),
            kennel: options.kennel,
            environment: options.environment,
            runtimes: options.runtimes,
            remote_s3: options.remote_s3,
            url: url.clone(),
            region: options.region.clone(),
            account: account.clone(),
            machine: machine(),
        })?;
        let autoscaling = Autoscaling::new(autoscaling::Options {
            database,
            alarms: metrics.alarms(),
            sagemaker: sagemaker.clone(),
            lambda: lambda.clone(),
            account: account.clone(),
            mode: options.scaling_mode,
        });
        let gateway = Gateway::new(GatewayOptions {
            services: vec![
                Arc::new(Sts::new(iam.clone())),
                Arc::new(iam.clone()),
                Arc::new(CloudTrail::new(iam.clone())),
                Arc::new(AccessAnalyzer::new(iam.clone())),
                Arc::new(logs.clone()),
                Arc::new(metrics.clone()),
                Arc::new(sagemaker.clone()),
                Arc::new(lambda.clone()),
                Arc::new(autoscaling.clone()),
            ],
            sagemaker: sagemaker.clone(),
            lambda: lambda.clone(),
            credentials: Arc::new(iam.clone()),
            iam: iam.clone(),
            authorizer: Arc::new(authorizer),
            objects,
            buckets,
            access: access_log,
            account: account.clone(),
            region: options.region.clone(),
            url: url.clone(),
        });
        let info = ServerInfo {
            pid: std::process::id(),
            address: address.to_string(),
            url,
            region: options.region,
            account,
            ca_bundle: tls::authority_path(&data),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        folder.announce(&info)?;
        Ok(Platform {
            folder,
            info,
            listener,
            tls,
            gateway,
            access,
            logging,
            metering,
            iam,
            sagemaker,
            lambda,
            autoscaling,
        })
    }

    /// Where it listens and who it is.
    pub fn info(&self) -> &ServerInfo {
        &self.info
    }

    /// Answers until `shutdown` turns true, then finishes what has begun and flushes.
    pub async fn run(self, shutdown: watch::Receiver<bool>) {
        // The background writers stop after everything that still writes.
        let (quiet, silent) = watch::channel(false);
        let background = async {
            tokio::join!(
                self.access.run(silent.clone()),
                self.logging.run(silent.clone()),
                self.metering.run(silent.clone()),
                maintain(self.iam, silent.clone()),
            );
        };
        let front = async {
            tokio::join!(
                gateway::listen::listen(self.listener, self.tls, self.gateway, shutdown.clone()),
                self.sagemaker.run(shutdown.clone()),
                self.lambda.run(shutdown.clone()),
                self.autoscaling.run(shutdown.clone()),
            );
            quiet.send_replace(true);
        };
        tokio::join!(background, front);
        drop(self.folder);
    }
}

/// How often IAM purges expired sessions and writes when keys were last used.
const MAINTENANCE: Duration = Duration::from_secs(60);

async fn maintain(iam: Iam, mut shutdown: watch::Receiver<bool>) {
    loop {
        let stopping = tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => true,
            () = tokio::time::sleep(MAINTENANCE) => false,
        };
        if let Err(e) = iam.maintain(Clock.now()).await {
            tracing::error!("maintenance of IAM: {e}");
        }
        if stopping {
            return;
        }
    }
}

/// What this machine has. GPUs are not counted: no engine here uses one yet.
fn machine() -> Machine {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let info = rustix::system::sysinfo();
    let memory = u64::from(info.mem_unit) * info.totalram as u64;
    Machine { cores: u32::try_from(cores).unwrap_or(u32::MAX), memory_bytes: memory, gpus: 0 }
}
