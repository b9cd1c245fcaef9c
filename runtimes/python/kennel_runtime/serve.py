"""One model server: SageMaker's hosting contract (GET /ping, POST /invocations) for the user's inference script.

`python -m kennel_runtime.serve --port 0 --model-dir DIR`, configured by the variables of AWS's containers:

    SAGEMAKER_PROGRAM              the inference script, default inference.py
    SAGEMAKER_SUBMIT_DIRECTORY     its folder (or a tar.gz on this machine), default <model dir>/code
    SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT   reply type when the caller names none, default application/json
    SAGEMAKER_MODEL_SERVER_WORKERS threads that run the user's functions at a time, default 1: AWS's workers are
                                   processes, so scripts need not be safe for threads unless they ask for more
    OMP_NUM_THREADS                torch's threads
    KENNEL_PACKAGES_DIR            where code/requirements.txt is installed, default a temporary folder

Prints `listening on http://HOST:PORT` to stderr once bound, before the model is loaded; /ping answers 503 until it
is. A model that cannot be loaded ends the process with code 1. SIGTERM: no new connections, requests in flight are
finished, exit 0 within 30 seconds.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import traceback

from . import archive, packages
from .child import Runner
from .errors import ScriptModeError
from .handlers import Handlers
from .http_server import Server

STOP_SECONDS = 28
AWS_MODEL_DIR = "/opt/ml/model"


class _Stopped(BaseException):
    """SIGTERM came before the model was loaded. No Exception, so that user code does not catch it."""


def main(argv=None):
    """Serves until SIGTERM and returns the exit code."""
    options = _options(argv)
    # Output of the user's code goes to a log that somebody may be watching.
    sys.stdout.reconfigure(line_buffering=True)
    # The C handler writes to the pipe in whichever thread the signal lands; a lock would not always wake up.
    wake, wake_end = os.pipe()
    os.set_blocking(wake_end, False)
    signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
    stopping = []
    loading = [True]

    def on_signal(number, _frame):
        stopping.append(number)
        if loading[0]:
            raise _Stopped()

    scratch = None
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, on_signal)
        try:
            server = Server((options.host, options.port), workers=_workers(), queue=max(0, options.queue))
        except OSError as error:
            _say("cannot listen on %s:%d: %s" % (options.host, options.port, error))
            return 1
        _say("listening on http://%s:%d" % (options.host, server.server_address[1]))
        server.start()
        scratch = tempfile.mkdtemp(prefix="kennel-serve-")
        handlers = _load(options.model_dir, scratch)
        loading[0] = False
    except _Stopped:
        loading[0] = False
        return _clean_up(scratch, 0)
    except ScriptModeError as error:
        loading[0] = False
        _say("cannot load the model: %s" % error)
        return _clean_up(scratch, 1)
    except (Exception, SystemExit):
        loading[0] = False
        _say("cannot load the model:\n%s" % traceback.format_exc())
        return _clean_up(scratch, 1)
    server.ready(handlers.invoke)
    while not stopping:
        os.read(wake, 1)
    if not server.stop(STOP_SECONDS):
        _say("stopped with requests unanswered after %d seconds" % STOP_SECONDS)
    return _clean_up(scratch, 0)


def _load(model_dir, scratch):
    model_dir = os.path.abspath(model_dir)
    if not os.path.isdir(model_dir):
        raise ScriptModeError("the model folder `%s` does not exist" % model_dir)
    code_dir = _code_dir(model_dir, scratch)
    folder = os.environ.get("KENNEL_PACKAGES_DIR") or os.path.join(scratch, "packages")

    def pip(command, cwd):
        _say("Installing dependencies from requirements.txt")
        Runner().run(command, cwd, kind="InstallRequirementsError", stdout=sys.stderr.fileno())

    installed = packages.install(code_dir, folder, pip)
    if installed:
        sys.path.insert(0, installed)
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [p for p in (code_dir, installed, os.environ.get("PYTHONPATH")) if p]
    )
    os.environ.setdefault("SM_MODEL_DIR", model_dir)
    handlers = Handlers(model_dir, code_dir, os.environ.get("SAGEMAKER_PROGRAM"))
    handlers.load()
    return handlers


def _code_dir(model_dir, scratch):
    given = os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY") or ""
    if given == AWS_MODEL_DIR or given.startswith(AWS_MODEL_DIR + "/"):
        # The SDK always sends the container's path; the model may lie elsewhere here.
        given = model_dir + given[len(AWS_MODEL_DIR):]
    if given.startswith("s3://"):
        # AWS's container does not fetch it either: the SDK has packed the code into model.tar.gz.
        given = ""
    if os.path.isdir(given):
        return os.path.abspath(given)
    if os.path.isfile(given):
        code = os.path.join(scratch, "code")
        archive.extract(given, code)
        return code
    return os.path.join(model_dir, "code")


def _workers():
    given = os.environ.get("SAGEMAKER_MODEL_SERVER_WORKERS", "")
    return min(int(given), 64) if given.isdigit() and int(given) > 0 else 1


def _options(argv):
    parser = argparse.ArgumentParser(prog="kennel_runtime.serve", description="serve one model with the user's script")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one")
    parser.add_argument("--model-dir", default=os.environ.get("SM_MODEL_DIR", AWS_MODEL_DIR))
    parser.add_argument("--queue", type=int, default=32, help="requests that may wait; more get 429")
    return parser.parse_args(argv)


def _clean_up(scratch, code):
    if scratch:
        shutil.rmtree(scratch, ignore_errors=True)
    return code


def _say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of the user's making must not keep a stopped server alive.
    os._exit(exit_code)
