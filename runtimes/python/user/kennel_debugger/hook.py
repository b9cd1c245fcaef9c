"""The hook: counts steps, keeps the tensors of the current one and writes them when the next begins.

Steps are numbered as the rules read them (crates/debugger/src/lib.rs): `train` counts from 0; an evaluation has the
number of the training step that it follows and one file, whatever the number of its batches: scalars are their mean,
of other tensors the first batch's is kept. A script that never says `train` has its steps in `global`.
"""

import atexit
import functools
import json
import os
import struct
import sys
import threading
import time

from . import tensors, torch_hooks, workers
from .config import MODES, PARAMETERS, Settings, instance_root


def guarded(method):
    """Saving is a guest in the user's training: no-op where there is nothing to do, and it never raises."""

    @functools.wraps(method)
    def call(self, *args, **kwargs):
        # A forked process (a data loader's) must not write its parent's tensors again.
        if not self.enabled or self._pid != os.getpid():
            return None
        try:
            with self._lock:
                return method(self, *args, **kwargs)
        except Exception as error:
            self.warn(error)
            return None

    return call


class Hook:
    """Saves tensors below `out_dir`.

    `collections` names the ones that registered modules save: a list, or a dict of name → CollectionParameters.
    `parameters` are HookParameters: save_interval, start_step, end_step, save_steps (each with a mode before it,
    `**{"train.save_interval": 10}`), include_regex, save_all, include_workers.
    """

    # What a copy has: saved with a model, a hook is empty.
    enabled = False
    active = frozenset()
    _mode = "global"

    def __init__(self, out_dir, collections=None, **parameters):
        if isinstance(collections, str):
            collections = [collections]
        for name in parameters:
            mode, _, rest = name.rpartition(".")
            if rest not in PARAMETERS or mode not in ("",) + MODES:
                raise TypeError("`%s` is not a parameter of the hook\nhint: one of %s" % (name, ", ".join(PARAMETERS)))
        listed = collections.items() if isinstance(collections, dict) else [(name, None) for name in collections or ()]
        self._start(Settings.parse({
            "LocalPath": os.path.abspath(os.fspath(out_dir)),
            "HookParameters": parameters,
            "CollectionConfigurations": [{"CollectionName": n, "CollectionParameters": p} for n, p in listed],
        }, instance_root()))

    @classmethod
    def from_env(cls, path=None):
        """The hook that the training job is configured with; one that does nothing where there is no configuration."""
        hook = cls.__new__(cls)
        try:
            hook._start(Settings.from_env(path))
        except Exception as error:
            hook._start(None)
            hook.warn(error)
        return hook

    def _start(self, settings):
        # For subclasses that come by their settings in another way.
        self.enabled = settings is not None
        self._mode = "global"
        # Steps begun, less one, by mode: what smdebug calls mode_steps.
        self._counts = dict.fromkeys(MODES, -1)
        self._settings = settings
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._warned = False
        self._folder = None
        # The number of the files that are being gathered, what is in them by mode, and whether any are on the disk.
        self._number = -1
        self._open = {}
        self._held = 0
        self._begun = set()
        self._written = False
        self._implicit = set()
        self._trained = False
        # Names of collections that are saved in the current mode's current step, and counts for names within it.
        self.active = frozenset()
        self._calls = {}
        self._registered = []
        # id of a registered module or of one in it → what it is called.
        self.paths = {}
        if self.enabled:
            atexit.register(self.close)

    def __getstate__(self):
        return {}

    # What scripts call.

    @property
    def mode(self):
        """The current mode's name."""
        return self._mode

    def set_mode(self, mode):
        """What follows belongs to `train`, `eval`, `predict` or `global`."""
        if mode not in MODES:
            raise ValueError("`%s` is not a mode\nhint: one of %s" % (mode, ", ".join(MODES)))
        self._mode = mode
        self._refresh()

    def step(self, mode=None):
        """Begins the next step, the first one being 0. Returns whether collections are saved in it."""
        if mode is not None:
            self.set_mode(mode)
        return bool(self.begin() and self.active)

    def save(self, name, value, collection="default"):
        """Saves a tensor if the current step is one of the collection's (or of one of them, for a list)."""
        return self._save(name, value, [collection] if isinstance(collection, str) else list(collection))

    def save_scalar(self, name, value, collection=None):
        """Saves a number, at every step. Without a collection it is in `losses` where its name has `loss` in it, else in
        `metrics`."""
        return self._save_scalar(name, value, collection)

    def register_module(self, model):
        """Hooks a torch module: its forward passes are the steps from now on."""
        return self._register(torch_hooks.register_module, model)

    def register_loss(self, criterion):
        """Hooks a torch loss module: what it returns is in `losses`, its second argument in `labels`."""
        return self._register(torch_hooks.register_loss, criterion)

    @guarded
    def close(self):
        """Writes what is left and says that no more will come. The hook does nothing from then on."""
        try:
            self._flush()
            folder = self._worker_folder()
            if folder:
                tensors.write(os.path.join(folder, "END"), [])
        finally:
            self.enabled = False
            self.active = frozenset()
            atexit.unregister(self.close)

    # What registered modules call too.

    @guarded
    def begin(self, forward=False):
        """Begins the next step of the current mode. `forward`: a module does; if a save began the step, it is this one."""
        mode = self._mode
        if forward and mode in self._implicit:
            self._implicit.discard(mode)
            return True
        self._implicit.discard(mode)
        self._counts[mode] += 1
        if mode != "global":
            self._counts["global"] += 1
        if mode == "train" or (mode == "global" and not self._trained):
            # What came before the first step, a scalar or an evaluation, shares its number.
            if self._number > 0 or mode in self._begun or self._written:
                self._flush()
                self._number += 1
                self._begun.clear()
            self._trained = self._trained or mode == "train"
        self._number = max(self._number, 0)
        self._begun.add(mode)
        self._calls = {}
        # An `END` of an earlier attempt goes now, not with the first file.
        self._worker_folder()
        self._refresh()
        return True

    @guarded
    def offer(self, name, value, kinds):
        """Saves a tensor that nobody asked for by name, if a collection of the configuration wants it now."""
        collections = self._settings.collections
        chosen = [c for c in self.active if c in kinds or collections[c].matches(name)]
        if chosen and self._worker_folder():
            self._put(name, value, chosen)

    def index(self, name):
        """How many tensors of this name came before in this step."""
        found = self._calls.get(name, 0)
        self._calls[name] = found + 1
        return found

    @guarded
    def _save(self, name, value, asked):
        self._imply()
        collections = self._settings.collections
        chosen = [c for c in asked if self._saves(c)]
        chosen += [c for c in self.active if c not in chosen and collections[c].matches(name)]
        if chosen:
            self._put(name, value, chosen)

    @guarded
    def _save_scalar(self, name, value, collection):
        self._imply()
        self._put(name, value, [collection or ("losses" if "loss" in str(name).lower() else "metrics")], scalar=True)

    @guarded
    def _register(self, how, module):
        if not any(module is known for known in self._registered):
            how(self, module)
            self._registered.append(module)

    def _imply(self):
        if self._counts[self._mode] < 0 or self._number < 0:
            self.begin()
            self._implicit.add(self._mode)

    @guarded
    def _refresh(self):
        begun = self._counts[self._mode] >= 0
        # smdebug saves no gradients there either.
        without = ("gradients",) if self._mode in ("eval", "predict") else ()
        names = self._settings.collections if begun else ()
        self.active = frozenset(name for name in names if name not in without and self._saves(name))

    def _saves(self, collection):
        return self._settings.saves(collection, self._mode, self._counts[self._mode], max(self._number, 0))

    def _put(self, name, value, collections, scalar=False):
        if not isinstance(name, str) or name in ("", "__metadata__") or len(name.encode()) > tensors.MAX_NAME:
            raise ValueError("`%s` cannot name a tensor" % str(name)[:100])
        gathered, members = self._open.setdefault(self._mode, ({}, {}))
        mean = self._mode != "train" and (self._trained or self._mode != "global")
        if mean and name in gathered and len(gathered[name][1]) != 4:
            return
        shape, data = tensors.to_f32(value)
        if scalar and len(data) != 4:
            raise ValueError("`%s` is not a scalar, its shape is %s" % (name, list(shape)))
        held = self._held + len(data) - (len(gathered[name][1]) if name in gathered else 0)
        if held > tensors.MAX_VALUES:
            raise ValueError(
                "the tensors of step %d are more than one file takes, 1 GiB\nhint: fewer collections" % self._number
            )
        count = 1
        if mean and name in gathered and len(data) == 4:
            _, before, seen = gathered[name]
            count = seen + 1
            (new,), (old,) = struct.unpack("<f", data), struct.unpack("<f", before)
            data = struct.pack("<f", old + (new - old) / count)
        gathered[name] = (shape, data, count)
        self._held = held
        for collection in collections:
            # A dict for the order and against doubles.
            members.setdefault(collection, {})[name] = True

    def _flush(self):
        folder = self._worker_folder()
        self._held = 0
        for mode in MODES:
            gathered, members = self._open.pop(mode, ({}, {}))
            if not gathered or not folder:
                continue
            metadata = {
                "format": tensors.FORMAT,
                "step": str(self._number),
                "mode": mode,
                "time_ms": str(int(time.time() * 1000)),
                "collections": json.dumps({name: list(names) for name, names in members.items()}),
            }
            path = os.path.join(folder, mode, "%09d.safetensors" % self._number)
            self._written = True
            try:
                tensors.write(path, tensors.encode(metadata, {n: (s, d) for n, (s, d, _) in gathered.items()}))
            except Exception as error:
                self.warn(error)

    def _worker_folder(self):
        """The folder of this process, None where it saves nothing."""
        if self._folder is None:
            # Asked for late: a distributed run begins after the hook is made.
            rank = workers.rank()
            if rank and not self._settings.all_workers:
                return None
            self._folder = os.path.join(self._settings.out_dir, workers.name(rank))
            try:
                # Of an earlier attempt.
                os.remove(os.path.join(self._folder, "END"))
            except OSError:
                pass
        return self._folder

    def warn(self, error):
        """Says once that saving failed."""
        if not self._warned:
            self._warned = True
            print(
                "kennel_debugger: WARNING: tensors are not saved as asked, the training goes on: %s\n"
                "This is said once; more may have failed." % (str(error) or type(error).__name__),
                file=sys.stderr, flush=True,
            )
