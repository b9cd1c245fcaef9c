"""kennel_debugger: what is saved when, the files, and that nothing of it reaches the training."""

import array
import contextlib
import copy
import io
import json
import os
import pickle
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

from . import support, tensor_files as fake

USER = os.path.join(support.PYTHON_ROOT, "user")
COMPAT = os.path.join(support.PYTHON_ROOT, "compat")
for folder in (USER, COMPAT):
    if folder not in sys.path:
        sys.path.append(folder)

import kennel_debugger  # noqa: E402
from kennel_debugger import ConfigError, Hook, Schedule, Settings, tensors  # noqa: E402

# No torch, no numpy: a person's own loop, which fits y = 2x.
SCRIPT = """
import kennel_debugger, sys
hook = kennel_debugger.Hook.from_env()
w = 0.0
for step in range(10):
    hook.step("train")
    gradient = sum((w * x - 2 * x) * x for x in (1.0, 2.0))
    hook.save("w.weight", [w], collection="weights")
    hook.save("gradient/w.weight", [gradient], collection="gradients")
    hook.save_scalar("loss", (w - 2) ** 2)
    w -= 0.1 * gradient
    if step % 5 == 4:
        for batch in (1.0, 3.0):
            hook.step("eval")
            hook.save_scalar("loss", batch)
assert "torch" not in sys.modules and "numpy" not in sys.modules
"""
CONFIG = {
    "S3OutputPath": "s3://bucket/",
    "LocalPath": "/opt/ml/output/tensors",
    "HookParameters": {"train.save_interval": "5", "eval.save_interval": "1"},
    "CollectionConfigurations": [
        {"CollectionName": "weights"},
        {"CollectionName": "gradients", "CollectionParameters": {"save_interval": "100", "train.save_interval": "2"}},
    ],
}


class Files(unittest.TestCase):
    def setUp(self):
        held = tempfile.TemporaryDirectory()
        self.addCleanup(held.cleanup)
        self.folder = os.path.join(os.path.realpath(held.name), "tensors")
        for name in ("KENNEL_ML_ROOT", "SM_CURRENT_HOST", "RANK", "WORLD_SIZE", "SMDEBUG_CONFIG_FILE_PATH"):
            self.addCleanup(lambda name=name, old=os.environ.pop(name, None): old and os.environ.update({name: old}))

    def steps(self, mode="train", **worker):
        return fake.steps(self.folder, mode, **worker)

    def said(self):
        """Catches stderr."""
        out = io.StringIO()
        redirected = contextlib.redirect_stderr(out)
        redirected.__enter__()
        self.addCleanup(redirected.__exit__, None, None, None)
        return out


class Job(Files):
    def setUp(self):
        super().setUp()
        self.root = os.path.join(os.path.dirname(self.folder), "ml")
        self.source = os.path.join(os.path.dirname(self.folder), "src")
        self.folder = os.path.join(self.root, "output", "tensors")

    def run_script(self, text, config, **env):
        support.layout(self.root, dict(support.HYPERPARAMETERS, sagemaker_program='"hpo.py"'))
        support.write(self.source, "hpo.py", text)
        if config is not None:
            support.write(os.path.join(self.root, "input", "config"), "debughookconfig.json", json.dumps(config))
        done = support.train(self.root, self.source, **env)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done


