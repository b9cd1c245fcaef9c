//! Makes endpoints happen: every row has one task, which brings up what the row wants, deploys what is to
//! serve next (`deploy`), and takes down what is no longer wanted. Rows are the truth; after a restart every
//! endpoint is brought up again from its row and the unpacked model beside it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kennel_wire::ServiceError;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::deploy::TICK;
use super::live::{LiveEndpoint, LiveVariant};
use super::{Deployment, Endpoint, Status, Stuck, fleet, instance};
use crate::sagemaker::Inner;

/// How often a row is looked at when nobody says that it changed.
const PERIOD: Duration = Duration::from_secs(30);
/// How often two fleets are looked at that serve side by side since a rollback failed.
const LOOK: Duration = Duration::from_secs(1);
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
                            Manager::new(inner, name.clone()).run(shutdown).await;
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

pub(super) async fn remove(folder: &Path) {
    if let Err(e) = tokio::fs::remove_dir_all(folder).await
        && e.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!("`{}` cannot be removed: {e}", folder.display());
    }
}

/// What a task does next.
pub(super) enum Next {
    Wait,
    WaitShort,
    Again,
    End,
}

/// Makes one endpoint like its row.
pub(super) struct Manager {
    pub(super) inner: Arc<Inner>,
    pub(super) name: String,
    /// What serves.
    pub(super) serving: Option<Arc<LiveEndpoint>>,
    /// What is to serve next, while it is deployed.
    pub(super) arriving: Option<Arc<LiveEndpoint>>,
    /// What serves beside it since a rollback failed.
    pub(super) second: Option<Arc<LiveEndpoint>>,
    /// Nothing was done yet since the server started.
    pub(super) fresh: bool,
    /// Fleets that finish their requests and stop.
    leaving: JoinSet<()>,
}

