//! Who runs, and which environments wait: the part of the dispatcher that is in memory only.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kennel_scaling::concurrency::{Kind, Ledger, Limits, Throttle, Ticket};
use tokio::sync::{Notify, OnceCell};

use super::environment::{Target, Warm};
use crate::context::Timestamp;
use crate::lambda::rows::ProvisionedStatus;

/// How long an on-demand environment waits for its next invocation; AWS says minutes.
const IDLE: Duration = Duration::from_secs(300);
/// On-demand environments that wait at most, of all functions; the one that has waited longest goes first.
const MOST_IDLE: usize = 128;

/// A provisioned configuration as it is to be.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::lambda) struct Wanted {
    /// The version that the qualifier means now.
    pub(super) target: Arc<Target>,
    pub(super) requested: u32,
}

/// A provisioned configuration as it is.
#[derive(Debug, Default)]
struct Provisioned {
    wanted: Option<Wanted>,
    idle: Vec<Warm>,
    /// Environments of the wanted version that are in use.
    busy: usize,
    failed: Option<String>,
}

impl Provisioned {
    fn allocated(&self) -> usize {
        self.idle.len() + self.busy
    }
}

/// What GetProvisionedConcurrencyConfig says of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::lambda) struct ProvisionedState {
    /// Environments that are there.
    pub(in crate::lambda) allocated: u32,
    /// Those that are not in use.
    pub(in crate::lambda) available: u32,
    pub(in crate::lambda) status: ProvisionedStatus,
    /// Why it failed.
    pub(in crate::lambda) reason: Option<String>,
}

#[derive(Debug)]
struct State {
    ledger: Ledger,
    /// On-demand environments by function and version, the one used last at the end.
    idle: HashMap<(String, String), Vec<Warm>>,
    /// By function and qualifier.
    provisioned: BTreeMap<(String, String), Provisioned>,
    closed: bool,
}

/// The dispatcher's memory.
#[derive(Debug)]
pub(in crate::lambda) struct Live {
    state: Mutex<State>,
    /// Whether environments can have a view of their own of the file system.
    pub(super) mounts: OnceCell<bool>,
    /// Settings in the rows are newer than the ledger's.
    stale: AtomicBool,
    /// Held while they are.
    taking_over: Mutex<()>,
    /// Wakes who keeps provisioned environments and who tidies up.
    pub(super) provision: Notify,
    pub(super) tidy: Notify,
    /// Wakes who works the queue.
    pub(super) queue: Notify,
}

/// The right to run one invocation; given back when it is dropped.
#[derive(Debug)]
pub(in crate::lambda) struct Lease {
    live: Arc<Live>,
    ticket: Option<Ticket>,
}

impl Lease {
    /// The provisioned configuration that the invocation runs in.
    pub(in crate::lambda) fn provisioned(&self) -> Option<&str> {
        match &self.ticket.as_ref()?.kind {
            Kind::Provisioned { qualifier } => Some(qualifier),
            Kind::OnDemand { .. } => None,
        }
    }

    /// Whether it would have run in a provisioned environment, had one been free.
    pub(in crate::lambda) fn spillover(&self) -> bool {
        let kind = self.ticket.as_ref().map(|ticket| &ticket.kind);
        matches!(kind, Some(Kind::OnDemand { spillover: true }))
    }

    /// Ends the invocation and keeps its environment for the next one.
    pub(super) fn finish(mut self, warm: Warm, now: Timestamp) {
        if let Some(ticket) = self.ticket.take() {
            self.live.give_back(ticket, Some(warm), now);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.live.give_back(ticket, None, Timestamp::default());
        }
    }
}

/// What runs at a moment, for the metrics.
#[derive(Debug, Clone, Copy)]
pub(in crate::lambda) struct Running {
    pub(super) function: u32,
    pub(super) unreserved: u32,
}

