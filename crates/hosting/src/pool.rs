//! The instances of one variant: as many as wanted, of the specification that is wanted, and the way of
//! a request to one of them.
//!
//! The pool is level-triggered: [`Pool::set`] says what should be, a background task compares it with
//! what is after every change, and nothing depends on how often either happened.

mod decide;
mod invoke;
#[cfg(test)]
mod tests;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::process::{Launcher, Usage};
use crate::server_instance::{
    Backend, Context, Instance, InstanceLine, InstanceSpec, State, Timings,
};
use decide::{Decision, Seen, decide};
pub use invoke::{InvokeError, InvokeTiming, RESPONSE_HEADERS, Request, Response};

/// Which of the ready instances gets a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Routing {
    /// The one with the fewest requests in flight; equals take turns.
    #[default]
    LeastOutstanding,
    /// Any.
    Random,
}

/// Options of a [`Pool`].
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// Starts the processes.
    pub launcher: Launcher,
    /// Which instance gets a request.
    pub routing: Routing,
    /// Requests in flight that an instance takes; more are refused at once.
    pub max_in_flight: usize,
    /// Bytes of a model's answer that are taken.
    pub max_response: usize,
    /// From the call to the whole answer, retry included; 60 s on SageMaker.
    pub deadline: std::time::Duration,
    /// How long things may take.
    pub timings: Timings,
    /// Where the instances' lines go. Lines that find it full are dropped and counted.
    pub logs: Option<mpsc::Sender<InstanceLine>>,
}

impl PoolOptions {
    /// The defaults with this launcher.
    pub fn new(launcher: Launcher) -> PoolOptions {
        PoolOptions {
            launcher,
            routing: Routing::default(),
            max_in_flight: 64,
            max_response: 32 << 20,
            deadline: std::time::Duration::from_secs(60),
            timings: Timings::default(),
            logs: None,
        }
    }
}

/// What a pool is and should be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PoolStatus {
    /// Generation of the specification that is wanted.
    pub generation: u64,
    /// Instances that are wanted.
    pub desired: usize,
    /// Ready instances of the wanted generation.
    pub ready: usize,
    /// Instances of the wanted generation that are not ready.
    pub starting: usize,
    /// Instances that are out of service and finish their requests.
    pub draining: usize,
    /// Generation that requests go to.
    pub serving: Option<u64>,
    /// Why an instance of the wanted generation is not ready, where one has failed.
    pub failing: Option<String>,
    /// The most often that an instance of the wanted generation failed since it was last ready.
    pub failures: u32,
    /// Every instance, except for those that drain.
    pub instances: Vec<InstanceStatus>,
}

impl PoolStatus {
    /// All wanted instances of the wanted specification are ready and requests go to them.
    pub fn settled(&self) -> bool {
        self.serving == Some(self.generation) && self.ready == self.desired && self.draining == 0
    }
}

/// One instance of a pool.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceStatus {
    /// Its number; numbers are never given twice by a pool.
    pub number: u64,
    /// Generation of its specification.
    pub generation: u64,
    /// Passes its health checks.
    pub ready: bool,
    /// Requests in flight.
    pub in_flight: usize,
    /// Process id while it runs.
    pub pid: Option<i32>,
    /// Port while it is ready.
    pub port: Option<u16>,
    /// What its process uses; begins anew with each restart.
    pub usage: Usage,
    /// Why its last life ended, until it has been ready again.
    pub failure: Option<String>,
}

/// What should be.
#[derive(Debug, Clone, Default)]
struct Target {
    generation: u64,
    spec: Option<Arc<InstanceSpec>>,
    count: usize,
}

/// A handle; clones are cheap. When the last one is gone the instances are killed.
#[derive(Debug, Clone)]
pub struct Pool {
    options: Arc<PoolOptions>,
    target: Arc<watch::Sender<Target>>,
    view: Arc<View>,
    status: watch::Receiver<PoolStatus>,
}