class Jobs(Job):
    def test_a_job_saves_what_its_configuration_asks_for(self):
        done = self.run_script(SCRIPT, CONFIG)
        self.assertNotIn("WARNING", done.stderr)
        train = self.steps()
        # Losses at every step, weights at each fifth, gradients at each second.
        self.assertEqual(sorted(train), list(range(10)))
        metadata, values = train[5]
        self.assertEqual(metadata["collections"], {"weights": ["w.weight"], "losses": ["loss"]})
        self.assertEqual(values["w.weight"][0], [1])
        self.assertAlmostEqual(values["w.weight"][1][0], 2 - 2 * 0.5 ** 5, places=6)
        self.assertEqual(values["loss"][0], [])
        self.assertEqual([step for step in train if "gradient/w.weight" in train[step][1]], [0, 2, 4, 6, 8])
        # An evaluation is one file with the mean, numbered after the training step it follows.
        evaluated = self.steps("eval")
        self.assertEqual({step: values["loss"][1] for step, (_, values) in evaluated.items()}, {4: [2.0], 9: [2.0]})
        self.assertTrue(os.path.isfile(os.path.join(self.folder, "algo-1", "END")))
        names = [name for _, _, files in os.walk(self.folder) for name in files]
        self.assertEqual([name for name in names if name.startswith(".")], [])

    def test_nothing_happens_without_a_configuration(self):
        self.run_script(SCRIPT, None)
        self.assertFalse(os.path.exists(self.folder))

    def test_a_broken_configuration_is_said_and_the_training_goes_on(self):
        done = self.run_script(SCRIPT, {"HookParameters": {"save_interval": "often"}})
        self.assertIn("`save_interval` is `often`", done.stderr)
        self.assertFalse(os.path.exists(self.folder))

    def test_a_place_that_cannot_be_written_does_not_break_the_training(self):
        done = self.run_script(SCRIPT, dict(CONFIG, LocalPath="/dev/null/tensors"))
        self.assertEqual(done.stderr.count("kennel_debugger: WARNING: tensors are not saved"), 1, done.stderr)
        self.assertIn("/dev/null", done.stderr)

    def test_a_failing_script_leaves_what_it_saved(self):
        done = subprocess.run(
            [sys.executable, "-c", "import kennel_debugger\nhook = kennel_debugger.Hook(%r)\nhook.step('train')\n"
             "hook.save_scalar('loss', 1)\nraise SystemExit(3)" % self.folder],
            env=dict(support.environment(), PYTHONPATH=USER),
        )
        self.assertEqual(done.returncode, 3)
        self.assertEqual(list(self.steps()), [0])
        self.assertTrue(os.path.isfile(os.path.join(self.folder, "algo-1", "END")))


