"""A runtime for tests: what the variable INIT says first, then each event, as Python. An event leaves its
answer in `answer`, raises an error, or does what it likes."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
headers = {}


def call(method, path, body=None, headers={}):
    connection.request(method, "/2018-06-01/runtime/" + path, body, headers)
    response = connection.getresponse()
    return response, response.read()


exec(os.environ.get("INIT", ""))
while True:
    response, event = call("GET", "invocation/next")
    headers = dict(response.headers)
    request = response.headers["Lambda-Runtime-Aws-Request-Id"]
    answer = "null"
    try:
        exec(event.decode())
        call("POST", f"invocation/{request}/response", answer)
    except Exception as error:
        body = json.dumps({"errorMessage": str(error), "errorType": type(error).__name__})
        call("POST", f"invocation/{request}/error", body)
