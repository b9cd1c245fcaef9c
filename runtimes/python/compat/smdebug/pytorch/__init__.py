"""smdebug for torch."""

from .. import ReductionConfig, SaveConfig, SaveConfigMode, modes
from .._missing import refuse
from ..core.collection import CollectionKeys
from .collection import Collection
from .hook import Hook
from .singleton_utils import del_hook, get_hook, set_hook

__all__ = [
    "Collection", "CollectionKeys", "Hook", "ReductionConfig", "SaveConfig", "SaveConfigMode", "del_hook", "get_hook",
    "modes", "set_hook",
]
__getattr__ = refuse(__name__)
