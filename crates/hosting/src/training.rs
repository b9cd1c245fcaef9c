//! A training job: one child per instance, each with SageMaker's container contract
//! (<https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html>),
//! from the layout of its folders to the reason of its failure.

mod layout;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kennel_base::{ErrorCode, ErrorCoded};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::Command;
use crate::instance_type::Shape;
use crate::launch::Mount;
use crate::process::{Exit, Launcher, Lines, Process, ProcessError, ProcessSpec, Usage};
pub use layout::InstanceFolders;

/// SageMaker kills an algorithm 120 s after SIGTERM.
pub const STOP_GRACE: Duration = Duration::from_secs(120);

/// SageMaker shows the first 1,024 characters of the failure file.
pub const FAILURE_CHARACTERS: usize = 1024;

/// Where SageMaker's containers have their files.
const ML_ROOT: &str = "/opt/ml";

/// Events that wait for the caller; a full channel slows the job down.
const WAITING: usize = 256;

/// Last lines of an instance that explain its end where it wrote no failure file.
const LAST_LINES: usize = 5;

/// Instances of one job.
const MAX_HOSTS: usize = 64;

/// The folder of a job in which its instances meet, made anew for every attempt.
const JOIN_FOLDER: &str = "join";

/// What is trained.
#[derive(Debug, Clone)]
pub enum TrainingProgram {
    /// `kennel train`, the native algorithm.
    Native {
        /// The binary.
        kennel: PathBuf,
    },
    /// Any other program that follows the contract below `KENNEL_ML_ROOT`, such as the Python toolkit.
    Script(Command),
}

/// Whether a program sees its instance's folder as /opt/ml.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrivateRoot {
    /// It does, or the job fails.
    Required,
    /// It does where the kernel allows it; a line of its log says where not.
    Optional,
    /// It does not; it goes by `KENNEL_ML_ROOT`.
    No,
}

/// An input channel, its files already on this machine.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Name: letters, digits, `.`, `-` and `_`.
    pub name: String,
    /// The folder with its files: one for all instances, or one for each (sharded by key).
    pub folders: Vec<PathBuf>,
    /// ContentType as given, for inputdataconfig.json.
    pub content_type: Option<String>,
    /// TrainingInputMode: `File` or `FastFile`.
    pub input_mode: String,
    /// RecordWrapperType: `None` or `RecordIO`.
    pub record_wrapper: String,
    /// CompressionType as given.
    pub compression: Option<String>,
}

/// A training job.
#[derive(Debug, Clone)]
pub struct TrainingSpec {
    /// TrainingJobName.
    pub name: String,
    /// TrainingJobArn.
    pub arn: String,
    /// A folder of the job's own. What a former attempt left in its instances is removed, except for
    /// the checkpoints.
    pub folder: PathBuf,
    /// Number of instances, at least 1.
    pub hosts: usize,
    /// Name such as `ml.m5.xlarge`.
    pub instance_type: String,
    /// What each instance gets.
    pub shape: Shape,
    /// What runs.
    pub program: TrainingProgram,
    /// Hyperparameters as given: values are strings, some of them JSON.
    pub hyperparameters: BTreeMap<String, String>,
    /// Input channels.
    pub channels: Vec<Channel>,
    /// Further files of `input/config`, such as `debughookconfig.json`, by name.
    pub configuration: BTreeMap<String, serde_json::Value>,
    /// Further variables (region, endpoint, credentials of the role, the job's own). They win.
    pub environment: BTreeMap<String, String>,
    /// network_interface_name for resourceconfig.json; `lo` on one machine.
    pub network_interface: String,
    /// From SIGTERM to SIGKILL; [`STOP_GRACE`].
    pub stop_grace: Duration,
    /// Whether the program sees /opt/ml.
    pub private_root: PrivateRoot,
}

/// What a job tells while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// All instances have been started.
    Started,
    /// A line of an instance's log, both streams together.
    Line {
        /// Instance number, from 0 for algo-1.
        host: usize,
        /// The line without its end.
        text: String,
    },
    /// Something that the job's description should say.
    Note(String),
}

