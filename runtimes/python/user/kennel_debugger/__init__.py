"""Saves tensors of a training script for Kennel's debugger rules.

    import kennel_debugger

    hook = kennel_debugger.Hook.from_env()         # does nothing where the job has no debugger configuration
    for images, labels in batches:
        hook.step("train")                         # a step begins
        ...
        hook.save("fc.weight", weights, collection="weights")
        hook.save_scalar("loss", loss)
    hook.close()                                   # at the end of the process at the latest

With torch, `hook.register_module(model)` and `hook.register_loss(criterion)` take the place of all of it: each forward
pass of the model is a step, and weights, gradients, activations and losses are saved as the configuration asks for
them. Standard library only; numpy arrays and torch tensors are taken when the script has them, neither is imported.

What goes wrong while saving is said once on stderr and never reaches the training.
"""

from .config import MODES, Collection, ConfigError, Schedule, Settings
from .hook import Hook

__all__ = ["Collection", "ConfigError", "Hook", "MODES", "Schedule", "Settings"]
