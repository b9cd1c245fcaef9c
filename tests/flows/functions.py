"""Lambda through boto3: concurrency to the letter, handlers that misbehave, retries and destinations, function URLs."""

import base64
import concurrent.futures
import ctypes
import io
import json
import os
import pathlib
import re
import time
import urllib.error
import urllib.request
import zipfile

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from common import eventually, refused, role, trust

once = Config(retries={"total_max_attempts": 1}, max_pool_connections=32, read_timeout=120)
lam = boto3.client("lambda", config=once)
logs, cloudwatch, iam, s3 = (boto3.client(name) for name in ("logs", "cloudwatch", "iam", "s3"))
RUNTIME = "python3.11"
ROLE = role()


def packed(**files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for name, text in files.items():
            z.writestr(name.replace("__", "/") + ".py", text)
    return out.getvalue()


def function(name, code, **more):
    lam.create_function(FunctionName=name, Runtime=RUNTIME, Role=ROLE, Handler="f.handler",
                        Code={"ZipFile": packed(f=code)}, **{"Timeout": 10, "MemorySize": 256, **more})
    lam.get_waiter("function_active_v2").wait(FunctionName=name)
    return name


def invoke(name, event=None, **more):
    answer = lam.invoke(FunctionName=name, Payload=json.dumps(event or {}), LogType="Tail", **more)
    return answer, json.loads(answer["Payload"].read() or b"null"), base64.b64decode(answer["LogResult"]).decode()


# What a function sees: its own place, its role, AWS's variables.
name = function("flow-sees", """
import os, sys, boto3
def handler(event, context):
    return {"env": {k: v for k, v in os.environ.items() if k.startswith(("AWS_", "LAMBDA_", "_HAND", "TZ"))},
            "who": boto3.client("sts").get_caller_identity()["Arn"], "arn": context.invoked_function_arn,
            "left": context.get_remaining_time_in_millis(), "cwd": os.getcwd()}
""")
answer, seen, log = invoke(name)
assert answer["StatusCode"] == 200 and "FunctionError" not in answer, seen
assert seen["who"].endswith(f":assumed-role/{ROLE.split('/')[-1]}/flow-sees"), seen["who"]
env = seen["env"]
assert env["AWS_LAMBDA_FUNCTION_NAME"] == name and env["AWS_LAMBDA_INITIALIZATION_TYPE"] == "on-demand", env
assert env["AWS_LAMBDA_LOG_GROUP_NAME"] == f"/aws/lambda/{name}" and env["AWS_SESSION_TOKEN"], env
assert 0 < seen["left"] <= 10_000, seen
assert "Init Duration" in log and re.search(r"REPORT RequestId: \S+\tDuration: [\d.]+ ms\t", log), log
_, _, log = invoke(name)
assert "Init Duration" not in log, "the second invocation is warm"

# The walls around it: no keys of the root, no database, nobody's home, its own code as it is, no metadata service.
name = function("flow-walls", """
import socket
def attempt(what):
    try:
        return "could: %r" % (what(),)
    except OSError as error:
        return type(error).__name__
def handler(event, context):
    return [attempt(lambda: open(event["data"] + "/root-credentials.json").read()),
            attempt(lambda: open(event["data"] + "/state.db", "rb").read(4)),
            attempt(lambda: open("/etc/shadow").read()),
            attempt(lambda: open("/var/task/own.py", "w")),
            attempt(lambda: socket.create_connection(("169.254.169.254", 80), 5)),
            attempt(lambda: open("/tmp/mine", "w").write("x"))]
""")
tried = invoke(name, {"data": os.environ["FLOW_DATA"]})[1]
if ctypes.CDLL(None).syscall(444, None, 0, 1) > 0:  # landlock_create_ruleset: the version of the kernel's rules
    assert all(not word.startswith("could") for word in tried[:5]) and tried[5] == "could: 1", tried
else:
    print("SKIPPED: this kernel has no Landlock", tried)

# Two layers: Python finds modules in both, programs are in the PATH.
layers = []
for number, content in enumerate([{"python__own": "x = 1"}, {"python__other": "y = 2"}]):
    layers.append(lam.publish_layer_version(LayerName=f"flow-{number}", Content={"ZipFile": packed(**content)})
                  ["LayerVersionArn"])
name = function("flow-layers", "import os, own, other\ndef handler(event, context):\n"
                               "    return [own.x, other.y, os.environ['PATH']]", Layers=layers)
value = invoke(name)[1]
assert value[:2] == [1, 2] and value[2].startswith("/opt/layer-2/bin:/opt/layer-1/bin:"), value
# A newer name runs with the same installation.
lam.update_function_configuration(FunctionName=name, Runtime="python3.13")
assert invoke(name)[1][:2] == [1, 2]

# Provisioned 2, reserved 4, ten calls of a function that takes half a second: 2 warm, 2 spilled over, 6 throttled.
name = function("flow-ten", """
import os, time
def handler(event, context):
    time.sleep(event.get("sleep", 0))
    return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
""")
assert lam.publish_version(FunctionName=name)["Version"] == "1"
lam.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=4)
lam.put_provisioned_concurrency_config(FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=2)
eventually("provisioned concurrency is ready", lambda: lam.get_provisioned_concurrency_config(
    FunctionName=name, Qualifier="1")["Status"] == "READY")
