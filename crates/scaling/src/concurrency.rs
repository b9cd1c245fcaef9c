//! The concurrency of an account's Lambda functions: settings, what runs, and who may run next.
//!
//! One [`Ledger`] is one account in one Region. The caller puts the settings in (they are rows of its
//! store), asks [`Ledger::admit`] before each invocation, and gives the [`Ticket`] back with
//! [`Ledger::release`] when the invocation has ended.
//!
//! # Who gets what
//!
//! The account's concurrency is cut into parts that do not overlap:
//!
//! - *reserved*: a function's own part, guarantee and ceiling in one. Its provisioned environments lie
//!   inside it; what is left serves its other calls. Reserved 0 throttles everything.
//! - *provisioned* of functions without a reservation: taken out of the unreserved pool, idle or not.
//! - the *unreserved pool*: the rest, shared by all functions without a reservation.
//!
//! # Where AWS's words leave room
//!
//! - *Alias and version.* Environments belong to a version: a configuration on an alias serves every call
//!   that reaches the version the alias points to, also by number or through another alias. A version has
//!   one configuration at most, on itself or on one alias. Under a weighted alias the second version
//!   runs on demand.
//! - *Not ready yet.* A configuration takes its concurrency at once, but AWS gives access to none of the
//!   environments that were asked for before all of them are ready. Until then calls run on demand, or in
//!   those of the configuration before it. Calls count as spill-over only where there is a provisioned
//!   environment that they could have missed.
//! - *Request rate.* Ten requests a second for each unit of concurrency, as a token bucket that holds one
//!   second's worth and refills continuously: the first second of a burst may so see twice as many. A
//!   throttled call takes nothing. Provisioned: ten for each ready environment, the excess spills over. Reserved: ten for each reserved unit, all calls of the
//!   function. All others share ten for each unit of the unreserved pool. The whole account can so never
//!   exceed ten times its concurrency, which is the documented limit. Asynchronous invocations have no
//!   request rate limit, says the page of quotas: [`Ledger::admit_asynchronous`].
//! - *Growth.* A token bucket for each function, refilled continuously (AWS: "a best attempt to refill
//!   continuously over time, rather than in one single refill every 10 seconds"), and unused tokens do
//!   not add up beyond one period. Only new on-demand environments use it.
//! - *Changes under load.* A setting never stops what runs. Whatever is being admitted must fit into the
//!   new settings, and the whole account's limit holds at every moment, even where a fresh reservation
//!   then has to wait until others have finished.
//!
//! Sources: <https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/provisioned-concurrency.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/scaling-behavior.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>.

mod error;
mod function;
mod meter;

use std::collections::BTreeMap;

pub use error::{Reason, SettingError, Throttle};
pub use function::Provisioned;
use function::{Function, Share};
use meter::Meter;

/// The name that AWS gives the unpublished version.
pub const LATEST: &str = "$LATEST";

/// The length in milliseconds over which the request rate is counted.
const SECOND_MS: u64 = 1_000;

/// The quotas of an account, as AWS sets them by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Concurrent executions of all functions together.
    pub account: u32,
    /// How much of `account` no setting may take from functions without a reservation.
    pub unreserved_minimum: u32,
    /// How many new on-demand environments a function may get in one `growth_period_ms`.
    pub growth: u32,
    /// The period of `growth`, in milliseconds.
    pub growth_period_ms: i64,
    /// Requests a second for each unit of concurrency.
    pub rate_factor: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            account: 1_000,
            unreserved_minimum: 100,
            growth: 1_000,
            growth_period_ms: 10_000,
            rate_factor: 10,
        }
    }
}

/// What kind of environment an admitted invocation runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A provisioned environment of the configuration on `qualifier`.
    Provisioned {
        /// The alias or version that the configuration was put on (not the one that was called).
        qualifier: String,
    },
    /// An on-demand environment, idle or new.
    OnDemand {
        /// Whether the call would have run in a provisioned environment, had one been free.
        spillover: bool,
    },
}

