"""The training environment that SageMaker scripts read: SM_* variables and command-line arguments.

Follows sagemaker-training 5.1.4 (environment.py, mapping.py, params.py); tests/test_environment.py compares the
whole set with what that version printed.
"""

import json
import os
import subprocess

from .errors import ScriptModeError

# Hyperparameters that are the toolkit's own; other `sagemaker_*` ones go to SM_FRAMEWORK_PARAMS.
_TOOLKIT_PARAMETERS = (
    "sagemaker_program",
    "sagemaker_submit_directory",
    "sagemaker_enable_cloudwatch_metrics",
    "sagemaker_region",
    "sagemaker_container_log_level",
    "sagemaker_job_name",
    "default_user_module_name",
    "_tuning_objective_metric",
    "sagemaker_s3_output",
)

DISTRIBUTIONS = (
    "sagemaker_mpi_enabled",
    "sagemaker_parameter_server_enabled",
    "sagemaker_distributed_dataparallel_enabled",
    "sagemaker_pytorch_ddp_enabled",
    "sagemaker_pytorch_xla_multi_worker_enabled",
    "sagemaker_multi_worker_mirrored_strategy_enabled",
    "sagemaker_torch_distributed_enabled",
)


def read_config(layout, name, default=None):
    """Reads an object from input/config; a missing file is `default` where one is given."""
    path = os.path.join(layout.config, name)
    try:
        with open(path, encoding="utf-8") as f:
            value = json.load(f)
    except FileNotFoundError:
        if default is not None:
            return default
        raise ScriptModeError("`%s` is missing" % path)
    except ValueError as error:
        raise ScriptModeError("`%s` is not JSON: %s" % (path, error))
    if not isinstance(value, dict):
        raise ScriptModeError("`%s` does not hold a JSON object" % path)
    return value


def decode_hyperparameters(raw):
    """Each value JSON-decoded once; what is no JSON stays the string it is."""
    decoded = {}
    for name, value in raw.items():
        try:
            value = json.loads(value)
        except (ValueError, TypeError):
            pass
        decoded[name] = value
    return decoded


def num_cpus():
    """The processors this instance may use: $KENNEL_NUM_CPUS where the instance type limits them."""
    given = os.environ.get("KENNEL_NUM_CPUS", "")
    if given.isdigit():
        return int(given)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def num_gpus():
    """The accelerators this instance may use; $CUDA_VISIBLE_DEVICES is believed before nvidia-smi is asked."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([d for d in visible.split(",") if d.strip() and not d.strip().startswith("-")])
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--list-gpus"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(1 for line in listed.stdout.decode("utf-8", "replace").split("\n") if line.startswith("GPU "))


def to_text(value):
    """The value of a variable, as mapping.to_env_vars writes it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def to_args(hyperparameters):
    """Command-line arguments, as mapping.to_cmd_args: sorted, `--name value`, `-n value` for one letter."""
    args = []
    for name in sorted(hyperparameters):
        value = hyperparameters[name]
        args.append("" if not name else "--" + name if len(name) > 1 else "-" + name)
        if value is None:
            args.append("")
        elif isinstance(value, dict):
            args.append(",".join("%s=%s" % pair for pair in sorted(value.items())))
        else:
            args.append(str(value))
    return args


