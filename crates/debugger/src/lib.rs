//! Debugger: the tensors that a training run saves, and SageMaker Debugger's built-in rules over them.
//!
//! Three parts that know nothing of a server, of burn or of AWS's wire format:
//!
//! - [`TensorWriter`] and the reader behind [`Evaluator`]: tensors in files, in the layout below.
//! - [`Hook`]: which collections are saved at which steps (SageMaker's `DebugHookConfig`).
//! - [`RuleSpec`] and [`Evaluator`]: the rules (SageMaker's `DebugRuleConfigurations`), which read the files
//!   while training runs and end with a [`Verdict`] each.
//!
//! # Layout, `kennel-tensors/1`
//!
//! Below one folder, the `LocalPath` of the hook, `/opt/ml/output/tensors` by default (docs/adr/0014 says why):
//!
//! ```text
//! <folder>/<worker>/<mode>/<step>.safetensors
//! <folder>/<worker>/END
//! ```
//!
//! - `worker`: who saved it: `algo-1` for the first instance, `algo-1-rank0` for a process of it. Letters,
//!   digits, `-`, `_` and `.`, not starting with `.`, at most 64 bytes.
//! - `mode`: `train`, `eval`, `predict` or `global` (no mode is known).
//! - `step`: the step's number, nine digits with leading zeros (more digits above 999,999,999). Steps count
//!   optimiser steps from 0 in `train`; `eval` uses the number of the training step it follows, so that the
//!   rules can tell what came first. Steps of one worker grow, and within one step the order of writing is
//!   `train`, `eval`, `predict`, `global`.
//! - A file is written aside in the same folder under a name that starts with `.`, then renamed, so whoever
//!   reads sees a whole file or none. It is never changed afterwards, and it is not flushed to the disk:
//!   tensors are observations, a run that lost its machine is started again and saves them again.
//! - `END`, an empty file, is made last: this worker saves nothing more.
//!
//! A file is [safetensors](https://github.com/huggingface/safetensors): tensors of type `F32` (`F16`, `BF16`,
//! `F64`, `I64`, `I32`, `U8` and `BOOL` are read too and become `f32`), and `__metadata__` with strings:
//!
//! | key | value |
//! |---|---|
//! | `format` | `kennel-tensors/1` |
//! | `step` | the step, decimal, as in the file's name |
//! | `mode` | the mode, as in the folder's name |
//! | `time_ms` | Unix time in milliseconds at which it was saved |
//! | `collections` | JSON object: collection name → list of names of tensors in this file |
//!
//! A tensor may be in several collections, or in none. Names of collections, as smdebug has them where it
//! has them:
//!
//! | collection | tensors | shape |
//! |---|---|---|
//! | `weights`, `biases` | parameters, named as the framework does: `head.output.weight`, `fc.0.weight` | any |
//! | `gradients` | `gradient/<name of the parameter>` | as the parameter |
//! | `losses` | scalars: `loss`, `CrossEntropyLoss_output_0`; mode `train` per step, `eval` per evaluation | `[]` or `[1]` |
//! | `metrics` | scalars: `accuracy` | `[]` or `[1]` |
//! | `relu_input`, `relu_output` | before and after a ReLU: `head.hidden.relu_output_0`, `ReLU_output_0` | `[rows, units, …]` |
//! | `tanh_input`, `tanh_output`, `sigmoid_input`, `sigmoid_output` | the same of tanh and sigmoid | `[rows, units, …]` |
//! | `inputs` | what the model is given: `head.input` | `[rows, …]` |
//! | `input_images` | pictures after preprocessing: `images` | `[rows, channels, height, width]` |
//! | `outputs` | logits, or probabilities: `logits` | `[rows, classes]` |
//! | `predictions` | what a classifier decided, where it saves that: class numbers or scores | `[rows]` or `[rows, classes]` |
//! | `labels` | true class numbers from 0, in the order of the rows of `outputs` | `[rows]` |
//!
//! # Everything read is hostile
//!
//! A user's script wrote these files. Links are not followed, only plain files are opened, sizes of files,
//! headers, names and counts are bounded, memory is bounded whatever the files say, and a broken file is
//! skipped, counted and named in the verdict of the rules that might have needed it.

mod evaluator;
mod hook;
mod layout;
mod rules;
mod spec;
mod text;

pub use evaluator::{Evaluator, Status, Verdict};
pub use hook::{Hook, HookError};
pub use layout::{Mode, TensorError, TensorRef, TensorWriter};
pub use spec::{RuleError, RuleSpec};
