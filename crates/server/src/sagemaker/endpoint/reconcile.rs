//! Makes endpoints happen: every row has one task, which brings up what the row wants, switches the
//! traffic over, and takes down what is no longer wanted. Rows are the truth; after a restart every
//! endpoint is brought up again from its row and the unpacked model beside it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kennel_wire::ServiceError;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::live::{LiveEndpoint, LiveVariant};
use super::{Deployment, Endpoint, Status};
use crate::sagemaker::Inner;
use crate::sagemaker::endpoint::instance;

/// How often a row is looked at when nobody says that it changed.
const PERIOD: Duration = Duration::from_secs(30);
/// Pause before an endpoint that could not be brought up after a restart is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Runs until `shutdown` turns true; instances are stopped then, rows stay.
pub(in crate::sagemaker) async fn run(inner: Arc<Inner>, mut shutdown: watch::Receiver<bool>) {
    remove_leftovers(&inner).await;
    let mut running = HashSet::new();
    let mut tasks = JoinSet::new();
    loop {
        let changed = inner.endpoints_changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        match inner.rows.all::<Endpoint>() {
            Ok(endpoints) => {
                for (name, _) in endpoints {
                    if running.insert(name.clone()) {
                        let (inner, shutdown) = (inner.clone(), shutdown.clone());
                        tasks.spawn(async move {
                            Manager { inner, name: name.clone(), serving: None }
                                .run(shutdown)
                                .await;
                            name
                        });
                    }
                }
            }
            Err(e) => tracing::error!("endpoints cannot be read: {e}"),
        }
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => break,
            () = changed => {}
            () = tokio::time::sleep(PERIOD) => {}
            Some(ended) = tasks.join_next() => match ended {
                Ok(name) => {
                    running.remove(&name);
                }
                Err(e) => {
                    tracing::error!("an endpoint's task ended badly: {e}");
                    tasks.shutdown().await;
                    running.clear();
                }
            },
        }
    }
    // Each task sees the shutdown too and drains its instances.
    while tasks.join_next().await.is_some() {}
}

/// Folders of endpoints that have no row any more.
async fn remove_leftovers(inner: &Inner) {
    let Ok(rows) = inner.rows.all::<Endpoint>() else { return };
    let names: HashSet<String> = rows.into_iter().map(|(name, _)| name).collect();
    let root = inner.data.join("endpoints");
    let Ok(mut folders) = tokio::fs::read_dir(&root).await else { return };
    while let Ok(Some(folder)) = folders.next_entry().await {
        let known = folder.file_name().to_str().is_some_and(|name| names.contains(name));
        if !known {
            remove(&folder.path()).await;
        }
    }
}

async fn remove(folder: &Path) {
    if let Err(e) = tokio::fs::remove_dir_all(folder).await
        && e.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!("`{}` cannot be removed: {e}", folder.display());
    }
}

/// What a task does next.
enum Next {
    Wait,
    WaitShort,
    Again,
    End,
}

struct Manager {
    inner: Arc<Inner>,
    name: String,
    serving: Option<Arc<LiveEndpoint>>,
}

