//! How much may run, and when: the arithmetic of concurrency and scaling, as decisions. Pure: time, settings and
//! calls go in, a decision with its reason comes out.
//!
//! - [`concurrency`]: which invocation of a Lambda function is admitted, onto which kind of environment,
//!   and why the others are throttled.
//! - [`routing`]: which version a call through a weighted alias reaches.
//! - [`retry`]: when an asynchronous invocation is tried again, and when it is given up.
//! - [`scaler`]: what one scalable target does, from all its policies ([`target_tracking`], [`step`]) and their
//!   cooldowns; [`alarm`]: the states of CloudWatch's alarms, on which the policies act.
//! - [`fast`]: the other mode, which decides twice a second from the load itself.
//! - [`schedule`]: when scheduled actions are due.
//! - [`trace`]: when requests come; [`simulate`]: what the policies would do with them; [`recommend`]: which
//!   policy meets a goal at the least cost.
//!
//! Nothing here reads a clock, waits or does I/O: time comes in as milliseconds, randomness as a number
//! that the caller drew. The same calls in the same order give the same answers.

pub mod alarm;
pub mod concurrency;
pub mod fast;
pub mod recommend;
pub mod retry;
pub mod routing;
pub mod scaler;
pub mod schedule;
pub mod simulate;
pub mod step;
pub mod target_tracking;
pub mod trace;
