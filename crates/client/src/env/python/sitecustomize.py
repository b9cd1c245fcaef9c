"""Run by Python at its start because this folder is on PYTHONPATH. See kennel_sts.py beside it.

Put in place by `kennel env --install`, removed by `kennel env --uninstall`.
"""

import os
import sys


def _run_the_other():
    """Runs the sitecustomize that this one hides, should there be one further down the path."""
    here = os.path.realpath(os.path.dirname(__file__))
    others = [entry for entry in sys.path if os.path.realpath(entry or os.curdir) != here]
    for finder in sys.meta_path:
        if getattr(finder, "__name__", "") != "PathFinder":
            continue
        spec = finder.find_spec("sitecustomize", others)
        if spec is None or spec.loader is None:
            return
        module = spec.loader.create_module(spec) or type(sys)("sitecustomize")
        module.__spec__, module.__loader__, module.__file__ = spec, spec.loader, spec.origin
        # Whoever imports `sitecustomize` later is to get that one.
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)
        return


try:
    import kennel_sts  # noqa: F401
except ImportError:
    pass
_run_the_other()
