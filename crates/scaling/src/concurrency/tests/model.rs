//! Property tests of the ledger against a model that counts everything anew for each question.

use proptest::prelude::*;

use super::*;

const FUNCTIONS: [&str; 3] = ["a", "b", "c"];
const VERSIONS: [&str; 3] = [LATEST, "1", "2"];
/// Qualifiers of configurations with the version that they point to; `live` moves.
const PLACES: [(&str, &str); 4] = [("1", "1"), ("2", "2"), ("live", "1"), ("live", "2")];

#[derive(Debug, Clone)]
enum Op {
    Reserve(usize, Option<u32>),
    Provision(usize, usize, u32),
    Allocate(usize, usize, u32),
    Unprovision(usize, usize),
    Remove(usize),
    Call(usize, usize),
    Release(prop::sample::Index),
}

fn op() -> impl Strategy<Value = Op> {
    let (f, v, p) = (0..FUNCTIONS.len(), 0..VERSIONS.len(), 0..PLACES.len());
    prop_oneof![
        2 => (f.clone(), prop::option::of(0u32..14)).prop_map(|(f, n)| Op::Reserve(f, n)),
        2 => (f.clone(), p.clone(), 0u32..9).prop_map(|(f, p, n)| Op::Provision(f, p, n)),
        2 => (f.clone(), p.clone(), 0u32..9).prop_map(|(f, p, n)| Op::Allocate(f, p, n)),
        1 => (f.clone(), p).prop_map(|(f, p)| Op::Unprovision(f, p)),
        1 => f.clone().prop_map(Op::Remove),
        20 => (f, v).prop_map(|(f, v)| Op::Call(f, v)),
        8 => any::<prop::sample::Index>().prop_map(Op::Release),
    ]
}

#[derive(Debug, Clone)]
struct ModelConfig {
    function: &'static str,
    qualifier: &'static str,
    version: &'static str,
    requested: u32,
    ready: u32,
}

