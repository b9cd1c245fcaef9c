"""Which tensors are saved at which steps: the DebugHookConfig of a training job.

SageMaker puts the structure of CreateTrainingJob into input/config/debughookconfig.json as it is, and smdebug reads it
from there; all values of HookParameters and CollectionParameters are strings. Numbers, lists and null are taken too.
"""

import json
import os
import re

# In the order in which a step's files are written.
MODES = ("train", "eval", "predict", "global")
DEFAULT_ROOT = "/opt/ml"
DEFAULT_INTERVAL = 500

PARAMETERS = ("save_interval", "start_step", "end_step", "save_steps", "include_regex", "save_all", "include_workers")

# The patterns that smdebug has for torch, so that the tensors of a script have the same collections as on AWS.
_PATTERNS = {
    "weights": "^(?!gradient).*weight",
    "biases": "^(?!gradient).*bias",
    "gradients": "^gradient",
    "losses": "[Ll]oss_(?!input).*output",
}
# The SageMaker SDK calls this collection of CheckInputImages by the singular.
_SYNONYMS = {"input_image": "input_images"}


class ConfigError(ValueError):
    """The configuration cannot be used."""


def instance_root(env=os.environ):
    """The instance's folder, which is not always mounted at /opt/ml."""
    return os.path.abspath(env.get("KENNEL_ML_ROOT") or DEFAULT_ROOT)


class Schedule:
    """The steps at which tensors are saved: each `save_interval`th from `start_step` up to before `end_step`, and
    `save_steps` wherever they are (smdebug's documentation says that they replace the interval; its code adds them)."""

    def __init__(self, save_interval=None, start_step=None, end_step=None, save_steps=None):
        self.save_interval = DEFAULT_INTERVAL if save_interval is None else _number("save_interval", save_interval)
        self.start_step = 0 if start_step is None else _number("start_step", start_step)
        self.end_step = None if end_step is None else _number("end_step", end_step)
        self.save_steps = _numbers("save_steps", save_steps)
        if self.save_interval < 1:
            raise ConfigError("`save_interval` is `%s`\nhint: it is at least 1" % self.save_interval)

    def saves(self, step, thinned=True):
        """Whether the step of this number, from 0, is saved; `thinned`: the interval counts."""
        if step in self.save_steps:
            return True
        within = self.start_step <= step and (self.end_step is None or step < self.end_step)
        return within and (not thinned or step % self.save_interval == 0)


class Collection:
    """Tensors under one name: those that the hook knows to be of this kind, and those whose names match."""

    def __init__(self, name, patterns=(), schedules=None):
        self.name = name
        self.include_regex = list(patterns)
        # Mode → Schedule; the hook's own where a mode is missing.
        self.schedules = dict(schedules or {})

    def matches(self, tensor):
        return any(re.search(pattern, tensor) for pattern in self.include_regex)


class Settings:
    """A hook's configuration, checked."""

    def __init__(self, out_dir, schedules, collections, all_workers):
        self.out_dir = out_dir
        # Mode → Schedule, all modes.
        self.schedules = schedules
        # Name → Collection: those that are saved without being named in the script.
        self.collections = collections
        self.all_workers = all_workers

    @classmethod
    def from_env(cls, path=None, env=os.environ):
        """Reads the file of a training job; None where there is none."""
        root = instance_root(env)
        default = os.path.join(root, "input", "config", "debughookconfig.json")
        path = path or env.get("SMDEBUG_CONFIG_FILE_PATH") or default
        try:
            with open(path, encoding="utf-8") as f:
                document = json.load(f)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ConfigError("cannot read `%s`: %s" % (path, error))
        return cls.parse(document, root)

    @classmethod
    def parse(cls, document, root=DEFAULT_ROOT):
        """Reads a DebugHookConfig structure; paths below /opt/ml are taken below `root`."""
        parameters = _object("HookParameters", _object("DebugHookConfig", document).get("HookParameters"))
        base = _by_mode(parameters)
        collections = {"losses": Collection("losses", [_PATTERNS["losses"]])}
        listed = document.get("CollectionConfigurations")
        if not isinstance(listed, (list, tuple, type(None))):
            raise ConfigError("`CollectionConfigurations` is not a list")
        for entry in listed or ():
            name = _object("CollectionConfigurations", entry).get("CollectionName")
            if not isinstance(name, str) or not name:
                raise ConfigError("a collection in `CollectionConfigurations` has no `CollectionName`")
            own = _object("CollectionParameters", entry.get("CollectionParameters"))
            schedules = {mode: Schedule(**dict(base[mode], **values)) for mode, values in _by_mode(own).items()}
            # smdebug's `all` stands for all of the framework's collections.
            for name in tuple(_PATTERNS) if name == "all" else (_SYNONYMS.get(name, name),):
                patterns = ([_PATTERNS[name]] if name in _PATTERNS else []) + _split(own.get("include_regex"))
                collections[name] = Collection(name, patterns, schedules)
        if parameters.get("include_regex"):
            found = collections.setdefault("default", Collection("default"))
            found.include_regex.extend(_split(parameters["include_regex"]))
        if str(parameters.get("save_all")).lower() in ("true", "1", "yes"):
            collections["all"] = Collection("all", [".*"])
        for collection in collections.values():
            for pattern in collection.include_regex:
                try:
                    re.compile(pattern)
                except re.error as error:
                    raise ConfigError("`include_regex` has `%s`, which is no regular expression: %s" % (pattern, error))
        return cls(
            _out_dir(document.get("LocalPath"), root),
            {mode: Schedule(**params) for mode, params in base.items()},
            collections,
            parameters.get("include_workers") == "all",
        )

    def schedule(self, collection, mode):
        own = self.collections.get(collection)
        return (own and own.schedules.get(mode)) or self.schedules[mode]

    def saves(self, collection, mode, count, number):
        """Whether a collection is saved at the mode's step of this count, in files of this number.

        Every evaluation is saved, as by the native trainer: it is one step with the number of the training step that it
        follows, which an interval would hit by chance (smdebug thins out the batches of evaluations).
        """
        if mode in ("eval", "predict"):
            return self.schedule(collection, mode).saves(number, thinned=False)
        return self.schedule(collection, mode).saves(count)


def _out_dir(given, root):
    if not given:
        return os.path.join(root, "output", "tensors")
    given = str(given)
    if given == DEFAULT_ROOT or given.startswith(DEFAULT_ROOT + "/"):
        return os.path.join(root, os.path.relpath(given, DEFAULT_ROOT))
    return os.path.abspath(os.path.expanduser(given))


def _by_mode(parameters):
    """{mode: the arguments of its Schedule}: `train.save_interval` comes before `save_interval`."""
    keys = PARAMETERS[:4]
    found = {}
    for mode in MODES:
        values = {key: parameters.get(mode + "." + key, parameters.get(key)) for key in keys}
        found[mode] = {key: value for key, value in values.items() if value is not None}
    return found


def _object(name, value):
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError("`%s` is not an object" % name)
    return value


def _number(name, value):
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = -1
    if number < 0 or isinstance(value, bool):
        raise ConfigError("`%s` is `%s`\nhint: it is a whole number, 0 or more" % (name, str(value)[:100]))
    return number


def _numbers(name, value):
    if value is None:
        return []
    parts = [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple, set, frozenset, range)):
        raise ConfigError("`%s` is `%s`\nhint: it is a list of steps, `0,10,20`" % (name, str(value)[:100]))
    return [_number(name, part) for part in parts]


def _split(value):
    parts = value.split(",") if isinstance(value, str) else (value or [])
    return [str(part).strip() for part in parts if str(part).strip()]
