//! Hyperparameter tuning as decisions: spaces, strategies, early stopping, completion. Pure: trials so
//! far go in, what to start or stop comes out.
//!
//! A tuning job is a [`Plan`] and the list of [`Trial`]s that it has started, in order of creation. The
//! caller asks [`next`] what to start and [`to_stop`] what to stop whenever something has changed, and does
//! it. Nothing else is kept: [`next`] and [`to_stop`] are functions of plan and trials alone, with no clock
//! and no randomness but a generator seeded from [`Plan::seed`] and the number of trials. A tuning job that
//! was killed goes on when it is asked again with the trials it had.
//!
//! Semantics are those of Amazon SageMaker's automatic model tuning:
//! <https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning.html>.

mod bayesian;
mod decide;
mod draw;
mod gp;
mod hyperband;
mod median;
pub mod native;
mod plan;
pub mod report;
mod space;

pub use decide::{Reason, Step, best, next, to_stop};
pub use plan::{Completion, Goal, Plan, PlanError, PriorTrial, Strategy, Trial, TrialState};
pub use space::{Assignment, Domain, Parameter, Scaling, Space, SpaceError};
