//! The conformance suite of [`super::ObjectStore`]: what every implementation must do.

use super::ObjectStore;

/// Runs all checks on an empty store; panics at the first that fails.
pub async fn run(_store: &dyn ObjectStore) {}
