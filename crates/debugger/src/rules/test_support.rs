//! What the unit tests of rules share: tensors made by hand, shown to a rule step by step.

use std::collections::BTreeMap;

use super::{At, End, Rule, build};
use crate::layout::Tensor;
use crate::{Mode, RuleSpec};

/// A rule by its name and parameters.
pub(super) fn rule(name: &str, parameters: &[(&str, &str)]) -> Box<dyn Rule> {
    try_rule(name, parameters).unwrap()
}

pub(super) fn try_rule(name: &str, parameters: &[(&str, &str)]) -> Result<Box<dyn Rule>, String> {
    let parameters: BTreeMap<String, String> =
        parameters.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    let spec = RuleSpec { rule: name.to_owned(), parameters, ..RuleSpec::default() };
    build(&spec, &["/nowhere".into()]).map(|(rule, _)| rule)
}

/// A tensor to show: name, collection, shape, values.
pub(super) type Shown<'a> = (&'a str, &'a str, &'a [usize], &'a [f32]);

/// Shows a step; what the rule said.
pub(super) fn show(
    rule: &mut dyn Rule,
    mode: Mode,
    step: u64,
    tensors: &[Shown<'_>],
) -> Option<String> {
    let at = At { worker: "algo-1", mode, step };
    let mut said = None;
    for &(name, collection, shape, values) in tensors {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "{name}");
        let collections = [collection.to_owned()];
        if said.is_none() && rule.wants(&at, name, &collections) {
            let tensor =
                Tensor { name: name.to_owned(), shape: shape.to_vec(), values: values.to_vec() };
            said = rule.tensor(&at, &tensor, &collections);
        }
    }
    said.or_else(|| rule.step_end(&at))
}

/// Shows scalars of one name at training steps; the first step at which the rule said something, and what.
pub(super) fn scalars(
    rule: &mut dyn Rule,
    mode: Mode,
    name: &str,
    collection: &str,
    values: &[(u64, f32)],
) -> Option<(u64, String)> {
    values.iter().find_map(|&(step, value)| {
        let said = show(rule, mode, step, &[(name, collection, &[], &[value])])?;
        Some((step, said))
    })
}

/// Whether the rule ends clean, with this note.
pub(super) fn clean(rule: &mut dyn Rule) -> Option<String> {
    match rule.finish() {
        End::Clean(note) => Some(note),
        End::Issue(_) | End::Missing(_) => None,
    }
}

/// The sentence of a rule that found nothing to look at.
pub(super) fn lacking(rule: &mut dyn Rule) -> Option<String> {
    match rule.finish() {
        End::Missing(sentence) => Some(sentence),
        End::Issue(_) | End::Clean(_) => None,
    }
}
