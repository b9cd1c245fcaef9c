"""Who saves: the instance's name, and the rank of a process in a distributed run."""

import os
import re
import sys

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,50}")


def rank():
    """This process's rank, or None where there is one process."""
    dist = getattr(sys.modules.get("torch"), "distributed", None)
    if dist is not None and dist.is_available() and dist.is_initialized():
        return dist.get_rank() if dist.get_world_size() > 1 else None
    for number, count in (("RANK", "WORLD_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")):
        found, world = os.environ.get(number, ""), os.environ.get(count, "")
        if found.isdigit() and world.isdigit() and int(world) > 1:
            return int(found)
    return None


def name(number):
    """The name of the worker's folder: `algo-1`, or `algo-1-rank0` for a process of it."""
    host = os.environ.get("SM_CURRENT_HOST") or "algo-1"
    if not _NAME.fullmatch(host):
        host = "algo-1"
    return host if number is None else "%s-rank%d" % (host, number)
