//! One training job from its row to its end: download, instances, upload.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kennel_hosting::Command;
use kennel_hosting::instance_type;
use kennel_hosting::process::Exit;
use kennel_hosting::training::{
    Channel, Event, PrivateRoot, STOP_GRACE, Training, TrainingProgram, TrainingSpec,
};
use kennel_wire::ServiceError;
use tokio::sync::Semaphore;

use super::observe::{self, Observer};
use super::{MAX_REPORTS, Request, Status, TrainingJob, bill, metrics, shards};
use crate::context::Timestamp;
use crate::logs::LogWriter;
use crate::sagemaker::image::Program;
use crate::sagemaker::objects::Location;
use crate::sagemaker::{Inner, archive};

/// CloudWatch's group of all training jobs.
const LOG_GROUP: &str = "/aws/sagemaker/TrainingJobs";
/// CloudWatch's namespace of training metrics.
const NAMESPACE: &str = "/aws/sagemaker/TrainingJobs";
/// How long a role's session of a job lasts: SageMaker renews them, we hand out the longest.
const SESSION: Duration = Duration::from_secs(12 * 3600);

/// Interruptions that a spot job lives through; more have another cause than chance.
const MOST_INTERRUPTIONS: usize = 50;

/// How a job ended, other than by completing.
enum Halt {
    /// The user stopped it.
    Stopped,
    /// FailureReason.
    Failed(String),
    /// An instance was taken away; FailureReason where the job is not one that goes on by itself.
    Interrupted(String),
    /// The server's own state cannot be read or written; the job is tried again later.
    State(ServiceError),
}

impl From<ServiceError> for Halt {
    fn from(error: ServiceError) -> Self {
        if error.status >= 500 { Halt::State(error) } else { Halt::Failed(error.message) }
    }
}

/// Runs a job to its final status, which is in its row when this returns.
pub(super) async fn run_job(inner: &Arc<Inner>, name: &str, places: &Semaphore) {
    let run = Run { inner, name };
    let outcome = run.to_completion(places).await;
    let now = inner.clock.now();
    if matches!(&outcome, Err(halt) if !matches!(halt, Halt::State(_))) {
        run.log_bill(now).await;
    }
    let written = match outcome {
        Ok(()) => Ok(()),
        Err(Halt::Stopped) => {
            run.finish(move |job| {
                let (secondary, message) = match job.over_time {
                    true => (
                        "MaxRuntimeExceeded",
                        "The training job was stopped after its MaxRuntimeInSeconds",
                    ),
                    false => ("Stopped", "Training job stopped"),
                };
                job.finish(Status::Stopped, secondary, message, now);
            })
            .await
        }
        Err(Halt::Failed(reason) | Halt::Interrupted(reason)) => {
            run.finish(move |job| {
                // SageMaker's limit of FailureReason.
                job.failure = Some(reason.chars().take(1024).collect());
                job.finish(Status::Failed, "Failed", "Training job failed", now);
            })
            .await
        }
        Err(Halt::State(error)) => Err(error),
    };
    if let Err(error) = written {
        tracing::error!("training job `{name}` will be tried again: {error}");
        // Not at once: a full disk stays full for a while.
        tokio::time::sleep(Duration::from_secs(5)).await;
        return;
    }
    let folder = run.folder();
    let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(folder)).await;
    if let Ok(Err(e)) = removed
        && e.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!("the files of training job `{name}` cannot be removed: {e}");
    }
}

struct Run<'a> {
    inner: &'a Arc<Inner>,
    name: &'a str,
}