impl Live {
    pub(in crate::lambda) fn new() -> Self {
        let state = State {
            ledger: Ledger::new(Limits::default()),
            idle: HashMap::new(),
            provisioned: BTreeMap::new(),
            closed: false,
        };
        Live {
            state: Mutex::new(state),
            mounts: OnceCell::new(),
            stale: AtomicBool::new(true),
            taking_over: Mutex::new(()),
            provision: Notify::new(),
            tidy: Notify::new(),
            queue: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called after every change of rows.
    pub(in crate::lambda) fn changed(&self) {
        self.stale.store(true, Ordering::Release);
        self.provision.notify_one();
        self.tidy.notify_one();
    }

    /// The turn to take settings over.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.taking_over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether settings have to be read again; true once for each change.
    pub(super) fn take_stale(&self) -> bool {
        self.stale.swap(false, Ordering::AcqRel)
    }

    /// Takes over the settings of the rows.
    pub(super) fn settings(
        &self,
        reserved: &BTreeMap<String, u32>,
        provisioned: &BTreeMap<(String, String), Wanted>,
    ) {
        let mut state = self.lock();
        let State { ledger, provisioned: kept, .. } = &mut *state;
        kept.retain(|(function, qualifier), config| {
            let stays = provisioned.contains_key(&(function.clone(), qualifier.clone()));
            if !stays {
                ledger.remove_provisioned(function, qualifier);
                stop_all(std::mem::take(&mut config.idle));
            }
            stays
        });
        let known: Vec<String> = ledger.functions().map(str::to_owned).collect();
        let free = known.iter().filter(|function| !reserved.contains_key(*function));
        let mut settings: Vec<Setting<'_>> = free.map(|f| Setting::Reserved(f, None)).collect();
        settings.extend(reserved.iter().map(|(f, most)| Setting::Reserved(f, Some(*most))));
        settings.extend(provisioned.iter().map(|((f, q), wanted)| {
            Setting::Provisioned(f, q, wanted.target.version.as_str(), wanted.requested)
        }));
        // All of them together have been accepted, but one before the other may not fit: those that did not are
        // tried again after the others, for as long as that helps.
        loop {
            let before = settings.len();
            settings.retain(|setting| setting.apply(ledger).is_err());
            if settings.is_empty() {
                break;
            }
            if settings.len() == before {
                for setting in settings {
                    tracing::error!("a concurrency setting does not fit: {setting:?}");
                }
                break;
            }
        }
        for (key, wanted) in provisioned {
            let config = kept.entry(key.clone()).or_default();
            if config.wanted.as_ref() == Some(wanted) {
                continue;
            }
            let other = config.wanted.as_ref().is_none_or(|old| old.target != wanted.target);
            if other {
                stop_all(std::mem::take(&mut config.idle));
                config.busy = 0;
            }
            let surplus = config.allocated().saturating_sub(wanted.requested as usize);
            let keep = config.idle.len().saturating_sub(surplus);
            stop_all(config.idle.split_off(keep));
            config.failed = None;
            config.wanted = Some(wanted.clone());
            ledger.set_allocated(&key.0, &key.1, count(config.allocated()));
        }
    }

    /// Admits an invocation, with an environment where one waits.
    pub(in crate::lambda) fn admit(
        self: &Arc<Self>,
        target: &Target,
        asynchronous: bool,
        now: Timestamp,
    ) -> Result<(Lease, Option<Warm>, Running), Throttle> {
        let mut state = self.lock();
        let State { ledger, idle, provisioned, .. } = &mut *state;
        let pool = idle.entry((target.function.clone(), target.version.clone())).or_default();
        // What was made from earlier code or settings of the same version is of no use any more.
        let (good, old) =
            std::mem::take(pool).into_iter().partition(|warm| warm.suits(target, now));
        *pool = good;
        stop_all(old);
        let (function, version) = (target.function.as_str(), target.version.as_str());
        let waits = !pool.is_empty();
        let ticket = if asynchronous {
            ledger.admit_asynchronous(now.0, function, version, waits)
        } else {
            ledger.admit(now.0, function, version, waits)
        }?;
        let warm = match &ticket.kind {
            Kind::OnDemand { .. } => pool.pop(),
            Kind::Provisioned { qualifier } => {
                let config =
                    provisioned.entry((function.to_owned(), qualifier.clone())).or_default();
                let warm = config.idle.pop();
                config.busy += 1;
                warm
            }
        };
        if pool.is_empty() {
            idle.remove(&(target.function.clone(), target.version.clone()));
        }
        let running =
            Running { function: ledger.running(function), unreserved: ledger.unreserved_running() };
        Ok((Lease { live: Arc::clone(self), ticket: Some(ticket) }, warm, running))
    }

    fn give_back(&self, ticket: Ticket, warm: Option<Warm>, now: Timestamp) {
        let mut state = self.lock();
        let State { ledger, idle, provisioned, closed } = &mut *state;
        let warm = warm.filter(|_| !*closed);
        match &ticket.kind {
            Kind::Provisioned { qualifier } => {
                let key = (ticket.function.clone(), qualifier.clone());
                if let Some(config) = provisioned.get_mut(&key)
                    && let Some(wanted) = &config.wanted
                    && wanted.target.version == ticket.version
                {
                    config.busy = config.busy.saturating_sub(1);
                    match warm {
                        Some(warm)
                            if warm.suits(&wanted.target, now)
                                && config.allocated() < wanted.requested as usize =>
                        {
                            config.idle.push(warm);
                        }
                        Some(warm) => stop_all(vec![warm]),
                        None => self.provision.notify_one(),
                    }
                    let allocated = count(config.allocated());
                    ledger.set_allocated(&key.0, &key.1, allocated);
                } else {
                    stop_all(warm.into_iter().collect());
                }
            }
            Kind::OnDemand { .. } => {
                if let Some(mut warm) = warm {
                    warm.idle_since = Instant::now();
                    idle.entry((ticket.function.clone(), ticket.version.clone()))
                        .or_default()
                        .push(warm);
                }
            }
        }
        ledger.release(ticket);
        // A place has become free for an event that was throttled.
        self.queue.notify_one();
    }

    /// The provisioned configurations that lack environments, with how many.
    pub(in crate::lambda) fn lacking(&self) -> Vec<((String, String), Wanted, usize)> {
        let state = self.lock();
        let lacking = state.provisioned.iter().filter_map(|(key, config)| {
            let wanted = config.wanted.clone().filter(|_| config.failed.is_none())?;
            let lacking = (wanted.requested as usize).saturating_sub(config.allocated());
            (lacking > 0).then(|| (key.clone(), wanted, lacking))
        });
        lacking.collect()
    }

    /// Adds an environment to a provisioned configuration, if that still wants it.
    pub(super) fn provide(&self, key: &(String, String), warm: Warm, now: Timestamp) {
        let mut state = self.lock();
        let State { ledger, provisioned, closed, .. } = &mut *state;
        let config = provisioned.get_mut(key).filter(|_| !*closed);
        match config {
            Some(config)
                if config.wanted.as_ref().is_some_and(|wanted| {
                    warm.suits(&wanted.target, now)
                        && config.allocated() < wanted.requested as usize
                }) =>
            {
                config.idle.push(warm);
                ledger.set_allocated(&key.0, &key.1, count(config.allocated()));
            }
            _ => stop_all(vec![warm]),
        }
    }

    /// Remembers that a provisioned configuration cannot be had, until its settings change.
    pub(in crate::lambda) fn fail(&self, key: &(String, String), wanted: &Wanted, reason: String) {
        if let Some(config) = self.lock().provisioned.get_mut(key)
            && config.wanted.as_ref() == Some(wanted)
        {
            config.failed = Some(reason);
        }
    }

    /// How a provisioned configuration is doing; `None` while it is not known here yet.
    pub(in crate::lambda) fn provisioned(
        &self,
        function: &str,
        qualifier: &str,
    ) -> Option<ProvisionedState> {
        let state = self.lock();
        let config = state.provisioned.get(&(function.to_owned(), qualifier.to_owned()))?;
        let wanted = config.wanted.as_ref()?;
        let status = match &config.failed {
            Some(_) => ProvisionedStatus::Failed,
            None if config.allocated() >= wanted.requested as usize => ProvisionedStatus::Ready,
            None => ProvisionedStatus::InProgress,
        };
        Some(ProvisionedState {
            allocated: count(config.allocated()),
            available: count(config.idle.len()),
            status,
            reason: config.failed.clone(),
        })
    }

    /// How many environments of a function's provisioned configurations there are and are in use.
    pub(super) fn provisioned_use(&self, function: &str) -> (usize, usize) {
        let state = self.lock();
        let own = state.provisioned.iter().filter(|((name, _), _)| name == function);
        own.fold((0, 0), |(all, busy), (_, config)| (all + config.allocated(), busy + config.busy))
    }

    /// Provisioned environments whose credentials will not last, or that have died, are made anew; on-demand ones
    /// that have waited long enough, and those of versions that `exists` does not know, end.
    pub(super) fn sweep(&self, exists: impl Fn(&Warm) -> bool, now: Timestamp) {
        let mut state = self.lock();
        let State { ledger, idle, provisioned, .. } = &mut *state;
        let mut waiting = 0;
        for pool in idle.values_mut() {
            let (good, old): (Vec<Warm>, Vec<Warm>) =
                std::mem::take(pool).into_iter().partition(|warm| {
                    warm.lives(now) && warm.idle_since.elapsed() < IDLE && exists(warm)
                });
            *pool = good;
            waiting += pool.len();
            stop_all(old);
        }
        while waiting > MOST_IDLE {
            let longest = idle.values_mut().filter(|pool| !pool.is_empty());
            let Some(pool) = longest.min_by_key(|pool| pool.first().map(|w| w.idle_since)) else {
                break;
            };
            stop_all(vec![pool.remove(0)]);
            waiting -= 1;
        }
        idle.retain(|_, pool| !pool.is_empty());
        let mut died = false;
        for ((function, qualifier), config) in provisioned.iter_mut() {
            let (good, old): (Vec<Warm>, Vec<Warm>) =
                std::mem::take(&mut config.idle).into_iter().partition(|warm| warm.lives(now));
            config.idle = good;
            if !old.is_empty() {
                died = true;
                stop_all(old);
                ledger.set_allocated(function, qualifier, count(config.allocated()));
            }
        }
        if died {
            self.provision.notify_one();
        }
    }

    /// Forgets functions that are gone.
    pub(super) fn forget(&self, gone: impl Fn(&str) -> bool) {
        let mut state = self.lock();
        let functions: Vec<String> = state.ledger.functions().map(str::to_owned).collect();
        for function in functions.iter().filter(|function| gone(function)) {
            state.ledger.remove_function(function);
        }
    }

    /// Ends all environments that wait; none is kept from now on.
    pub(super) async fn close(&self) {
        let all: Vec<Warm> = {
            let mut state = self.lock();
            state.closed = true;
            let idle: Vec<Warm> = state.idle.drain().flat_map(|(_, pool)| pool).collect();
            let provisioned = std::mem::take(&mut state.provisioned);
            idle.into_iter()
                .chain(provisioned.into_values().flat_map(|config| config.idle))
                .collect()
        };
        futures::future::join_all(all.into_iter().map(Warm::stop)).await;
    }
}

#[derive(Debug)]
enum Setting<'a> {
    Reserved(&'a str, Option<u32>),
    Provisioned(&'a str, &'a str, &'a str, u32),
}

impl Setting<'_> {
    fn apply(&self, ledger: &mut Ledger) -> Result<(), kennel_scaling::concurrency::SettingError> {
        match *self {
            Setting::Reserved(function, most) => ledger.set_reserved(function, most),
            Setting::Provisioned(function, qualifier, version, requested) => {
                ledger.set_provisioned(function, qualifier, version, requested)
            }
        }
    }
}

/// Ends environments behind the caller's back: their shutdown may take two seconds.
fn stop_all(environments: Vec<Warm>) {
    for warm in environments {
        tokio::spawn(warm.stop());
    }
}

fn count(environments: usize) -> u32 {
    u32::try_from(environments).unwrap_or(u32::MAX)
}
