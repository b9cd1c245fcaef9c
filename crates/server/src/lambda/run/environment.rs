//! One environment of a version: what it is started with, and what is kept beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kennel_hosting::Command;
use kennel_hosting::function::{Environment, EnvironmentOptions, InitError, OutputLine};
use kennel_hosting::launch::{Isolation, Mount};
use kennel_hosting::process::{ProcessSpec, inherited_environment};
use kennel_wire::ServiceError;
use tokio::sync::OnceCell;

use crate::context::Timestamp;
use crate::lambda::error::invalid;
use crate::lambda::facts::Launch;
use crate::lambda::rows::VersionRow;
use crate::lambda::{Lambda, names};
use crate::logs::LogWriter;
use crate::service::state_failed;

/// How long the role's credentials in an environment last; AWS's last 12 hours at most.
const CREDENTIALS: Duration = Duration::from_secs(12 * 3600);
/// An environment whose credentials end sooner gets no more invocations: the longest takes 15 minutes.
const CREDENTIALS_LEFT: Duration = Duration::from_secs(20 * 60);
/// How long an environment may take until it asks for its first event.
const INIT: Duration = Duration::from_secs(10);

/// A version as an environment is made from it.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::lambda) struct Target {
    /// The function's name.
    pub(in crate::lambda) function: String,
    /// `$LATEST` or a number.
    pub(in crate::lambda) version: String,
    /// Changes with code and configuration.
    pub(in crate::lambda) revision: String,
    pub(in crate::lambda) timeout: Duration,
    pub(in crate::lambda) memory_mb: u64,
    pub(in crate::lambda) row: VersionRow,
}

/// An environment that is not in use.
#[derive(Debug)]
pub(in crate::lambda) struct Warm {
    pub(super) environment: Environment,
    revision: String,
    pub(super) function: String,
    /// When its credentials end.
    expires: Timestamp,
    pub(super) idle_since: Instant,
    pub(super) log: EnvironmentLog,
    /// How long it took to begin, until its first report has said so.
    pub(super) init: Option<Duration>,
    /// What it printed while it began, until its first invocation's log has it.
    pub(super) output: Vec<OutputLine>,
    /// Its /tmp.
    _tmp: tempfile::TempDir,
    /// Keeps its code on the disk.
    _launch: Launch,
}

impl Target {
    /// A version's environment.
    pub(in crate::lambda) fn of(row: &VersionRow) -> Self {
        let configuration = &row.configuration;
        Target {
            function: row.function.clone(),
            version: names::version_text(row.version),
            revision: row.revision.clone(),
            timeout: Duration::from_secs(u64::from(configuration.timeout)),
            memory_mb: u64::from(configuration.memory),
            row: row.clone(),
        }
    }
}

impl Warm {
    /// Can it serve this version as it is now?
    pub(super) fn suits(&self, target: &Target, now: Timestamp) -> bool {
        self.revision == target.revision && self.lives(now)
    }

    /// Does it live, and will its credentials outlast an invocation?
    pub(super) fn lives(&self, now: Timestamp) -> bool {
        self.environment.exit().is_none() && now.plus(CREDENTIALS_LEFT) < self.expires
    }

    /// Ends it, with its shutdown phase.
    pub(super) async fn stop(self) {
        self.environment.stop().await;
    }
}

/// Where an environment logs: the stream is made with its first line.
#[derive(Debug, Clone)]
pub(super) struct EnvironmentLog {
    pub(super) group: String,
    pub(super) stream: String,
    /// Whether the role lets the function log.
    allowed: bool,
    writer: std::sync::Arc<OnceCell<LogWriter>>,
}

