//! When keys and roles were last used. Kept in memory between two writes; AWS, too, reports it with delay.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use kennel_store::state::rusqlite::{Connection, params};

use super::error::Outcome;
use crate::context::{Caller, Principal, Timestamp};

/// Keys and roles that are remembered between two writes; more are not noted.
const KEPT: usize = 8_192;

/// The last use of a key or role.
#[derive(Debug, Clone)]
pub(crate) struct Use {
    at: Timestamp,
    service: String,
    region: String,
}

/// Uses since the last write, by key or by role id.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    uses: Mutex<HashMap<String, Use>>,
}

impl Usage {
    pub(crate) fn note(&self, caller: &Caller, service: &str, region: &str, at: Timestamp) {
        let id = match &caller.principal {
            Principal::User { .. } if caller.access_key.starts_with("AKIA") => &caller.access_key,
            Principal::Role { id, .. } => id,
            Principal::Root | Principal::User { .. } => return,
        };
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = uses.get_mut(id) {
            there.at = there.at.max(at);
            if there.service != service {
                service.clone_into(&mut there.service);
            }
            if there.region != region {
                region.clone_into(&mut there.region);
            }
        } else if uses.len() < KEPT {
            let new = Use { at, service: service.to_owned(), region: region.to_owned() };
            uses.insert(id.clone(), new);
        }
    }

    pub(crate) fn take(&self) -> HashMap<String, Use> {
        std::mem::take(&mut *self.uses.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(crate) fn write(c: &Connection, uses: &HashMap<String, Use>) -> Outcome<()> {
    for (id, Use { at, service, region }) in uses {
        if id.starts_with("AROA") {
            c.prepare_cached("UPDATE iam_entities SET used = ?2, used_region = ?3 WHERE id = ?1")?
                .execute(params![id, at.0, region])?;
        } else {
            c.prepare_cached(
                "UPDATE iam_keys SET used = ?2, used_service = ?3, used_region = ?4 WHERE id = ?1",
            )?
            .execute(params![id, at.0, service, region])?;
        }
    }
    Ok(())
}