/// How a job ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How each instance ended.
    pub exits: Vec<Exit>,
    /// Why the job failed: the failure file of the first instance that failed, else how it ended; at
    /// most [`FAILURE_CHARACTERS`] characters. None after success and after a stop.
    pub failure: Option<String>,
    /// How the instance ended that failed first; the others were ended for it.
    pub first_failure: Option<Exit>,
    /// Ended because [`Training::stop`] asked for it.
    pub stopped: bool,
    /// When the first instance was started.
    pub started: Instant,
    /// When the last instance ended.
    pub ended: Instant,
}

impl Outcome {
    /// Every instance ended with code 0 and nobody asked for a stop.
    pub fn completed(&self) -> bool {
        self.failure.is_none() && !self.stopped
    }
}

/// Why a job could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// The specification cannot be carried out.
    #[error("cannot start the training job: {0}")]
    Specification(String),
    /// Its folders cannot be prepared.
    #[error("cannot prepare `{path}`: {source}")]
    Layout {
        /// The file or folder.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A child cannot be started.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

impl ErrorCoded for TrainingError {
    fn code(&self) -> ErrorCode {
        match self {
            TrainingError::Specification(_) => ErrorCode::InvalidInput,
            TrainingError::Layout { .. } => ErrorCode::Internal,
            TrainingError::Process(e) => e.code(),
        }
    }
}

/// A running job. Dropping it kills its instances.
#[derive(Debug)]
pub struct Training {
    folders: Vec<InstanceFolders>,
    groups: Vec<i32>,
    usage: Vec<watch::Receiver<Usage>>,
    stop: watch::Sender<bool>,
    run: JoinHandle<Outcome>,
    /// A task's result can be taken only once.
    outcome: Option<Outcome>,
}

impl Training {
    /// Lays out the folders and starts all instances. Events come through the bounded channel, which
    /// ends after the last line of the job.
    pub async fn start(
        launcher: &Launcher,
        spec: TrainingSpec,
    ) -> Result<(Training, mpsc::Receiver<Event>), TrainingError> {
        check(&spec)?;
        let (spec, folders) = tokio::task::spawn_blocking(move || {
            let folders = layout::prepare(&spec)?;
            Ok::<_, TrainingError>((spec, folders))
        })
        .await
        .map_err(|e| TrainingError::Specification(e.to_string()))??;
        let (events, receiver) = mpsc::channel(WAITING);
        let started = Instant::now();
        let mut children = Vec::new();
        for folders in &folders {
            // The children before are killed when this fails.
            children.push(launcher.spawn(process(&spec, folders)).await?);
        }
        let _ = events.try_send(Event::Started);
        if let Some(note) = &spec.shape.note {
            let _ = events.try_send(Event::Note(note.clone()));
        }
        let (stop, stopped) = watch::channel(false);
        let groups = children.iter().map(|(process, _)| process.identity().pid).collect();
        let (hosts, usage) = children
            .into_iter()
            .map(|(process, lines)| {
                let (sender, usage) = watch::channel(Usage::default());
                (Host { process, lines, usage: sender }, usage)
            })
            .unzip();
        let job = Job { hosts, folders: folders.clone(), grace: spec.stop_grace, events, stopped };
        let run = tokio::spawn(job.run(started));
        Ok((Training { folders, groups, usage, stop, run, outcome: None }, receiver))
    }

    /// Asks all instances to end: SIGTERM, and SIGKILL after the grace. Returns at once.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits for the end of all instances. Giving up the wait loses nothing.
    pub async fn wait(&mut self) -> Outcome {
        if let Some(outcome) = &self.outcome {
            return outcome.clone();
        }
        let outcome = match (&mut self.run).await {
            Ok(outcome) => outcome,
            // Only while the runtime goes down.
            Err(e) => Outcome {
                exits: Vec::new(),
                first_failure: None,
                failure: Some(format!("the job was given up: {e}")),
                stopped: false,
                started: Instant::now(),
                ended: Instant::now(),
            },
        };
        self.outcome = Some(outcome.clone());
        outcome
    }

    /// The folders of each instance, where its results are.
    pub fn folders(&self) -> &[InstanceFolders] {
        &self.folders
    }

    /// The process group of each instance.
    pub fn process_groups(&self) -> &[i32] {
        &self.groups
    }

    /// What each instance uses, or used last.
    pub fn usage(&self) -> Vec<Usage> {
        self.usage.iter().map(|usage| *usage.borrow()).collect()
    }
}

impl Drop for Training {
    fn drop(&mut self) {
        self.run.abort();
    }
}

fn check(spec: &TrainingSpec) -> Result<(), TrainingError> {
    let bad = |text: String| Err(TrainingError::Specification(text));
    if !(1..=MAX_HOSTS).contains(&spec.hosts) {
        return bad(format!("`{}` instances are not between 1 and {MAX_HOSTS}", spec.hosts));
    }
    if let Some(name) = spec.configuration.keys().find(|name| name.contains('/')) {
        return bad(format!("`{name}` cannot be the name of a configuration file"));
    }
    for channel in &spec.channels {
        // The name becomes a folder.
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if channel.name.is_empty()
            || channel.name.len() > 64
            || channel.name.starts_with('.')
            || !channel.name.chars().all(plain)
        {
            return bad(format!("`{}` cannot be the name of a channel", channel.name));
        }
        if ![1, spec.hosts].contains(&channel.folders.len()) {
            return bad(format!(
                "channel `{}` has {} folders for {} instances",
                channel.name,
                channel.folders.len(),
                spec.hosts
            ));
        }
    }
    Ok(())
}

fn process(spec: &TrainingSpec, folders: &InstanceFolders) -> ProcessSpec {
    let threads = spec.shape.threads.to_string();
    let root = folders.root.display().to_string();
    let mut environment = BTreeMap::from([
        ("KENNEL_ML_ROOT".to_owned(), root.clone()),
        ("TRAINING_JOB_NAME".to_owned(), spec.name.clone()),
        ("TRAINING_JOB_ARN".to_owned(), spec.arn.clone()),
        ("HOME".to_owned(), folders.home.display().to_string()),
        ("TMPDIR".to_owned(), folders.temporary.display().to_string()),
        // Lines of a log come when they are printed, not when a buffer is full.
        ("PYTHONUNBUFFERED".to_owned(), "1".to_owned()),
    ]);
    if spec.hosts > 1 {
        // Where instances of the native algorithm tell each other what they have.
        let join = folders.home.join(JOIN_FOLDER);
        environment.insert("KENNEL_JOIN".to_owned(), join.display().to_string());
    }
    for name in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"]
    {
        environment.insert(name.to_owned(), threads.clone());
    }
    let mut command = match &spec.program {
        TrainingProgram::Native { kennel } => {
            let kennel = kennel.display().to_string();
            Command::new([kennel, "train".to_owned(), "--threads".to_owned(), threads])
        }
        TrainingProgram::Script(command) => command.clone(),
    };
    environment.append(&mut command.environment);
    environment.extend(spec.environment.clone());
    command.environment = environment;
    command.folder.get_or_insert_with(|| folders.root.clone());
    let private = spec.private_root != PrivateRoot::No;
    let mount =
        Mount { source: folders.root.clone(), target: PathBuf::from(ML_ROOT), read_only: false };
    ProcessSpec {
        command,
        mounts: if private { vec![mount] } else { Vec::new() },
        mounts_optional: spec.private_root == PrivateRoot::Optional,
        mounted_environment: BTreeMap::from([("KENNEL_ML_ROOT".to_owned(), ML_ROOT.to_owned())]),
        memory_limit: Some(spec.shape.memory_bytes),
        ..ProcessSpec::default()
    }
}

struct Host {
    process: Process,
    lines: Lines,
    usage: watch::Sender<Usage>,
}

struct Job {
    hosts: Vec<Host>,
    folders: Vec<InstanceFolders>,
    grace: Duration,
    events: mpsc::Sender<Event>,
    stopped: watch::Receiver<bool>,
}

impl Job {
    async fn run(self, started: Instant) -> Outcome {
        let Job { hosts, folders, grace, events, mut stopped } = self;
        let (end, ending) = watch::channel(false);
        let mut logs = JoinSet::new();
        let mut running = FuturesUnordered::new();
        for (number, host) in hosts.into_iter().enumerate() {
            logs.spawn(forward(number, host.lines, events.clone()));
            running.push(until_end(number, host.process, host.usage, ending.clone(), grace));
        }
        drop(events);
        let mut exits = vec![Exit::Code(0); running.len()];
        let mut first_failed = None;
        let mut stop_wanted = false;
        while !running.is_empty() {
            tokio::select! {
                Some((number, exit)) = running.next() => {
                    if let Some(place) = exits.get_mut(number) {
                        *place = exit;
                    }
                    if !exit.success() && first_failed.is_none() {
                        // As on SageMaker, the job fails with its first instance.
                        first_failed = Some((number, exit));
                        end.send_replace(true);
                    }
                }
                () = raised(&mut stopped), if !stop_wanted => {
                    stop_wanted = true;
                    end.send_replace(true);
                }
            }
        }
        let ended = Instant::now();
        let mut last_lines = BTreeMap::new();
        while let Some(joined) = logs.join_next().await {
            last_lines.extend(joined.ok());
        }
        let stopped = stop_wanted;
        let first_failure = first_failed.map(|(_, exit)| exit).filter(|_| !stopped);
        let failure = match first_failed {
            Some((number, exit)) if !stopped => {
                let last = last_lines.remove(&number).unwrap_or_default();
                Some(failure(number, exit, folders.get(number), &last).await)
            }
            _ => None,
        };
        Outcome { exits, failure, first_failure, stopped, started, ended }
    }
}

async fn until_end(
    number: usize,
    process: Process,
    usage: watch::Sender<Usage>,
    mut ending: watch::Receiver<bool>,
    grace: Duration,
) -> (usize, Exit) {
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    let exit = loop {
        tokio::select! {
            exit = process.wait() => break exit,
            () = raised(&mut ending) => break process.terminate(grace).await,
            _ = tick.tick() => {
                usage.send_replace(process.usage());
            }
        }
    };
    usage.send_replace(Usage { rss_bytes: 0, ..process.usage() });
    (number, exit)
}

/// Waits until a flag is set, for ever where nobody can set it any more.
async fn raised(flag: &mut watch::Receiver<bool>) {
    if flag.wait_for(|raised| *raised).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn forward(
    host: usize,
    mut lines: Lines,
    events: mpsc::Sender<Event>,
) -> (usize, VecDeque<String>) {
    let mut last = VecDeque::new();
    while let Some(line) = lines.next().await {
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(line.text.chars().take(FAILURE_CHARACTERS).collect());
        // Nobody listens any more: the job goes on.
        let _ = events.send(Event::Line { host, text: line.text }).await;
    }
    (host, last)
}

async fn failure(
    number: usize,
    exit: Exit,
    folders: Option<&InstanceFolders>,
    last: &VecDeque<String>,
) -> String {
    let file = folders.map(|folders| folders.root.join("output/failure"));
    let written = tokio::task::spawn_blocking(move || layout::read_failure(&file?)).await;
    let text = written.ok().flatten().unwrap_or_else(|| {
        let mut text = format!("algo-{} ended with {exit}", number + 1);
        let lines: Vec<&str> =
            last.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
        if !lines.is_empty() {
            text = format!("{text}; its last lines:\n{}", lines.join("\n"));
        }
        text
    });
    text.chars().take(FAILURE_CHARACTERS).collect()
}