/// The right to run one invocation. It must come back through [`Ledger::release`]: a ticket that is dropped
/// leaks its unit of concurrency for as long as the ledger lives.
#[must_use = "a dropped ticket keeps its concurrency for ever: give it back with `Ledger::release`"]
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Where the invocation runs.
    pub kind: Kind,
    /// The function.
    pub function: String,
    /// The version that runs, a number or [`LATEST`].
    pub version: String,
    /// The configuration whose environment is in use; `None` for on demand.
    config: Option<u64>,
}

/// One call, as the admission sees it.
#[derive(Debug, Clone, Copy)]
struct Call<'a> {
    now_ms: i64,
    function: &'a str,
    version: &'a str,
    idle_on_demand: bool,
    /// Whether the request rate counts.
    rated: bool,
}

/// The concurrency of one account in one Region: its settings and what runs.
///
/// Memory is bounded by the number of functions and configurations; see [`Ledger::remove_function`].
#[derive(Debug, Clone)]
pub struct Ledger {
    limits: Limits,
    functions: BTreeMap<String, Function>,
    /// INVARIANT: the sum of [`Function::share`] over `functions`; [`Ledger::change`] keeps it.
    total: Share,
    /// The request rate of the unreserved pool.
    pool_rate: Meter,
    /// The number of the last configuration, so that tickets of replaced ones can be told apart.
    configs: u64,
}

