"""Named groups of tensors."""

import re

import kennel_debugger

from .modes import ModeKeys
from .save_config import SaveConfig


class CollectionKeys:
    DEFAULT = "default"
    ALL = "all"
    INPUTS = "inputs"
    OUTPUTS = "outputs"
    WEIGHTS = "weights"
    GRADIENTS = "gradients"
    LOSSES = "losses"
    BIASES = "biases"
    LAYERS = "layers"
    SM_METRICS = "sm_metrics"
    OPTIMIZER_VARIABLES = "optimizer_variables"
    METRICS = "metrics"
    HYPERPARAMETERS = "hyperparameters"
    PREDICTIONS = "predictions"
    LABELS = "labels"


class Collection(kennel_debugger.Collection):
    """Tensors of these names, of names that match, and of these modules."""

    def __init__(
        self, name, include_regex=None, tensor_names=None, reduction_config=None, save_config=None, save_histogram=True,
    ):
        super().__init__(name, [include_regex] if isinstance(include_regex, str) else include_regex or ())
        self.tensor_names = set(tensor_names or ())
        self.reduction_config = reduction_config
        self.save_histogram = save_histogram
        self.modules = {}
        if save_config is not None:
            self.save_config = save_config

    @classmethod
    def of(cls, known):
        """The same collection with smdebug's methods."""
        made = cls(known.name, known.include_regex)
        made.schedules = known.schedules
        return made

    def include(self, pattern):
        for one in [pattern] if isinstance(pattern, str) else pattern:
            re.compile(one)
            self.include_regex.append(one)

    def add_tensor_name(self, name):
        self.tensor_names.add(name)

    def add_module_tensors(self, module, inputs=False, outputs=True):
        self.modules[module] = (inputs, outputs)

    def matches(self, tensor):
        return tensor in self.tensor_names or super().matches(tensor)

    def resolve(self, paths):
        """Turns modules into patterns, once they are registered and have names."""
        for module in [module for module in self.modules if id(module) in paths]:
            inputs, outputs = self.modules.pop(module)
            name = "^" + re.escape(paths[id(module)])
            self.include([name + end for end, wanted in (("_input_", inputs), ("_output_", outputs)) if wanted])

    @property
    def save_config(self):
        return SaveConfig({ModeKeys[mode.upper()]: one for mode, one in self.schedules.items()})

    @save_config.setter
    def save_config(self, given):
        self.schedules = SaveConfig.parse(given).schedules()