/// What the background task shows to the handles.
#[derive(Debug, Default)]
struct View {
    /// Ready instances that requests go to.
    route: RwLock<Arc<Vec<Routed>>>,
    /// Counts requests, for taking turns.
    turn: AtomicU64,
    seen: Mutex<Shown>,
}

#[derive(Debug, Clone)]
struct Routed {
    number: u64,
    backend: Arc<Backend>,
}

#[derive(Debug, Default)]
struct Shown {
    target: Target,
    serving: Option<u64>,
    draining: usize,
    instances: Vec<(u64, u64, watch::Receiver<State>)>,
}

impl Pool {
    /// A pool without instances. To be called within a tokio runtime.
    pub fn new(options: PoolOptions) -> Pool {
        let options = Arc::new(options);
        let view = Arc::new(View::default());
        let (target, wanted) = watch::channel(Target::default());
        let (sender, status) = watch::channel(PoolStatus::default());
        let reconciler = Reconciler {
            options: Arc::clone(&options),
            view: Arc::clone(&view),
            wanted,
            status: sender,
            changed: Arc::new(Notify::new()),
            instances: Vec::new(),
            draining: JoinSet::new(),
            serving: None,
            next_number: 1,
        };
        tokio::spawn(reconciler.run());
        Pool { options, target: Arc::new(target), view, status }
    }

    /// Says what should be: so many instances of this specification. Another `generation` than before
    /// means another specification: instances of it are started beside the old ones, which serve until
    /// all new ones are ready. With the same generation only the count counts.
    pub fn set(&self, generation: u64, spec: InstanceSpec, count: usize) {
        self.target.send_modify(|target| {
            if target.generation != generation || target.spec.is_none() {
                target.spec = Some(Arc::new(spec));
                target.generation = generation;
            }
            target.count = count;
        });
    }

    /// Says how many instances of the present specification there should be.
    pub fn scale(&self, count: usize) {
        self.target.send_modify(|target| target.count = count);
    }

    /// Where the pool stands, measured now.
    pub fn status(&self) -> PoolStatus {
        self.view.status()
    }

    /// How long an invocation may take.
    pub fn deadline(&self) -> std::time::Duration {
        self.options.deadline
    }

    /// Are both handles of one pool?
    pub fn same(&self, other: &Pool) -> bool {
        Arc::ptr_eq(&self.view, &other.view)
    }

