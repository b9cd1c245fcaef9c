"""Installs a requirements.txt into a folder that belongs to one job or model, never into the shared runtime.

The folder is a small virtual environment laid over the runtime's own packages: what the runtime has (torch, say)
counts as installed and is not fetched again, what is added or upgraded lands in the folder and is found first.
`pip install --target` would fetch every dependency again, the gigabytes of torch included.
"""

import fcntl
import hashlib
import os
import shutil
import site
import subprocess
import sys
import sysconfig

from .errors import ScriptModeError

MARKER = "requirements.sha256"


def install(code_dir, folder, run):
    """Installs `code_dir`/requirements.txt into `folder` and returns the path to put on PYTHONPATH, or None
    where the file is absent. `run(command, cwd)` runs pip and raises on failure. A folder that holds the same
    requirements already is used as it is; a lock makes several instances of one model install once."""
    requirements = os.path.join(code_dir, "requirements.txt")
    if not os.path.isfile(requirements):
        return None
    with open(requirements, "rb") as f:
        wanted = hashlib.sha256(f.read() + sys.version.encode() + sys.prefix.encode()).hexdigest()
    folder = os.path.abspath(folder)
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    python = os.path.join(folder, "bin", "python")
    packages = sysconfig.get_path("purelib", "venv" if "venv" in sysconfig.get_scheme_names() else "posix_prefix",
                                  vars={"base": folder, "platbase": folder})
    with open(folder + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        marker = os.path.join(folder, MARKER)
        if not _holds(marker, wanted):
            shutil.rmtree(folder, ignore_errors=True)
            made = subprocess.run(
                [sys.executable, "-m", "venv", "--system-site-packages", "--without-pip", folder],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True,
            )
            if made.returncode != 0:
                raise ScriptModeError("cannot make a folder for the packages of requirements.txt: %s" % made.stdout)
            # When the runtime is a virtual environment itself, the new one does not see it without this.
            with open(os.path.join(packages, "kennel_runtime_base.pth"), "w") as f:
                f.write("".join(path + "\n" for path in site.getsitepackages()))
            run([python, "-m", "pip", "install", "--disable-pip-version-check", "-r", "requirements.txt"], code_dir)
            with open(marker + ".new", "w") as f:
                f.write(wanted)
                f.flush()
                os.fsync(f.fileno())
            os.rename(marker + ".new", marker)
    return packages


def _holds(marker, wanted):
    try:
        with open(marker) as f:
            return f.read() == wanted
    except OSError:
        return False