class Hooks(Files):
    def test_intervals_bounds_and_single_steps(self):
        def saved(count=30, **given):
            return [step for step in range(count) if Schedule(**given).saves(step)]

        self.assertEqual(saved(1001), [0, 500, 1000])
        self.assertEqual(saved(save_interval="10"), [0, 10, 20])
        self.assertEqual(saved(save_interval=5, start_step="6", end_step=20), [10, 15])
        self.assertEqual(saved(save_steps="3, 7", start_step=1), [3, 7])
        for wrong in ({"save_interval": 0}, {"save_interval": "x"}, {"save_steps": "1,x"}, {"start_step": -1},
                      {"end_step": True}, {"save_steps": 5}):
            with self.assertRaises(ConfigError, msg=wrong):
                Schedule(**wrong)

    def test_configurations_as_they_come(self):
        nulls = Settings.parse({"HookParameters": None, "CollectionConfigurations": None}, "/somewhere")
        self.assertEqual(nulls.out_dir, "/somewhere/output/tensors")
        self.assertEqual(list(nulls.collections), ["losses"])
        self.assertEqual(nulls.schedule("losses", "train").save_interval, 500)
        self.assertEqual(Settings.parse({"LocalPath": "/opt/ml/x"}, "/r").out_dir, "/r/x")
        self.assertEqual(Settings.parse({"LocalPath": "/opt/mlx"}, "/r").out_dir, "/opt/mlx")
        settings = Settings.parse({
            "HookParameters": {"save_interval": 7, "eval.save_interval": 3, "include_regex": "bn, conv"},
            "CollectionConfigurations": [
                {"CollectionName": "weights", "CollectionParameters": {"save_interval": "2"}},
                {"CollectionName": "biases", "CollectionParameters": None},
                {"CollectionName": "input_image"},
                {"CollectionName": "mine", "CollectionParameters": {"include_regex": "^a,b$", "predict.save_steps": "4"}},
            ],
        })
        intervals = [settings.schedule(c, m).save_interval for c in ("weights", "biases") for m in ("train", "eval")]
        # A collection's own interval for all modes comes after the hook's for one.
        self.assertEqual(intervals, [2, 2, 7, 3])
        self.assertEqual(settings.schedule("mine", "predict").save_steps, [4])
        self.assertEqual(settings.collections["default"].include_regex, ["bn", "conv"])
        self.assertTrue(settings.collections["mine"].matches("xb"))
        self.assertIn("input_images", settings.collections)
        for wrong in ([], {"HookParameters": 3}, {"CollectionConfigurations": {}}, {"CollectionConfigurations": [{}]},
                      {"CollectionConfigurations": ["x"]}, {"HookParameters": {"include_regex": "("}}):
            with self.assertRaises(ConfigError, msg=wrong):
                Settings.parse(wrong)
        with self.assertRaises(TypeError):
            Hook(self.folder, save_intervall=3)

    def test_a_configuration_of_any_kind_does_not_raise(self):
        said = self.said()
        for text in ("", "[]", "3", '{"HookParameters": {"include_regex": 5}}', '{"LocalPath": {}, "HookParameters": 1}'):
            path = support.write(os.path.dirname(self.folder), "config.json", text)
            self.assertFalse(Hook.from_env(path).enabled, text)
        self.assertEqual(said.getvalue().count("WARNING"), 5)

    def test_steps_may_begin_or_end_the_loop(self):
        hook = Hook(self.folder, save_interval=1, **{"eval.save_interval": 2})
        for number in range(3):
            hook.save("a", number)
            hook.step()
        hook.close()
        self.assertEqual({s: v["a"][1] for s, (_, v) in self.steps("global").items()}, {0: [0], 1: [1], 2: [2]})

    def test_what_comes_before_the_first_step_shares_its_number(self):
        hook = Hook(self.folder, save_interval=1)
        hook.save_scalar("batch_size", 64)
        hook.set_mode("eval")
        hook.save_scalar("loss", 9)
        for _ in range(2):
            self.assertTrue(hook.step("train"))
            hook.save_scalar("loss", 1)
        hook.close()
        self.assertEqual(list(self.steps()), [0, 1])
        self.assertEqual(list(self.steps("eval")), [0])
        self.assertEqual(self.steps("global")[0][0]["collections"], {"metrics": ["batch_size"]})

    def test_every_evaluation_is_saved_from_start_to_end(self):
        hook = Hook(self.folder, {"mine": {"eval.start_step": 2, "end_step": 3}})
        for _ in range(4):
            hook.step("train")
            for batch in range(3):
                hook.step("eval")
                hook.save("outputs", [batch, batch], collection="outputs")
                hook.save("own", batch, collection="mine")
        hook.close()
        self.assertEqual(list(self.steps()), [])
        found = {step: values for step, (_, values) in self.steps("eval").items()}
        self.assertEqual([values["outputs"][1] for values in found.values()], [[0, 0]] * 4)
        self.assertEqual({step: values["own"][1] for step, values in found.items() if "own" in values}, {2: [1.0]})

    def test_values_of_all_kinds(self):
        hook = Hook(self.folder, save_interval=1)
        hook.step("train")
        hook.save("list", [[1, 2, 3], [4.5, True, float("inf")]])
        hook.save("array", array.array("d", [1, 2]))
        hook.save("empty", [])
        hook.save("torch", fake.Tensor([[1.0], [2.0]]))
        hook.save('näme "quoted"', 3, collection=["weights", "mine"])
        hook.close()
        metadata, values = self.steps()[0]
        self.assertEqual(values["list"], ([2, 3], [1, 2, 3, 4.5, 1, float("inf")]))
        self.assertEqual(values["array"], ([2], [1, 2]))
        self.assertEqual(values["empty"], ([0], []))
        self.assertEqual(values["torch"], ([2, 1], [1, 2]))
        self.assertEqual(metadata["collections"]["mine"], ['näme "quoted"'])
        try:
            import numpy
        except ImportError:
            self.skipTest("no numpy in this interpreter")
        transposed = numpy.arange(6, dtype=">i8").reshape(2, 3).T
        self.assertEqual(tensors.to_f32(transposed), tensors.to_f32([[0, 3], [1, 4], [2, 5]]))

    def test_what_cannot_be_saved_is_said_once(self):
        said = self.said()
        hook = Hook(self.folder, save_interval=1)
        hook.step("train")
        for value in ("text", [[1], [1, 2]], object(), None):
            hook.save("bad", value)
        hook.save("", 1)
        hook.save("__metadata__", 1)
        hook.save("n" * 513, 1)
        hook.save_scalar("loss", [1, 2])
        hook.register_module(3)
        hook.register_loss(len)
        hook.save_scalar("loss", 1)
        hook.close()
        hook.save("late", 1)
        self.assertEqual(said.getvalue().count("WARNING"), 1)
        self.assertEqual(list(self.steps()[0][1]), ["loss"])
        with self.assertRaises(ValueError):
            hook.set_mode("training")

    def test_a_step_is_bounded(self):
        said = self.said()
        hook = Hook(self.folder, save_interval=1)
        hook.step("train")
        with mock.patch.object(tensors, "MAX_VALUES", 12):
            for name in ("a", "b", "a", "c"):
                hook.save(name, [1, 2] if name == "a" else 3)
        hook.close()
        self.assertIn("1 GiB", said.getvalue())
        self.assertEqual(list(self.steps()[0][1]), ["a", "b"])

    def test_a_full_disk_leaves_no_halves(self):
        said = self.said()
        hook = Hook(self.folder, save_interval=1)
        for number in range(3):
            hook.step("train")
            hook.save_scalar("loss", number)
            if number == 0:
                patched = mock.patch("os.replace", side_effect=OSError(28, "No space left on device"))
                patched.start()
            elif number == 1:
                patched.stop()
        hook.close()
        self.assertIn("No space left", said.getvalue())
        self.assertEqual(sorted(os.listdir(os.path.join(self.folder, "algo-1", "train"))),
                         ["000000001.safetensors", "000000002.safetensors"])

    def test_workers(self):
        for rank, workers, expected in (("0", "one", ["algo-2-rank0"]), ("1", "one", []), ("1", "all", ["algo-2-rank1"])):
            folder = os.path.join(self.folder, rank + workers)
            with mock.patch.dict(os.environ, RANK=rank, WORLD_SIZE="2", SM_CURRENT_HOST="algo-2"):
                hook = Hook(folder, save_interval=1, include_workers=workers)
                hook.save_scalar("loss", 1)
                hook.close()
            self.assertEqual(os.listdir(folder) if os.path.exists(folder) else [], expected)

    def test_a_second_attempt_takes_back_the_end(self):
        Hook(self.folder).close()
        end = os.path.join(self.folder, "algo-1", "END")
        self.assertTrue(os.path.exists(end))
        hook = Hook(self.folder)
        hook.step("train")
        self.assertFalse(os.path.exists(end))
        hook.close()
        self.assertTrue(os.path.exists(end))

    @unittest.skipUnless(hasattr(os, "fork"), "no fork here")
    def test_a_forked_process_saves_nothing(self):
        hook = Hook(self.folder, save_interval=1)
        hook.step("train")
        hook.save_scalar("loss", 1)
        child = os.fork()
        if child == 0:
            hook.save_scalar("loss", 2)
            hook.close()
            os._exit(0)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.assertFalse(os.path.exists(os.path.join(self.folder, "algo-1", "END")))
        hook.close()
        self.assertEqual(self.steps()[0][1]["loss"][1], [1.0])


