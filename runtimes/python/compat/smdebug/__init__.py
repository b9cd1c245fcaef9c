"""A stand-in for Amazon's smdebug: scripts that save tensors with it run unchanged, on kennel_debugger.

What it has is the part of smdebug 1.0 that torch training scripts call. Its tensors are in Kennel's layout, which is
what Kennel's rules read. Anything else raises NotImplementedError. It comes before a smdebug of the interpreter or of
requirements.txt, which looks for its configuration in /opt/ml and writes files that nothing here reads;
KENNEL_SMDEBUG=installed in the job's environment leaves it out.
"""

from ._missing import refuse
from .core.collection import CollectionKeys
from .core.modes import ModeKeys as modes
from .core.reduction_config import ReductionConfig
from .core.save_config import SaveConfig, SaveConfigMode

__version__ = "1.0.34+kennel"
__all__ = ["CollectionKeys", "ReductionConfig", "SaveConfig", "SaveConfigMode", "modes"]
__getattr__ = refuse(__name__)
