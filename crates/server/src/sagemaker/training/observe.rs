//! The observer beside a training job's instances: started with them, told when they have ended, its
//! verdicts written into the job's row as they come, what it leaves put into the bucket.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kennel_hosting::Command;
use kennel_hosting::process::{Lines, Process, ProcessSpec, Stream, inherited_environment};
use kennel_hosting::training::Training;
use kennel_wire::ServiceError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{Request, Status, TrainingJob};
use crate::context::{Context, Timestamp};
use crate::observation::{Config, Ended, RuleLine, SUBCOMMAND};
use crate::sagemaker::Inner;
use crate::sagemaker::objects::Location;

/// How long the last evaluation and the report may take.
const LAST_WORK: Duration = Duration::from_secs(60);
/// An observer that needs more is not well.
const MEMORY: u64 = 4 << 30;
/// What rules look at.
const COLLECTIONS: &[&str] = &[
    "weights",
    "biases",
    "gradients",
    "losses",
    "metrics",
    "inputs",
    "outputs",
    "labels",
    "relu_output",
    "sigmoid_output",
    "tanh_output",
    "input_images",
];
/// SageMaker's limit of StatusDetails.
const DETAILS: usize = 1024;

/// What CreateTrainingJob says about debugger and profiler, as given.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sagemaker) struct Wishes {
    pub debug_hook_config: Option<Value>,
    #[serde(default)]
    pub debug_rule_configurations: Vec<Value>,
    pub profiler_config: Option<Value>,
    #[serde(default)]
    pub profiler_rule_configurations: Vec<Value>,
}

/// A rule's evaluation, as stored in the job's row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::sagemaker) struct RuleState {
    pub status: String,
    pub details: Option<String>,
    pub modified: Timestamp,
    /// RuleEvaluationJobArn: rules are processing jobs on SageMaker.
    pub arn: String,
}

/// RuleConfigurationName of a rule's configuration.
pub(super) fn rule_name(rule: &Value) -> &str {
    rule.get("RuleConfigurationName").and_then(Value::as_str).unwrap_or_default()
}

impl Wishes {
    fn rules(&self) -> impl Iterator<Item = &Value> {
        self.debug_rule_configurations.iter().chain(&self.profiler_rule_configurations)
    }

    fn profiles(&self) -> bool {
        let disabled = |config: &Value| config.get("DisableProfiler") == Some(&json!(true));
        !self.profiler_rule_configurations.is_empty()
            || self.profiler_config.as_ref().is_some_and(|config| !disabled(config))
    }

    /// Whether anybody is to look on.
    pub(super) fn any(&self) -> bool {
        self.profiles() || self.rules().next().is_some() || self.debug_hook_config.is_some()
    }

    /// Refuses what cannot be carried out, before anything is stored.
    pub(super) fn check(&self) -> Result<(), ServiceError> {
        let mut names = std::collections::BTreeSet::new();
        for rule in self.rules() {
            let name = rule_name(rule);
            // The name becomes a folder.
            if name.is_empty() || name.starts_with('.') || name.contains('/') {
                return Err(ServiceError::validation(format!(
                    "rule configuration name `{name}` cannot be used: it is to be a folder's name"
                )));
            }
            if !names.insert(name) {
                return Err(ServiceError::validation(format!(
                    "rule configuration name `{name}` is used twice"
                )));
            }
        }
        let uris = [&self.debug_hook_config, &self.profiler_config].into_iter().flatten();
        for uri in uris.filter_map(|c| c.get("S3OutputPath").and_then(Value::as_str)) {
            Location::parse(uri)?;
        }
        Ok(())
    }

    /// How the rules of a new job stand.
    pub(super) fn states(&self, context: &Context, job: &str) -> BTreeMap<String, RuleState> {
        self.rules()
            .map(|rule| {
                let name = rule_name(rule);
                let id: String =
                    uuid::Uuid::new_v4().simple().to_string().chars().take(8).collect();
                // Names of processing jobs have 63 characters at most.
                let short = |text: &str| text.chars().take(26).collect::<String>();
                let path = format!("processing-job/{}-{}-{id}", short(job), short(name));
                let state = RuleState {
                    status: "InProgress".to_owned(),
                    details: None,
                    modified: context.now,
                    arn: context.arn("sagemaker", &path.to_lowercase()),
                };
                (name.to_owned(), state)
            })
            .collect()
    }

