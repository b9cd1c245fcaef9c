"""What scripts take from smdebug's profiler."""

from .._missing import refuse

__getattr__ = refuse(__name__)
