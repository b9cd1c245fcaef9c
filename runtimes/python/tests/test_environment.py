"""The SM_* set against what sagemaker-training 5.1.4 printed for the same /opt/ml (aws_environment.json).

Recorded once with `Environment().to_env_vars()` and `.to_cmd_args()`, SAGEMAKER_BASE_DIR set to the layout of
support.layout, TRAINING_JOB_NAME=j-1, two processors, no accelerator; `@ROOT@` stands for the folder.

Differences, all on purpose:
- SM_JOB_NAME and SM_MASTER are ours; AWS's toolkit has them only inside SM_TRAINING_ENV.
- SM_NUM_CPUS is what the instance type allows, not what the machine has; SM_NUM_GPUS believes CUDA_VISIBLE_DEVICES.
- CURRENT_HOST, SAGEMAKER_JOB_NAME, SAGEMAKER_REGION, MASTER_ADDR and MASTER_PORT are set by AWS too, but outside
  this function. NCCL_SOCKET_IFNAME=eth0, NCCL_IB_DISABLE and NCCL_DEBUG of the PyTorch container are not set: they
  describe AWS's network.
"""

import json
import os
import tempfile
import unittest
from unittest import mock

from . import support
from kennel_runtime import environment, paths

EXTRA = {"SM_JOB_NAME", "SM_MASTER", "CURRENT_HOST", "SAGEMAKER_JOB_NAME", "SAGEMAKER_REGION", "MASTER_ADDR", "MASTER_PORT"}


def load(root, **env):
    env = dict({"KENNEL_NUM_CPUS": "2", "CUDA_VISIBLE_DEVICES": "", "TRAINING_JOB_NAME": "j-1"}, **env)
    with mock.patch.dict(os.environ, env, clear=True):
        made = environment.TrainingEnvironment(paths.Layout(root))
        return made, made.variables()


class Snapshot(unittest.TestCase):
    maxDiff = None

    def compare(self, case, resources):
        with tempfile.TemporaryDirectory() as root:
            support.layout(root, resources=resources)
            made, variables = load(root)
            aws = json.loads(support.read(os.path.dirname(__file__), "aws_environment.json").replace("@ROOT@", root))[case]
        self.assertEqual(made.args, aws["args"])
        self.assertEqual({k: v for k, v in variables.items() if k not in EXTRA}, aws["env"])
        self.assertEqual(set(variables) - set(aws["env"]), EXTRA)
        return variables

    def test_one_host(self):
        variables = self.compare("one_host", None)
        self.assertEqual(variables["SM_JOB_NAME"], "j-1")

    def test_second_of_two_hosts(self):
        variables = self.compare("second_of_two", support.resource_config("algo-2", ["algo-1", "algo-2"]))
        self.assertEqual(variables["MASTER_ADDR"], "algo-1")
        self.assertIs(json.loads(variables["SM_TRAINING_ENV"])["is_master"], False)


class Details(unittest.TestCase):
    def test_values_are_decoded_once(self):
        raw = {"a": '"\\"x\\""', "b": "1e-3", "c": "nope", "d": 5}
        self.assertEqual(environment.decode_hyperparameters(raw), {"a": '"x"', "b": 0.001, "c": "nope", "d": 5})

    def test_gpus_follow_the_visible_devices(self):
        for visible, count in (("", 0), ("-1", 0), ("0,1", 2), ("GPU-abc", 1)):
            with mock.patch.dict(os.environ, {"CUDA_VISIBLE_DEVICES": visible}):
                self.assertEqual(environment.num_gpus(), count)

    def test_a_broken_configuration_is_named(self):
        with tempfile.TemporaryDirectory() as root:
            support.layout(root)
            support.write(os.path.join(root, "input", "config"), "hyperparameters.json", "[1")
            with self.assertRaisesRegex(environment.ScriptModeError, "hyperparameters.json` is not JSON"):
                load(root)

    def test_entry_points_stay_inside(self):
        with tempfile.TemporaryDirectory() as code:
            support.write(os.path.join(code, "bin"), "t.py", "")
            self.assertTrue(paths.check_entry_point("bin/t.py", code))
            for bad in ("", "../t.py", "/etc/passwd", "-c.py", "bin/../bin/t.py", "a b.py", "t;ls.py", "missing.py", "t.py\n"):
                with self.assertRaises(paths.ScriptModeError, msg=bad):
                    paths.check_entry_point(bad, code)
