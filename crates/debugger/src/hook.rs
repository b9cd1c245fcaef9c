//! Which tensors are saved when: SageMaker's `DebugHookConfig`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde_json::Value;

use crate::rules::{needed, patterns};
use crate::text::shown;
use crate::{Mode, RuleSpec};

/// The interval where the configuration says none, as on SageMaker.
const DEFAULT_INTERVAL: u64 = 500;
/// The interval of [`Hook::default_for_rules`]: Kennel's training runs are short.
const RULES_INTERVAL: u64 = 10;
/// The first steps, all of which PoorWeightInitialization looks at.
const FIRST_STEPS: u64 = 10;
/// Saved steps without which a run tells little ([`Hook::fitted_to`]).
const MIN_SAVES: u64 = 10;
/// Collections are few and chosen by people; AWS takes 20.
const MAX_COLLECTIONS: usize = 100;
/// More single steps than a person writes down.
const MAX_SAVE_STEPS: usize = 10_000;

/// Why a hook's configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// A member has the wrong form.
    #[error("`{member}` of the debug hook is `{value}`\nhint: {hint}")]
    Member {
        /// The member's path.
        member: String,
        /// What came, shortened.
        value: String,
        /// What it should be.
        hint: String,
    },
}

/// Which collections are saved at which steps.
///
/// As in smdebug: a step is saved if it is one of `save_steps`, or if `start_step <= step < end_step` and
/// `save_interval` divides it; `train.save_interval` and its like count for one mode; what a collection does
/// not say, the `HookParameters` say; the losses are saved in any case. Two differences:
///
/// - In the modes `eval` and `predict` the interval does not count: every evaluation is saved. smdebug numbers
///   the batches of evaluation and thins them; here an evaluation is one step with the number of the
///   training step it follows, which an interval would hit by chance.
/// - `reductions` are not taken: values are saved in full.
#[derive(Debug, Clone)]
pub struct Hook {
    local_path: Option<PathBuf>,
    base: SaveConfig,
    save_all: bool,
    collections: BTreeMap<String, Collection>,
}

#[derive(Debug, Clone, Default)]
struct Collection {
    when: SaveConfig,
    include: Vec<Regex>,
}

impl Hook {
    /// Reads the `DebugHookConfig` structure of CreateTrainingJob. Numbers may be strings, as the SDK sends
    /// them. Parameters that do not concern what is saved when (`reductions`, `export_tensorboard`) are
    /// passed over.
    pub fn from_config(config: &Value) -> Result<Hook, HookError> {
        let local_path = match config.get("LocalPath") {
            None | Some(Value::Null) => None,
            Some(Value::String(path)) if path.starts_with('/') => Some(PathBuf::from(path)),
            Some(other) => return Err(wrong("LocalPath", other, "an absolute path")),
        };
        let empty = Value::Object(serde_json::Map::new());
        let parameters = match config.get("HookParameters") {
            None | Some(Value::Null) => &empty,
            Some(parameters) => parameters,
        };
        let base = SaveConfig::parse(parameters, "HookParameters", &SaveConfig::default())?;
        let mut collections = BTreeMap::new();
        let include = include(parameters, "HookParameters")?;
        if !include.is_empty() {
            collections.insert("default".to_owned(), Collection { when: base.clone(), include });
        }
        let listed = match config.get("CollectionConfigurations") {
            None | Some(Value::Null) => &[],
            Some(Value::Array(list)) if list.len() <= MAX_COLLECTIONS => list.as_slice(),
            Some(other) => {
                let hint = "a list of at most 100 collections";
                return Err(wrong("CollectionConfigurations", other, hint));
            }
        };
        for (index, entry) in listed.iter().enumerate() {
            let at = format!("CollectionConfigurations[{index}]");
            let name = match entry.get("CollectionName") {
                Some(Value::String(name)) if !name.is_empty() && name.len() <= 256 => name,
                other => {
                    let other = other.unwrap_or(&Value::Null);
                    return Err(wrong(
                        &format!("{at}.CollectionName"),
                        other,
                        "1 to 256 characters",
                    ));
                }
            };
            let at = format!("{at}.CollectionParameters");
            let parameters = match entry.get("CollectionParameters") {
                None | Some(Value::Null) => &empty,
                Some(parameters) => parameters,
            };
            let when = SaveConfig::parse(parameters, &at, &base)?;
            let include = self::include(parameters, &at)?;
            collections.insert(name.clone(), Collection { when, include });
        }
        let save_all = match parameters.get("save_all") {
            Some(Value::Bool(value)) => *value,
            Some(Value::String(value)) => value.trim().eq_ignore_ascii_case("true"),
            _ => false,
        };
        let mut hook = Hook { local_path, base, save_all, collections };
        hook.with_losses();
        Ok(hook)
    }

