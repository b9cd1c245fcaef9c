//! Debugger: tensors that a training run saves, and rules over them.