before = time.time()


def call(_):
    try:
        answer = lam.invoke(FunctionName=name, Qualifier="1", Payload=b'{"sleep": 1.5}')
        return json.loads(answer["Payload"].read())
    except ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 429, error.response
        assert error.response["Error"]["Code"] == "TooManyRequestsException", error.response
        return error.response["Reason"]


with concurrent.futures.ThreadPoolExecutor(10) as pool:
    ended = sorted(pool.map(call, range(10)))
assert ended == (["ReservedFunctionConcurrentInvocationLimitExceeded"] * 6 + ["on-demand"] * 2
                 + ["provisioned-concurrency"] * 2), ended


def total(metric):
    found = cloudwatch.get_metric_statistics(
        Namespace="AWS/Lambda", MetricName=metric, Statistics=["Sum"], Period=60,
        Dimensions=[{"Name": "FunctionName", "Value": name}], StartTime=before - 120, EndTime=time.time() + 120)
    return sum(point["Sum"] for point in found["Datapoints"])


counts = {"Throttles": 6, "Invocations": 4, "ProvisionedConcurrencyInvocations": 2,
          "ProvisionedConcurrencySpilloverInvocations": 2, "Errors": 0}
eventually("the metrics say so", lambda: {m: total(m) for m in counts} == counts, patience=30)

# All of the reservation provisioned: nothing is left for $LATEST.
lam.put_provisioned_concurrency_config(FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=4)
refused("TooManyRequestsException", lam.invoke, FunctionName=name, Payload=b"{}")
refused("InvalidParameterValueException", lam.put_provisioned_concurrency_config, FunctionName=name, Qualifier="1",
        ProvisionedConcurrentExecutions=5)
said = refused("InvalidParameterValueException", lam.put_function_concurrency, FunctionName="flow-sees",
               ReservedConcurrentExecutions=897)
assert "below its minimum value of [100]" in said, said
lam.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="1")

# A weighted alias reaches both versions.
lam.update_function_code(FunctionName=name, ZipFile=packed(f="def handler(event, context): return 'two'"))
assert lam.publish_version(FunctionName=name)["Version"] == "2"
lam.delete_function_concurrency(FunctionName=name)
lam.create_alias(FunctionName=name, Name="half", FunctionVersion="1",
                 RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}})
reached = {lam.invoke(FunctionName=name, Qualifier="half", Payload=b"{}")["ExecutedVersion"] for _ in range(40)}
assert reached == {"1", "2"}, reached

