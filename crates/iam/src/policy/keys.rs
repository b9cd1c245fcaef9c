//! The keys that a policy asks of a request: those of its conditions and of its variables.

use std::collections::BTreeSet;

use super::{Condition, Document, Scope, Statement, Version};
use crate::evaluate::{Reading, Template};

/// Every key that a document asks for, as the author wrote it; sorted, each once without regard to case. What
/// `GetContextKeysForCustomPolicy` answers.
pub fn context_keys(document: &Document) -> BTreeSet<String> {
    let variables = document.version == Version::V2012;
    let all = document.statements.iter().flat_map(|s| s.context_keys(variables));
    let mut seen = BTreeSet::new();
    all.filter(|key| seen.insert(key.to_ascii_lowercase())).collect()
}

impl Statement {
    /// As [`context_keys`], of one statement, in the author's order. `variables`: whether the document's
    /// version knows variables.
    pub(crate) fn context_keys(&self, variables: bool) -> Vec<String> {
        let resources = self.resource.as_ref().map_or(&[][..], Scope::items);
        let texts = resources.iter().map(ToString::to_string);
        let mut keys: Vec<String> =
            texts.flat_map(|text| variable_keys(&text, variables)).collect();
        keys.extend(self.conditions.iter().flat_map(|c| c.context_keys(variables)));
        keys
    }
}

impl Condition {
    /// The condition's own key and its variables'.
    pub(crate) fn context_keys(&self, variables: bool) -> Vec<String> {
        let mut keys = vec![self.key.clone()];
        keys.extend(self.values.iter().flat_map(|v| variable_keys(&v.text, variables)));
        keys
    }
}

fn variable_keys(text: &str, variables: bool) -> Vec<String> {
    let template = Template::new(text, Reading { variables, wildcards: true });
    template.keys().map(str::to_owned).collect()
}
