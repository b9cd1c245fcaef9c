"""The SageMaker SDK (v2), unmodified, through what `kennel env --install` set up: estimator, model, endpoint."""

import json
import os
import tempfile
import time

import boto3
import sagemaker
import sagemaker.session
from sagemaker.deserializers import JSONDeserializer
from sagemaker.pytorch import PyTorch, PyTorchModel
from sagemaker.serializers import IdentitySerializer

from common import eventually



class Clock:
    """The SDK polls every 5 to 30 s; this makes its own clock, and nobody else's, 50 times as fast."""

    begun = time.time()

    def __getattr__(self, name):
        return getattr(time, name)

    def time(self):
        return self.begun + (time.time() - self.begun) * 50

    def sleep(self, seconds):
        time.sleep(seconds / 50)


sagemaker.session.time = Clock()
session = sagemaker.Session()
role = sagemaker.get_execution_role()
bucket = session.default_bucket()
assert bucket.startswith("sagemaker-us-east-1-") and ":role/" in role

folder = tempfile.mkdtemp()
with open(os.path.join(folder, "train.py"), "w") as file:
    file.write('''
import argparse, json, os, sys
p = argparse.ArgumentParser()
p.add_argument("--rate", type=float)
p.add_argument("--fail", type=int, default=0)
a = p.parse_args()
print("photos:", sorted(os.listdir(os.environ["SM_CHANNEL_TRAINING"])))
print("Testing Loss:", a.rate * 10)
if a.fail:
    raise RuntimeError("asked to fail")
with open(os.path.join(os.environ["SM_MODEL_DIR"], "weights.json"), "w") as f:
    json.dump({"rate": a.rate, "host": os.environ["SM_CURRENT_HOST"]}, f)
''')
with open(os.path.join(folder, "serve.py"), "w") as file:
    file.write('''
import json, os
def model_fn(folder):
    with open(os.path.join(folder, "weights.json")) as f:
        return json.load(f)
def input_fn(body, content_type):
    assert content_type == "image/jpeg", content_type
    return len(body)
def predict_fn(size, model):
    return [[size, model["rate"]]]
''')
data = os.path.join(folder, "data")
os.makedirs(data)
for name in ("a.jpg", "b.jpg"):
    with open(os.path.join(data, name), "wb") as file:
        file.write(b"photo")
inputs = session.upload_data(data, key_prefix="flow-sdk")


def estimator(**more):
    return PyTorch(entry_point=os.path.join(folder, "train.py"), role=role, framework_version="1.8", py_version="py36",
                   instance_type="ml.m5.large", **{"instance_count": 1, "hyperparameters": {"rate": 0.5}, **more})


one = estimator(metric_definitions=[{"Name": "loss", "Regex": "Testing Loss: ([0-9.]+)"}])
one.fit({"training": inputs})
job = one.latest_training_job.describe()
assert job["FinalMetricDataList"][0]["Value"] == 5.0, job["FinalMetricDataList"]
assert PyTorch.attach(one.latest_training_job.name).model_data == one.model_data

# Without a distribution N instances are N copies, and the job says so.
two = estimator(instance_count=2)
two.fit({"training": inputs}, logs="None")
messages = " ".join(t["StatusMessage"] for t in two.latest_training_job.describe()["SecondaryStatusTransitions"])
assert "2 independent copies" in messages, messages
logs = boto3.client("logs")
streams = logs.describe_log_streams(logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix=two.latest_training_job.name + "/")
assert len(streams["logStreams"]) == 2 and "nextToken" not in streams, streams

try:
    estimator(hyperparameters={"rate": 0.5, "fail": 1}).fit({"training": inputs}, logs="None")
    raise AssertionError("fit() did not raise")
except sagemaker.exceptions.UnexpectedStatusException as error:
    assert "AlgorithmError" in str(error) and "asked to fail" in str(error), error

model = PyTorchModel(model_data=one.model_data, role=role, entry_point=os.path.join(folder, "serve.py"),
                     framework_version="1.8", py_version="py36")
predictor = model.deploy(initial_instance_count=1, instance_type="ml.m5.large",
                         serializer=IdentitySerializer("image/jpeg"), deserializer=JSONDeserializer())
assert predictor.predict(b"12345") == [[5, 0.5]]
predictor.delete_endpoint()
client = boto3.client("sagemaker")
eventually("the endpoint is gone", lambda: not client.list_endpoints(NameContains=predictor.endpoint_name)["Endpoints"])