/// The settings as lists, and the invocations that run with the configuration they use, if any.
#[derive(Debug, Clone, Default)]
struct Model {
    reserved: Vec<(&'static str, u32)>,
    configs: Vec<ModelConfig>,
    running: Vec<(&'static str, Option<(&'static str, &'static str)>)>,
}

impl Model {
    fn reserved(&self, function: &str) -> Option<u32> {
        self.reserved.iter().find(|(name, _)| *name == function).map(|(_, reserved)| *reserved)
    }

    fn requested(&self, function: &str) -> u32 {
        self.configs.iter().filter(|c| c.function == function).map(|c| c.requested).sum()
    }

    fn unreserved(&self, account: u32) -> i64 {
        let taken: u32 = FUNCTIONS
            .iter()
            .map(|f| self.reserved(f).unwrap_or_default().max(self.requested(f)))
            .sum();
        i64::from(account) - i64::from(taken)
    }

    fn running(&self, function: &str) -> u32 {
        self.running.iter().filter(|(name, _)| *name == function).count() as u32
    }

    fn in_use(&self, config: &ModelConfig) -> u32 {
        let used = Some((config.qualifier, config.version));
        self.running.iter().filter(|(name, by)| *name == config.function && *by == used).count()
            as u32
    }

    /// What runs beside the provisioned environments that the settings have taken.
    fn beside(&self, function: &str) -> u32 {
        let inside = self.configs.iter().filter(|c| c.function == function);
        self.running(function) - inside.map(|c| self.in_use(c).min(c.requested)).sum::<u32>()
    }

    /// What runs on a configuration that is gone or has moved belongs to none.
    fn orphan(&mut self) {
        let configs = self.configs.clone();
        for (function, by) in &mut self.running {
            if !configs
                .iter()
                .any(|c| c.function == *function && *by == Some((c.qualifier, c.version)))
            {
                *by = None;
            }
        }
    }

    /// Whether the settings may stand, if they stood as `before`.
    fn valid(&self, before: &Self, limits: &Limits) -> bool {
        let (now, then) = (self.unreserved(limits.account), before.unreserved(limits.account));
        // Zero switches a function off, whatever it has.
        let fits = FUNCTIONS
            .iter()
            .all(|f| self.reserved(f).is_none_or(|r| r == 0 || self.requested(f) <= r));
        let twice = self.configs.iter().enumerate().any(|(index, one)| {
            let others = &self.configs[index + 1..];
            others
                .iter()
                .any(|other| other.function == one.function && other.version == one.version)
        });
        fits && !twice && (now >= then || now >= i64::from(limits.unreserved_minimum))
    }

    fn admit(&self, function: &str, version: &str, account: u32) -> Result<Kind, Reason> {
        let reserved = self.reserved(function);
        if reserved.is_some_and(|r| self.running(function) >= r) {
            return Err(Reason::ReservedFunctionConcurrentInvocationLimitExceeded);
        }
        if self.running.len() >= account as usize {
            return Err(Reason::ConcurrentInvocationLimitExceeded);
        }
        let config = self.configs.iter().find(|c| c.function == function && c.version == version);
        if let Some(config) = config.filter(|c| self.in_use(c) < c.ready) {
            return Ok(Kind::Provisioned { qualifier: config.qualifier.to_owned() });
        }
        match reserved {
            Some(r) if self.beside(function) + self.requested(function) >= r => {
                return Err(Reason::ReservedFunctionConcurrentInvocationLimitExceeded);
            }
            Some(_) => {}
            None => {
                let shared = FUNCTIONS.iter().filter(|f| self.reserved(f).is_none());
                if i64::from(shared.map(|f| self.beside(f)).sum::<u32>())
                    >= self.unreserved(account)
                {
                    return Err(Reason::ConcurrentInvocationLimitExceeded);
                }
            }
        }
        Ok(Kind::OnDemand { spillover: config.is_some_and(|c| c.ready > 0) })
    }
}

fn limits() -> Limits {
    // Rates that never bite.
    Limits {
        account: 20,
        unreserved_minimum: 4,
        growth: 1_000_000,
        growth_period_ms: 10_000,
        rate_factor: 1_000_000,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Settings in any order under load: the ledger answers as the model does, and what it promises holds.
    #[test]
    fn agrees_with_counting(ops in prop::collection::vec(op(), 1..300)) {
        let limits = limits();
        let (mut ledger, mut model) = (Ledger::new(limits), Model::default());
        let mut tickets: Vec<Ticket> = Vec::new();
        let (mut calls, mut throttled) = (0, 0);
        for op in ops {
            match op {
                Op::Reserve(f, reserved) => {
                    let mut next = model.clone();
                    next.reserved.retain(|(name, _)| *name != FUNCTIONS[f]);
                    next.reserved.extend(reserved.map(|r| (FUNCTIONS[f], r)));
                    let answer = ledger.set_reserved(FUNCTIONS[f], reserved);
                    prop_assert_eq!(answer.is_ok(), next.valid(&model, &limits));
                    if answer.is_ok() {
                        model = next;
                    }
                }
                Op::Provision(f, p, requested) => {
                    let (function, (qualifier, version)) = (FUNCTIONS[f], PLACES[p]);
                    let mut next = model.clone();
                    let same = |c: &ModelConfig| c.function == function && c.qualifier == qualifier;
                    let old = next.configs.iter().find(|c| same(c) && c.version == version);
                    // At least as many as were ready are there; that there are just enough is the ledger's to know.
                    let allocated = ledger.provisioned(function, qualifier).map_or(0, |c| c.allocated);
                    let ready = old.map_or(0, |c| if allocated >= requested { requested } else { c.ready.min(allocated) });
                    next.configs.retain(|c| !same(c));
                    next.configs.push(ModelConfig { function, qualifier, version, requested, ready });
                    next.orphan();
                    let answer = ledger.set_provisioned(function, qualifier, version, requested);
                    prop_assert_eq!(answer.is_ok(), requested > 0 && next.valid(&model, &limits), "{:?}", answer);
                    if answer.is_ok() {
                        model = next;
                    }
                }
                Op::Allocate(f, p, allocated) => {
                    ledger.set_allocated(FUNCTIONS[f], PLACES[p].0, allocated);
                    for config in &mut model.configs {
                        if config.function == FUNCTIONS[f] && config.qualifier == PLACES[p].0 {
                            let complete = allocated >= config.requested;
                            config.ready = if complete { config.requested } else { config.ready.min(allocated) };
                        }
                    }
                }
                Op::Unprovision(f, p) => {
                    ledger.remove_provisioned(FUNCTIONS[f], PLACES[p].0);
                    model.configs.retain(|c| c.function != FUNCTIONS[f] || c.qualifier != PLACES[p].0);
                    model.orphan();
                }
                Op::Remove(f) => {
                    ledger.remove_function(FUNCTIONS[f]);
                    model.reserved.retain(|(name, _)| *name != FUNCTIONS[f]);
                    model.configs.retain(|c| c.function != FUNCTIONS[f]);
                    model.orphan();
                }
                Op::Call(f, v) => {
                    let (function, version) = (FUNCTIONS[f], VERSIONS[v]);
                    calls += 1;
                    let twin = ledger.clone().admit(0, function, version, false);
                    let answer = ledger.admit(0, function, version, false);
                    prop_assert_eq!(&twin, &answer, "the same question has the same answer");
                    let kind = answer.as_ref().map(|t| t.kind.clone()).map_err(|throttle| throttle.reason);
                    prop_assert_eq!(&kind, &model.admit(function, version, limits.account));
                    match answer {
                        Ok(ticket) => {
                            let by = PLACES.iter().copied().find(|(qualifier, of)| {
                                *of == version && ticket.kind == Kind::Provisioned { qualifier: (*qualifier).to_owned() }
                            });
                            model.running.push((function, by));
                            tickets.push(ticket);
                            if let Some(reserved) = model.reserved(function) {
                                prop_assert!(ledger.running(function) <= reserved);
                            }
                        }
                        Err(_) => throttled += 1,
                    }
                }
                Op::Release(_) if tickets.is_empty() => {}
                Op::Release(index) => {
                    let index = index.index(tickets.len());
                    ledger.release(tickets.swap_remove(index));
                    model.running.swap_remove(index);
                    calls -= 1;
                }
            }
            let total = ledger.functions.values().map(Function::share).fold(Share::default(), |sum, share| {
                sum.replace(Share::default(), share)
            });
            prop_assert_eq!(ledger.total, total);
            prop_assert_eq!(i64::from(ledger.unreserved()), model.unreserved(limits.account));
            prop_assert!(ledger.unreserved() >= limits.unreserved_minimum);
            prop_assert!(ledger.account_running() <= limits.account);
            prop_assert_eq!(ledger.account_running() as usize, model.running.len());
            prop_assert_eq!(tickets.len() + throttled, calls);
            for function in FUNCTIONS {
                prop_assert_eq!(ledger.running(function), model.running(function));
            }
            for config in &model.configs {
                let state = ledger.provisioned(config.function, config.qualifier).unwrap();
                prop_assert_eq!((state.ready, state.in_use), (config.ready, model.in_use(config)));
                prop_assert!(state.ready <= state.allocated.min(state.requested));
            }
        }
        for ticket in tickets {
            ledger.release(ticket);
        }
        prop_assert_eq!(ledger.account_running(), 0);
        prop_assert!(ledger.functions.values().all(|f| f.running() == 0 && f.share().pool == 0));
    }

    /// Rows come from the store in any order, and again.
    #[test]
    fn the_order_of_settings_does_not_matter(
        (settings, shuffled) in settings().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        calls in prop::collection::vec((0..3_000i64, 0..FUNCTIONS.len(), 0..VERSIONS.len(), any::<bool>()), 1..200),
    ) {
        let limits = Limits { account: 60, unreserved_minimum: 10, growth: 20, growth_period_ms: 1_000, rate_factor: 2 };
        let mut ledgers = [Ledger::new(limits), Ledger::new(limits), Ledger::new(limits)];
        let twice: Vec<_> = shuffled.iter().chain(&settings).copied().collect();
        for (ledger, settings) in ledgers.iter_mut().zip([&settings, &shuffled, &twice]) {
            for (function, reserved, provisioned) in settings {
                match provisioned {
                    Some((place, count)) => {
                        let (qualifier, version) = PLACES[*place];
                        ledger.set_provisioned(function, qualifier, version, *count).unwrap();
                    }
                    None => ledger.set_reserved(function, *reserved).unwrap(),
                }
            }
            for (function, _, provisioned) in settings {
                if let Some((place, count)) = provisioned {
                    ledger.set_allocated(function, PLACES[*place].0, *count);
                }
            }
        }
        let mut now_ms = 0;
        for (wait_ms, f, v, release) in calls {
            now_ms += wait_ms / 100;
            let answers = ledgers.each_mut().map(|ledger| {
                let answer = ledger.admit(now_ms, FUNCTIONS[f], VERSIONS[v], false);
                let kind = answer.as_ref().map(|t| t.kind.clone()).map_err(|throttle| throttle.reason);
                if let Ok(ticket) = answer && release {
                    ledger.release(ticket);
                }
                (kind, ledger.unreserved(), ledger.running(FUNCTIONS[f]))
            });
            prop_assert_eq!(&answers[0], &answers[1]);
            prop_assert_eq!(&answers[0], &answers[2]);
        }
    }
}

type Setting = (&'static str, Option<u32>, Option<(usize, u32)>);

/// Settings that can stand together: for each function a reservation or none, and up to two configurations.
fn settings() -> impl Strategy<Value = Vec<Setting>> {
    let one = |function: &'static str| {
        (
            prop::option::of(6u32..15),
            prop::option::of(1u32..4),
            prop::option::of((any::<bool>(), 1u32..4)),
        )
            .prop_map(move |(reserved, first, second)| {
                let mut settings: Vec<Setting> = vec![(function, reserved, None)];
                settings.extend(first.map(|count| (function, None, Some((0, count)))));
                settings.extend(second.map(|(alias, count)| {
                    (function, None, Some((if alias { 3 } else { 1 }, count)))
                }));
                settings
            })
    };
    (one("a"), one("b"), one("c")).prop_map(|(a, b, c)| [a, b, c].concat())
}
