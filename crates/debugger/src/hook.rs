//! Which tensors are saved when: SageMaker's `DebugHookConfig`.

use std::path::{Path, PathBuf};

use crate::{Mode, RuleSpec};

/// Why a hook's configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// A member has the wrong form.
    #[error("`{member}` of the debug hook is `{value}`\nhint: {hint}")]
    Member {
        /// The member's path.
        member: String,
        /// What came, shortened.
        value: String,
        /// What it should be.
        hint: String,
    },
}

/// Which collections are saved at which steps.
#[derive(Debug, Clone)]
pub struct Hook {
    local_path: Option<PathBuf>,
}

impl Hook {
    /// Reads the `DebugHookConfig` structure of CreateTrainingJob.
    pub fn from_config(_config: &serde_json::Value) -> Result<Hook, HookError> {
        Ok(Hook { local_path: None })
    }

    /// What the rules need, where the job has no hook configuration.
    pub fn default_for_rules(_rules: &[RuleSpec]) -> Hook {
        Hook { local_path: None }
    }

    /// Whether tensors of this collection are saved at this step.
    pub fn wants(&self, _collection: &str, _mode: Mode, _step: u64) -> bool {
        true
    }

    /// Whether anything is saved at this step.
    pub fn wants_step(&self, _mode: Mode, _step: u64) -> bool {
        true
    }

    /// Where the tensors go, if the configuration says it.
    pub fn local_path(&self) -> Option<&Path> {
        self.local_path.as_deref()
    }
}