    /// The files of `input/config` that the hooks of scripts and the native trainer read, in SageMaker's
    /// form. Rules of the native algorithm bring the collections that they look at; a script's hook saves
    /// what its definition lists, and everything where it lists nothing.
    pub(super) fn files(&self, native: bool) -> BTreeMap<String, Value> {
        let mut files = BTreeMap::new();
        let rules = !self.debug_rule_configurations.is_empty();
        let hook = self.debug_hook_config.clone();
        let lists =
            |hook: &Value| hook.get("CollectionConfigurations").is_some_and(Value::is_array);
        let all = rules && (native || !hook.as_ref().is_some_and(lists));
        if let Some(mut hook) = hook.or_else(|| rules.then(|| json!({}))) {
            if let Value::Object(hook) = &mut hook {
                hook.entry("LocalPath").or_insert(json!("/opt/ml/output/tensors"));
                let listed = hook.entry("CollectionConfigurations").or_insert_with(|| json!([]));
                if let (true, Value::Array(listed)) = (all, listed) {
                    for name in COLLECTIONS {
                        if !listed.iter().any(|c| c["CollectionName"] == *name) {
                            listed.push(json!({ "CollectionName": name }));
                        }
                    }
                }
            }
            files.insert("debughookconfig.json".to_owned(), hook);
        }
        if self.profiles() {
            let mut profiler = self.profiler_config.clone().unwrap_or_else(|| json!({}));
            if let Value::Object(profiler) = &mut profiler {
                profiler.entry("LocalPath").or_insert(json!("/opt/ml/output/profiler"));
            }
            files.insert("profilerconfig.json".to_owned(), profiler);
        }
        files
    }
}

/// An observer that runs.
#[derive(Debug)]
pub(super) struct Observer {
    process: Process,
    verdicts: JoinHandle<()>,
    ended: PathBuf,
    folder: PathBuf,
}

impl Observer {
    /// Starts one beside the instances of a job.
    pub(super) async fn start(
        inner: &Arc<Inner>,
        name: &str,
        request: &Request,
        training: &Training,
        folder: &Path,
    ) -> Result<Observer, String> {
        let wishes = &request.observation;
        let said = |e: std::io::Error| format!("the observer cannot be started: {e}");
        let ended = folder.join("ended.json");
        let rule_output = folder.join("rule-output");
        for old in [&ended, &rule_output] {
            let _ =
                if old.is_dir() { std::fs::remove_dir_all(old) } else { std::fs::remove_file(old) };
        }
        std::fs::create_dir_all(&rule_output).map_err(said)?;
        let instances = training
            .folders()
            .iter()
            .zip(training.process_groups())
            .map(|(folders, group)| (folders.host.clone(), *group))
            .collect();
        let shape = request
            .resource_config
            .instance_type
            .as_deref()
            .and_then(|name| kennel_hosting::instance_type::shape(name, inner.machine));
        let config = Config {
            job: name.to_owned(),
            instance_type: request.resource_config.instance_type.clone().unwrap_or_default(),
            started_ms: u64::try_from(inner.clock.now().0).unwrap_or_default(),
            instances,
            threads: shape.map_or(1, |shape| shape.threads as usize),
            debug_rules: wishes.debug_rule_configurations.clone(),
            profiler: wishes
                .profiles()
                .then(|| wishes.profiler_config.clone().unwrap_or_else(|| json!({}))),
            profiler_rules: wishes.profiler_rule_configurations.clone(),
            tensors: folder.join("tensors"),
            others: fetch_others(inner, request, folder).await?,
            profile: folder.join("profiler"),
            rule_output,
            ended: ended.clone(),
        };
        let path = folder.join("observer.json");
        let text = serde_json::to_vec(&config).map_err(|e| e.to_string())?;
        std::fs::write(&path, text).map_err(said)?;
        let mut command = Command::new([
            inner.kennel.display().to_string(),
            SUBCOMMAND.to_owned(),
            path.display().to_string(),
        ]);
        command.environment = inherited_environment();
        let spec = ProcessSpec { command, memory_limit: Some(MEMORY), ..ProcessSpec::default() };
        let (process, lines) = inner.launcher.spawn(spec).await.map_err(|e| e.to_string())?;
        let verdicts = tokio::spawn(follow(Arc::clone(inner), name.to_owned(), lines));
        Ok(Observer { process, verdicts, ended, folder: folder.to_owned() })
    }