class Modules(Files):
    COLLECTIONS = ["weights", "biases", "gradients", "relu_input", "relu_output", "inputs", "outputs", "labels"]

    def test_a_module_and_its_loss(self):
        hook = Hook(self.folder, self.COLLECTIONS, save_interval=2)
        model, criterion = fake.Net(), fake.CrossEntropyLoss()
        hook.register_module(model)
        hook.register_module(model)
        hook.register_loss(criterion)
        hook.set_mode("train")
        fake.train(hook, model, criterion, 3)
        hook.set_mode("eval")
        fake.train(hook, model, criterion, 3)
        hook.close()
        train = self.steps()
        self.assertEqual(list(train), [0, 2])
        metadata, values = train[2]
        self.assertEqual(metadata["collections"], {
            "weights": ["Net_fc.weight"], "biases": ["Net_fc.bias"],
            "gradients": ["gradient/Net_fc.weight", "gradient/Net_fc.bias"],
            "relu_input": ["relu_input_0"], "relu_output": ["relu_output_0"], "inputs": ["Net_input_0"],
            "outputs": ["Net_output_0"], "labels": ["CrossEntropyLoss_input_1"], "losses": ["CrossEntropyLoss_output_0"],
        })
        self.assertEqual(values["Net_input_0"], ([1, 2], [1, -2]))
        # Before the activation changed it in place.
        self.assertEqual(values["relu_input_0"], ([1, 2], [-1, 2]))
        self.assertEqual(values["relu_output_0"], ([1, 2], [0, 2]))
        self.assertEqual(values["gradient/Net_fc.bias"], ([1], [2.25]))
        (number, (metadata, _)), = self.steps("eval").items()
        self.assertEqual(number, 2)
        self.assertNotIn("gradients", metadata["collections"])

    def test_patterns_take_any_tensor_of_the_module(self):
        hook = Hook(self.folder, {"mine": {"include_regex": "^fc_output"}}, save_interval=1, include_regex="fc_input")
        model = fake.Net()
        hook.register_module(model)
        hook.set_mode("train")
        model(fake.Tensor([[1.0]]))
        hook.close()
        self.assertEqual(self.steps()[0][0]["collections"], {"mine": ["fc_output_0"], "default": ["fc_input_0"]})

    def test_copies_of_a_model_are_not_hooked_and_load_anywhere(self):
        hook = Hook(self.folder, ["outputs"], save_interval=1)
        module = fake.ReLU()
        hook.register_module(module)
        callbacks = (module.before, module.after)
        loaded = pickle.loads(pickle.dumps(callbacks))
        self.assertNotIn(b"kennel", pickle.dumps(callbacks))
        for before in loaded[0] + copy.deepcopy(module.before):
            self.assertIsNone(before(module, ()))
        for after in loaded[1]:
            self.assertIsNone(after(module, (), 1))
        self.assertFalse(pickle.loads(pickle.dumps(hook)).enabled)
        self.assertFalse(os.path.exists(self.folder))
        hook.close()

    def test_a_failure_in_a_callback_does_not_reach_the_model(self):
        said = self.said()
        hook = Hook(self.folder, ["weights"], save_interval=1)
        model = fake.Net()
        hook.register_module(model)
        model.named_parameters = lambda: 1 / 0
        self.assertEqual(model(fake.Tensor([[-1.0]])).values, [[1.0]])
        self.assertIn("division by zero", said.getvalue())
        hook.close()


