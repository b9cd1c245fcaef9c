"""After kill -9: the event that had been accepted is worked on by the next server."""

import boto3
from botocore.exceptions import ClientError

from common import eventually

logs = boto3.client("logs")


def ended():
    try:
        events = logs.filter_log_events(logGroupName="/aws/lambda/late")["events"]
    except ClientError:
        return None
    return [event["message"] for event in events if event["message"].startswith("ENDED")]


assert len(eventually("the event is worked on again", ended)) == 1
print("survived")
