//! What the ledger knows of one function, and the admission of one call.

use std::collections::BTreeMap;

use super::error::Reason;
use super::meter::{Meter, Rate};
use super::{Call, Kind, Limits, Room, SECOND_MS};

/// A provisioned concurrency configuration and how it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provisioned<'a> {
    /// The alias or version that it was put on.
    pub qualifier: &'a str,
    /// The version whose environments these are.
    pub version: &'a str,
    /// Environments asked for.
    pub requested: u32,
    /// Environments that there are.
    pub allocated: u32,
    /// Environments that calls may use: 0 until for the first time all that were asked for are there.
    pub ready: u32,
    /// Environments that run an invocation.
    pub in_use: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Tells this configuration from one that replaces it.
    number: u64,
    version: String,
    pub(crate) requested: u32,
    allocated: u32,
    ready: u32,
    in_use: u32,
    rate: Meter,
}

impl Config {
    fn new(number: u64, version: &str, requested: u32) -> Self {
        Self {
            number,
            version: version.to_owned(),
            requested,
            allocated: 0,
            ready: 0,
            in_use: 0,
            rate: Meter::default(),
        }
    }

    pub(crate) fn view<'a>(&'a self, qualifier: &'a str) -> Provisioned<'a> {
        Provisioned {
            qualifier,
            version: &self.version,
            requested: self.requested,
            allocated: self.allocated,
            ready: self.ready,
            in_use: self.in_use,
        }
    }

    fn set_requested(&mut self, requested: u32) {
        self.requested = requested;
        self.settle();
    }

    pub(crate) fn set_allocated(&mut self, allocated: u32) {
        self.allocated = allocated;
        self.settle();
    }

    /// More environments count once all of them are there, fewer at once.
    fn settle(&mut self) {
        let complete = self.allocated >= self.requested;
        self.ready = if complete { self.requested } else { self.ready.min(self.allocated) };
    }

    /// What it holds of its function's or the account's concurrency: idle environments count, and so do
    /// invocations that outlive a reduction.
    fn held(&self) -> u64 {
        u64::from(self.requested.max(self.in_use))
    }
}

/// A function's part of the account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Share {
    /// Taken out of the unreserved pool by settings.
    pub(crate) committed: u64,
    /// In use of the unreserved pool.
    pub(crate) pool: u64,
    /// Invocations that run.
    pub(crate) running: u64,
}