# Handlers that misbehave. Each must end with AWS's words, and leave the function usable or say why not.
MISBEHAVING = """
import os, signal, subprocess, sys, time
def handler(event, context):
    what = event["what"]
    if what == "raise":
        raise ValueError("boom")
    if what == "exit":
        os._exit(3)
    if what == "loop":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            pass
    if what == "gigabyte":
        line = "x" * 1_000_000
        for _ in range(1_000):
            print(line)
        return "printed"
    if what == "fork":
        for _ in range(20):
            subprocess.Popen(["sleep", "1000"])
        return "forked"
    if what == "memory":
        return len(bytearray(1 << 30))
    if what == "large":
        return "x" * (7 << 20)
    return "fine"
"""
name = function("flow-bad", MISBEHAVING, Timeout=3)
answer, error, _ = invoke(name, {"what": "raise"})
assert answer["FunctionError"] == "Unhandled" and error["errorType"] == "ValueError", error
assert error["errorMessage"] == "boom" and error["stackTrace"], error
answer, error, _ = invoke(name, {"what": "exit"})
assert error["errorType"] == "Runtime.ExitError" and "exit status 3" in error["errorMessage"], error
answer, error, log = invoke(name, {"what": "loop"})
assert error["errorType"] == "Sandbox.Timedout" and "Task timed out after 3.00 seconds" in error["errorMessage"], error
assert "Status: timeout" in log, log
answer, error, _ = invoke(name, {"what": "memory"})
assert error["errorType"] == "Runtime.ExitError" and "signal: killed" in error["errorMessage"], error
answer, error, _ = invoke(name, {"what": "large"})
assert answer["FunctionError"] == "Unhandled" and "ResponseSizeTooLarge" in error["errorType"], error
lam.update_function_configuration(FunctionName=name, Timeout=60)
answer, value, log = invoke(name, {"what": "gigabyte"})
assert value == "printed" and len(log) <= 4096, value
assert invoke(name, {"what": "fork"})[1] == "forked" and invoke(name, {"what": ""})[1] == "fine"

# Init that fails: a module that is not there, a handler that is not there, code that raises.
for files, handler, kind in [
    ({"f": "import nothing_of_this_name"}, "f.handler", "Runtime.ImportModuleError"),
    ({"f": "x = 1"}, "f.handler", "Runtime.HandlerNotFound"),
    ({"f": "x ="}, "f.handler", "Runtime.UserCodeSyntaxError"),
    ({"g": "x = 1"}, "f.handler", "Runtime.ImportModuleError"),
]:
    lam.update_function_code(FunctionName=name, ZipFile=packed(**files))
    answer, error, _ = invoke(name)
    assert answer["FunctionError"] == "Unhandled" and error["errorType"] == kind, (kind, error)

# Zips that are refused.
out = io.BytesIO()
with zipfile.ZipFile(out, "w") as z:
    z.writestr("../escaped.py", "x = 1")
refused("InvalidParameterValueException", lam.update_function_code, FunctionName=name, ZipFile=out.getvalue())
refused("InvalidParameterValueException", lam.update_function_code, FunctionName=name, ZipFile=b"no zip")
bomb = io.BytesIO()
with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as z:
    z.writestr("zeros", bytes(300 << 20))
said = refused("InvalidParameterValueException", lam.update_function_code, FunctionName=name, ZipFile=bomb.getvalue())
assert "262144000" in said, said

# Code from a bucket.
s3.create_bucket(Bucket="flow-code")
s3.put_object(Bucket="flow-code", Key="f.zip", Body=packed(f="def handler(event, context): return 'from S3'"))
lam.update_function_code(FunctionName=name, S3Bucket="flow-code", S3Key="f.zip")
assert invoke(name)[1] == "from S3"
refused("RequestTooLargeException", lam.invoke, FunctionName=name,
        Payload=json.dumps("x" * 6_300_000))
refused("InvalidRequestContentException", lam.invoke, FunctionName=name, Payload=b"{no json")

# Asynchronous: twice more after an error (the platform's configuration makes the waits short), then the record goes
# to the function of the failure destination and the letter into the dead-letter queue.
sink = function("flow-sink", "def handler(event, context):\n    print('SINK', __import__('json').dumps(event))")
account = ROLE.split(":")[4]
region = lam.meta.region_name
# The role has to allow what the platform delivers for it.
iam.put_role_policy(RoleName=ROLE.split("/")[-1], PolicyName="letters", PolicyDocument=json.dumps({
    "Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sqs:SendMessage",
                                            "Resource": f"arn:aws:sqs:{region}:{account}:flow-letters"}]}))
