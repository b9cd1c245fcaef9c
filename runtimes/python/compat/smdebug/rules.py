"""smdebug.rules is not implemented: each of its names says so."""

from ._missing import refuse

__getattr__ = refuse(__name__)