impl Manager {
    async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        loop {
            let inner = self.inner.clone();
            let changed = inner.endpoints_changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let next = tokio::select! {
                next = self.step() => next,
                _ = shutdown.wait_for(|stop| *stop) => Ok(Next::Again),
            };
            if *shutdown.borrow() {
                self.inner.live.close(&self.name);
                if let Some(serving) = self.serving.take() {
                    drain(&serving).await;
                }
                return;
            }
            let pause = match next {
                Ok(Next::Again) => continue,
                Ok(Next::End) => return,
                Ok(Next::Wait) => PERIOD,
                Ok(Next::WaitShort) => RETRY,
                Err(e) => {
                    tracing::error!("endpoint `{}`: {e}", self.name);
                    RETRY
                }
            };
            tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => {}
                () = changed => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn step(&mut self) -> Result<Next, ServiceError> {
        let Some(row) = self.inner.rows.get::<Endpoint>(&self.name)? else {
            self.take_down().await;
            return Ok(Next::End);
        };
        if row.status == Status::Deleting {
            self.take_down().await;
            self.inner.rows.remove::<Endpoint>(&self.name, &row.arn).await?;
            return Ok(Next::End);
        }
        match (row.current, row.target, &self.serving) {
            // After a restart what served before comes first, also in the middle of an update.
            (Some(current), target, None) => self.restore(current, target.is_some()).await,
            (_, Some(target), _) => self.roll_out(target).await,
            (Some(current), None, Some(_)) => self.adjust(current, row.status).await,
            (None, None, _) => Ok(Next::Wait),
        }
    }

    /// Stops everything and removes the unpacked models.
    async fn take_down(&mut self) {
        self.inner.live.close(&self.name);
        if let Some(serving) = self.serving.take() {
            drain(&serving).await;
        }
        remove(&self.folder()).await;
    }

    /// Brings up a new deployment beside the old one and switches over when it is ready.
    async fn roll_out(&mut self, target: Deployment) -> Result<Next, ServiceError> {
        let number = target.number;
        // It may serve already, when only the row could not be written the last time.
        let brought = match self.serving.clone().filter(|live| live.deployment == number) {
            Some(live) => Ok(live),
            None => self.bring_up(&target).await,
        };
        match brought {
            Ok(live) => {
                self.inner.live.open(live.clone());
                let now = self.inner.clock.now();
                let stored = self
                    .inner
                    .rows
                    .change::<Endpoint, ()>(&self.name, move |endpoint| {
                        if endpoint.target.as_ref().is_some_and(|t| t.number == number) {
                            endpoint.current = endpoint.target.take();
                            endpoint.status = Status::InService;
                            endpoint.failure = None;
                            endpoint.modified = now;
                        }
                        Ok(())
                    })
                    .await;
                let old = self.serving.replace(live);
                if let Some(old) = old.filter(|old| old.deployment != number) {
                    drain(&old).await;
                    remove(&self.deployment_folder(old.deployment)).await;
                }
                stored.map(|_| Next::Again)
            }
            Err(reason) => {
                tracing::warn!("endpoint `{}`: {reason}", self.name);
                let now = self.inner.clock.now();
                let serves = self.serving.is_some();
                self.inner
                    .rows
                    .change::<Endpoint, ()>(&self.name, move |endpoint| {
                        endpoint.target = None;
                        // What served before goes on serving.
                        endpoint.status = if serves { Status::InService } else { Status::Failed };
                        endpoint.failure = Some(reason.chars().take(1024).collect());
                        endpoint.modified = now;
                        Ok(())
                    })
                    .await?;
                remove(&self.deployment_folder(number)).await;
                Ok(Next::Wait)
            }
        }
    }

    /// After a restart of the server: what served before serves again.
    async fn restore(&mut self, current: Deployment, updating: bool) -> Result<Next, ServiceError> {
        let (meanwhile, then) = match updating {
            true => (Status::Updating, Status::Updating),
            false => (Status::SystemUpdating, Status::InService),
        };
        self.set_status(meanwhile).await?;
        match self.bring_up(&current).await {
            Ok(live) => {
                self.inner.live.open(live.clone());
                self.serving = Some(live);
                self.set_status(then).await?;
                Ok(Next::Again)
            }
            Err(reason) => {
                tracing::error!("endpoint `{}` is not back yet: {reason}", self.name);
                Ok(Next::WaitShort)
            }
        }
    }

    /// Counts and weights of what serves.
    async fn adjust(&mut self, current: Deployment, status: Status) -> Result<Next, ServiceError> {
        let Some(serving) = self.serving.clone() else { return Ok(Next::Again) };
        let weights_changed = current.variants.iter().any(|wanted| {
            serving.variants.iter().any(|v| v.name == wanted.name && v.weight != wanted.weight)
        });
        if weights_changed {
            let variants = serving
                .variants
                .iter()
                .map(|v| {
                    let wanted = current.variants.iter().find(|wanted| wanted.name == v.name);
                    Arc::new(LiveVariant {
                        name: v.name.clone(),
                        weight: wanted.map_or(v.weight, |wanted| wanted.weight),
                        pool: v.pool.clone(),
                        load: v.load.clone(),
                    })
                })
                .collect();
            let live = Arc::new(LiveEndpoint {
                name: self.name.clone(),
                deployment: serving.deployment,
                variants,
                shadows: serving.shadows.clone(),
                capture: serving.capture.clone(),
            });
            self.inner.live.open(live.clone());
            self.serving = Some(live);
        }
        let mut settled = true;
        for wanted in &current.variants {
            let Some(live) = serving.variants.iter().find(|v| v.name == wanted.name) else {
                continue;
            };
            let count = usize::try_from(wanted.desired).unwrap_or(1);
            live.pool.scale(count);
            settled &= live.pool.status().ready == count;
        }
        if status != Status::Updating {
            return Ok(Next::Wait);
        }
        if settled {
            self.set_status(Status::InService).await?;
            return Ok(Next::Again);
        }
        // Until a pool changes; a newer row ends the wait as well.
        let mut watching = JoinSet::new();
        for variant in &serving.variants {
            let mut changes = variant.pool.watch();
            watching.spawn(async move {
                let _ = changes.changed().await;
            });
        }
        let inner = self.inner.clone();
        tokio::select! {
            _ = watching.join_next() => {}
            () = inner.endpoints_changed.notified() => {}
            () = tokio::time::sleep(PERIOD) => {}
        }
        Ok(Next::Again)
    }

    async fn set_status(&self, status: Status) -> Result<(), ServiceError> {
        let now = self.inner.clock.now();
        self.inner
            .rows
            .change::<Endpoint, ()>(&self.name, move |endpoint| {
                if endpoint.status != Status::Deleting && endpoint.status != status {
                    endpoint.status = status;
                    endpoint.modified = now;
                }
                Ok(())
            })
            .await
            .map(|_| ())
    }

    fn folder(&self) -> PathBuf {
        self.inner.data.join("endpoints").join(&self.name)
    }

    fn deployment_folder(&self, number: u64) -> PathBuf {
        self.folder().join(number.to_string())
    }

    /// All variants of a deployment, ready; or why not.
    async fn bring_up(&self, deployment: &Deployment) -> Result<Arc<LiveEndpoint>, String> {
        let folder = self.deployment_folder(deployment.number);
        let mut variants = Vec::new();
        for variant in &deployment.variants {
            let pool = instance::pool(&self.inner, &self.name, variant, &folder).await?;
            variants.push(Arc::new(LiveVariant {
                name: variant.name.clone(),
                weight: variant.weight,
                pool,
                load: Arc::default(),
            }));
        }
        let live = LiveEndpoint {
            name: self.name.clone(),
            deployment: deployment.number,
            variants,
            shadows: Vec::new(),
            capture: None,
        };
        for (variant, wanted) in live.variants.iter().zip(&deployment.variants) {
            let count = usize::try_from(wanted.desired).unwrap_or(1);
            if let Err(reason) = instance::wait_ready(&variant.pool, count).await {
                drain(&live).await;
                return Err(format!("variant {}: {reason}", variant.name));
            }
        }
        Ok(Arc::new(live))
    }
}

/// Lets requests in flight finish and stops the instances.
async fn drain(endpoint: &LiveEndpoint) {
    let mut draining = JoinSet::new();
    for variant in &endpoint.variants {
        let pool = variant.pool.clone();
        draining.spawn(async move { pool.shutdown().await });
    }
    while draining.join_next().await.is_some() {}
}
