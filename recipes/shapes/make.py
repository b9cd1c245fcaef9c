"""Write the service models that crates/wire embeds, from botocore's.

    python -m venv .venv && .venv/bin/pip install -r recipes/shapes/requirements.txt
    .venv/bin/python recipes/shapes/make.py crates/wire/models

Each model is pruned to the operations below and the shapes that they reach, without documentation.
The names of all operations stay, so that a real but unbuilt operation is told from an unknown one.
One line per operation and shape keeps differences readable.
"""

import json
import sys
from pathlib import Path

import botocore
from botocore.loaders import Loader

OPERATIONS = {
    "sts": "GetCallerIdentity AssumeRole GetSessionToken GetAccessKeyInfo",
    "iam": """
        CreateRole GetRole ListRoles DeleteRole UpdateRole UpdateAssumeRolePolicy
        TagRole UntagRole ListRoleTags PutRolePermissionsBoundary DeleteRolePermissionsBoundary
        AttachRolePolicy DetachRolePolicy ListAttachedRolePolicies
        PutRolePolicy GetRolePolicy ListRolePolicies DeleteRolePolicy
        CreatePolicy GetPolicy ListPolicies DeletePolicy ListEntitiesForPolicy
        CreatePolicyVersion GetPolicyVersion ListPolicyVersions DeletePolicyVersion
        SetDefaultPolicyVersion SimulatePrincipalPolicy SimulateCustomPolicy
        GenerateServiceLastAccessedDetails GetServiceLastAccessedDetails
        GetServiceLastAccessedDetailsWithEntities
        GetContextKeysForCustomPolicy GetContextKeysForPrincipalPolicy
        CreateUser GetUser ListUsers DeleteUser UpdateUser
        CreateAccessKey ListAccessKeys DeleteAccessKey UpdateAccessKey GetAccessKeyLastUsed
        AttachUserPolicy DetachUserPolicy ListAttachedUserPolicies
        PutUserPolicy GetUserPolicy DeleteUserPolicy ListUserPolicies
        TagUser UntagUser ListUserTags PutUserPermissionsBoundary DeleteUserPermissionsBoundary
        UpdateRoleDescription ListGroupsForUser ListInstanceProfilesForRole
    """,
    "sagemaker": """
        CreateTrainingJob DescribeTrainingJob StopTrainingJob ListTrainingJobs UpdateTrainingJob
        CreateHyperParameterTuningJob DescribeHyperParameterTuningJob StopHyperParameterTuningJob
        ListHyperParameterTuningJobs ListTrainingJobsForHyperParameterTuningJob
        DescribeProcessingJob ListProcessingJobs
        ListTags AddTags DeleteTags
        CreateModel DescribeModel DeleteModel ListModels
        CreateEndpointConfig DescribeEndpointConfig DeleteEndpointConfig ListEndpointConfigs
        CreateEndpoint DescribeEndpoint UpdateEndpoint DeleteEndpoint ListEndpoints
        UpdateEndpointWeightsAndCapacities
        CreateNotebookInstance DescribeNotebookInstance ListNotebookInstances DeleteNotebookInstance
    """,
    "sagemaker-runtime": "InvokeEndpoint InvokeEndpointAsync InvokeEndpointWithResponseStream",
    "logs": """
        CreateLogGroup DeleteLogGroup DescribeLogGroups CreateLogStream DeleteLogStream
        DescribeLogStreams PutLogEvents GetLogEvents FilterLogEvents
        PutRetentionPolicy DeleteRetentionPolicy
        TagLogGroup UntagLogGroup ListTagsLogGroup TagResource UntagResource ListTagsForResource
    """,
    "cloudwatch": """
        PutMetricData GetMetricStatistics GetMetricData ListMetrics
        PutMetricAlarm DescribeAlarms DescribeAlarmsForMetric DescribeAlarmHistory SetAlarmState
        DeleteAlarms EnableAlarmActions DisableAlarmActions
        TagResource UntagResource ListTagsForResource
    """,
    "lambda": """
        CreateFunction GetFunction GetFunctionConfiguration ListFunctions DeleteFunction
        UpdateFunctionCode UpdateFunctionConfiguration
        PublishVersion ListVersionsByFunction
        CreateAlias GetAlias UpdateAlias DeleteAlias ListAliases
        PutFunctionConcurrency GetFunctionConcurrency DeleteFunctionConcurrency
        PutProvisionedConcurrencyConfig GetProvisionedConcurrencyConfig
        ListProvisionedConcurrencyConfigs DeleteProvisionedConcurrencyConfig
        GetAccountSettings AddPermission RemovePermission GetPolicy
        CreateFunctionUrlConfig GetFunctionUrlConfig UpdateFunctionUrlConfig
        DeleteFunctionUrlConfig ListFunctionUrlConfigs
        PutFunctionEventInvokeConfig UpdateFunctionEventInvokeConfig GetFunctionEventInvokeConfig
        DeleteFunctionEventInvokeConfig ListFunctionEventInvokeConfigs
        PublishLayerVersion GetLayerVersion GetLayerVersionByArn ListLayers ListLayerVersions
        DeleteLayerVersion TagResource UntagResource ListTags Invoke InvokeAsync
    """,
    "cloudtrail": "LookupEvents",
    "accessanalyzer": """
        StartPolicyGeneration GetGeneratedPolicy ListPolicyGenerations CancelPolicyGeneration
    """,
    "application-autoscaling": """
        RegisterScalableTarget DescribeScalableTargets DeregisterScalableTarget
        PutScalingPolicy DescribeScalingPolicies DeleteScalingPolicy DescribeScalingActivities
        PutScheduledAction DescribeScheduledActions DeleteScheduledAction
        TagResource UntagResource ListTagsForResource
    """,
}

