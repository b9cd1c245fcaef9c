"""One training instance: unpack the user's source, set the SM_* variables, run the entry point, say how it ended.

`python -m kennel_runtime.train`, configured by environment variables only:

    KENNEL_ML_ROOT         the instance's folder, default /opt/ml
    KENNEL_SUBMIT_ARCHIVE  sourcedir.tar.gz or a folder, already on this machine
    KENNEL_PACKAGES_DIR    where requirements.txt is installed, default $KENNEL_ML_ROOT/packages
    KENNEL_NUM_CPUS        what SM_NUM_CPUS says, default the processors this process may use
    KENNEL_SMDEBUG         `installed` leaves out the stand-in for smdebug
    TRAINING_JOB_NAME, TRAINING_JOB_ARN and what else the platform sets are passed on

The exit code is the script's. A failure is described in output/failure unless the script wrote one itself.
"""

import json
import os
import shutil
import sys
import tempfile
import traceback

from . import archive, packages
from .child import Runner
from .environment import TrainingEnvironment
from .errors import ChildError, ScriptModeError
from .paths import Layout, check_entry_point, write_whole


def main():
    """Runs the instance and returns its exit code."""
    runner = Runner()
    runner.handle_signals()
    layout = Layout.from_env()
    try:
        _train(layout, runner)
    except ScriptModeError as error:
        code = error.exit_code if isinstance(error, ChildError) else 1
        if runner.stopping:
            _say("stopped with exit code %d" % code)
            return code
        _say("Reporting training FAILURE\n%s" % error)
        _report(layout, "AlgorithmError: %s" % error)
        return code
    except Exception:
        text = traceback.format_exc()
        _say("Reporting training FAILURE\n%s" % text)
        _report(layout, "AlgorithmError: Framework Error: \n%s" % text)
        return 1
    _say("Reporting training SUCCESS")
    _write_end(layout.success, "")
    return 0


def _train(layout, runner):
    for folder in (layout.model, layout.output_data, layout.intermediate):
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise ScriptModeError("cannot make the folder `%s`: %s" % (folder, error))
    env = TrainingEnvironment(layout)
    _check_distribution(env)
    _place_source(layout, env.submit_directory)
    program = str(env.program) if env.program else ""
    check_entry_point(program, layout.code)
    command = _command(program) + env.args

    variables = env.variables()
    for name, value in variables.items():
        if "=" in name or "\0" in name or "\0" in value:
            raise ScriptModeError("`%s` cannot be an environment variable: it has `=` or a zero byte" % name)
    child_env = dict(os.environ, **variables)
    child_env["PYTHONUNBUFFERED"] = "1"

    folder = os.environ.get("KENNEL_PACKAGES_DIR") or os.path.join(layout.root, "packages")

    def pip(command, cwd):
        _say("Installing dependencies from requirements.txt")
        runner.run(command, cwd, kind="InstallRequirementsError")

    installed = packages.install(layout.code, folder, pip)
    child_env["PYTHONPATH"] = python_path([layout.code] + _for_scripts(child_env) + [installed])

    if _level(env.log_level) <= 20:
        print(_invocation(variables, command), flush=True)
    runner.run(command, layout.code, env=child_env)


def python_path(first):
    """PYTHONPATH for user code: `first`, then what was there, without the folder of this package."""
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    given = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and os.path.abspath(p) != own]
    return os.pathsep.join([p for p in first if p] + given)


def _for_scripts(env):
    """The folders with what user code may import: kennel_debugger, and the stand-in for smdebug.

    They come before the job's and the interpreter's packages, because a smdebug from there cannot work here: it looks
    for its configuration in /opt/ml and writes what Kennel's rules do not read. One in the user's own source is taken.
    """
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    names = ["user"] if env.get("KENNEL_SMDEBUG") == "installed" else ["user", "compat"]
    return [folder for folder in (os.path.join(own, name) for name in names) if os.path.isdir(folder)]


def _check_distribution(env):
    asked = env.distribution()
    if asked:
        raise ScriptModeError(
            "the distributed launcher of `%s` is not implemented\n"
            "hint: leave `distribution` out and let the script read SM_HOSTS, SM_CURRENT_HOST and MASTER_ADDR" % asked
        )
    count = len(env.hosts)
    if count > 1 and env.current_host == env.hosts[0]:
        _say(
            "WARNING: this job has %d instances and no distribution is configured, so %d independent copies of the "
            "script train separately, each on its own, and each instance is billed for the whole time. Unless the "
            "script itself divides the work by SM_HOSTS and SM_CURRENT_HOST, one instance gives the same model for "
            "1/%d of the price. model.tar.gz holds what all hosts wrote to SM_MODEL_DIR; where two wrote the same "
            "name, the file of %s is kept." % (count, count, count, env.hosts[0])
        )


def _place_source(layout, submit_directory):
    """Puts the user's source into the code folder, whole or not at all."""
    given = os.environ.get("KENNEL_SUBMIT_ARCHIVE") or os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY")
    if not given and submit_directory and not str(submit_directory).startswith("s3://"):
        given = str(submit_directory)
    if not given:
        if os.path.isdir(layout.code) and os.listdir(layout.code):
            return
        raise ScriptModeError(
            "no source is given\nhint: set source_dir, or KENNEL_SUBMIT_ARCHIVE to a tar.gz or a folder"
        )
    if given.startswith("s3://"):
        raise ScriptModeError(
            "the source `%s` is not on this machine\nhint: KENNEL_SUBMIT_ARCHIVE names a local copy" % given
        )
    if os.path.realpath(given) == os.path.realpath(layout.code):
        return
    if os.path.isdir(given):
        staging = tempfile.mkdtemp(prefix=".copy-", dir=layout.root)
        try:
            whole = os.path.join(staging, "code")
            shutil.copytree(given, whole, symlinks=True)
            archive.replace_folder(whole, layout.code)
        except (OSError, shutil.Error) as error:
            raise ScriptModeError("cannot copy the source folder `%s`: %s" % (given, error))
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    else:
        archive.extract(given, layout.code)


def _command(program):
    if program.endswith(".py"):
        return [sys.executable, program]
    if program.endswith(".sh"):
        # `./` so that a name can never be taken for an option or looked up in PATH.
        return ["bash", "./" + program]
    raise ScriptModeError("the entry point `%s` is neither a .py nor a .sh file" % program)


def _invocation(variables, command):
    """The block that sagemaker-training prints before it starts the script."""
    training_env = json.dumps(json.loads(variables["SM_TRAINING_ENV"]), indent=4)
    lines = "\n".join("%s=%s" % (k, v) for k, v in variables.items() if k.startswith("SM_"))
    return (
        "Invoking user script\n\nTraining Env:\n\n%s\n\nEnvironment variables:\n\n%s\n\n"
        "Invoking script with the following command:\n\n%s\n\n" % (training_env, lines, " ".join(command))
    )


def _level(value):
    try:
        return int(value)
    except (TypeError, ValueError):
        return 20


def _say(text):
    print(text, file=sys.stderr, flush=True)


def _report(layout, text):
    if not os.path.exists(layout.failure):
        _write_end(layout.failure, text)


def _write_end(path, text):
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        _say("cannot write `%s`: %s" % (path, error))


if __name__ == "__main__":
    sys.exit(main())
