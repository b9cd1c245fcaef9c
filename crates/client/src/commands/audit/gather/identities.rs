//! Roles, users and their keys, the root, and who refers to a role.

use serde_json::{Value, json};

use super::Gatherer;
use crate::client::Service;
use crate::clock;
use crate::commands::audit::facts::{Key, Role, User};
use crate::commands::iam::event;
use crate::commands::iam::narrow::trusts;
use crate::commands::iam::principals::{Kind, pages};
use crate::error::ClientError;

/// Jobs that are asked for their role, at most.
const JOBS: usize = 200;

impl Gatherer<'_> {
    pub(super) fn roles(&mut self) -> Result<(), ClientError> {
        let listed = pages(self.client, "ListRoles", &[], "Roles");
        for role in self.or_note("roles", listed)?.unwrap_or_default() {
            // AWS's own, which nobody can change.
            if role.text("Path").is_some_and(|path| path.starts_with("/aws-service-role/")) {
                continue;
            }
            let name = role.text("RoleName").unwrap_or_default();
            let found = self.reader.entity(Kind::Role, name);
            if let Some(entity) = self.or_note(&format!("role `{name}`"), found)? {
                let (used_by, needed) = Default::default();
                self.facts.roles.push(Role { entity, used_by, needed });
            }
        }
        Ok(())
    }

    pub(super) fn users(&mut self) -> Result<(), ClientError> {
        let listed = pages(self.client, "ListUsers", &[], "Users");
        for user in self.or_note("users", listed)?.unwrap_or_default() {
            let name = user.text("UserName").unwrap_or_default();
            let found = self.reader.entity(Kind::User, name);
            let Some(entity) = self.or_note(&format!("user `{name}`"), found)? else { continue };
            if !entity.groups.is_empty() {
                let groups = entity.groups.join("`, `");
                let note = format!(
                    "the policies of the groups `{groups}` of user `{name}` are not looked at"
                );
                self.facts.notes.push(note);
            }
            let keys = self.keys(name);
            let keys = self.or_note(&format!("the keys of `{name}`"), keys)?.unwrap_or_default();
            self.facts.users.push(User { entity, keys, needed: Default::default() });
        }
        Ok(())
    }

    fn keys(&self, user: &str) -> Result<Vec<Key>, ClientError> {
        let ask = [("UserName", user)];
        let mut all = Vec::new();
        for key in pages(self.client, "ListAccessKeys", &ask, "AccessKeyMetadata")? {
            let id = key.text("AccessKeyId").unwrap_or_default().to_owned();
            let ask = [("AccessKeyId", id.as_str())];
            let used = self.client.query(Service::Iam, "GetAccessKeyLastUsed", &ask)?;
            let used = used.child("AccessKeyLastUsed").cloned().unwrap_or_default();
            let service = used.text("ServiceName").filter(|s| *s != "N/A" && !s.is_empty());
            all.push(Key {
                active: key.text("Status") == Some("Active"),
                created: key.text("CreateDate").and_then(clock::from_iso),
                last_used: used.text("LastUsedDate").and_then(clock::from_iso),
                service: service.map(str::to_owned),
                id,
            });
        }
        Ok(all)
    }

    pub(super) fn root(&mut self) -> Result<(), ClientError> {
        // This program itself looks around with the root's key where the platform is its own.
        let until = self.facts.now + 1;
        let found = event::of_root(self.client, (self.start(), until), !self.facts.local);
        if let Some(found) = self.or_note("what the root did", found)? {
            self.facts.root = found;
        }
        Ok(())
    }

    /// What refers to which role.
    pub(super) fn references(&mut self) -> Result<(), ClientError> {
        let functions: Vec<(String, String)> = self
            .facts
            .functions
            .iter()
            .map(|f| (f.role.clone(), format!("function {}", f.name)))
            .collect();
        for (role, what) in functions {
            self.refer(&role, what);
        }
        self.described(
            "models",
            ("ListModels", "Models", "ModelName"),
            "DescribeModel",
            "ExecutionRoleArn",
        )?;
        self.described(
            "notebook instances",
            ("ListNotebookInstances", "NotebookInstances", "NotebookInstanceName"),
            "DescribeNotebookInstance",
            "RoleArn",
        )?;
        // There can be very many jobs; they matter to roles that nothing else refers to.
        let orphans = self.facts.roles.iter().any(|role| {
            let trust = role.entity.trust.as_ref();
            role.used_by.is_empty()
                && role.entity.last_used.is_some()
                && trust.is_some_and(|trust| trusts(trust, "sagemaker.amazonaws.com"))
        });
        if orphans {
            self.described(
                "training jobs",
                ("ListTrainingJobs", "TrainingJobSummaries", "TrainingJobName"),
                "DescribeTrainingJob",
                "RoleArn",
            )?;
        }
        Ok(())
    }

    /// Goes through what a list of SageMaker's names, newest first, and keeps the roles that they have.
    fn described(
        &mut self,
        what: &str,
        (list, member, name): (&str, &str, &str),
        describe: &str,
        role: &str,
    ) -> Result<(), ClientError> {
        let mut body =
            json!({"SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": 100});
        if list == "ListTrainingJobs" {
            body["CreationTimeAfter"] = self.start().into();
        }
        let mut all: Vec<Value> = Vec::new();
        while all.len() < JOBS {
            let page = self.client.json(Service::SageMaker, list, &body);
            let Some(page) = self.or_note(what, page)? else { return Ok(()) };
            all.extend(page[member].as_array().cloned().unwrap_or_default());
            match page["NextToken"].as_str() {
                Some(next) if !next.is_empty() && body["NextToken"] != next => {
                    body["NextToken"] = next.into();
                }
                _ => break,
            }
        }
        for item in all.into_iter().take(JOBS) {
            let Some(own) = item[name].as_str() else { continue };
            let found = self.client.json(Service::SageMaker, describe, &json!({name: own}));
            let Some(found) = self.or_note(&format!("`{own}` of the {what}"), found)? else {
                continue;
            };
            if let Some(arn) = found[role].as_str() {
                self.refer(arn, format!("{} {own}", what.trim_end_matches('s')));
            }
        }
        Ok(())
    }

    fn refer(&mut self, role: &str, what: String) {
        if let Some(role) = self.facts.roles.iter_mut().find(|r| r.entity.arn == role) {
            role.used_by.push(what);
        }
    }
}
