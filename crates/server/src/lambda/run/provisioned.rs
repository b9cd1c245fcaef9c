//! Keeps provisioned environments: as many of each configuration as its row asks for, made again when they
//! end. Level-triggered: what is to be done follows from the rows and from what there is.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use kennel_hosting::function::InitError;
use kennel_wire::ServiceError;
use tokio::sync::watch;

use super::environment::{Begin, NotStarted, Target, Warm};
use super::live::Wanted;
use crate::lambda::Lambda;
use crate::lambda::facts::Allocation;
use crate::lambda::rows;

/// How often idle environments are looked at.
const TIDY: Duration = Duration::from_secs(10);

impl Lambda {
    /// Takes over the concurrency settings, if they have changed. Calls read them first, so that a setting holds
    /// from its own answer on.
    pub(in crate::lambda) fn refresh(&self) -> Result<(), ServiceError> {
        // Whoever comes while settings are taken over waits for them.
        let _turn = self.inner.live.turn();
        if !self.inner.live.take_stale() {
            return Ok(());
        }
        let read = || {
            let reserved: BTreeMap<String, u32> = self.all_reserved()?.into_iter().collect();
            let mut provisioned = BTreeMap::new();
            for found in self.all_provisioned()? {
                // An alias or version that has just been deleted takes its configuration along.
                let resolved = self.resolve(&found.function, Some(&found.qualifier));
                let Ok(resolved) = resolved else { continue };
                let target = Arc::new(Target::of(&resolved.version));
                let wanted = Wanted { target, requested: found.row.requested };
                provisioned.insert((found.function, found.qualifier), wanted);
            }
            Ok((reserved, provisioned))
        };
        let (reserved, provisioned) =
            read().inspect_err(|_: &ServiceError| self.inner.live.changed())?;
        self.inner.live.settings(&reserved, &provisioned);
        Ok(())
    }

    /// Says in the rows how far provisioned concurrency is.
    async fn tell(&self) {
        let Ok(all) = self.all_provisioned() else { return };
        for of in all {
            let Some(state) = self.inner.live.provisioned(&of.function, &of.qualifier) else {
                continue;
            };
            let allocation = Allocation { allocated: state.allocated, available: state.available };
            let told = self.set_allocation(&of, allocation, state.status, state.reason).await;
            if let Err(e) = told {
                tracing::warn!("`{}`: provisioned concurrency: {e}", of.function);
            }
        }
    }

    /// Until told to stop.
    pub(super) async fn keep_provisioned(&self, mut shutdown: watch::Receiver<bool>) {
        loop {
            let failed = tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => return,
                failed = self.provide_all() => failed,
            };
            tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => return,
                () = self.inner.live.provision.notified() => {}
                // The platform failed, not the function: the next try is in a while.
                () = tokio::time::sleep(TIDY), if failed => {}
            }
        }
    }

    /// Makes what lacks, two at a time; true where something is to be tried again without a change.
    async fn provide_all(&self) -> bool {
        if let Err(e) = self.refresh() {
            tracing::warn!("provisioned concurrency cannot be read: {e}");
            return true;
        }
        loop {
            self.tell().await;
            let Some((key, wanted, lacking)) = self.inner.live.lacking().into_iter().next() else {
                return false;
            };
            let begin = || {
                let limit = None;
                self.begin(&wanted.target, Begin { kind: "provisioned-concurrency", limit })
            };
            let made = if lacking > 1 {
                let (one, two) = tokio::join!(begin(), begin());
                vec![one, two]
            } else {
                vec![begin().await]
            };
            for warm in made {
                let now = self.inner.clock.now();
                match warm {
                    Ok(warm) => self.inner.live.provide(&key, warm, now),
                    Err(NotStarted::Init { error, output, log }) => {
                        let mut lines: Vec<String> =
                            output.into_iter().map(|line| line.text).collect();
                        lines.push(format!("INIT_REPORT\tPhase: init\tStatus: error\t{error}"));
                        log.write(self, &lines).await;
                        self.inner.live.fail(&key, &wanted, reason(&error));
                    }
                    Err(NotStarted::Service(error)) => {
                        tracing::warn!("`{}`: no provisioned environment: {error}", key.0);
                        self.inner.live.fail(&key, &wanted, error.message);
                    }
                }
            }
        }
    }

    /// Ends environments that nobody needs, until told to stop.
    pub(super) async fn tidy(&self, mut shutdown: watch::Receiver<bool>) {
        loop {
            // Where the database cannot answer, nothing is forgotten.
            if let Ok(rows) = self.read(rows::functions) {
                let functions: HashSet<String> = rows.into_iter().map(|row| row.name).collect();
                let now = self.inner.clock.now();
                let exists = |warm: &Warm| functions.contains(&warm.function);
                self.inner.live.sweep(exists, now);
                self.inner.live.forget(|function| !functions.contains(function));
            }
            tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => return,
                () = self.inner.live.tidy.notified() => {}
                () = tokio::time::sleep(TIDY) => {}
            }
        }
    }
}

/// AWS's word for an environment that does not begin.
fn reason(error: &InitError) -> String {
    match error {
        InitError::TimedOut { .. } => {
            "FUNCTION_ERROR_INIT_TIMEOUT: the function's initialization timed out".to_owned()
        }
        other => format!("FUNCTION_ERROR_INIT_FAILURE: {other}"),
    }
}