impl Manager {
    fn new(inner: Arc<Inner>, name: String) -> Manager {
        Manager {
            inner,
            name,
            serving: None,
            arriving: None,
            second: None,
            fresh: true,
            leaving: JoinSet::new(),
        }
    }

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
                self.stop().await;
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
        while self.leaving.try_join_next().is_some() {}
        let Some(row) = self.inner.rows.get::<Endpoint>(&self.name)? else {
            self.take_down().await;
            return Ok(Next::End);
        };
        if row.status == Status::Deleting {
            self.take_down().await;
            self.inner.rows.remove::<Endpoint>(&self.name, &row.arn).await?;
            return Ok(Next::End);
        }
        if let Some(target) = row.target.clone() {
            return self.deploy(&row, target).await;
        }
        self.fresh = false;
        match (row.current, row.stuck, &self.serving) {
            (Some(current), Some(stuck), _) => self.keep_both(&current, &stuck).await,
            (Some(current), None, None) => self.restore(current).await,
            (Some(current), None, Some(_)) => self.adjust(current, row.status).await,
            (None, ..) => Ok(Next::Wait),
        }
    }

    /// Takes the endpoint out of service and stops its instances.
    async fn stop(&mut self) {
        self.inner.live.close(&self.name);
        for fleet in [self.serving.take(), self.arriving.take(), self.second.take()] {
            self.release(fleet);
        }
        while self.leaving.join_next().await.is_some() {}
    }

    /// Stops everything and removes the unpacked models.
    async fn take_down(&mut self) {
        self.stop().await;
        remove(&self.folder()).await;
    }

    /// Lets a fleet go that gets no requests any more.
    fn release(&mut self, fleet: Option<Arc<LiveEndpoint>>) {
        if let Some(fleet) = fleet {
            self.leaving.spawn(fleet::drain(fleet));
        }
    }

    /// Lets a fleet go for good, with its models.
    pub(super) fn retire(&mut self, fleet: Option<Arc<LiveEndpoint>>) {
        if let Some(fleet) = fleet {
            let folder = self.deployment_folder(fleet.deployment);
            self.leaving.spawn(async move {
                fleet::drain(fleet).await;
                remove(&folder).await;
            });
        }
    }

    /// After a restart of the server: what served before serves again.
    async fn restore(&mut self, current: Deployment) -> Result<Next, ServiceError> {
        self.set_status(Status::SystemUpdating).await?;
        match self.bring_up(&current).await {
            Ok(live) => {
                self.inner.live.open(&self.name, vec![(live.clone(), 1.0)]);
                self.serving = Some(live);
                self.set_status(Status::InService).await?;
                Ok(Next::Again)
            }
            Err(reason) => {
                tracing::error!("endpoint `{}` is not back yet: {reason}", self.name);
                Ok(Next::WaitShort)
            }
        }
    }

    /// Two fleets serve, as they did when the rollback failed.
    async fn keep_both(
        &mut self,
        current: &Deployment,
        stuck: &Stuck,
    ) -> Result<Next, ServiceError> {
        let serving = stuck.serving;
        if self.serving.is_none() {
            self.serving = self.started(current, serving.old).await;
        }
        if self.second.is_none() {
            self.second = self.started(&stuck.deployment, serving.new).await;
        }
        self.route_both(current, stuck, None);
        self.pause(LOOK).await;
        Ok(Next::Again)
    }

    pub(super) async fn started(
        &self,
        deployment: &Deployment,
        count: u32,
    ) -> Option<Arc<LiveEndpoint>> {
        let folder = self.deployment_folder(deployment.number);
        match fleet::start(&self.inner, &self.name, deployment, count, &folder).await {
            Ok(fleet) => Some(fleet),
            Err(reason) => {
                tracing::error!("endpoint `{}` is not back yet: {reason}", self.name);
                None
            }
        }
    }

    /// Counts and weights of what serves.
    async fn adjust(&mut self, current: Deployment, status: Status) -> Result<Next, ServiceError> {
        let Some(serving) = self.serving.clone() else { return Ok(Next::Again) };
        let all = || current.variants.iter().chain(&current.shadows);
        let weight = |name: &str| all().find(|wanted| wanted.name == name).map(|v| v.weight);
        if serving.all().any(|v| weight(&v.name).is_some_and(|weight| weight != v.weight)) {
            let weighed = |variants: &[Arc<LiveVariant>]| {
                let with = |v: &Arc<LiveVariant>| {
                    Arc::new(LiveVariant {
                        name: v.name.clone(),
                        weight: weight(&v.name).unwrap_or(v.weight),
                        pool: v.pool.clone(),
                        load: v.load.clone(),
                    })
                };
                variants.iter().map(with).collect()
            };
            let live = Arc::new(LiveEndpoint {
                name: self.name.clone(),
                config: serving.config.clone(),
                deployment: serving.deployment,
                variants: weighed(&serving.variants),
                shadows: weighed(&serving.shadows),
                capture: serving.capture.clone(),
                users: serving.users.clone(),
            });
            self.inner.live.open(&self.name, vec![(live.clone(), 1.0)]);
            self.serving = Some(live);
        }
        let count = current.instances();
        fleet::resize(&serving, &current, count);
        if status != Status::Updating {
            return Ok(Next::Wait);
        }
        if fleet::state(&serving, &current, count).ready {
            self.set_status(Status::InService).await?;
            return Ok(Next::Again);
        }
        self.pause(TICK).await;
        Ok(Next::Again)
    }

    /// Until something changes at the fleets or at a row, or the time is over.
    pub(super) async fn pause(&self, most: Duration) {
        let fleets: Vec<Arc<LiveEndpoint>> =
            self.serving.iter().chain(&self.arriving).cloned().collect();
        tokio::select! {
            () = fleet::changed(&fleets) => {}
            () = self.inner.endpoints_changed.notified() => {}
            () = tokio::time::sleep(most) => {}
        }
    }

    pub(super) async fn set_status(&self, status: Status) -> Result<(), ServiceError> {
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

    pub(super) fn deployment_folder(&self, number: u64) -> PathBuf {
        self.folder().join(number.to_string())
    }

    /// All variants of a deployment, ready; or why not.
    async fn bring_up(&self, deployment: &Deployment) -> Result<Arc<LiveEndpoint>, String> {
        let folder = self.deployment_folder(deployment.number);
        let instances = deployment.instances();
        let live = fleet::start(&self.inner, &self.name, deployment, instances, &folder).await?;
        let all = deployment.variants.iter().chain(&deployment.shadows);
        let mut failed = None;
        for (variant, wanted) in live.all().zip(all).filter(|(_, wanted)| wanted.desired > 0) {
            let count = usize::try_from(wanted.desired).unwrap_or(usize::MAX);
            if let Err(reason) = instance::wait_ready(&variant.pool, count).await {
                failed = Some(format!("variant {}: {reason}", variant.name));
                break;
            }
        }
        match failed {
            None => Ok(live),
            Some(reason) => {
                fleet::drain(live).await;
                Err(reason)
            }
        }
    }
}
