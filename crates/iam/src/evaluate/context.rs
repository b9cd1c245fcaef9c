//! What is known of a request besides who, what and on what.

use std::collections::BTreeMap;

use super::Principal;

/// Condition keys and their values. Keys are compared without regard to case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    values: BTreeMap<String, Vec<String>>,
}

impl Context {
    /// Without keys.
    pub fn new() -> Self {
        Context::default()
    }

    /// Sets a key with one value; what it had is gone.
    pub fn set(&mut self, key: &str, value: impl Into<String>) -> &mut Self {
        self.set_many(key, vec![value.into()])
    }

    /// Sets a key with several values; without any, the key counts as absent.
    pub fn set_many(&mut self, key: &str, values: Vec<String>) -> &mut Self {
        self.values.insert(key.to_ascii_lowercase(), values);
        self
    }

    /// Sets the keys that follow from who asks: `aws:PrincipalArn`, `aws:PrincipalAccount`,
    /// `aws:PrincipalType`, `aws:PrincipalIsAWSService`, `aws:userid` and, for users, `aws:username`.
    ///
    /// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html#principaltable>.
    pub fn set_principal(&mut self, principal: Principal<'_>) -> &mut Self {
        if let Some(account) = principal.account() {
            self.set("aws:PrincipalAccount", account);
        }
        let service = matches!(principal, Principal::Service(_));
        self.set("aws:PrincipalIsAWSService", if service { "true" } else { "false" });
        match principal {
            Principal::Root { account } => {
                self.set("aws:PrincipalArn", principal.to_string());
                self.set("aws:PrincipalType", "Account");
                self.set("aws:userid", account);
            }
            Principal::User { arn, id, name, .. } => {
                self.set("aws:PrincipalArn", arn);
                self.set("aws:PrincipalType", "User");
                self.set("aws:userid", id);
                self.set("aws:username", name);
            }
            Principal::Session { role_arn, role_id, session_name, .. } => {
                self.set("aws:PrincipalArn", role_arn);
                self.set("aws:PrincipalType", "AssumedRole");
                self.set("aws:userid", format!("{role_id}:{session_name}"));
            }
            Principal::Service(name) => {
                self.set("aws:PrincipalServiceName", name);
            }
            Principal::Anonymous => {
                self.set("aws:PrincipalType", "Anonymous");
                self.set("aws:userid", "anonymous");
            }
        }
        self
    }

    /// A key's values.
    pub fn get(&self, key: &str) -> Option<&[String]> {
        if key.bytes().any(|b| b.is_ascii_uppercase()) {
            return self.values.get(&key.to_ascii_lowercase()).map(Vec::as_slice);
        }
        self.values.get(key).map(Vec::as_slice)
    }

    /// All keys, lower-cased and sorted, with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.values.iter().map(|(key, values)| (key.as_str(), values.as_slice()))
    }
}
