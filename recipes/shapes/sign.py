"""Write requests signed by botocore, the fixtures of crates/wire's signature tests.

    .venv/bin/python recipes/shapes/sign.py > crates/wire/src/sigv4/signed.json

The keys are AWS's documented example, the time is fixed: 2026-11-21T12:00:00Z.
"""

import datetime
import json

import botocore.auth
import botocore.awsrequest
import botocore.credentials

NOW = datetime.datetime(2026, 11, 21, 12, 0, 0)
for name in ("get_current_datetime",):
    setattr(botocore.auth, name, lambda remove_tzinfo=True: NOW)

ACCESS, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
LASTING = botocore.credentials.Credentials(ACCESS, SECRET)
SESSION = botocore.credentials.Credentials("ASIAIOSFODNN7EXAMPLE", SECRET, "to/ken+with=signs")
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
IDENTITY = "Action=GetCallerIdentity&Version=2011-06-15"


def target(prefix, operation, version="1.1"):
    return {
        "X-Amz-Target": f"{prefix}.{operation}",
        "Content-Type": f"application/x-amz-json-{version}",
    }


REQUESTS = [
    ("sts form", LASTING, "sts", "POST", "/", FORM, IDENTITY),
    ("sts form with a session", SESSION, "sts", "POST", "/", FORM, IDENTITY),
    ("iam form", LASTING, "iam", "POST", "/", FORM,
     "Action=GetRole&Version=2010-05-08&RoleName=dog%2Brole"),
    ("sagemaker json", LASTING, "sagemaker", "POST", "/", target("SageMaker", "ListEndpoints"),
     '{"NameContains": "h\u00fcnde"}'),
    ("cloudwatch json", LASTING, "monitoring", "POST", "/",
     {**target("GraniteServiceVersion20100801", "ListMetrics", "1.0"), "x-amzn-query-mode": "true"},
     "{}"),
    ("logs json, another region", LASTING, "logs", "POST", "/",
     target("Logs_20140328", "DescribeLogGroups"), "{}"),
    ("runtime", SESSION, "sagemaker", "POST", "/endpoints/dogs/invocations",
     {"Content-Type": "application/json", "X-Amzn-SageMaker-Custom-Attributes": "a  b"},
     '{"url": "x"}'),
    ("lambda, encoded path and query", LASTING, "lambda", "POST",
     "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Adog+1/invocations"
     "?Qualifier=a%20b&A=1", {}, "{}"),
    ("presigned sts", LASTING, "sts", "GET", "/?" + IDENTITY, None, ""),
    ("presigned sts with a session", SESSION, "sts", "GET", "/?" + IDENTITY, None, ""),
]


def main():
    out = []
    for name, credentials, service, method, path, headers, body in REQUESTS:
        region = "eu-central-1" if "another region" in name else "us-east-1"
        request = botocore.awsrequest.AWSRequest(
            method=method,
            url="http://127.0.0.1:4566" + path,
            headers=headers or {},
            data=body.encode(),
        )
        if headers is None:
            signer = botocore.auth.SigV4QueryAuth(credentials, service, region, expires=60)
        else:
            signer = botocore.auth.SigV4Auth(credentials, service, region)
        signer.add_auth(request)
        sent = request.prepare()
        out.append({
            "name": name,
            "service": service,
            "region": region,
            "method": method,
            "target": sent.url.removeprefix("http://127.0.0.1:4566"),
            "headers": {"host": "127.0.0.1:4566", **dict(sent.headers.items())},
            "body": body,
        })
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