TRAITS = ("min", "max", "pattern", "enum", "flattened", "sensitive", "timestampFormat", "payload")
MEMBER = ("locationName", "location", "timestampFormat", "flattened")


def reference(given):
    """A member, list element, map key or value: its shape's name, or an object if it has more."""
    more = {key: given[key] for key in MEMBER if key in given}
    return {"shape": given["shape"], **more} if more else given["shape"]


def shape(given):
    out = {"type": given["type"]}
    for key in TRAITS:
        if key in given:
            out[key] = given[key]
    if given["type"] == "structure":
        out["members"] = {name: reference(member) for name, member in given["members"].items()}
        if given.get("required"):
            out["required"] = given["required"]
        if given.get("exception"):
            error = given.get("error", {})
            out["error"] = {
                key: value
                for key, value in (("code", error.get("code")), ("status", error.get("httpStatusCode")))
                if value is not None
            }
    elif given["type"] == "list":
        out["member"] = reference(given["member"])
    elif given["type"] == "map":
        out["key"] = reference(given["key"])
        out["value"] = reference(given["value"])
    return out


def reached(shapes, roots):
    seen, stack = set(), list(roots)
    while stack:
        name = stack.pop()
        if name in seen:
            continue
        seen.add(name)
        given = shapes[name]
        children = [*given.get("members", {}).values()]
        children += [given[key] for key in ("member", "key", "value") if key in given]
        stack += [child["shape"] for child in children]
    return sorted(seen)


def model(service, names):
    full = Loader().load_service_model(service, "service-2")
    meta = full["metadata"]
    operations, roots = {}, []
    for name in sorted(names):
        given = full["operations"][name]
        out = {"method": given["http"]["method"], "uri": given["http"]["requestUri"]}
        if given["http"].get("responseCode", 200) != 200:
            out["status"] = given["http"]["responseCode"]
        for key in ("input", "output"):
            if key in given:
                out[key] = given[key]["shape"]
                roots.append(given[key]["shape"])
        if "resultWrapper" in given.get("output", {}):
            out["wrapper"] = given["output"]["resultWrapper"]
        out["errors"] = [error["shape"] for error in given.get("errors", [])]
        roots += out["errors"]
        operations[name] = out
    head = {
        "service": service,
        "version": meta["apiVersion"],
        "protocols": meta["protocols"],
        "signingName": meta.get("signingName", meta["endpointPrefix"]),
        "targetPrefix": meta.get("targetPrefix"),
        "jsonVersion": meta.get("jsonVersion"),
        "xmlNamespace": meta.get("xmlNamespace"),
        "queryCompatible": "awsQueryCompatible" in meta,
        "names": sorted(full["operations"]),
    }
    shapes = {name: shape(full["shapes"][name]) for name in reached(full["shapes"], roots)}
    return head, operations, shapes


def lines(table):
    rows = [f"{dump(name)}:{dump(value)}" for name, value in table.items()]
    return "{\n" + ",\n".join(rows) + "\n}"


def dump(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for service, names in OPERATIONS.items():
        head, operations, shapes = model(service, names.split())
        rows = [f"{dump(key)}:{dump(value)}" for key, value in head.items() if value is not None]
        rows += [f'"operations":{lines(operations)}', f'"shapes":{lines(shapes)}']
        text = "{\n" + ",\n".join(rows) + "\n}\n"
        json.loads(text)
        (folder / f"{service}.json").write_text(text, encoding="utf-8")
        print(f"{service}: {len(operations)} operations, {len(shapes)} shapes, {len(text)} bytes")
    print(f"from botocore {botocore.__version__}")


if __name__ == "__main__":
    main()
