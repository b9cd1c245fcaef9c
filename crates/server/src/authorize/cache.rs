//! What was read from the database, kept until somebody writes: the generation counts the writes, so that
//! what was read before one is not kept after it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Entries that are kept at most; then all are forgotten.
const KEPT: usize = 8_192;

/// Entries by name.
#[derive(Debug)]
pub(crate) struct Cache<T> {
    state: RwLock<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    generation: u64,
    entries: HashMap<String, Arc<T>>,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Cache { state: RwLock::new(State { generation: 0, entries: HashMap::new() }) }
    }
}

impl<T> Cache<T> {
    /// The generation, and the entry if there is one.
    pub(crate) fn get(&self, key: &str) -> (u64, Option<Arc<T>>) {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        (state.generation, state.entries.get(key).cloned())
    }

    /// Keeps what was read when `generation` was current.
    pub(crate) fn put(&self, generation: u64, key: &str, entry: Arc<T>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.generation != generation {
            return;
        }
        if state.entries.len() >= KEPT {
            state.entries.clear();
        }
        state.entries.insert(key.to_owned(), entry);
    }

    /// The entry, read by `load` where it is not kept.
    ///
    /// # Errors
    /// What `load` says; nothing is kept then.
    pub(crate) fn get_or<E>(
        &self,
        key: &str,
        load: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let (generation, known) = self.get(key);
        if let Some(entry) = known {
            return Ok(entry);
        }
        let entry = Arc::new(load()?);
        self.put(generation, key, Arc::clone(&entry));
        Ok(entry)
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.generation += 1;
        state.entries.clear();
    }
}
