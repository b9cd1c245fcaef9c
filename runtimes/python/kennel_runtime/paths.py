"""Where things lie in an instance, and the names of the variables that say so."""

import os
import re

from .errors import ScriptModeError

DEFAULT_ROOT = "/opt/ml"
# The rule of sagemaker-training 5.1: a relative path inside the source folder that no tool can take for an option.
_ENTRY_POINT = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._+-]*(/[A-Za-z0-9._+-]+)*")


class Layout:
    """The folders of one instance below its root (/opt/ml, or $KENNEL_ML_ROOT where that cannot be mounted)."""

    def __init__(self, root):
        self.root = root
        self.code = os.path.join(root, "code")
        self.model = os.path.join(root, "model")
        self.input = os.path.join(root, "input")
        self.config = os.path.join(root, "input", "config")
        self.data = os.path.join(root, "input", "data")
        self.output = os.path.join(root, "output")
        self.output_data = os.path.join(root, "output", "data")
        self.intermediate = os.path.join(root, "output", "intermediate")
        self.failure = os.path.join(root, "output", "failure")
        self.success = os.path.join(root, "output", "success")

    @classmethod
    def from_env(cls, env=os.environ):
        return cls(os.path.abspath(env.get("KENNEL_ML_ROOT") or DEFAULT_ROOT))


def check_entry_point(name, code_dir):
    """Returns the path of the entry point `name` in `code_dir`, or raises ScriptModeError."""
    if not name:
        raise ScriptModeError("no entry point is given\nhint: set entry_point, or the hyperparameter sagemaker_program")
    if not _ENTRY_POINT.fullmatch(name) or any(part in (".", "..") for part in name.split("/")):
        raise ScriptModeError(
            "the entry point `%s` is not a plain path inside the source folder\n"
            "hint: use letters, digits and `. _ + - /`, for example `train.py`" % name
        )
    path = os.path.join(code_dir, name)
    if not os.path.isfile(path):
        there = sorted(os.listdir(code_dir))[:20] if os.path.isdir(code_dir) else []
        raise ScriptModeError(
            "the entry point `%s` is not in the source folder\nhint: it holds %s"
            % (name, ", ".join(there) or "nothing")
        )
    return path


def write_whole(path, text):
    """Writes a file so that a reader sees all of it or none."""
    aside = "%s.%d.new" % (path, os.getpid())
    with open(aside, "w", encoding="utf-8", errors="replace") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
    os.rename(aside, path)