    /// What the rules need, where the job has no hook configuration: every tenth training step and every
    /// evaluation, the first ten steps where a rule looks at the start, and every step's labels where they are
    /// counted.
    pub fn default_for_rules(rules: &[RuleSpec]) -> Hook {
        let base = SaveConfig::every(RULES_INTERVAL);
        let mut hook =
            Hook { local_path: None, base, save_all: false, collections: BTreeMap::new() };
        hook.with_losses();
        hook.with_rules(rules)
    }

    /// Adds what the rules need and the configuration does not name: SageMaker would start such a rule and
    /// let it find nothing. What the configuration does name stays as it says.
    pub fn with_rules(mut self, rules: &[RuleSpec]) -> Hook {
        for rule in rules {
            let mut when = self.base.clone();
            if rule.rule == "PoorWeightInitialization" {
                when.train.save_steps.extend(0..FIRST_STEPS);
                when.global.save_steps.extend(0..FIRST_STEPS);
            }
            for name in needed(rule) {
                let mut when = when.clone();
                if rule.rule == "ClassImbalance" && name == "labels" {
                    // It counts them, and a step's labels are a few bytes.
                    (when.train.interval, when.global.interval) = (1, 1);
                }
                let named = self.collections.get_mut(&name);
                match named {
                    Some(there) if rule.rule == "PoorWeightInitialization" => {
                        there.when.train.save_steps.extend(0..FIRST_STEPS);
                        there.when.global.save_steps.extend(0..FIRST_STEPS);
                    }
                    Some(_) => {}
                    None => {
                        self.collections.insert(name, Collection { when, include: Vec::new() });
                    }
                }
            }
            let include = patterns(rule);
            if !include.is_empty() {
                let name = format!("rule/{}", rule.configuration);
                self.collections.insert(name, Collection { when, include });
            }
        }
        self
    }

    /// For a run of so many training steps: an interval by which fewer than ten of them would be saved becomes
    /// a tenth of the run. SageMaker's default of 500 is made for long runs; of a head that is trained in 200
    /// steps it saves the first one, and rules that compare steps see nothing. For native training only,
    /// whose length is known, and at most ten more files.
    pub fn fitted_to(mut self, steps: u64) -> Hook {
        let most = (steps / MIN_SAVES).max(1);
        let fit = |when: &mut SaveConfig| when.train.interval = when.train.interval.min(most);
        fit(&mut self.base);
        self.collections.values_mut().for_each(|there| fit(&mut there.when));
        self
    }

    /// Whether tensors of this collection are saved at this step.
    pub fn wants(&self, collection: &str, mode: Mode, step: u64) -> bool {
        let asked = |name: &str| {
            self.collections.get(name).is_some_and(|there| there.when.wants(mode, step))
        };
        // The SDK's configuration of CheckInputImages says `input_image`.
        asked(collection)
            || asked("all")
            || (collection == "input_images" && asked("input_image"))
            || (self.save_all && self.base.wants(mode, step))
    }

    /// Whether this tensor is saved at this step: one of its collections is wanted, or a collection's
    /// `include_regex` matches its name.
    pub fn wants_tensor(&self, name: &str, collections: &[&str], mode: Mode, step: u64) -> bool {
        collections.iter().any(|collection| self.wants(collection, mode, step))
            || self.collections.values().any(|there| {
                there.include.iter().any(|regex| regex.is_match(name))
                    && there.when.wants(mode, step)
            })
    }

    /// The collections that take this tensor by their `include_regex`, besides those it is in by its kind.
    pub fn collections_of(&self, name: &str) -> Vec<&str> {
        let takes = |there: &Collection| there.include.iter().any(|regex| regex.is_match(name));
        let taking = self.collections.iter().filter(|(_, there)| takes(there));
        taking.map(|(collection, _)| collection.as_str()).collect()
    }

    /// Whether anything is saved at this step.
    pub fn wants_step(&self, mode: Mode, step: u64) -> bool {
        self.collections.values().any(|there| there.when.wants(mode, step))
            || (self.save_all && self.base.wants(mode, step))
    }

    /// Where the tensors go, if the configuration says it.
    pub fn local_path(&self) -> Option<&Path> {
        self.local_path.as_deref()
    }

    /// smdebug saves losses (and metrics) whatever else is asked for.
    fn with_losses(&mut self) {
        for name in ["losses", "metrics"] {
            let base = &self.base;
            self.collections
                .entry(name.to_owned())
                .or_insert_with(|| Collection { when: base.clone(), include: Vec::new() });
        }
    }
}