class TrainingEnvironment:
    """What a job's configuration files say, read once."""

    def __init__(self, layout):
        self.layout = layout
        everything = decode_hyperparameters(read_config(layout, "hyperparameters.json", {}))
        self.resources = read_config(layout, "resourceconfig.json")
        self.channels = read_config(layout, "inputdataconfig.json", {})
        own = {k: v for k, v in everything.items() if k in _TOOLKIT_PARAMETERS or k.startswith("sagemaker_")}
        self.hyperparameters = {k: v for k, v in everything.items() if k not in own}
        self.framework = {k: v for k, v in own.items() if k not in _TOOLKIT_PARAMETERS}
        self.program = os.environ.get("SAGEMAKER_PROGRAM") or own.get("sagemaker_program")
        self.submit_directory = own.get("sagemaker_submit_directory")
        self.log_level = own.get("sagemaker_container_log_level", 20)
        self.region = own.get("sagemaker_region") or os.environ.get("AWS_REGION") or ""
        self.job_name = os.environ.get("TRAINING_JOB_NAME") or own.get("sagemaker_job_name")
        self.sagemaker_job_name = own.get("sagemaker_job_name") or ""
        try:
            self.current_host = self.resources["current_host"]
            self.hosts = self.resources["hosts"]
        except KeyError as error:
            raise ScriptModeError("resourceconfig.json has no %s" % error)
        self.args = to_args(self.hyperparameters)

    def distribution(self):
        """The name of the hyperparameter that asks for a distributed launcher, or None."""
        return next((name for name in DISTRIBUTIONS if self.framework.get(name)), None)

    def variables(self):
        """All variables that the script sees on top of its parent's."""
        layout, resources = self.layout, self.resources
        groups = {g["instance_group_name"]: g for g in resources.get("instance_groups", [])}
        group = resources.get("current_group_name", "homogeneousCluster")
        distributed = self.framework.get("sagemaker_distribution_instance_groups")
        if distributed is None:
            distributed = [group] if self.distribution() else []
        if groups:
            distributed_hosts = [h for name in groups if name in distributed for h in groups[name]["hosts"]]
        else:
            distributed_hosts = list(self.hosts)
        master = (distributed_hosts or self.hosts)[0]
        program = str(self.program) if self.program else None
        module = program[:-3] if program and program.endswith(".py") else program
        channel_dirs = {name: os.path.join(layout.data, name) for name in self.channels}
        # One table for both forms: AWS repeats nearly all of it as JSON in SM_TRAINING_ENV.
        shared = {
            "channel_input_dirs": channel_dirs,
            "current_host": self.current_host,
            "current_instance_group": group,
            "current_instance_group_hosts": groups.get(group, {}).get("hosts", []),
            "current_instance_type": resources.get("current_instance_type", "local"),
            "distribution_instance_groups": distributed,
            "framework_module": os.environ.get("SAGEMAKER_TRAINING_MODULE"),
            "hosts": self.hosts,
            "input_config_dir": layout.config,
            "input_data_config": self.channels,
            "input_dir": layout.input,
            "instance_groups": list(groups),
            "instance_groups_dict": groups,
            "is_hetero": len(groups) > 1,
            "log_level": self.log_level,
            "model_dir": layout.model,
            "module_dir": str(self.submit_directory or layout.code),
            "module_name": module,
            "network_interface_name": resources.get("network_interface_name", "eth0"),
            "num_cpus": num_cpus(),
            "num_gpus": num_gpus(),
            "num_neurons": 0,
            "output_data_dir": layout.output_data,
            "output_dir": layout.output,
            "output_intermediate_dir": layout.intermediate,
            "resource_config": resources,
            "user_entry_point": program,
        }
        training_env = dict(
            shared,
            additional_framework_parameters=self.framework,
            distribution_hosts=distributed_hosts,
            hyperparameters=self.hyperparameters,
            is_master=self.current_host == master,
            is_modelparallel_enabled=None,
            is_smddpmprun_installed=False,
            is_smddprun_installed=False,
            job_name=os.environ.get("TRAINING_JOB_NAME"),
            master_hostname=master,
            topology=resources.get("topology", []),
        )
        table = dict(shared, hps=self.hyperparameters, framework_params=self.framework, user_args=self.args)
        del table["channel_input_dirs"]
        table["channels"] = sorted(self.channels)
        table["training_env"] = training_env
        # Not set by AWS's toolkit, but looked for by some scripts.
        table["job_name"] = self.job_name
        table["master"] = master
        if resources.get("topology"):
            table["topology"] = resources["topology"]
        for name, path in channel_dirs.items():
            table["channel_" + name] = path
        for name, value in self.hyperparameters.items():
            table["hp_" + name] = value
        variables = {"SM_" + name.upper(): to_text(value) for name, value in table.items()}
        variables["CURRENT_HOST"] = self.current_host
        variables["SAGEMAKER_JOB_NAME"] = self.sagemaker_job_name
        variables["SAGEMAKER_REGION"] = str(self.region)
        # The platform may know a better address than the name, when all hosts share one machine.
        variables["MASTER_ADDR"] = os.environ.get("MASTER_ADDR", master)
        variables["MASTER_PORT"] = os.environ.get("MASTER_PORT", "7777")
        return variables
