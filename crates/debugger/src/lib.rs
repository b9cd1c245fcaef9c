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
//! # Rules
//!
//! Names, parameters and defaults of [AWS's page](https://docs.aws.amazon.com/sagemaker/latest/dg/debugger-built-in-rules.html).
//! `collection_names` and `tensor_regex` choose tensors where they are listed; `start_step` and `end_step` (not
//! included) work everywhere. A parameter that a rule does not have is an `Error`, as is a rule that by the
//! run's end found nothing to look at; the details say what to save. Where Kennel reads the page in its own
//! way, the rule's comment in the source says how and why.
//!
//! | rule | an issue is | parameters (default) | looks at |
//! |---|---|---|---|
//! | AllZero | so many percent of a tensor are zero | threshold (100), collection_names, tensor_regex | weights after step 0, gradients, activations, inputs |
//! | CheckInputImages | a channel's mean is far from zero | threshold_mean (0.2), threshold_samples (500), regex, channel (1) | input_images |
//! | ClassImbalance | classes of very different size, or small ones predicted badly | threshold_imbalance (10), threshold_misprediction (0.7), samples (500, or 20 per class), labels_regex, predictions_regex | labels, predictions or outputs, of training |
//! | Confusion | at the end, of rows predicted as a class too few are of it | category_no, min_diag (0.9), max_off_diag (0.1), labels, predictions, labels_collection, predictions_collection | labels, predictions or outputs, of the last evaluation |
//! | DeadRelu | most ReLUs of a layer are off for (nearly) all rows | threshold_inactivity (1 %), threshold_layer (50 %), tensor_regex | relu_output |
//! | ExplodingTensor | a value is infinite or not a number | only_nan (False), collection_names, tensor_regex | everything |
//! | LossNotDecreasing | the loss does not fall, or rises | num_steps (10), diff_percent (0.1), increase_threshold_percent (5), mode, use_losses_collection (True), collection_names, tensor_regex | losses, of evaluations before those of training |
//! | Overfit | validation loss above training loss | ratio_threshold (0.1), patience (1), tensor_regex | losses of both |
//! | Overtraining | losses stopped improving | patience_train (5), patience_validation (10), delta (0.01) | losses |
//! | PoorWeightInitialization | layers' variances far apart, gradients too narrow, or no progress at first | threshold (10), distribution_range (0.001), patience (5), steps (10), activation_inputs_regex | activations, gradients, losses of the first steps |
//! | SaturatedActivation | most units of a tanh or sigmoid are at its ends | threshold_tanh_min, _max (±9.4999), threshold_sigmoid_min, _max (−23, 16.99999), threshold_inactivity (1 %), threshold_layer (50 %) | tanh and sigmoid, inputs or outputs |
//! | SimilarAcrossRuns | a tensor differs from the other run's | other_trials, rtol (1e-5), atol (1e-8), collection_names, tensor_regex | everything |
//! | StalledTrainingRule, StalledTraining | nothing was saved for so many seconds | threshold (1800), stop_training_on_fire (False) | the clock |
//! | TensorVariance | a variance out of bounds | max_threshold, min_threshold (one is needed), collection_names, tensor_regex | weights |
//! | UnchangedTensor | a tensor stays the same over saved steps | num_steps (3), rtol (1e-5), atol (1e-8), equal_nan (False), collection_names, tensor_regex | weights and losses of training |
//! | VanishingGradient | a gradient's mean absolute value is almost zero | threshold (1e-7) | gradients |
//! | WeightUpdateRatio | updates too large or too small beside the weight | large_threshold (10), small_threshold (1e-8), num_steps, epsilon (1e-9) | weights of training |
//!
//! TreeDepth, FeatureImportanceOverweight, CreateXgboostReport (XGBoost), NLPSequenceRatio and custom rules
//! are not implemented and end with `Error`.
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