/// When a collection is saved, for each mode.
#[derive(Debug, Clone, Default)]
struct SaveConfig {
    train: SaveMode,
    eval: SaveMode,
    predict: SaveMode,
    global: SaveMode,
}

#[derive(Debug, Clone)]
struct SaveMode {
    interval: u64,
    start: u64,
    end: Option<u64>,
    save_steps: Vec<u64>,
}

impl Default for SaveMode {
    fn default() -> Self {
        SaveMode { interval: DEFAULT_INTERVAL, start: 0, end: None, save_steps: Vec::new() }
    }
}

impl SaveConfig {
    fn every(interval: u64) -> SaveConfig {
        let mode = SaveMode { interval, ..SaveMode::default() };
        SaveConfig { train: mode.clone(), eval: mode.clone(), predict: mode.clone(), global: mode }
    }

    /// Reads `save_interval`, `start_step`, `end_step` and `save_steps`, each also behind a mode's prefix.
    fn parse(parameters: &Value, at: &str, base: &SaveConfig) -> Result<SaveConfig, HookError> {
        let Value::Object(map) = parameters else {
            return Err(wrong(at, parameters, "an object of strings"));
        };
        let mut when = base.clone();
        // Without a prefix first: what a mode says counts more, whatever comes first in the object.
        for prefix in ["", "train.", "eval.", "predict.", "global."] {
            let modes: Vec<&mut SaveMode> = match prefix {
                "train." => vec![&mut when.train],
                "eval." => vec![&mut when.eval],
                "predict." => vec![&mut when.predict],
                "global." => vec![&mut when.global],
                _ => {
                    vec![&mut when.train, &mut when.eval, &mut when.predict, &mut when.global]
                }
            };
            let member = |name: &str| {
                let value = map.get(&format!("{prefix}{name}"))?;
                Some((format!("{at}.{prefix}{name}"), value))
            };
            let integer = |name: &str| -> Result<Option<u64>, HookError> {
                let Some((path, value)) = member(name) else { return Ok(None) };
                let parsed = match value {
                    Value::Number(number) => number.as_u64(),
                    Value::String(text) => text.trim().parse().ok(),
                    _ => None,
                };
                parsed.map(Some).ok_or_else(|| wrong(&path, value, "a whole number, not negative"))
            };
            let interval = integer("save_interval")?;
            if interval == Some(0) {
                let value = member("save_interval").map_or(&Value::Null, |(_, value)| value);
                let path = format!("{at}.{prefix}save_interval");
                return Err(wrong(&path, value, "a whole number, 1 or more"));
            }
            let (start, end) = (integer("start_step")?, integer("end_step")?);
            let save_steps = match member("save_steps") {
                None => None,
                Some((path, value)) => Some(
                    numbers(value)
                        .ok_or_else(|| wrong(&path, value, "steps with commas between: `0,1,2`"))?,
                ),
            };
            for mode in modes {
                mode.interval = interval.unwrap_or(mode.interval);
                mode.start = start.unwrap_or(mode.start);
                mode.end = end.or(mode.end);
                if let Some(save_steps) = &save_steps {
                    mode.save_steps.clone_from(save_steps);
                }
            }
        }
        Ok(when)
    }

    fn wants(&self, mode: Mode, step: u64) -> bool {
        let (when, thinned) = match mode {
            Mode::Train => (&self.train, true),
            Mode::Eval => (&self.eval, false),
            Mode::Predict => (&self.predict, false),
            Mode::Global => (&self.global, true),
        };
        when.save_steps.contains(&step)
            || (step >= when.start
                && when.end.is_none_or(|end| step < end)
                && (!thinned || step.is_multiple_of(when.interval)))
    }
}

fn numbers(value: &Value) -> Option<Vec<u64>> {
    let numbers: Option<Vec<u64>> = match value {
        Value::Number(number) => number.as_u64().map(|number| vec![number]),
        Value::String(text) => text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| part.parse().ok())
            .collect(),
        _ => None,
    };
    numbers.filter(|numbers| numbers.len() <= MAX_SAVE_STEPS)
}

fn include(parameters: &Value, at: &str) -> Result<Vec<Regex>, HookError> {
    match parameters.get("include_regex") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => crate::rules::regexes(text).map_err(|hint| {
            HookError::Member { member: format!("{at}.include_regex"), value: shown(text), hint }
        }),
        Some(other) => {
            Err(wrong(&format!("{at}.include_regex"), other, "regular expressions in a string"))
        }
    }
}

fn wrong(member: &str, value: &Value, hint: &str) -> HookError {
    HookError::Member {
        member: member.to_owned(),
        value: shown(&value.to_string()),
        hint: hint.to_owned(),
    }
}

#[cfg(test)]
mod tests;