impl EnvironmentLog {
    /// `2026/11/21/[$LATEST]0123…`: the day, the version, 32 hexadecimal digits.
    ///
    /// What the role may not write goes nowhere, as in AWS: Invoke's tail alone has it.
    fn new(lambda: &Lambda, target: &Target, now: Timestamp) -> Self {
        let day = now.iso8601().get(..10).unwrap_or_default().replace('-', "/");
        let id = uuid::Uuid::new_v4().simple();
        let group = target.row.configuration.log_group.clone();
        let stream = format!("{day}/[{}]{id}", target.version);
        let home = &lambda.inner.home;
        let arn = format!(
            "arn:aws:logs:{}:{}:log-group:{group}:log-stream:{stream}",
            home.region, home.account
        );
        let role = &target.row.configuration.role;
        let may = |action| lambda.role_may(role, action, arn.clone());
        let refused = may("logs:CreateLogStream").and_then(|()| may("logs:PutLogEvents")).err();
        if let Some(why) = &refused {
            tracing::info!("`{}` does not log: {why}", target.function);
        }
        EnvironmentLog {
            group,
            stream,
            allowed: refused.is_none(),
            writer: std::sync::Arc::default(),
        }
    }

    /// Writes lines; what cannot be written is told in the server's own log.
    pub(super) async fn write(&self, lambda: &Lambda, lines: &[String]) {
        if !self.allowed {
            return;
        }
        let now = lambda.inner.clock.now();
        let open = || lambda.inner.logs.writer(&self.group, &self.stream, now);
        let writer = match self.writer.get_or_try_init(open).await {
            Ok(writer) => writer,
            Err(e) => {
                tracing::warn!("`{}` cannot be written: {e}", self.group);
                return;
            }
        };
        for line in lines {
            if let Err(e) = writer.write(now, line).await {
                tracing::warn!("`{}` cannot be written: {e}", self.group);
                return;
            }
        }
    }
}

/// Why there is no environment.
#[derive(Debug)]
pub(super) enum NotStarted {
    /// The runtime or the function's own code failed while it began.
    Init { error: InitError, output: Vec<OutputLine>, log: EnvironmentLog },
    /// The platform failed.
    Service(ServiceError),
}

/// How an environment is begun.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begin {
    /// `on-demand` or `provisioned-concurrency`.
    pub(super) kind: &'static str,
    /// More time than the usual ten seconds, for the second try.
    pub(super) limit: Option<Duration>,
}

impl Lambda {
    /// Makes an environment of a version and waits until it asks for its first event.
    pub(super) async fn begin(&self, target: &Target, begin: Begin) -> Result<Warm, NotStarted> {
        let now = self.inner.clock.now();
        let log = EnvironmentLog::new(self, target, now);
        let launch = self.launch(&target.row);
        let (options, tmp, expires) =
            self.options(target, begin, &log, &launch).await.map_err(NotStarted::Service)?;
        let environment = Environment::start(&self.inner.launcher, options)
            .await
            .map_err(|e| NotStarted::Service(state_failed(&e)))?;
        match environment.ready().await {
            Ok(init) => Ok(Warm {
                output: environment.take_output(),
                environment,
                revision: target.revision.clone(),
                function: target.function.clone(),
                expires,
                idle_since: Instant::now(),
                log,
                init: Some(init),
                _tmp: tmp,
                _launch: launch,
            }),
            Err(error) => Err(NotStarted::Init { error, output: environment.take_output(), log }),
        }
    }