impl Share {
    /// The sum in which one summand was `before` and is `after` now.
    pub(crate) fn replace(self, before: Self, after: Self) -> Self {
        Self {
            committed: self.committed - before.committed + after.committed,
            pool: self.pool - before.pool + after.pool,
            running: self.running - before.running + after.running,
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Function {
    pub(crate) reserved: Option<u32>,
    /// By qualifier. INVARIANT: no two are of the same version.
    pub(crate) configs: BTreeMap<String, Config>,
    /// Invocations that run on demand, or on a configuration that is gone.
    on_demand: u32,
    /// The request rate of a function with a reservation.
    rate: Meter,
    growth: Meter,
    /// Whether the function is gone and only its invocations go on.
    pub(crate) removed: bool,
}

impl Function {
    /// Environments that the configurations ask for.
    pub(crate) fn requested(&self) -> u64 {
        self.configs.values().map(|config| u64::from(config.requested)).sum()
    }

    pub(crate) fn running(&self) -> u32 {
        self.configs.values().map(|config| config.in_use).sum::<u32>() + self.on_demand
    }

    pub(crate) fn qualifier_of(&self, version: &str) -> Option<&str> {
        self.configs
            .iter()
            .find(|(_, config)| config.version == version)
            .map(|(qualifier, _)| qualifier.as_str())
    }

    pub(crate) fn share(&self) -> Share {
        let running = u64::from(self.running());
        match self.reserved {
            // A function that is switched off keeps what it has provisioned.
            Some(reserved) => {
                let committed = u64::from(reserved).max(self.requested());
                Share { committed, pool: 0, running }
            }
            None => {
                let requested = self.requested();
                let outside = self.configs.values().map(Config::held).sum::<u64>() - requested;
                Share { committed: requested, pool: u64::from(self.on_demand) + outside, running }
            }
        }
    }

    /// Puts a configuration on `qualifier`: another number on the same version, or a new one.
    pub(crate) fn provide(&mut self, number: u64, qualifier: &str, version: &str, requested: u32) {
        match self.configs.get_mut(qualifier) {
            Some(config) if config.version == version => config.set_requested(requested),
            _ => {
                self.retire(qualifier);
                self.configs.insert(qualifier.to_owned(), Config::new(number, version, requested));
            }
        }
    }

    /// Takes a configuration away; what runs on it goes on as on demand.
    pub(crate) fn retire(&mut self, qualifier: &str) {
        if let Some(config) = self.configs.remove(qualifier) {
            self.on_demand += config.in_use;
        }
    }

    pub(crate) fn retire_all(&mut self) {
        for config in std::mem::take(&mut self.configs).into_values() {
            self.on_demand += config.in_use;
        }
    }

    /// Ends an invocation of the configuration with that number, or on demand.
    pub(crate) fn leave(&mut self, config: Option<u64>) {
        let used = match config {
            Some(number) => self.configs.values_mut().find(|config| config.number == number),
            None => None,
        };
        let count = used.map_or(&mut self.on_demand, |config| &mut config.in_use);
        *count = count.saturating_sub(1);
    }

    /// Admits one call, or says why not. Nothing has changed in the latter case.
    pub(crate) fn enter(
        &mut self,
        call: Call<'_>,
        limits: &Limits,
        room: Room<'_>,
    ) -> Result<(Kind, Option<u64>), Reason> {
        let running = u64::from(self.running());
        // What no part of the account may exceed: it only bites while a setting is fresh and others still run.
        let account_full = room.total.running >= u64::from(limits.account);
        let rate = match self.reserved {
            Some(reserved) if running >= u64::from(reserved) => {
                return Err(Reason::ReservedFunctionConcurrentInvocationLimitExceeded);
            }
            Some(_) | None if account_full => {
                return Err(Reason::ConcurrentInvocationLimitExceeded);
            }
            Some(reserved) => spend(self.rate, call, u64::from(reserved), limits)
                .ok_or(Reason::ReservedFunctionInvocationRateLimitExceeded)?,
            None => self.rate,
        };

        let mut spillover = false;
        if let Some((qualifier, config)) =
            self.configs.iter_mut().find(|(_, config)| config.version == call.version)
        {
            spillover = config.ready > 0;
            if config.in_use < config.ready
                && let Some(config_rate) = spend(config.rate, call, u64::from(config.ready), limits)
            {
                config.in_use += 1;
                config.rate = config_rate;
                self.rate = rate;
                return Ok((
                    Kind::Provisioned { qualifier: qualifier.clone() },
                    Some(config.number),
                ));
            }
        }

        let mut pool_rate = *room.pool_rate;
        match self.reserved {
            Some(reserved) => {
                let held = self.configs.values().map(Config::held).sum::<u64>();
                if held + u64::from(self.on_demand) >= u64::from(reserved) {
                    return Err(Reason::ReservedFunctionConcurrentInvocationLimitExceeded);
                }
            }
            None => {
                if room.total.pool >= room.unreserved {
                    return Err(Reason::ConcurrentInvocationLimitExceeded);
                }
                pool_rate = spend(pool_rate, call, room.unreserved, limits)
                    .ok_or(Reason::FunctionInvocationRateLimitExceeded)?;
            }
        }
        if !call.idle_on_demand {
            let period_ms = u64::try_from(limits.growth_period_ms).unwrap_or(0).max(1);
            let rate = Rate { tokens: u64::from(limits.growth), period_ms };
            self.growth = self
                .growth
                .spend(call.now_ms, rate)
                .ok_or(Reason::ConcurrentInvocationLimitExceeded)?;
        }
        self.rate = rate;
        *room.pool_rate = pool_rate;
        self.on_demand += 1;
        Ok((Kind::OnDemand { spillover }, None))
    }
}

/// One request more against the rate of so many units of concurrency; free for calls that are not rated.
fn spend(meter: Meter, call: Call<'_>, concurrency: u64, limits: &Limits) -> Option<Meter> {
    if !call.rated {
        return Some(meter);
    }
    let tokens = concurrency * u64::from(limits.rate_factor);
    meter.spend(call.now_ms, Rate { tokens, period_ms: SECOND_MS })
}
