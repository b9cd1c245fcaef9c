//! From what was used to the policy: [`kennel_iam::least`], and for roles that were passed on the condition to
//! which service, without which `iam:PassRole` would be wider than what was done.

use std::collections::BTreeMap;

use kennel_iam::least::{self, Options, Use};
use kennel_iam::policy::{Condition, ConditionValue, Document, Operator, Typed};

use crate::records::Used;

/// Resource-exact, whatever their number.
const EXACT: Options = Options { collapse: usize::MAX };

/// The narrowest policy as JSON text; `None` when nothing was used.
pub(super) fn least(used: &[Used]) -> Option<String> {
    let mut groups: BTreeMap<Option<&str>, Vec<Use>> = BTreeMap::new();
    for Used { action, resource, passed_to } in used {
        let one = Use { action: action.clone(), resource: resource.clone() };
        groups.entry(passed_to.as_deref()).or_default().push(one);
    }
    let mut whole: Option<Document> = None;
    for (service, uses) in groups {
        let Some(mut document) = least::policy(&uses, EXACT) else { continue };
        if let Some(service) = service {
            for statement in &mut document.statements {
                statement.conditions.push(passed_to(service));
            }
        }
        match &mut whole {
            Some(whole) => whole.statements.extend(document.statements),
            None => whole = Some(document),
        }
    }
    whole.map(|document| document.to_json())
}

fn passed_to(service: &str) -> Condition {
    Condition {
        quantifier: None,
        operator: Operator::StringEquals,
        if_exists: false,
        key: "iam:PassedToService".to_owned(),
        values: vec![ConditionValue { text: service.to_owned(), typed: Typed::Text }],
    }
}