class Smdebug(Job):
    SCRIPT = """
import json, sys
import smdebug.pytorch as smd
from smdebug import modes, SaveConfig
from smdebug.profiler.utils import str2bool
from smdebug.pytorch import get_hook
assert str2bool("True") is True
sys.path.insert(0, %r)
from tests import tensor_files as fake
model, criterion = fake.Net(), fake.CrossEntropyLoss()
%s
hook.register_hook(model)
hook.register_loss(criterion)
hook.set_mode(modes.TRAIN)
fake.train(hook, model, criterion, 6)
hook.set_mode(modes.EVAL)
fake.train(hook, model, criterion, 2)
hook.save_scalar("epoch_loss", 0.5, sm_metric=True)
assert smd.get_hook() is hook and hook.mode == modes.EVAL and hook.mode_steps[modes.TRAIN] in (5, -1), hook.mode_steps
"""

    def script(self, made):
        return self.SCRIPT % (support.PYTHON_ROOT, made)

    def test_the_names_and_steps_are_smdebugs(self):
        self.run_script(self.script("hook = smd.Hook.create_from_json_file()"), CONFIG)
        train = self.steps()
        self.assertEqual(list(train), [0, 2, 4, 5])
        self.assertEqual(train[4][0]["collections"], {"gradients": ["gradient/Net_fc.weight", "gradient/Net_fc.bias"]})
        self.assertEqual(train[5][0]["collections"], {
            "weights": ["Net_fc.weight"], "losses": ["CrossEntropyLoss_output_0"]})
        self.assertEqual(self.steps("eval")[5][0]["collections"], {
            "weights": ["Net_fc.weight"], "losses": ["CrossEntropyLoss_output_0", "scalar/epoch_loss"]})

    def test_a_job_without_debugger_runs_the_same_script(self):
        for made in ("hook = smd.Hook.create_from_json_file()", "hook = get_hook(create_if_not_exists=True)"):
            self.run_script(self.script(made), None)
            self.assertFalse(os.path.exists(self.folder))
            os.rename(self.root, self.root + str(len(made)))

    def test_hooks_made_in_python(self):
        self.run_script(self.script(
            "hook = smd.Hook(out_dir=%r, include_collections=['biases', 'acts'],\n"
            "    save_config=smd.SaveConfig({modes.TRAIN: smd.SaveConfigMode(save_interval=3)}))\n"
            "hook.get_collection('acts').add_module_tensors(model.children['relu'])\n"
            "hook.get_collection('biases').save_config = SaveConfig(save_interval=2)" % self.folder
        ), None)
        train = self.steps()
        self.assertEqual(list(train), [0, 2, 3, 4])
        self.assertEqual(train[3][0]["collections"], {"acts": ["relu_output_0"], "losses": ["CrossEntropyLoss_output_0"]})
        self.assertEqual(train[4][0]["collections"], {"biases": ["Net_fc.bias"]})

    def test_what_is_not_there_says_so(self):
        self.run_script(
            "import smdebug.pytorch as smd, smdebug.tensorflow\n"
            "hook = smd.Hook.create_from_json_file()\n"
            "for use in (lambda: smd.create_trial('x'), lambda: smdebug.tensorflow.KerasHook, lambda: hook.merge(),\n"
            "            lambda: exec('from smdebug.trials import create_trial')):\n"
            "    try:\n        use()\n"
            "    except NotImplementedError as error:\n        assert 'KENNEL_SMDEBUG' in str(error)\n"
            "    else:\n        raise SystemExit(9)\n"
            "assert not hasattr(hook, 'merge')\n", None)

    def test_which_smdebug_is_taken(self):
        script = "import smdebug, kennel_debugger\nprint(smdebug.__version__)"
        site = self.root + "-site"
        support.write(os.path.join(site, "smdebug"), "__init__.py", "__version__ = 'real'")
        # One of the interpreter or of the platform's own PYTHONPATH comes after the stand-in, unless asked for.
        paths = os.pathsep.join([support.PYTHON_ROOT, site])
        for extra, expected in (({}, "1.0.34+kennel"), ({"KENNEL_SMDEBUG": "installed"}, "real")):
            env = dict(support.environment(KENNEL_ML_ROOT=self.root, KENNEL_SUBMIT_ARCHIVE=self.source, **extra),
                       PYTHONPATH=paths)
            if not os.path.exists(self.root):
                support.layout(self.root, dict(support.HYPERPARAMETERS, sagemaker_program='"hpo.py"'))
                support.write(self.source, "hpo.py", script)
            done = subprocess.run([sys.executable, "-m", "kennel_runtime.train"], env=env, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, universal_newlines=True, timeout=60)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(done.stdout.splitlines()[-1], expected)
        # The user's own source comes first.
        support.write(os.path.join(self.source, "smdebug"), "__init__.py", "__version__ = 'own'")
        done = support.train(self.root, self.source)
        self.assertEqual(done.stdout.splitlines()[-1], "own", done.stderr)


