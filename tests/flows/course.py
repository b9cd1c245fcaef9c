"""The course's steps 3 and 4: a function in front of an endpoint, refused without the right policy, allowed by the
narrowest one; the policy that is too wide is found and narrowed. `dogs` serves already (FLOW_ENDPOINT)."""

import io
import json
import os
import pathlib
import subprocess
import zipfile

import boto3

from common import eventually, trust

ENDPOINT = os.environ["FLOW_ENDPOINT"]
PHOTO = sorted(pathlib.Path(os.environ["FLOW_PHOTOS"], "test").glob("*/*.jpg"))[0]
iam, lam, s3 = boto3.client("iam"), boto3.client("lambda"), boto3.client("s3")
account = boto3.client("sts").get_caller_identity()["Account"]
BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
FULL = "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess"
ARN = f"arn:aws:sagemaker:us-east-1:{account}:endpoint/{ENDPOINT}"


def kennel(*arguments, code=0):
    """Our own command line; answers what it prints."""
    ran = subprocess.run([os.environ["KENNEL_BIN"], *arguments], capture_output=True, text=True)
    assert ran.returncode == code, f"kennel {' '.join(arguments)}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


# The function as the course has it, but for the photo: its bytes come along, as nothing here is on the internet.
CODE = f"""
import base64, json
import boto3

print("Loading Lambda function")

def lambda_handler(event, context):
    runtime = boto3.Session().client("sagemaker-runtime")
    response = runtime.invoke_endpoint(EndpointName="{ENDPOINT}", ContentType="image/jpeg",
                                       Body=base64.b64decode(event["photo"]))
    result = response["Body"].read().decode("utf-8")
    return {{"statusCode": 200, "headers": {{"Content-Type": "text/plain", "Access-Control-Allow-Origin": "*"}},
            "type-result": str(type(result)), "COntent-Type-In": str(context),
            "body": json.dumps(json.loads(result))}}
"""
role = iam.create_role(RoleName="course-function", AssumeRolePolicyDocument=trust("lambda.amazonaws.com"))["Role"]
iam.attach_role_policy(RoleName="course-function", PolicyArn=BASIC)
out = io.BytesIO()
with zipfile.ZipFile(out, "w") as z:
    z.writestr("lambdafunction.py", CODE)
lam.create_function(FunctionName="course", Runtime="python3.11", Role=role["Arn"], Timeout=30, MemorySize=256,
                    Handler="lambdafunction.lambda_handler", Code={"ZipFile": out.getvalue()})
event = json.dumps({"photo": __import__("base64").b64encode(PHOTO.read_bytes()).decode()})


def call():
    answer = lam.invoke(FunctionName="course", Payload=event)
    return answer.get("FunctionError"), json.loads(answer["Payload"].read())


# 1. With basic execution rights only it is refused, in AWS's words.
failed, error = call()
said = (f"An error occurred (AccessDeniedException) when calling the InvokeEndpoint operation: "
        f"User: arn:aws:sts::{account}:assumed-role/course-function/course is not authorized to perform: "
        f"sagemaker:InvokeEndpoint on resource: {ARN} because no identity-based policy allows the "
        f"sagemaker:InvokeEndpoint action")
assert failed == "Unhandled" and error["errorMessage"] == said, error

# 2. Why, and what would help.
why = eventually("the refusal is on record", lambda: (w := subprocess.run(
    [os.environ["KENNEL_BIN"], "iam", "explain", "--last-denied", "--principal", "course-function"],
    capture_output=True, text=True)).returncode in (0, 1) and ARN in w.stdout and w.stdout)
assert "AWSLambdaBasicExecutionRole" in why and "sagemaker:InvokeEndpoint" in why, why

# 3. The course's way first: full access. It works, and the audit says what is wrong with it.
iam.attach_role_policy(RoleName="course-function", PolicyArn=FULL)
failed, value = call()
assert not failed and value["statusCode"] == 200 and value["type-result"] == "<class 'str'>", value
logits = json.loads(value["body"])
assert len(logits) == 1 and len(logits[0]) == 8, logits
assert "function_name=course" in value["COntent-Type-In"], value


def findings():
    ran = subprocess.run([os.environ["KENNEL_BIN"], "audit", "--json"], capture_output=True, text=True)
    assert ran.returncode in (0, 1), (ran.returncode, ran.stderr)
    found = json.loads(ran.stdout)
    found = found["findings"] if isinstance(found, dict) else found
    return [f for f in found if f["resource"] == role["Arn"] and f.get("part", "").endswith("AmazonSageMakerFullAccess")]


wide = eventually("the audit knows what the role has needed", lambda: [
    f for f in findings() if "sagemaker:InvokeEndpoint" in json.dumps(f.get("fix", f))])
assert wide[0]["severity"] in ("high", "medium"), wide
assert "sarif" in kennel("audit", "--sarif", "--fail-on", "none").lower()

# 4. The least policy: one statement for this endpoint, beside the right to log.
least = json.loads(kennel("iam", "least-privilege", "course-function"))
statements = [s for s in least["Statement"] if "sagemaker" in json.dumps(s["Action"])]
assert len(statements) == 1, least
only = statements[0]
as_list = lambda v: v if isinstance(v, list) else [v]  # noqa: E731
assert as_list(only["Action"]) == ["sagemaker:InvokeEndpoint"] and as_list(only["Resource"]) == [ARN], only
kennel("iam", "least-privilege", "course-function", "--apply", "--yes")
attached = [p["PolicyArn"] for p in iam.list_attached_role_policies(RoleName="course-function")["AttachedPolicies"]]
assert FULL not in attached, attached
failed, value = call()
assert not failed and value["statusCode"] == 200, value
decided = {e: iam.simulate_principal_policy(
    PolicySourceArn=role["Arn"], ActionNames=["sagemaker:InvokeEndpoint"], ResourceArns=[e])["EvaluationResults"][0]
    ["EvalDecision"] for e in (ARN, ARN + "-other")}
assert decided == {ARN: "allowed", ARN + "-other": "implicitDeny"}, decided
assert not findings()

# 5. The function that ships in the binary gives the same answer, with one permission.
kennel("function", "deploy-classifier", "--endpoint", ENDPOINT, "--name", "classifier")
own = lam.get_function(FunctionName="classifier")["Configuration"]
assert own["Runtime"] == "provided.al2023" and own["Environment"]["Variables"]["ENDPOINT_NAME"] == ENDPOINT, own
name = own["Role"].split("/")[-1]
simulated = iam.simulate_principal_policy(
    PolicySourceArn=own["Role"], ActionNames=["sagemaker:InvokeEndpoint", "sagemaker:DeleteEndpoint"],
    ResourceArns=[ARN])["EvaluationResults"]
assert [r["EvalDecision"] for r in simulated] == ["allowed", "implicitDeny"], simulated
answer = lam.invoke(FunctionName="classifier", Payload=json.dumps({"url": "http://127.0.0.1:1/dog.jpg"}), LogType="Tail")
value = json.loads(answer["Payload"].read())
# The endpoint does not fetch addresses of this machine: the refusal comes from there, through the function.
assert answer["FunctionError"] == "Unhandled" and "ModelError" in value["errorMessage"], value

print("course: refused, explained, allowed, audited, narrowed")
