//! From AWS's APIs to facts. What may not be looked at, or is not there, becomes a note.

mod compute;
mod identities;

#[cfg(test)]
pub(super) use self::compute::memory_used;
use super::facts::{Facts, Needed};
use super::rules::{Limits, wants_needed};
use crate::client::Client;
use crate::clock;
use crate::commands::account;
use crate::commands::iam::least::{Generator, TrailArguments};
use crate::commands::iam::principals::{Reader, document};
use crate::error::ClientError;

const DAY: i64 = 86_400;

/// Makes the calls.
struct Gatherer<'a> {
    client: &'a Client,
    reader: Reader<'a>,
    facts: Facts,
    limits: Limits,
}

/// Looks at everything.
///
/// # Errors
/// When the platform cannot be reached. A service that refuses is a note.
pub(super) fn gather(
    client: &Client,
    limits: Limits,
    trail: &TrailArguments,
) -> Result<Facts, ClientError> {
    let now = clock::epoch_millis() / 1000;
    let facts = Facts {
        account: account(client)?,
        now,
        local: client.target().endpoint.is_some(),
        ..Facts::default()
    };
    let mut gatherer = Gatherer { client, reader: Reader::new(client), facts, limits };
    gatherer.roles()?;
    gatherer.users()?;
    gatherer.root()?;
    gatherer.buckets()?;
    gatherer.functions()?;
    gatherer.endpoints()?;
    gatherer.references()?;
    gatherer.needed(trail)?;
    Ok(gatherer.facts)
}

impl Gatherer<'_> {
    /// When the time begins that is looked at.
    fn start(&self) -> i64 {
        self.facts.now.saturating_sub(self.limits.days.max(1).saturating_mul(DAY)).max(0)
    }

    /// What was found, or a note that it could not be.
    fn or_note<T>(
        &mut self,
        what: &str,
        found: Result<T, ClientError>,
    ) -> Result<Option<T>, ClientError> {
        match found {
            Ok(found) => Ok(Some(found)),
            // What went away meanwhile is no fault.
            Err(error) if error.is_not_found() => Ok(None),
            Err(
                error @ (ClientError::Service(_) | ClientError::Failed(_) | ClientError::Usage(_)),
            ) => {
                self.facts.notes.push(format!("could not look at {what}: {error}"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// What the roles and users have needed of which that is worth knowing.
    fn needed(&mut self, trail: &TrailArguments) -> Result<(), ClientError> {
        let wanted = wants_needed(&self.facts);
        if wanted.is_empty() {
            return Ok(());
        }
        let window = (self.start(), self.facts.now + 1);
        let generator = Generator::new(self.client, trail, window);
        let Some(generator) = self.or_note("what roles have needed", generator)? else {
            return Ok(());
        };
        for arn in wanted {
            let found = generator.policy(&arn).and_then(|policy| {
                let Some(policy) = policy else { return Ok(Needed::Nothing) };
                let kind = kennel_iam::policy::Kind::Identity;
                let parsed = document("the generated policy", &policy.to_string(), kind)?;
                Ok(Needed::Policy(policy, parsed))
            });
            let found = self.or_note(&format!("what `{arn}` has needed"), found)?;
            let roles = self.facts.roles.iter_mut().map(|role| (&role.entity, &mut role.needed));
            let users = self.facts.users.iter_mut().map(|user| (&user.entity, &mut user.needed));
            let place = roles.chain(users).find(|(entity, _)| entity.arn == arn);
            if let (Some(found), Some((_, place))) = (found, place) {
                *place = found;
            }
        }
        Ok(())
    }
}