class Torch(Files):
    def test_a_real_model(self):
        try:
            import torch
        except ImportError:
            self.skipTest("no torch in this interpreter")
        torch.manual_seed(1)
        hook = Hook(self.folder, Modules.COLLECTIONS + ["input_images"], save_interval=2)
        model = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(inplace=True), torch.nn.Flatten(), torch.nn.Linear(4, 2)
        )
        criterion = torch.nn.CrossEntropyLoss()
        hook.register_module(model)
        hook.register_loss(criterion)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        hook.set_mode("train")
        weights = []
        for _ in range(3):
            optimizer.zero_grad()
            weights.append(model[3].weight.detach().clone().flatten().tolist())
            criterion(model(torch.ones(2, 3, 3, 3)), torch.tensor([0, 1])).backward()
            optimizer.step()
        copied = copy.deepcopy(model)
        copied(torch.ones(1, 3, 3, 3))
        buffer = io.BytesIO()
        torch.save(model, buffer)
        self.assertNotIn(b"kennel", buffer.getvalue())
        hook.close()
        train = self.steps()
        self.assertEqual(list(train), [0, 2])
        metadata, values = train[2]
        self.assertEqual(values["Sequential_3.weight"], ([2, 4], weights[2]))
        self.assertEqual(metadata["collections"]["input_images"], ["Sequential_input_0"])
        self.assertEqual(metadata["collections"]["relu_output"], ["1_output_0"])
        self.assertEqual(len(metadata["collections"]["gradients"]), 4)
        clipped = [max(v, 0.0) for v in values["1_input_0"][1]]
        self.assertEqual(values["1_output_0"][1], clipped)
        self.assertNotEqual(values["1_input_0"][1], clipped)


if __name__ == "__main__":
    unittest.main()