    /// Tells the observer that the instances have ended, and waits for its last verdicts.
    pub(super) async fn finish(self, inner: &Arc<Inner>, name: &str, status: &str) {
        let ended = Ended {
            status: status.to_owned(),
            ended_ms: u64::try_from(inner.clock.now().0).unwrap_or_default(),
        };
        // Renamed into place: the observer looks for it while it is written.
        let aside = self.folder.join(".ended.json");
        let told = serde_json::to_vec(&ended)
            .map_err(std::io::Error::from)
            .and_then(|text| std::fs::write(&aside, text))
            .and_then(|()| std::fs::rename(&aside, &self.ended));
        if let Err(e) = told {
            tracing::warn!("the observer of training job `{name}` cannot be told its end: {e}");
            self.process.kill();
        }
        if tokio::time::timeout(LAST_WORK, self.process.wait()).await.is_err() {
            tracing::warn!("the observer of training job `{name}` took too long and is ended");
            self.process.kill();
        }
        let _ = self.verdicts.await;
    }
}

/// Writes the observer's verdicts into the job's row until it has ended.
async fn follow(inner: Arc<Inner>, name: String, mut lines: Lines) {
    while let Some(line) = lines.next().await {
        if line.stream != Stream::Stdout {
            tracing::warn!("observer of training job `{name}`: {}", line.text);
            continue;
        }
        let Ok(verdict) = serde_json::from_str::<RuleLine>(&line.text) else { continue };
        let now = inner.clock.now();
        let changed = inner
            .rows
            .change::<TrainingJob, ()>(&name, move |job| {
                if let Some(state) = job.rules.get_mut(&verdict.rule) {
                    state.status = verdict.status;
                    let details: String = verdict.details.chars().take(DETAILS).collect();
                    state.details = (!details.is_empty()).then_some(details);
                    state.modified = now;
                    job.modified = now;
                }
                if verdict.stop && job.status == Status::InProgress {
                    job.status = Status::Stopping;
                    let message =
                        format!("Stopping the training job: rule {} found an issue", verdict.rule);
                    job.enter("Stopping", &message, now);
                }
                Ok(())
            })
            .await;
        if let Err(e) = changed {
            tracing::error!("a verdict on training job `{name}` was lost: {e}");
        }
        inner.jobs_changed.notify_waiters();
    }
}

/// Ends what is still said to be in progress when nobody evaluates it any more.
pub(super) fn settle(job: &mut TrainingJob, now: Timestamp) {
    for state in job.rules.values_mut().filter(|state| state.status == "InProgress") {
        state.status = "Stopped".to_owned();
        state.details =
            Some("the training job ended before the rule had come to a result".to_owned());
        state.modified = now;
    }
}

/// The tensors of other runs that rules compare with (`other_trials`, s3:// prefixes).
async fn fetch_others(
    inner: &Arc<Inner>,
    request: &Request,
    folder: &Path,
) -> Result<Vec<PathBuf>, String> {
    let target = folder.join("others");
    let _ = std::fs::remove_dir_all(&target);
    let mut folders = Vec::new();
    for rule in &request.observation.debug_rule_configurations {
        let given = rule.get("RuleParameters").and_then(|p| p.get("other_trials"));
        for uri in given.and_then(Value::as_str).unwrap_or_default().split([',', ';']) {
            let uri = uri.trim();
            if uri.is_empty() {
                continue;
            }
            let location = Location::parse(uri).map_err(|e| e.message)?;
            let to = target.join(folders.len().to_string());
            inner
                .objects
                .of_role(&request.role_arn)
                .fetch_prefix(&location, &to, false)
                .await
                .map_err(|e| format!("ClientError: other_trials `{uri}`: {e}"))?;
            folders.push(to);
        }
    }
    Ok(folders)
}

/// Puts tensors, metrics and the rules' results where SageMaker puts them.
pub(super) async fn upload(
    inner: &Arc<Inner>,
    request: &Request,
    folder: &Path,
) -> Result<(), String> {
    let wishes = &request.observation;
    let output = request.output_data_config.path.as_str();
    let path = |config: &Option<Value>| {
        let given = config.as_ref().and_then(|c| c.get("S3OutputPath")).and_then(Value::as_str);
        given.unwrap_or(output).trim_end_matches('/').to_owned()
    };
    let parts = [
        ("tensors", path(&wishes.debug_hook_config), "debug-output"),
        ("profiler", path(&wishes.profiler_config), "profiler-output"),
        ("rule-output", output.trim_end_matches('/').to_owned(), "rule-output"),
    ];
    for (local, base, name) in parts {
        let local = folder.join(local);
        if !local.is_dir() {
            continue;
        }
        let uri = format!("{base}/{}/{name}", request.training_job_name);
        let location = Location::parse(&uri).map_err(|e| e.message)?;
        inner
            .objects
            .of_role(&request.role_arn)
            .put_folder(&location, &local, inner.clock.now())
            .await
            .map_err(|e| format!("ClientError: Artifact upload failed: `{uri}`: {e}"))?;
    }
    Ok(())
}
