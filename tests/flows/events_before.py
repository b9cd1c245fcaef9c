"""An asynchronous invocation is accepted; the server is killed while its function works on it (events_after.py)."""

import io
import zipfile

import boto3
from botocore.exceptions import ClientError

from common import eventually, role

lam = boto3.client("lambda")


def began():
    try:
        events = logs.filter_log_events(logGroupName="/aws/lambda/late")["events"]
    except ClientError:
        return False
    assert not any(event["message"].startswith("ENDED") for event in events), "too late to kill anything"
    return any(event["message"].startswith("BEGAN") for event in events)


out = io.BytesIO()
with zipfile.ZipFile(out, "w") as z:
    z.writestr("f.py", "import time\n"
                       "def handler(event, context):\n"
                       "    print('BEGAN', context.aws_request_id, flush=True)\n"
                       "    time.sleep(event['sleep'])\n"
                       "    print('ENDED', context.aws_request_id)\n")
lam.create_function(FunctionName="late", Runtime="python3.11", Role=role(), Handler="f.handler", Timeout=60,
                    Code={"ZipFile": out.getvalue()})
lam.get_waiter("function_active_v2").wait(FunctionName="late")
logs = boto3.client("logs")
assert lam.invoke(FunctionName="late", InvocationType="Event", Payload=b'{"sleep": 12}')["StatusCode"] == 202
# Its log grows while it works.
eventually("it works", lambda: began())
print("accepted")
