//! Makes training jobs happen: every row that is not final has one task. Rows are the truth: a task
//! that finds its row changed acts on it, and after a restart every unfinished row gets a task again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::TrainingJob;
use super::run::run_job;
use crate::sagemaker::Inner;

/// How often rows are looked at when nobody says that they changed.
const PERIOD: Duration = Duration::from_secs(30);
/// Pause after a task ended badly.
const AFTER_A_BUG: Duration = Duration::from_secs(1);
/// Jobs that have instances at the same time; more wait in Starting. On one machine they share its
/// cores anyway.
const JOBS: usize = 8;

/// Runs until `shutdown` turns true. Instances are killed then; their jobs' rows stay unfinished, and
/// the next start runs them again.
pub(in crate::sagemaker) async fn run(inner: Arc<Inner>, mut shutdown: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(JOBS));
    let mut running = HashSet::new();
    let mut tasks = JoinSet::new();
    loop {
        // Before reading, so that a change while reading is not missed.
        let changed = inner.jobs_changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        match inner.rows.all::<TrainingJob>() {
            Ok(jobs) => {
                for (name, job) in jobs {
                    if !job.status.is_final() && running.insert(name.clone()) {
                        let (inner, places) = (inner.clone(), places.clone());
                        tasks.spawn(async move {
                            run_job(&inner, &name, &places).await;
                            name
                        });
                    }
                }
            }
            Err(e) => tracing::error!("training jobs cannot be read: {e}"),
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
                    // A bug. Which job it was is not known: all are taken up again, from their rows, and
                    // not at once, since the bug may strike again.
                    tracing::error!("a training job's task ended badly: {e}");
                    tasks.shutdown().await;
                    running.clear();
                    tokio::time::sleep(AFTER_A_BUG).await;
                }
            },
        }
    }
    tasks.shutdown().await;
}
