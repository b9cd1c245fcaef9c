//! Hyperparameter tuning as decisions: spaces, strategies, early stopping, completion. Pure: trials so far go in, what to start or stop comes out.