    /// Instances that requests go to now; as cheap as a lock.
    pub fn routed(&self) -> usize {
        self.view.route.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Ready instances, those being started, and those wanted, of the wanted specification: what
    /// [`Pool::status`] says, for who asks many times a second.
    pub fn counts(&self) -> (usize, usize, usize) {
        let shown = self.view.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = shown.target.generation;
        let ours = shown.instances.iter().filter(|(_, of, _)| *of == generation);
        let (mut ready, mut starting) = (0, 0);
        for (_, _, state) in ours {
            match state.borrow().backend.is_some() {
                true => ready += 1,
                false => starting += 1,
            }
        }
        (ready, starting, self.target.borrow().count)
    }

    /// Where the pool stands, after every change. Figures that change all the time (use of the machine,
    /// requests in flight) are those of the last change.
    pub fn watch(&self) -> watch::Receiver<PoolStatus> {
        self.status.clone()
    }

    /// Takes all instances out of service, lets them finish, and waits for their end.
    pub async fn shutdown(&self) {
        self.scale(0);
        let mut status = self.status.clone();
        let ended = |status: &PoolStatus| {
            status.desired == 0 && status.instances.is_empty() && status.draining == 0
        };
        // An error means that the background task is gone, and the instances with it.
        let _ = status.wait_for(ended).await;
    }
}

impl View {
    fn route(&self) -> Arc<Vec<Routed>> {
        Arc::clone(&self.route.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn status(&self) -> PoolStatus {
        let shown = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut status = PoolStatus {
            generation: shown.target.generation,
            desired: shown.target.count,
            serving: shown.serving,
            draining: shown.draining,
            ..PoolStatus::default()
        };
        for (number, generation, state) in &shown.instances {
            let state = state.borrow().clone();
            let ready = state.backend.is_some();
            if *generation == shown.target.generation {
                if ready {
                    status.ready += 1;
                } else {
                    status.starting += 1;
                }
                status.failures = status.failures.max(state.failures);
                if status.failing.is_none() {
                    status.failing.clone_from(&state.failure);
                }
            }
            status.instances.push(InstanceStatus {
                number: *number,
                generation: *generation,
                ready,
                in_flight: state.backend.as_ref().map_or(0, |backend| backend.load()),
                pid: state.process.upgrade().map(|process| process.identity().pid),
                port: state.backend.as_ref().map(|backend| backend.port()),
                usage: state.usage(),
                failure: state.failure,
            });
        }
        status
    }
}

/// The background task.
struct Reconciler {
    options: Arc<PoolOptions>,
    view: Arc<View>,
    wanted: watch::Receiver<Target>,
    status: watch::Sender<PoolStatus>,
    changed: Arc<Notify>,
    instances: Vec<Instance>,
    draining: JoinSet<()>,
    serving: Option<u64>,
    next_number: u64,
}

impl Reconciler {
    async fn run(mut self) {
        loop {
            tokio::select! {
                wanted = self.wanted.changed() => {
                    if wanted.is_err() {
                        // The last handle is gone. Dropping the instances kills them.
                        break;
                    }
                }
                () = self.changed.notified() => {}
                Some(_) = self.draining.join_next() => {}
            }
            self.reconcile();
        }
    }

    fn reconcile(&mut self) {
        let target = self.wanted.borrow_and_update().clone();
        let backends: Vec<Option<Arc<Backend>>> =
            self.instances.iter().map(|instance| instance.state.borrow().backend.clone()).collect();
        let seen: Vec<Seen> = self
            .instances
            .iter()
            .zip(&backends)
            .map(|(instance, backend)| Seen {
                generation: instance.generation,
                number: instance.number,
                ready: backend.is_some(),
                load: backend.as_ref().map_or(0, |backend| backend.load()),
            })
            .collect();
        let Decision { start, stop, route, serving } =
            decide(&seen, target.generation, target.count, self.serving);
        self.serving = serving;
        let routed: Vec<Routed> = self
            .instances
            .iter()
            .zip(backends)
            .filter(|(instance, _)| route.contains(&instance.number))
            .filter_map(|(instance, backend)| {
                Some(Routed { number: instance.number, backend: backend? })
            })
            .collect();
        // INVARIANT: requests stop going to an instance before it is told to stop.
        *self.view.route.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(routed);
        let (stopped, kept) = std::mem::take(&mut self.instances)
            .into_iter()
            .partition(|instance| stop.contains(&instance.number));
        self.instances = kept;
        for instance in stopped {
            self.draining.spawn(instance.drain());
        }
        if let Some(spec) = &target.spec {
            for _ in 0..start {
                self.instances.push(Instance::start(Context {
                    launcher: self.options.launcher.clone(),
                    spec: Arc::clone(spec),
                    timings: self.options.timings.clone(),
                    logs: self.options.logs.clone(),
                    number: self.next_number,
                    generation: target.generation,
                    changed: Arc::clone(&self.changed),
                }));
                self.next_number += 1;
            }
        }
        *self.view.seen.lock().unwrap_or_else(PoisonError::into_inner) = Shown {
            target,
            serving: self.serving,
            draining: self.draining.len(),
            instances: self
                .instances
                .iter()
                .map(|i| (i.number, i.generation, i.state.clone()))
                .collect(),
        };
        self.status.send_replace(self.view.status());
    }
}
