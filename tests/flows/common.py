"""What the flows share. They speak to a running platform through the official clients only; the address and the
keys come from the environment, as in a user's shell."""

import json
import os
import subprocess
import sys
import time

PHOTOS = os.environ.get("FLOW_PHOTOS")  # train/ and valid/ and test/ with class folders
PATIENCE = 120


def eventually(what, look, patience=PATIENCE):
    """Asks `look` until it answers something true."""
    end = time.monotonic() + patience
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"not in {patience} s: {what}"
        time.sleep(0.05)


def refused(code, call, **arguments):
    """The call must end with this error; answers its message."""
    from botocore.exceptions import ClientError

    try:
        answer = call(**arguments)
    except ClientError as error:
        found = error.response["Error"]
        assert found["Code"] == code, f"{found}, wanted {code}"
        return found["Message"]
    raise AssertionError(f"answered {str(answer)[:200]}, wanted {code}")


def aws(*arguments, check=True):
    """The AWS command line; answers its stdout."""
    program = os.path.join(os.path.dirname(sys.executable), "aws")
    ran = subprocess.run([program, *arguments], capture_output=True, text=True, env={**os.environ, "AWS_PAGER": ""})
    assert not check or ran.returncode == 0, f"aws {' '.join(arguments)}: {ran.stderr}"
    return ran.stdout if check else (ran.returncode, ran.stdout, ran.stderr)


def role():
    import boto3

    arn = boto3.client("sts").get_caller_identity()["Arn"]
    name = arn.split("/")[1]
    return boto3.client("iam").get_role(RoleName=name)["Role"]["Arn"]


def trust(service):
    return json.dumps({
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}],
    })
