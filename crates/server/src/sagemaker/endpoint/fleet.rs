//! A fleet is the instances of one deployment: brought up, resized, and taken down without losing a
//! request.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kennel_hosting::pool::Pool;
use tokio::task::JoinSet;

use super::capture::Capture;
use super::live::{LiveEndpoint, LiveVariant};
use super::plan::Fleet;
use super::{Deployment, Variant, instance};
use crate::sagemaker::Inner;

/// Times that an instance may fail before its fleet is called failed.
const FAILURES: u32 = 3;
/// Longest wait for requests that were given to a fleet and have no instance yet. Those that have one are
/// the pool's, which lets them finish.
const ON_THE_WAY: Duration = Duration::from_secs(2);
/// How often one looks whether a fleet is still in use.
const LOOK: Duration = Duration::from_millis(20);

/// Starts the instances of a deployment, as many of each variant as it wants, or `instances` where that
/// says otherwise (a deployment that rolls has one variant). They are not ready yet. `folder` is the
/// deployment's own.
pub(super) async fn start(
    inner: &Arc<Inner>,
    name: &str,
    deployment: &Deployment,
    instances: u32,
    folder: &Path,
) -> Result<Arc<LiveEndpoint>, String> {
    let bring_up = async |list: &[Variant]| -> Result<Vec<Arc<LiveVariant>>, String> {
        let mut variants = Vec::new();
        for variant in list {
            let desired = count(deployment, variant, instances);
            let sized = Variant { desired, ..variant.clone() };
            let pool = instance::pool(inner, name, &sized, folder).await?;
            variants.push(Arc::new(LiveVariant {
                name: variant.name.clone(),
                weight: variant.weight,
                pool,
                load: Arc::default(),
            }));
        }
        Ok(variants)
    };
    let variants = bring_up(&deployment.variants).await?;
    let shadows = bring_up(&deployment.shadows).await?;
    let capture = deployment.capture.as_ref().filter(|capture| capture.enable_capture);
    Ok(Arc::new(LiveEndpoint {
        name: name.to_owned(),
        config: deployment.config.clone(),
        deployment: deployment.number,
        variants,
        shadows,
        capture: capture.map(|capture| Capture::new(inner, name, capture)),
        users: Arc::new(()),
    }))
}

/// Instances of a variant when the deployment's production variants have `instances` together: only a
/// fleet of one variant is ever asked for another number than it wants.
fn count(deployment: &Deployment, variant: &Variant, instances: u32) -> u32 {
    match deployment.variants.as_slice() {
        [only] if only.name == variant.name => instances,
        _ => variant.desired,
    }
}

/// Says how many instances a fleet is to have. A variant that sleeps goes on sleeping.
pub(super) fn resize(fleet: &LiveEndpoint, deployment: &Deployment, instances: u32) {
    for (live, wanted) in each(fleet, deployment, instances) {
        live.pool.scale(wanted);
    }
}

/// The variants of a fleet with the instances that they are to have.
fn each<'a>(
    fleet: &'a LiveEndpoint,
    deployment: &'a Deployment,
    instances: u32,
) -> impl Iterator<Item = (&'a LiveVariant, usize)> {
    let all = deployment.variants.iter().chain(&deployment.shadows);
    all.filter_map(move |variant| {
        let live = fleet.all().find(|live| live.name == variant.name)?;
        let wanted = match live.load.asleep() {
            true => 0,
            false => count(deployment, variant, instances),
        };
        Some((live.as_ref(), usize::try_from(wanted).unwrap_or(usize::MAX)))
    })
}

/// Where a fleet stands.
pub(super) fn state(fleet: &LiveEndpoint, deployment: &Deployment, instances: u32) -> Fleet {
    let mut state = Fleet { ready: true, failed: None };
    for (live, wanted) in each(fleet, deployment, instances) {
        let status = live.pool.status();
        state.ready &= status.ready >= wanted;
        if status.ready < wanted && status.failures >= FAILURES && state.failed.is_none() {
            let reason = status.failing.unwrap_or_else(|| "the instance ended".to_owned());
            state.failed = Some(format!(
                "variant {}: the instance did not pass its health check: {reason}",
                live.name
            ));
        }
    }
    state
}

/// Whether every production variant has somebody who could answer, or waits for requests with none.
pub(super) fn answers(fleet: &LiveEndpoint, deployment: &Deployment, instances: u32) -> bool {
    each(fleet, deployment, instances)
        .filter(|(live, _)| deployment.variants.iter().any(|v| v.name == live.name))
        .all(|(live, wanted)| wanted == 0 || live.pool.status().ready > 0)
}

/// Returns when something changes at one of the pools.
pub(super) async fn changed(fleets: &[Arc<LiveEndpoint>]) {
    let mut watching = JoinSet::new();
    for variant in fleets.iter().flat_map(|fleet| fleet.all()) {
        let mut changes = variant.pool.watch();
        changes.mark_unchanged();
        watching.spawn(async move { changes.changed().await.is_ok() });
    }
    while let Some(ended) = watching.join_next().await {
        if matches!(ended, Ok(true)) {
            return;
        }
    }
    std::future::pending().await
}

/// Takes a fleet down that gets no requests any more: waits for those on their way to it, lets those in
/// flight finish, and stops the instances.
pub(super) async fn drain(fleet: Arc<LiveEndpoint>) {
    let users = fleet.users.clone();
    let pools: Vec<Pool> = fleet.all().map(|variant| variant.pool.clone()).collect();
    drop(fleet);
    // INVARIANT: who was given the fleet holds it until he has his answer.
    let unused = async {
        while Arc::strong_count(&users) > 1 {
            tokio::time::sleep(LOOK).await;
        }
    };
    let _ = tokio::time::timeout(ON_THE_WAY, unused).await;
    let mut draining = JoinSet::new();
    for pool in pools {
        draining.spawn(async move { pool.shutdown().await });
    }
    while draining.join_next().await.is_some() {}
}
