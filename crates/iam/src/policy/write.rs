//! From [`Document`] back to JSON.

use serde_json::{Map, Value, json};

use super::{Document, Effect, PrincipalPattern, Scope, Statement, Version};

impl Document {
    /// The document as JSON, one line. Parses back to an equal document.
    pub fn to_json(&self) -> String {
        let mut members = Map::new();
        let version = match self.version {
            Version::V2008 => "2008-10-17",
            Version::V2012 => "2012-10-17",
        };
        members.insert("Version".to_owned(), json!(version));
        if let Some(id) = &self.id {
            members.insert("Id".to_owned(), json!(id));
        }
        let statements: Vec<Value> = self.statements.iter().map(statement).collect();
        members.insert("Statement".to_owned(), Value::Array(statements));
        Value::Object(members).to_string()
    }
}

fn statement(statement: &Statement) -> Value {
    let mut members = Map::new();
    if let Some(sid) = &statement.sid {
        members.insert("Sid".to_owned(), json!(sid));
    }
    let effect = match statement.effect {
        Effect::Allow => "Allow",
        Effect::Deny => "Deny",
    };
    members.insert("Effect".to_owned(), json!(effect));
    if let Some(scope) = &statement.principal {
        members.insert(named("Principal", scope), principals(scope.items()));
    }
    members.insert(named("Action", &statement.action), texts(statement.action.items()));
    if let Some(scope) = &statement.resource {
        members.insert(named("Resource", scope), texts(scope.items()));
    }
    if !statement.conditions.is_empty() {
        let mut operators = Map::new();
        for condition in &statement.conditions {
            let keys = operators
                .entry(condition.operator_name())
                .or_insert_with(|| Value::Object(Map::new()));
            let values: Vec<&str> = condition.values.iter().map(|v| v.text.as_str()).collect();
            if let Value::Object(keys) = keys {
                keys.insert(condition.key.clone(), json!(values));
            }
        }
        members.insert("Condition".to_owned(), Value::Object(operators));
    }
    Value::Object(members)
}

fn named<T>(element: &str, scope: &Scope<T>) -> String {
    match scope {
        Scope::In(_) => element.to_owned(),
        Scope::NotIn(_) => format!("Not{element}"),
    }
}

fn texts<T: ToString>(items: &[T]) -> Value {
    items.iter().map(|item| Value::String(item.to_string())).collect()
}

fn principals(items: &[PrincipalPattern]) -> Value {
    let mut kinds = Map::new();
    for item in items {
        let (kind, name) = match item {
            PrincipalPattern::Everyone => return json!("*"),
            PrincipalPattern::AnyAws => ("AWS", "*".to_owned()),
            PrincipalPattern::Account(id) | PrincipalPattern::UniqueId(id) => ("AWS", id.clone()),
            PrincipalPattern::Arn(arn) => ("AWS", arn.to_string()),
            PrincipalPattern::Service(name) => ("Service", name.clone()),
            PrincipalPattern::Federated(name) => ("Federated", name.clone()),
            PrincipalPattern::CanonicalUser(id) => ("CanonicalUser", id.clone()),
        };
        let names = kinds.entry(kind).or_insert_with(|| json!([]));
        if let Value::Array(names) = names {
            names.push(json!(name));
        }
    }
    Value::Object(kinds)
}