name = function("flow-async", "def handler(event, context):\n    print('ATTEMPT', context.aws_request_id)\n"
                              "    raise ValueError('again')",
                DeadLetterConfig={"TargetArn": f"arn:aws:sqs:{region}:{account}:flow-letters"})
lam.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=2, DestinationConfig={
    "OnFailure": {"Destination": f"arn:aws:lambda:{region}:{account}:function:{sink}"}})
assert lam.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 1}')["StatusCode"] == 202


def lines(group, word):
    try:
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{group}")["events"]
    except ClientError:
        return []
    return [event["message"] for event in events if event["message"].startswith(word)]


record = json.loads(eventually("the record", lambda: lines(sink, "SINK"))[0].removeprefix("SINK "))
assert record["requestContext"]["condition"] == "RetriesExhausted", record
assert record["requestContext"]["approximateInvokeCount"] == 3 and record["requestPayload"] == {"n": 1}, record
assert record["responsePayload"]["errorMessage"] == "again", record
attempts = lines(name, "ATTEMPT")
assert len(attempts) == 3 and len(set(attempts)) == 1, attempts
letters = pathlib.Path(os.environ["FLOW_DATA"], "queues", "flow-letters")
letter = json.loads(next(eventually("the letter", lambda: list(letters.glob("*.json"))).__iter__()).read_text())
assert letter["Body"] == {"n": 1} and letter["MessageAttributes"]["RequestID"] == record["requestContext"]["requestId"]

# Function URLs.
name = function("flow-url", """
import json
def handler(event, context):
    if event["rawPath"] == "/plain":
        return {"hello": event["queryStringParameters"]["who"]}
    if event["rawPath"] == "/fail":
        raise ValueError("no")
    return {"statusCode": 418, "headers": {"x-own": "1"}, "cookies": ["a=b"], "body": json.dumps(event)}
""")
url = lam.create_function_url_config(FunctionName=name, AuthType="NONE", Cors={"AllowOrigins": ["https://a.example"]})
url = url["FunctionUrl"]


def fetch(path, data=None, headers=None, method=None):
    request = urllib.request.Request(url + path, data=data, headers=headers or {}, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


status, _, body = fetch("plain?who=dog")
assert status == 403, (status, body, "no policy lets anybody in yet")
lam.add_permission(FunctionName=name, StatementId="open", Action="lambda:InvokeFunctionUrl", Principal="*",
                   FunctionUrlAuthType="NONE")
status, headers, body = fetch("plain?who=dog")
assert (status, json.loads(body)) == (200, {"hello": "dog"}), (status, body)
status, headers, body = fetch("x/y?a=1&a=2", data=b"{}", headers={
    "Content-Type": "application/json", "Origin": "https://a.example", "Cookie": "c=d"})
event = json.loads(body)
assert status == 418 and headers["x-own"] == "1" and headers["set-cookie"] == "a=b", (status, body)
assert headers["access-control-allow-origin"] == "https://a.example", headers
assert event["version"] == "2.0" and event["rawPath"] == "/x/y" and event["rawQueryString"] == "a=1&a=2", event
assert event["queryStringParameters"] == {"a": "1,2"} and event["body"] == "{}" and event["cookies"] == ["c=d"], event
assert event["requestContext"]["http"]["method"] == "POST" and not event["isBase64Encoded"], event
status, _, body = fetch("x", data=b"\\xff\\xd8", headers={"Content-Type": "image/jpeg"})
assert json.loads(body)["isBase64Encoded"] is True
assert fetch("fail")[0] == 502
# Signed addresses: without a signature nothing passes.
lam.update_function_url_config(FunctionName=name, AuthType="AWS_IAM")
assert fetch("plain?who=dog")[0] == 403
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
signed = AWSRequest(method="GET", url=url + "plain?who=cat")
SigV4Auth(boto3.Session().get_credentials(), "lambda", region).add_auth(signed)
status, _, body = fetch("plain?who=cat", headers=dict(signed.headers))
assert (status, json.loads(body)) == (200, {"hello": "cat"}), (status, body)

print("functions: concurrency, bad handlers, retries and URLs are as AWS has them")
