"""What several tests need: an /opt/ml layout in a temporary folder and the toolkit started as the platform does."""

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile

PYTHON_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if PYTHON_ROOT not in sys.path:
    sys.path.insert(0, PYTHON_ROOT)
# The acceptance scripts lie beside a checkout, when they are there at all.
SRC_TINY = next(
    (p for p in (os.path.join(PYTHON_ROOT, *([".."] * up), "shared", "acceptance", "src_tiny") for up in (2, 3, 4, 5))
     if os.path.isdir(p)),
    None,
)

HYPERPARAMETERS = {
    "batch_size": "64",
    "learning_rate": '"0.0123"',
    "_tuning_objective_metric": "Test Loss",
    "flag": "true",
    "none": "null",
    "layers": "[1, 2]",
    "opts": '{"b": 2, "a": "x y"}',
    "raw": "adam w",
    "n": "3",
    "sagemaker_program": '"hpo.py"',
    "sagemaker_submit_directory": '"s3://b/j/source/sourcedir.tar.gz"',
    "sagemaker_container_log_level": "20",
    "sagemaker_job_name": '"j-1"',
    "sagemaker_region": '"us-east-1"',
    "sagemaker_estimator_class_name": '"PyTorch"',
}
CHANNELS = {
    "training": {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
}


def resource_config(current="algo-1", hosts=("algo-1",)):
    kind = "ml.m5.xlarge"
    group = {"instance_group_name": "homogeneousCluster", "instance_type": kind, "hosts": list(hosts)}
    return {
        "current_host": current,
        "current_instance_type": kind,
        "current_group_name": "homogeneousCluster",
        "hosts": list(hosts),
        "instance_groups": [group],
        "network_interface_name": "eth0",
    }


def layout(root, hyperparameters=None, resources=None):
    """Writes the configuration of a job below `root`."""
    config = os.path.join(root, "input", "config")
    os.makedirs(config)
    os.makedirs(os.path.join(root, "input", "data", "training"))
    for name, value in (
        ("hyperparameters.json", HYPERPARAMETERS if hyperparameters is None else hyperparameters),
        ("resourceconfig.json", resources or resource_config()),
        ("inputdataconfig.json", CHANNELS),
    ):
        with open(os.path.join(config, name), "w") as f:
            json.dump(value, f)


def tar_gz(path, entries):
    """A gzip tar of (name or TarInfo, bytes) pairs."""
    with tarfile.open(path, "w:gz") as tar:
        for info, data in entries:
            if isinstance(info, str):
                info = tarfile.TarInfo(info)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def environment(**more):
    """The environment of a child, without what this process was given of the toolkit's own."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("SM_", "SAGEMAKER_", "KENNEL_", "TRAINING_", "MASTER_"))}
    env.update(PYTHONPATH=PYTHON_ROOT, **more)
    return env


def train(root, source, **more):
    """Runs one training instance to its end."""
    return subprocess.run(
        [sys.executable, "-m", "kennel_runtime.train"],
        env=environment(KENNEL_ML_ROOT=root, KENNEL_SUBMIT_ARCHIVE=source, **more),
        cwd=tempfile.gettempdir(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=60,
    )


def write(folder, name, text):
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name)
    with open(path, "w") as f:
        f.write(text)
    return path


def read(*parts):
    with open(os.path.join(*parts)) as f:
        return f.read()