    async fn options(
        &self,
        target: &Target,
        begin: Begin,
        log: &EnvironmentLog,
        launch: &Launch,
    ) -> Result<(EnvironmentOptions, tempfile::TempDir, Timestamp), ServiceError> {
        let inner = &self.inner;
        let configuration = &target.row.configuration;
        let now = inner.clock.now();
        let session = session_name(&target.function);
        let keys = inner.iam.session_for_role(&configuration.role, &session, now, CREDENTIALS);
        let keys = keys.await.map_err(|error| match error.status {
            // The role was deleted after the function was made.
            400..500 => invalid("The role defined for the function cannot be assumed by Lambda."),
            _ => error,
        })?;
        let folder = inner.data.join("lambda").join("tmp");
        let tmp = tempfile::Builder::new()
            .prefix("env-")
            .tempdir_in(&folder)
            .map_err(|e| state_failed(&e))?;
        let mut variables = configuration.environment.0.clone();
        let mut set = |name: &str, value: &str| {
            variables.insert(name.to_owned(), value.to_owned());
        };
        set("_HANDLER", &configuration.handler);
        set("AWS_REGION", &inner.home.region);
        // botocore does not read AWS_REGION.
        set("AWS_DEFAULT_REGION", &inner.home.region);
        set("AWS_ENDPOINT_URL", &inner.url);
        set("AWS_ACCESS_KEY_ID", &keys.access_key_id);
        set("AWS_SECRET_ACCESS_KEY", &keys.secret_access_key);
        set("AWS_SESSION_TOKEN", &keys.session_token);
        set("AWS_EXECUTION_ENV", &format!("AWS_Lambda_{}", configuration.runtime));
        set("AWS_LAMBDA_FUNCTION_NAME", &target.function);
        set("AWS_LAMBDA_FUNCTION_VERSION", &target.version);
        set("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &target.memory_mb.to_string());
        set("AWS_LAMBDA_INITIALIZATION_TYPE", begin.kind);
        set("AWS_LAMBDA_LOG_GROUP_NAME", &log.group);
        set("AWS_LAMBDA_LOG_STREAM_NAME", &log.stream);
        set("LAMBDA_RUNTIME_DIR", "/var/runtime");
        set("TZ", ":UTC");
        let view = View::new(self.mounts_work().await, launch, tmp.path());
        set("LAMBDA_TASK_ROOT", &path(&view.code));
        for name in ["TMPDIR", "HOME"] {
            set(name, &path(&view.tmp));
        }
        let program = self.program(target, launch, &view)?;
        // What later layers bring wins.
        let in_layers = |name: &str, rest: Option<&String>| {
            let layers = view.layers.iter().rev().map(|layer| path(&layer.join(name)));
            layers.chain(rest.cloned()).collect::<Vec<String>>().join(":")
        };
        if program.python {
            // No bytecode is written beside code that cannot be written to.
            set("PYTHONDONTWRITEBYTECODE", "1");
        }
        if !view.layers.is_empty() {
            let inherited = inherited_environment();
            set("PATH", &in_layers("bin", inherited.get("PATH")));
            set("LD_LIBRARY_PATH", &in_layers("lib", inherited.get("LD_LIBRARY_PATH")));
            if program.python {
                set("PYTHONPATH", &in_layers("python", None));
            }
        }
        let mut mounts = program.mounts;
        mounts.extend(view.mounts);
        let mut read = program.read;
        read.push(view.code.clone());
        read.extend(view.layers);
        let options = EnvironmentOptions {
            command: Command {
                argv: program.argv,
                environment: variables,
                folder: Some(view.code),
            },
            mounts,
            mounts_optional: false,
            mounted_environment: BTreeMap::new(),
            memory_limit: Some(target.memory_mb << 20),
            isolation: Some(Isolation {
                required: false,
                read,
                write: vec![view.tmp],
                file_size: Some(u64::from(configuration.ephemeral_mb) << 20),
            }),
            init_timeout: begin.limit.unwrap_or(INIT),
        };
        Ok((options, tmp, keys.expires))
    }

    /// Whether the kernel lets children have a view of their own of the file system; asked once.
    pub(super) async fn mounts_work(&self) -> bool {
        *self.inner.live.mounts.get_or_init(|| self.try_mounts()).await
    }

    async fn try_mounts(&self) -> bool {
        let folder = self.inner.data.join("lambda").join("tmp");
        let target = PathBuf::from("/var/task");
        let spec = ProcessSpec {
            command: Command {
                argv: vec![path(&self.inner.kennel), "--version".to_owned()],
                ..Command::default()
            },
            mounts: vec![Mount { source: folder, target, read_only: true }],
            ..ProcessSpec::default()
        };
        let works = match self.inner.launcher.spawn(spec).await {
            Ok((process, _)) => process.wait().await.success(),
            Err(_) => false,
        };
        if !works {
            tracing::warn!(
                "functions see their code where it lies, not at /var/task: the kernel refuses private mounts"
            );
        }
        works
    }

    /// The program that speaks the Runtime API for a runtime.
    fn program(
        &self,
        target: &Target,
        launch: &Launch,
        view: &View,
    ) -> Result<Program, ServiceError> {
        let configuration = &target.row.configuration;
        if configuration.runtime.starts_with("provided") {
            // The code's own, or the one that the last layer brings.
            let real = std::iter::once(&launch.code).chain(launch.layers.iter().rev());
            let seen = std::iter::once(&view.code).chain(view.layers.iter().rev());
            let found = real.zip(seen).find(|(real, _)| real.join("bootstrap").is_file());
            let folder = found.map_or(&view.code, |(_, seen)| seen);
            let argv = vec![path(&folder.join("bootstrap"))];
            return Ok(Program { argv, ..Program::default() });
        }
        let interpreter = self.interpreter(&configuration.runtime)?;
        let mut program = Program { python: true, read: interpreter.read, ..Program::default() };
        let mut python = interpreter.python;
        // The function's own /tmp would hide an installation that lies there.
        if view.mounted && python.starts_with("/tmp") {
            let prefix = python.parent().and_then(Path::parent).map(Path::to_owned);
            let inside = prefix.as_ref().and_then(|prefix| python.strip_prefix(prefix).ok());
            if let (Some(source), Some(inside)) = (prefix.clone(), inside) {
                let inside = Path::new(LANG).join(inside);
                program.mounts.push(Mount { source, target: LANG.into(), read_only: true });
                program.read.push(LANG.into());
                python = inside;
            }
        }
        program.argv = vec![path(&python)];
        program.argv.extend(["-m", "awslambdaric", &configuration.handler].map(str::to_owned));
        Ok(program)
    }
}

/// Where AWS's environments have the interpreter.
const LANG: &str = "/var/lang";

/// Where an environment sees what.
struct View {
    mounted: bool,
    code: PathBuf,
    layers: Vec<PathBuf>,
    tmp: PathBuf,
    mounts: Vec<Mount>,
}

impl View {
    /// AWS's places, where there may be mounts; else the real ones.
    fn new(mounted: bool, launch: &Launch, tmp: &Path) -> Self {
        let (code, layers) = (launch.code.clone(), launch.layers.clone());
        let tmp = tmp.to_owned();
        if !mounted {
            return View { mounted, code, layers, tmp, mounts: Vec::new() };
        }
        let read_only = true;
        let mut mounts = vec![Mount { source: code, target: "/var/task".into(), read_only }];
        let mut seen = Vec::new();
        let several = layers.len() > 1;
        for (number, source) in layers.into_iter().enumerate() {
            // One layer is /opt itself; several lie beside each other, as nothing lays folders over each other
            // for everybody.
            let target = match several {
                false => PathBuf::from("/opt"),
                true => PathBuf::from(format!("/opt/layer-{}", number + 1)),
            };
            seen.push(target.clone());
            mounts.push(Mount { source, target, read_only });
        }
        // Last: it hides what else lies there.
        mounts.push(Mount { source: tmp, target: "/tmp".into(), read_only: false });
        View { mounted, code: "/var/task".into(), layers: seen, tmp: "/tmp".into(), mounts }
    }
}

/// What is started, and what it needs to see.
#[derive(Default)]
struct Program {
    argv: Vec<String>,
    python: bool,
    read: Vec<PathBuf>,
    mounts: Vec<Mount>,
}

/// A role session is named after the function; session names have 2 to 64 characters.
fn session_name(function: &str) -> String {
    let mut name: String = function.chars().take(64).collect();
    while name.len() < 2 {
        name.push('_');
    }
    name
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