impl Ledger {
    /// An account without functions.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            functions: BTreeMap::new(),
            total: Share::default(),
            pool_rate: Meter::default(),
            configs: 0,
        }
    }

    /// The account's quotas.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Sets or, with `None`, takes away the reserved concurrency of `function`.
    ///
    /// # Errors
    ///
    /// [`SettingError::ReservedBelowProvisioned`] where the function's provisioned concurrency would not fit (unless
    /// it is 0, which switches the function off),
    /// [`SettingError::ReservedBelowUnreservedMinimum`] where too little would stay for the other functions.
    /// Nothing has changed then.
    pub fn set_reserved(
        &mut self,
        function: &str,
        reserved: Option<u32>,
    ) -> Result<(), SettingError> {
        let (requested, committed) = self
            .functions
            .get(function)
            .map_or((0, 0), |state| (state.requested(), state.share().committed));
        if let Some(reserved) = reserved {
            // Zero switches a function off, whatever it has.
            if reserved > 0 && u64::from(reserved) < requested {
                return Err(SettingError::ReservedBelowProvisioned {
                    reserved,
                    provisioned: requested,
                });
            }
            if self.falls_below_minimum(committed, u64::from(reserved).max(requested)) {
                return Err(SettingError::ReservedBelowUnreservedMinimum {
                    minimum: self.limits.unreserved_minimum,
                });
            }
        }
        self.change(function, |state| {
            state.removed = false;
            state.reserved = reserved;
        });
        Ok(())
    }

    /// Puts a provisioned concurrency configuration of `requested` environments of `version` on `qualifier`,
    /// which is that version's number or an alias that points to it; replaces the one that was there.
    ///
    /// Environments that may be used stay so while the version stays. When the version of an alias changes,
    /// none may until [`Ledger::set_allocated`] has said that the new version has them all.
    ///
    /// # Errors
    ///
    /// AWS's refusals, see [`SettingError`]. Nothing has changed then.
    pub fn set_provisioned(
        &mut self,
        function: &str,
        qualifier: &str,
        version: &str,
        requested: u32,
    ) -> Result<(), SettingError> {
        if requested == 0 {
            return Err(SettingError::NothingProvisioned);
        }
        if version == LATEST || qualifier == LATEST {
            return Err(SettingError::Unpublished);
        }
        let state = self.functions.get(function);
        let reserved = state.and_then(|state| state.reserved);
        let own = state
            .and_then(|state| state.configs.get(qualifier))
            .map_or(0, |config| u64::from(config.requested));
        let before = state.map_or(0, Function::requested);
        let after = before - own + u64::from(requested);
        match reserved {
            Some(reserved) if reserved > 0 && after > u64::from(reserved) => {
                return Err(SettingError::ProvisionedAboveReserved);
            }
            Some(1..) => {}
            Some(0) | None => {
                let available = u64::from(self.unreserved()) + own;
                if u64::from(requested) > available {
                    return Err(SettingError::ProvisionedAboveUnreserved { available });
                }
                if self.falls_below_minimum(before, after) {
                    return Err(SettingError::ProvisionedBelowUnreservedMinimum {
                        minimum: self.limits.unreserved_minimum,
                    });
                }
            }
        }
        if let Some(state) = state
            && state.qualifier_of(version).is_some_and(|other| other != qualifier)
        {
            return Err(if qualifier == version {
                SettingError::VersionHasProvisionedAlias
            } else {
                SettingError::AlreadyProvisioned
            });
        }
        self.configs += 1;
        let number = self.configs;
        self.change(function, |state| {
            state.removed = false;
            state.provide(number, qualifier, version, requested);
        });
        Ok(())
    }

    /// Says how many environments of a configuration there are by now. They may be used as soon as they are
    /// as many as were asked for; a number that falls, because one has died, counts at once. Without effect
    /// where there is no such configuration: it may have been removed while they were being made.
    pub fn set_allocated(&mut self, function: &str, qualifier: &str, allocated: u32) {
        if let Some(config) =
            self.functions.get_mut(function).and_then(|state| state.configs.get_mut(qualifier))
        {
            config.set_allocated(allocated);
        }
    }

    /// Takes a configuration away. Its invocations go on and count as on demand until they end.
    pub fn remove_provisioned(&mut self, function: &str, qualifier: &str) {
        if self.functions.contains_key(function) {
            self.change(function, |state| state.retire(qualifier));
        }
    }

    /// Forgets a function: its settings now, its state when its last ticket has come back.
    pub fn remove_function(&mut self, function: &str) {
        if self.functions.contains_key(function) {
            self.change(function, |state| {
                state.reserved = None;
                state.retire_all();
                state.removed = true;
            });
            self.forget_if_removed(function);
        }
    }

    /// Admits or throttles one synchronous invocation of `version`, which the caller has resolved from the
    /// qualifier of the call (see [`crate::routing::pick`]) and knows to exist.
    ///
    /// `idle_on_demand` says that a warm on-demand environment of that version waits: no growth is used then.
    ///
    /// # Errors
    ///
    /// A [`Throttle`] with AWS's reason. Nothing has been used then.
    pub fn admit(
        &mut self,
        now_ms: i64,
        function: &str,
        version: &str,
        idle_on_demand: bool,
    ) -> Result<Ticket, Throttle> {
        self.decide(Call { now_ms, function, version, idle_on_demand, rated: true })
    }

    /// [`Ledger::admit`] for an invocation that comes from the queue of asynchronous events, for which AWS
    /// knows no request rate: "the total invocation limit is based only on concurrency available".
    ///
    /// # Errors
    ///
    /// A [`Throttle`] with AWS's reason. Nothing has been used then.
    pub fn admit_asynchronous(
        &mut self,
        now_ms: i64,
        function: &str,
        version: &str,
        idle_on_demand: bool,
    ) -> Result<Ticket, Throttle> {
        self.decide(Call { now_ms, function, version, idle_on_demand, rated: false })
    }

    /// Takes the ticket of an invocation back, however it ended.
    pub fn release(&mut self, ticket: Ticket) {
        if self.functions.contains_key(&ticket.function) {
            self.change(&ticket.function, |state| state.leave(ticket.config));
            self.forget_if_removed(&ticket.function);
        }
    }

    /// Concurrency that no reservation and no provisioned configuration has taken: AWS's
    /// `UnreservedConcurrentExecutions` of `GetAccountSettings`.
    pub fn unreserved(&self) -> u32 {
        let committed = u32::try_from(self.total.committed).unwrap_or(u32::MAX);
        self.limits.account.saturating_sub(committed)
    }

    /// The functions that have settings or run, by name.
    pub fn functions(&self) -> impl Iterator<Item = &str> {
        self.functions.keys().map(String::as_str)
    }

    /// The reserved concurrency of `function`.
    pub fn reserved(&self, function: &str) -> Option<u32> {
        self.functions.get(function).and_then(|state| state.reserved)
    }

    /// Invocations of `function` that run, of all versions and kinds.
    pub fn running(&self, function: &str) -> u32 {
        self.functions.get(function).map_or(0, Function::running)
    }

    /// Invocations that run in the whole account.
    pub fn account_running(&self) -> u32 {
        u32::try_from(self.total.running).unwrap_or(u32::MAX)
    }

    /// Invocations that run of functions without a reservation: the metric `UnreservedConcurrentExecutions`.
    pub fn unreserved_running(&self) -> u32 {
        self.functions
            .values()
            .filter(|state| state.reserved.is_none())
            .map(Function::running)
            .sum()
    }

    /// The configuration on `qualifier` and how it is used.
    pub fn provisioned(&self, function: &str, qualifier: &str) -> Option<Provisioned<'_>> {
        let (qualifier, config) = self.functions.get(function)?.configs.get_key_value(qualifier)?;
        Some(config.view(qualifier))
    }

    /// The configuration whose environments serve `version`.
    pub fn provisioned_for(&self, function: &str, version: &str) -> Option<Provisioned<'_>> {
        let state = self.functions.get(function)?;
        self.provisioned(function, state.qualifier_of(version)?)
    }

    /// Provisioned environments of the configuration on `qualifier` that are in use; 0 where there is none.
    pub fn provisioned_in_use(&self, function: &str, qualifier: &str) -> u32 {
        self.provisioned(function, qualifier).map_or(0, |config| config.in_use)
    }

    /// The environments that all configurations of `function` ask for.
    pub fn provisioned_total(&self, function: &str) -> u32 {
        let requested = self.functions.get(function).map_or(0, Function::requested);
        u32::try_from(requested).unwrap_or(u32::MAX)
    }

    fn decide(&mut self, call: Call<'_>) -> Result<Ticket, Throttle> {
        // The totals without the call; a function that has never been called has none of its own.
        let (limits, total, unreserved) = (self.limits, self.total, u64::from(self.unreserved()));
        let mut pool_rate = self.pool_rate;
        let outcome = self.change(call.function, |state| {
            state.removed = false;
            state.enter(call, &limits, Room { total, unreserved, pool_rate: &mut pool_rate })
        });
        self.pool_rate = pool_rate;
        let (kind, config) = outcome.map_err(Throttle::new)?;
        Ok(Ticket {
            kind,
            function: call.function.to_owned(),
            version: call.version.to_owned(),
            config,
        })
    }

    /// Whether a function that goes from `before` to `after` committed units takes from the unreserved pool
    /// what has to stay in it. Giving back is always allowed, also where the pool is already too small.
    fn falls_below_minimum(&self, before: u64, after: u64) -> bool {
        let left =
            u64::from(self.limits.account).checked_sub(self.total.committed - before + after);
        after > before && left.is_none_or(|left| left < u64::from(self.limits.unreserved_minimum))
    }

    /// Changes one function's state and carries the change into the totals.
    fn change<T>(&mut self, function: &str, apply: impl FnOnce(&mut Function) -> T) -> T {
        let state = self.functions.entry(function.to_owned()).or_default();
        let before = state.share();
        let answer = apply(state);
        self.total = self.total.replace(before, state.share());
        answer
    }

    fn forget_if_removed(&mut self, function: &str) {
        if self.functions.get(function).is_some_and(|state| state.removed && state.running() == 0) {
            self.functions.remove(function);
        }
    }
}

/// What the account has left, for one admission.
#[derive(Debug)]
struct Room<'a> {
    total: Share,
    unreserved: u64,
    pool_rate: &'a mut Meter,
}

#[cfg(test)]
mod tests;
