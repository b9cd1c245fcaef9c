"""Whole training instances, started as the platform starts them."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
import zipfile

from . import support
from kennel_runtime import child, packages

PRINT_ENV = "import os, sys, json\nprint(json.dumps([sys.argv, dict(os.environ), os.getcwd()]))\n"


class Instance(unittest.TestCase):
    def setUp(self):
        held = tempfile.TemporaryDirectory()
        self.addCleanup(held.cleanup)
        self.root = os.path.join(os.path.realpath(held.name), "ml")
        self.source = os.path.join(held.name, "src")

    def run_script(self, text, name="hpo.py", resources=None, more=None, **env):
        support.layout(self.root, dict(support.HYPERPARAMETERS, sagemaker_program=json.dumps(name), **(more or {})), resources)
        support.write(self.source, name, text)
        return support.train(self.root, self.source, **env)

    def failure(self):
        return support.read(self.root, "output", "failure")

    def test_the_script_sees_its_world(self):
        done = self.run_script(PRINT_ENV, TRAINING_JOB_NAME="j-1")
        self.assertEqual(done.returncode, 0, done.stderr)
        argv, env, cwd = json.loads(done.stdout.splitlines()[-1])
        self.assertEqual(argv[:5], ["hpo.py", "--batch_size", "64", "--flag", "True"])
        self.assertEqual(cwd, os.path.join(self.root, "code"))
        self.assertEqual(env["SM_MODEL_DIR"], os.path.join(self.root, "model"))
        self.assertEqual(env["PYTHONUNBUFFERED"], "1")
        added = [os.path.join(support.PYTHON_ROOT, name) for name in ("user", "compat")]
        self.assertEqual(env["PYTHONPATH"].split(os.pathsep), [cwd] + added)
        self.assertIn("Invoking script with the following command:\n\n%s hpo.py --batch_size 64" % sys.executable, done.stdout)
        self.assertTrue(os.path.exists(os.path.join(self.root, "output", "success")))
        self.assertFalse(os.path.exists(os.path.join(self.root, "output", "failure")))

    def test_a_traceback_becomes_the_failure(self):
        # sagemaker-training 5.1.4 has the same frame; between the quotes it collects the lines that follow the first
        # one naming an exception, and its command has `--` before the script. The service adds "AlgorithmError: ".
        done = self.run_script('def f():\n    raise ValueError("no such breed: `cat`")\nprint("x")\nf()\n')
        self.assertEqual(done.returncode, 1)
        self.assertIn("Traceback", done.stderr)
        text = self.failure()
        self.assertTrue(text.startswith(
            'AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage "Traceback (most recent call last)'), text)
        self.assertIn('ValueError: no such breed: `cat`"\nCommand "%s hpo.py --batch_size 64 ' % sys.executable, text)

    def test_the_exit_code_is_the_scripts(self):
        done = self.run_script("import sys\nprint('bye', file=sys.stderr)\nsys.exit(7)\n")
        self.assertEqual(done.returncode, 7)
        self.assertIn('ExitCode 7\nErrorMessage "bye"\n', self.failure())

    def test_a_kill_looks_like_out_of_memory(self):
        done = self.run_script("import os\nos.kill(os.getpid(), 9)\n")
        self.assertEqual(done.returncode, 137)
        self.assertIn('ExtraInfo "OutOfMemory', self.failure())

    def test_a_failure_file_of_the_scripts_own_is_kept(self):
        self.run_script("import os\nopen(os.environ['SM_OUTPUT_DIR'] + '/failure', 'w').write('mine')\nraise SystemExit(1)\n")
        self.assertEqual(self.failure(), "mine")

    def test_a_shell_script(self):
        done = self.run_script('echo "shell $1 $2 $SM_CURRENT_HOST"\n', name="go.sh")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("shell --batch_size 64 algo-1\n", done.stdout)

    def test_a_missing_entry_point_says_what_is_there(self):
        support.layout(self.root)
        support.write(self.source, "other.py", "")
        done = support.train(self.root, self.source)
        self.assertEqual(done.returncode, 1)
        self.assertIn("AlgorithmError: the entry point `hpo.py` is not in the source folder\nhint: it holds other.py", self.failure())

    def test_a_hostile_archive_fails_the_job(self):
        support.layout(self.root)
        path = self.source + ".tar.gz"
        support.tar_gz(path, [("hpo.py", b""), ("../../evil", b"x")])
        done = support.train(self.root, path)
        self.assertEqual(done.returncode, 1)
        self.assertIn("points outside the source folder", self.failure())
        self.assertFalse(os.path.exists(os.path.join(os.path.dirname(self.root), "evil")))

    def test_independent_copies_are_called_so_once(self):
        for host, expected in (("algo-1", 1), ("algo-2", 0)):
            self.root = os.path.join(os.path.dirname(self.source), host)
            done = self.run_script("", resources=support.resource_config(host, ["algo-1", "algo-2"]))
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(done.stderr.count("2 independent copies"), expected, done.stderr)

    def test_a_launcher_that_is_not_built_is_refused(self):
        done = self.run_script("", more={"sagemaker_torch_distributed_enabled": "true"})
        self.assertEqual(done.returncode, 1)
        self.assertIn("`sagemaker_torch_distributed_enabled` is not implemented", self.failure())

    def test_sigterm_reaches_the_script(self):
        support.layout(self.root)
        support.write(self.source, "hpo.py", (
            "import signal, sys\n"
            "def end(*a):\n    print('saving', flush=True)\n    sys.exit(3)\n"
            "signal.signal(signal.SIGTERM, end)\nprint('up', flush=True)\nsignal.pause()\n"))
        job = subprocess.Popen(
            [sys.executable, "-m", "kennel_runtime.train"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=support.environment(KENNEL_ML_ROOT=self.root, KENNEL_SUBMIT_ARCHIVE=self.source), universal_newlines=True)
        self.addCleanup(lambda: (job.kill(), job.wait(), job.stdout.close(), job.stderr.close()))
        while job.stdout.readline().strip() != "up":
            pass
        job.send_signal(signal.SIGTERM)
        # `communicate` would miss what readline has buffered.
        out, err = job.stdout.read(), job.stderr.read()
        self.assertEqual((out.strip(), job.wait(timeout=30)), ("saving", 3), err)
        self.assertFalse(os.path.exists(os.path.join(self.root, "output", "failure")))

    def test_requirements_go_to_the_jobs_own_folder(self):
        # A wheel by hand: nothing is fetched and nothing is built.
        os.makedirs(self.source)
        wheel = os.path.join(self.source, "kennelprobe-1.0-py3-none-any.whl")
        with zipfile.ZipFile(wheel, "w") as z:
            z.writestr("kennelprobe.py", "answer = 42\n")
            z.writestr("kennelprobe-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: kennelprobe\nVersion: 1.0\n")
            z.writestr("kennelprobe-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            z.writestr("kennelprobe-1.0.dist-info/RECORD", "")
        support.write(self.source, "requirements.txt", "./kennelprobe-1.0-py3-none-any.whl\n")
        done = self.run_script("import kennelprobe\nprint(kennelprobe.answer, kennelprobe.__file__)\n", PIP_NO_INDEX="1")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("42 " + os.path.join(self.root, "packages"), done.stdout)

    def test_requirements_that_fail_are_named(self):
        support.write(self.source, "requirements.txt", "kennel-no-such-package==1\n")
        done = self.run_script("print('never')\n", PIP_NO_INDEX="1")
        self.assertNotEqual(done.returncode, 0)
        self.assertNotIn("never", done.stdout)
        text = self.failure()
        self.assertTrue(text.startswith("AlgorithmError: InstallRequirementsError:\nExitCode 1\n"), text)
        self.assertIn("kennel-no-such-package", text)

    @unittest.skipUnless(support.SRC_TINY, "the acceptance scripts are not beside this checkout")
    def test_the_acceptance_script(self):
        support.layout(self.root, {"batch_size": "64", "learning_rate": '"0.01"', "sagemaker_program": '"hpo.py"'})
        done = support.train(self.root, support.SRC_TINY)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("Testing Accuracy: 1.0", done.stdout)
        self.assertEqual(json.loads(support.read(self.root, "model", "model.pth"))["batch_size"], 64)


class Tail(unittest.TestCase):
    def test_the_last_traceback_is_kept_and_short(self):
        text = "Traceback (most recent call last):\nKeyError: 1\nnoise\nTraceback (most recent call last):\n"
        text += "".join("  File %d\n" % i for i in range(500)) + "OSError: disk\n"
        message = child.last_error(text)
        self.assertTrue(message.endswith("OSError: disk"))
        self.assertLessEqual(len(message), child.MESSAGE_CHARS)
        self.assertNotIn("KeyError", message)

    def test_one_endless_line(self):
        self.assertEqual(len(child.last_error("x" * 100000)), child.MESSAGE_CHARS)
        self.assertEqual(child.last_error(""), "")

    def test_no_requirements_no_folder(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertIsNone(packages.install(folder, os.path.join(folder, "p"), None))
            self.assertEqual(os.listdir(folder), [])
