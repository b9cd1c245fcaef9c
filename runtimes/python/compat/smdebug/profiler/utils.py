"""str2bool, which AWS's example scripts use for their arguments."""

from .._missing import refuse

__getattr__ = refuse(__name__)


def str2bool(value):
    """`yes`, `true`, `t`, `y`, `1` and their opposites."""
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word in ("yes", "true", "t", "y", "1"):
        return True
    if word in ("no", "false", "f", "n", "0"):
        return False
    raise ValueError("`%s` is not a boolean\nhint: `true` or `false`" % value)
