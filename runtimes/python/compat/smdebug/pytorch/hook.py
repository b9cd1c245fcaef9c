"""smdebug's Hook on kennel_debugger's."""

import os

import kennel_debugger
from kennel_debugger.config import Settings, instance_root

from .._missing import NotThere, text
from ..core.collection import Collection
from ..core.modes import ModeKeys
from ..core.save_config import SaveConfig
from .singleton_utils import set_hook


class Hook(kennel_debugger.Hook):
    """Differences from smdebug: without a configuration it does nothing instead of raising FileNotFoundError, `out_dir`
    may be there already, an evaluation is one step, reductions and TensorBoard files are not made."""

    _known = {}

    def __init__(
        self, out_dir=None, export_tensorboard=False, tensorboard_dir=None, dry_run=False, reduction_config=None,
        save_config=None, include_regex=None, include_collections=None, save_all=False, include_workers="one",
    ):
        settings = Settings.parse({
            "LocalPath": out_dir,
            "HookParameters": {
                "include_regex": include_regex, "save_all": save_all, "include_workers": include_workers,
            },
            "CollectionConfigurations": [{"CollectionName": name} for name in include_collections or ()],
        }, instance_root())
        settings.schedules.update(SaveConfig.parse(save_config).schedules())
        for collection in settings.collections.values():
            # The hook's, whatever that is.
            collection.schedules = {}
        self._start(None if dry_run else settings)

    @classmethod
    def create_from_json_file(cls, json_file_path=None):
        hook = cls.from_env(json_file_path)
        if json_file_path and not os.path.exists(json_file_path):
            hook.warn("there is no `%s`" % json_file_path)
        return hook

    def _start(self, settings):
        self._known = {}
        if settings is not None:
            self._known = {name: Collection.of(known) for name, known in settings.collections.items()}
            settings.collections.update(self._known)
        super()._start(settings)
        set_hook(self)

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        raise NotThere(text("Hook.%s" % name))

    @property
    def out_dir(self):
        return self._settings.out_dir if self._settings else None

    @property
    def mode(self):
        return ModeKeys[self._mode.upper()]

    @property
    def mode_steps(self):
        return {ModeKeys[mode.upper()]: count for mode, count in self._counts.items()}

    @property
    def step(self):
        """The number of steps in all modes, less one."""
        return self._counts["global"]

    def set_mode(self, mode):
        super().set_mode(mode.name.lower() if isinstance(mode, ModeKeys) else mode)

    def register_hook(self, module):
        self.register_module(module)

    def begin(self, forward=False):
        for collection in self._known.values():
            collection.resolve(self.paths)
        return super().begin(forward)

    def save_scalar(self, name, value, sm_metric=False, timestamp=None):
        super().save_scalar("scalar/%s" % name, value)

    def save_tensor(self, tensor_name, tensor_value, collections_to_write="default"):
        self.save(tensor_name, tensor_value, collections_to_write)

    def record_tensor_value(self, tensor_name, tensor_value):
        """For losses that are functions: `nll_loss` becomes `nll_loss_output_0`."""
        prefix = tensor_name + "_output_"
        self.offer("%s%d" % (prefix, self.index(prefix)), tensor_value, ())

    def get_collection(self, name, create=True):
        if name not in self._known:
            if not create:
                raise KeyError(name)
            self._known[name] = Collection(name)
        return self._known[name]

    def get_collections(self):
        return self._known

    def add_collection(self, collection):
        if not isinstance(collection, Collection):
            raise TypeError("`%r` is not a Collection" % (collection,))
        self._known[collection.name] = collection
        # Saved where the hook includes it.
        if self._settings is not None and collection.name in self._settings.collections:
            self._settings.collections[collection.name] = collection

    def export_collections(self):
        """Each file says what is in its collections."""