impl Run<'_> {
    /// The job's own folder; names are letters, digits and hyphens by the API's model.
    fn folder(&self) -> PathBuf {
        self.inner.data.join("training").join(self.name)
    }

    async fn to_completion(&self, places: &Semaphore) -> Result<(), Halt> {
        let job = self.job()?;
        let request = job.request()?;
        if !job.packed {
            let _place = tokio::select! {
                place = places.acquire() => place.map_err(|_| Halt::Stopped)?,
                () = self.stop_asked() => return Err(Halt::Stopped),
            };
            let stopped = self.train_through_interruptions(&request).await?;
            if stopped {
                self.upload(&request).await?;
                return Err(Halt::Stopped);
            }
            self.change(|job| job.packed = true).await?;
        }
        self.upload(&request).await?;
        let now = self.inner.clock.now();
        self.log_bill(now).await;
        self.finish(move |job| {
            job.finish(Status::Completed, "Completed", "Training job completed", now);
        })
        .await?;
        Ok(())
    }

    /// [`Run::train`], again and again where the job uses managed spot training and an instance was taken
    /// away: it goes on from its checkpoints.
    async fn train_through_interruptions(&self, request: &Request) -> Result<bool, Halt> {
        let begun = tokio::time::Instant::now();
        let mut interruptions = 0;
        loop {
            match self.train(request).await {
                Err(Halt::Interrupted(reason)) if request.enable_managed_spot_training => {
                    interruptions += 1;
                    if begun.elapsed() > request.max_wait() || interruptions > MOST_INTERRUPTIONS {
                        return Err(Halt::Interrupted(reason));
                    }
                    let now = self.inner.clock.now();
                    self.change(move |job| {
                        let first = reason.lines().next().unwrap_or_default();
                        let message = format!("Training job interrupted, it will go on: {first}");
                        job.enter("Interrupted", &message, now);
                    })
                    .await?;
                }
                other => return other,
            }
        }
    }

    /// Brings the data, runs the instances and packs what they leave. True when the job was stopped.
    async fn train(&self, request: &Request) -> Result<bool, Halt> {
        let inner = self.inner;
        let now = inner.clock.now();
        self.change(move |job| {
            job.attempts += 1;
            if job.status == Status::InProgress {
                for state in job.rules.values_mut() {
                    state.status = "InProgress".to_owned();
                    state.details = None;
                }
                let message = match job.attempts {
                    1 => "Preparing the instances for training",
                    _ if job.secondary() == "Interrupted" => {
                        "Preparing the instances for training again after an interruption"
                    }
                    _ => "Preparing the instances for training again after a restart of the server",
                };
                job.enter("Starting", message, now);
            }
        })
        .await?;
        let folder = self.folder();
        let now = inner.clock.now();
        self.change(move |job| {
            job.started.get_or_insert(now);
            job.enter("Downloading", "Downloading input data", now);
        })
        .await?;
        let prepared = tokio::select! {
            prepared = self.prepare(request, &folder) => prepared?,
            () = self.stop_asked() => return Err(Halt::Stopped),
        };
        let now = inner.clock.now();
        self.change(move |job| {
            job.enter("Training", "Downloading the training image", now);
        })
        .await?;
        let (spec, extra) = prepared;
        let note = spec.shape.note.clone().into_iter().chain(extra);
        let mut notes = self.job()?.notes;
        for note in note {
            // An attempt before may have said so already.
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        let said = notes.clone();
        let now = inner.clock.now();
        self.change(move |job| {
            let mut message = "Training image download completed. Training in progress.".to_owned();
            for note in &said {
                message = format!("{message} Note: {note}.");
            }
            job.notes = said;
            job.enter("Training", &message, now);
        })
        .await?;
        let (mut training, events) = Training::start(&inner.launcher, spec)
            .await
            .map_err(|e| Halt::Failed(format!("InternalServerError: {e}")))?;
        let observer = match request.observation.any() {
            true => Some(
                Observer::start(inner, self.name, request, &training, &folder)
                    .await
                    .map_err(|e| Halt::Failed(known(e)))?,
            ),
            false => None,
        };
        let outcome = {
            let stop = self.stop_or_over_time(request);
            tokio::pin!(stop);
            let watched = self.watch(request, &notes, events);
            tokio::pin!(watched);
            let mut asked = false;
            loop {
                tokio::select! {
                    watched = &mut watched => {
                        watched?;
                        break training.wait().await;
                    }
                    () = &mut stop, if !asked => {
                        asked = true;
                        training.stop();
                    }
                }
            }
        };
        if let Some(observer) = observer {
            let status = match (&outcome.failure, outcome.stopped) {
                (Some(_), _) => "Failed",
                (None, true) => "Stopped",
                (None, false) => "Completed",
            };
            observer.finish(inner, self.name, status).await;
            // A failed job's tensors and report are what one wants to see.
            observe::upload(inner, request, &folder).await.map_err(Halt::Failed)?;
        }
        if let Some(failure) = outcome.failure {
            self.save_checkpoints(request, &folder).await?;
            // The toolkit and the native algorithm begin their reasons as AWS's containers do.
            let prefixes = ["AlgorithmError", "ClientError", "InternalServerError"];
            let reason = match prefixes.iter().any(|prefix| failure.starts_with(prefix)) {
                true => failure,
                false => format!("AlgorithmError: {failure}"),
            };
            // What the others ended with follows from the first.
            let killed = matches!(outcome.first_failure, Some(Exit::Signal(_)));
            return Err(if killed { Halt::Interrupted(reason) } else { Halt::Failed(reason) });
        }
        self.save_checkpoints(request, &folder).await?;
        let folders = training.folders().to_vec();
        let now = inner.clock.now();
        if !outcome.stopped {
            self.change(move |job| {
                job.enter("Uploading", "Uploading generated training model", now);
            })
            .await?;
        }
        let target = folder.clone();
        let packed = tokio::task::spawn_blocking(move || {
            let models: Vec<PathBuf> = folders.iter().map(|f| f.model.clone()).collect();
            let outputs: Vec<PathBuf> = folders.iter().map(|f| f.output_data.clone()).collect();
            pack_aside(&models, &target, "model.tar.gz", true)?;
            pack_aside(&outputs, &target, "output.tar.gz", false)
        })
        .await;
        match packed {
            Ok(Ok(())) => Ok(outcome.stopped),
            Ok(Err(e)) => {
                Err(Halt::Failed(format!("InternalServerError: cannot pack the model: {e}")))
            }
            Err(e) => Err(Halt::Failed(format!("InternalServerError: cannot pack the model: {e}"))),
        }
    }

    /// Channels, sources and checkpoints on this machine, and what is to run.
    async fn prepare(
        &self,
        request: &Request,
        folder: &Path,
    ) -> Result<(TrainingSpec, Option<String>), Halt> {
        let inner = self.inner;
        let failed = |e: std::io::Error| Halt::Failed(format!("InternalServerError: {e}"));
        let objects = inner.objects.of_role(&request.role_arn);
        let channels_folder = folder.join("channels");
        let _ = tokio::fs::remove_dir_all(&channels_folder).await;
        tokio::fs::create_dir_all(&channels_folder).await.map_err(failed)?;
        let program = request.program()?;
        let native = program == Program::Native;
        let mut channels = Vec::new();
        for channel in &request.input_data_config {
            let Some(source) = &channel.data_source.s3 else { continue };
            let location = Location::parse(&source.uri)?;
            let target = channels_folder.join(&channel.channel_name);
            // Links cost nothing, but a script could write through them into the store.
            objects.fetch_prefix(&location, &target, native).await.map_err(|e| {
                Halt::Failed(format!(
                    "ClientError: Data download failed: channel `{}`: {e}",
                    channel.channel_name
                ))
            })?;
            let hosts = usize::try_from(request.resource_config.instance_count).unwrap_or(1);
            let folders = if channel.is_sharded() && hosts > 1 {
                tokio::task::spawn_blocking(move || shards::deal(&target, hosts))
                    .await
                    .map_err(|e| Halt::Failed(format!("InternalServerError: {e}")))?
                    .map_err(failed)?
            } else {
                vec![target]
            };
            channels.push(Channel {
                name: channel.channel_name.clone(),
                folders,
                content_type: channel.content_type.clone(),
                input_mode: "File".to_owned(),
                record_wrapper: "None".to_owned(),
                compression: None,
            });
        }
        let checkpoints = folder.join("checkpoints");
        if let Some(config) = &request.checkpoint_config
            && !checkpoints.is_dir()
        {
            let location = Location::parse(&config.uri)?;
            tokio::fs::create_dir_all(&checkpoints).await.map_err(failed)?;
            objects.fetch_prefix_if_any(&location, &checkpoints).await.map_err(|e| {
                Halt::Failed(format!("ClientError: Data download failed: checkpoints: {e}"))
            })?;
        }
        let mut environment = self.environment(request).await?;
        let instance_type = request.resource_config.instance_type.clone().unwrap_or_default();
        let Some(shape) = instance_type::shape(&instance_type, inner.machine) else {
            return Err(Halt::Failed(format!(
                "ClientError: unknown instance type `{instance_type}`"
            )));
        };
        let mut note = None;
        let program = match program {
            Program::Native => TrainingProgram::Native { kennel: inner.kennel.clone() },
            Program::Script { runtime } => {
                let interpreter = inner.toolkit.interpreter(runtime)?;
                note = interpreter.note;
                if let Some(uri) = request.hyper_parameters.get("sagemaker_submit_directory") {
                    // Hyperparameters of the SDK are JSON.
                    let uri = serde_json::from_str::<String>(uri).unwrap_or_else(|_| uri.clone());
                    let archive = folder.join("sourcedir.tar.gz");
                    let location = Location::parse(&uri)?;
                    objects.fetch_file(&location, &archive).await.map_err(|e| {
                        Halt::Failed(format!(
                            "ClientError: cannot fetch the script's sources `{uri}`: {e}"
                        ))
                    })?;
                    environment.insert("KENNEL_SUBMIT_ARCHIVE".to_owned(), text(&archive));
                }
                environment.insert("PYTHONPATH".to_owned(), text(&inner.toolkit.folder));
                // All instances are on this machine, where nobody resolves `algo-1`.
                environment.insert("MASTER_ADDR".to_owned(), "127.0.0.1".to_owned());
                environment.insert("KENNEL_NUM_CPUS".to_owned(), shape.threads.to_string());
                TrainingProgram::Script(Command::new([
                    text(&interpreter.python),
                    "-m".to_owned(),
                    "kennel_runtime.train".to_owned(),
                ]))
            }
        };
        let job = self.job()?;
        let spec = TrainingSpec {
            name: self.name.to_owned(),
            arn: job.arn,
            folder: folder.to_owned(),
            hosts: usize::try_from(request.resource_config.instance_count).unwrap_or(1),
            instance_type,
            shape,
            private_root: if native { PrivateRoot::No } else { PrivateRoot::Optional },
            program,
            hyperparameters: request.hyper_parameters.clone(),
            channels,
            configuration: request.observation.files(native),
            environment,
            network_interface: "lo".to_owned(),
            stop_grace: STOP_GRACE,
        };
        Ok((spec, note))
    }

    async fn environment(&self, request: &Request) -> Result<BTreeMap<String, String>, Halt> {
        let inner = self.inner;
        let job = self.job()?;
        let mut environment = inner.environment.clone();
        environment.extend(request.environment.clone());
        let session = inner
            .iam
            .session_for_role(&request.role_arn, "SageMaker", inner.clock.now(), SESSION)
            .await?;
        let own = [
            ("AWS_ACCESS_KEY_ID", session.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", session.secret_access_key),
            ("AWS_SESSION_TOKEN", session.session_token),
            ("AWS_REGION", job.region.clone()),
            ("AWS_DEFAULT_REGION", job.region),
            ("AWS_ENDPOINT_URL", inner.url.clone()),
        ];
        environment.extend(own.into_iter().map(|(name, value)| (name.to_owned(), value)));
        Ok(environment)
    }

    /// Writes the log and gathers metrics until the instances have ended.
    async fn watch(
        &self,
        request: &Request,
        notes: &[String],
        mut events: tokio::sync::mpsc::Receiver<Event>,
    ) -> Result<(), Halt> {
        let inner = self.inner;
        let mut definitions = request.algorithm_specification.metric_definitions.clone();
        if request.program()? == Program::Native {
            definitions.extend(metrics::native());
        }
        let definitions: Vec<metrics::Metric> =
            definitions.iter().map(metrics::Definition::compile).collect::<Result<_, _>>()?;
        let epoch = self.job()?.log_epoch;
        let mut writers: HashMap<usize, LogWriter> = HashMap::new();
        let mut found: BTreeMap<String, (f64, Timestamp)> = BTreeMap::new();
        // A trial's objective goes into the row while the job runs: early stopping reads it there.
        let objective = self.job()?.tuning.map(|tuning| tuning.objective);
        let mut reports: Vec<(f64, Timestamp)> = Vec::new();
        let mut unwritten = false;
        let mut written = tokio::time::Instant::now();
        if objective.is_some() {
            // What a former attempt reported would stand beside this one's first epochs.
            self.change(|job| job.reports.clear()).await?;
        }
        let hosts = usize::try_from(request.resource_config.instance_count).unwrap_or(1);
        for host in 0..hosts {
            let stream = format!("{}/algo-{}-{epoch}", self.name, host + 1);
            let writer = inner
                .logs
                .writer(LOG_GROUP, &stream, inner.clock.now())
                .await
                .map_err(|e| Halt::Failed(format!("InternalServerError: {e}")))?;
            if host == 0 {
                for note in notes {
                    let line = format!("[kennel] warning: {note}");
                    let _ = writer.write(inner.clock.now(), &line).await;
                }
            }
            writers.insert(host, writer);
        }
        loop {
            let event = tokio::select! {
                biased;
                () = tokio::time::sleep_until(written + pause(reports.len())), if unwritten => {
                    self.report(&found, &reports).await?;
                    unwritten = false;
                    written = tokio::time::Instant::now();
                    continue;
                }
                event = events.recv() => event,
            };
            let Some(event) = event else { break };
            let Event::Line { host, text } = event else { continue };
            let now = inner.clock.now();
            for metric in &definitions {
                if let Some(value) = metric.find(&text) {
                    inner.metrics.record(
                        NAMESPACE,
                        &metric.name,
                        &[("TrainingJobName", self.name)],
                        value,
                        "None",
                        now,
                    );
                    found.insert(metric.name.clone(), (value, now));
                    if objective.as_ref() == Some(&metric.name) && reports.len() < MAX_REPORTS {
                        reports.push((value, now));
                        unwritten = true;
                    }
                }
            }
            if let Some(writer) = writers.get(&host)
                && let Err(e) = writer.write(now, &text).await
            {
                tracing::warn!("a line of training job `{}` was lost: {e}", self.name);
            }
        }
        for writer in writers.values() {
            if let Err(e) = writer.flush().await {
                tracing::warn!("the log of training job `{}` is incomplete: {e}", self.name);
            }
        }
        self.report(&found, &reports).await
    }

    /// The log's last line: what a job that ends `now` would have cost on AWS. Before the final status, so
    /// that whoever follows the log until then sees it.
    async fn log_bill(&self, now: Timestamp) {
        let Ok(job) = self.job() else { return };
        let Some(bill) = bill::of(&job, now) else { return };
        let stream = format!("{}/algo-1-{}", self.name, job.log_epoch);
        let written = async {
            let writer = self.inner.logs.writer(LOG_GROUP, &stream, now).await?;
            writer.write(now, &format!("[kennel] {bill}")).await?;
            writer.flush().await
        };
        if let Err(e) = written.await {
            tracing::warn!("the bill of training job `{}` is not in its log: {e}", self.name);
        }
    }

    /// Writes what the instances have told so far.
    async fn report(
        &self,
        found: &BTreeMap<String, (f64, Timestamp)>,
        reports: &[(f64, Timestamp)],
    ) -> Result<(), Halt> {
        let (found, reports) = (found.clone(), reports.to_vec());
        self.change(move |job| {
            job.metrics = found;
            job.reports = reports;
        })
        .await
    }

    /// Puts what was packed where the job's definition says.
    async fn upload(&self, request: &Request) -> Result<(), Halt> {
        for name in ["model.tar.gz", "output.tar.gz"] {
            let path = self.folder().join(name);
            if !path.is_file() {
                continue;
            }
            let location = Location::parse(&request.output_uri(name))?;
            let objects = self.inner.objects.of_role(&request.role_arn);
            objects.put_file(&location, &path, self.inner.clock.now()).await.map_err(|e| {
                Halt::Failed(format!(
                    "ClientError: Artifact upload failed: `{}`: {e}",
                    request.output_uri(name)
                ))
            })?;
        }
        Ok(())
    }

    async fn save_checkpoints(&self, request: &Request, folder: &Path) -> Result<(), Halt> {
        let Some(config) = &request.checkpoint_config else { return Ok(()) };
        let location = Location::parse(&config.uri)?;
        let now = self.inner.clock.now();
        let objects = self.inner.objects.of_role(&request.role_arn);
        objects.put_folder(&location, &folder.join("checkpoints"), now).await.map_err(|e| {
            Halt::Failed(format!("ClientError: Artifact upload failed: checkpoints: {e}"))
        })
    }

    fn job(&self) -> Result<TrainingJob, Halt> {
        let job = self.inner.rows.get::<TrainingJob>(self.name).map_err(Halt::State)?;
        job.ok_or(Halt::Stopped)
    }

    async fn change(
        &self,
        decide: impl FnOnce(&mut TrainingJob) + Send + 'static,
    ) -> Result<(), Halt> {
        self.finish(decide).await.map_err(Halt::State)
    }

    async fn finish(
        &self,
        decide: impl FnOnce(&mut TrainingJob) + Send + 'static,
    ) -> Result<(), ServiceError> {
        let changed = self
            .inner
            .rows
            .change::<TrainingJob, ()>(self.name, |job| {
                decide(job);
                Ok(())
            })
            .await?;
        if changed.is_some_and(|(job, ())| job.tuning.is_some()) {
            self.inner.trials_changed.notify_waiters();
        }
        Ok(())
    }

    /// Returns when the row says that the job is to stop.
    async fn stop_asked(&self) {
        loop {
            let changed = self.inner.jobs_changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.job().is_ok_and(|job| job.status == Status::Stopping) {
                return;
            }
            // The timeout only covers a notice that was lost.
            let _ = tokio::time::timeout(Duration::from_secs(30), changed).await;
        }
    }

    /// Returns when the job is to stop or has taken longer than it may.
    async fn stop_or_over_time(&self, request: &Request) {
        tokio::select! {
            () = self.stop_asked() => {}
            () = tokio::time::sleep(request.max_runtime()) => {
                let now = self.inner.clock.now();
                let marked = self
                    .change(move |job| {
                        job.over_time = true;
                        job.status = Status::Stopping;
                        job.enter("Stopping", "MaxRuntimeInSeconds is over", now);
                    })
                    .await;
                if let Err(Halt::State(e)) = marked {
                    tracing::error!("training job `{}`: {e}", self.name);
                }
            }
        }
    }
}

/// How long a trial's reports wait to be written: a quarter of a second, longer where there are many,
/// since each writing writes all of them.
fn pause(reports: usize) -> Duration {
    Duration::from_micros((reports as u64 * 200).max(250_000))
}

/// A reason that says whose fault it is.
fn known(reason: String) -> String {
    match reason.starts_with("ClientError") {
        true => reason,
        false => format!("InternalServerError: {reason}"),
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Packs aside and renames, so that a restart finds a whole archive or none.
fn pack_aside(
    folders: &[PathBuf],
    target: &Path,
    name: &str,
    even_if_empty: bool,
) -> std::io::Result<()> {
    let mut empty = true;
    for folder in folders {
        empty &= std::fs::read_dir(folder)?.next().is_none();
    }
    if empty && !even_if_empty {
        return Ok(());
    }
    let aside = target.join(format!(".{name}"));
    let skipped = archive::pack(folders, &aside)?;
    if !skipped.is_empty() {
        tracing::warn!(
            "not packed into {name}, since they are links or devices: {}",
            skipped.join(", ")
        );
    }
    std::fs::rename(aside, target.join(name))
}
