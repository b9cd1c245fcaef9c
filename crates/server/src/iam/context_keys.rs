//! GetContextKeysForCustomPolicy and GetContextKeysForPrincipalPolicy: the condition keys that policies look
//! at, in conditions and as policy variables, each once and sorted.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetContextKeysForCustomPolicy.html>.

use std::collections::BTreeMap;

use kennel_iam::policy::{Document, Kind as PolicyKind, context_keys};
use kennel_store::state::rusqlite::Connection;
use serde_json::{Value, json};

use super::error::{Outcome, invalid_input};
use super::held;
use super::input::Call;

/// GetContextKeysForCustomPolicy.
pub(crate) fn of_custom(call: &Call, _: &Connection) -> Outcome<Value> {
    Ok(answer(&given(call)?))
}

/// GetContextKeysForPrincipalPolicy.
pub(crate) fn of_principal(call: &Call, c: &Connection) -> Outcome<Value> {
    let entity = held::entity(c, &call.account, call.required("PolicySourceArn")?)?;
    let held = held::of_entity(c, &entity)?;
    let mut all: Vec<Document> = held.into_iter().map(|held| held.document).collect();
    all.extend(given(call)?);
    Ok(answer(&all))
}

/// The documents of `PolicyInputList`, of identities or of resources.
fn given(call: &Call) -> Outcome<Vec<Document>> {
    let texts = call.list("PolicyInputList").iter().filter_map(Value::as_str);
    let parse = |text: &str| {
        Document::parse(text, PolicyKind::Identity)
            .or_else(|e| Document::parse(text, PolicyKind::Resource).map_err(|_| e))
    };
    let all: Result<Vec<Document>, _> = texts.map(parse).collect();
    Ok(all.map_err(|e| invalid_input(e.to_string()))?)
}

fn answer(documents: &[Document]) -> Value {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for key in documents.iter().flat_map(context_keys) {
        names.entry(key.to_ascii_lowercase()).or_insert(key);
    }
    json!({"ContextKeyNames": names.into_values().collect::<Vec<String>>()})
}

#[cfg(test)]
mod tests;
