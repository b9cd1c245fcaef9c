"""STS and IAM through boto3: who one is, keys that work and keys that do not, roles and sessions."""

import json
import time

import boto3
from botocore.config import Config

from common import refused, trust

sts, iam = boto3.client("sts"), boto3.client("iam")
me = sts.get_caller_identity()
assert ":assumed-role/" in me["Arn"] and len(me["Account"]) == 12, me
account = me["Account"]

# A user with keys, which stop working when they are made inactive.
iam.create_user(UserName="flow-user")
refused("EntityAlreadyExists", iam.create_user, UserName="flow-user")
key = iam.create_access_key(UserName="flow-user")["AccessKey"]


def client(name, keys, token=None):
    return boto3.client(name, aws_access_key_id=keys["AccessKeyId"], aws_secret_access_key=keys["SecretAccessKey"],
                        aws_session_token=token, config=Config(retries={"max_attempts": 1}))


assert client("sts", key).get_caller_identity()["Arn"] == f"arn:aws:iam::{account}:user/flow-user"
wrong = {**key, "SecretAccessKey": key["SecretAccessKey"][::-1]}
refused("SignatureDoesNotMatch", client("sts", wrong).get_caller_identity)
refused("InvalidSignatureException", client("sagemaker", wrong).list_models)
iam.update_access_key(UserName="flow-user", AccessKeyId=key["AccessKeyId"], Status="Inactive")
refused("InvalidClientTokenId", client("sts", key).get_caller_identity)
iam.update_access_key(UserName="flow-user", AccessKeyId=key["AccessKeyId"], Status="Active")

# A role that the user may assume, and one that only SageMaker may.
document = json.dumps({"Version": "2012-10-17", "Statement": [{
    "Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{account}:user/flow-user"}, "Action": "sts:AssumeRole"}]})
role = iam.create_role(RoleName="flow-role", Path="/team/", AssumeRolePolicyDocument=document)["Role"]
assert role["Arn"] == f"arn:aws:iam::{account}:role/team/flow-role", role
iam.create_role(RoleName="flow-service", AssumeRolePolicyDocument=trust("sagemaker.amazonaws.com"))
session = client("sts", key).assume_role(RoleArn=role["Arn"], RoleSessionName="s1", DurationSeconds=900)["Credentials"]
assert session["AccessKeyId"].startswith("ASIA") and session["Expiration"].timestamp() > time.time() + 800
mine = client("sts", session, session["SessionToken"]).get_caller_identity()
assert mine["Arn"] == f"arn:aws:sts::{account}:assumed-role/flow-role/s1", mine
refused("InvalidClientTokenId", client("sts", session, "another-token").get_caller_identity)
refused("AccessDenied", client("sts", key).assume_role,
        RoleArn=f"arn:aws:iam::{account}:role/flow-service", RoleSessionName="s1")

# Policies: the managed ones that the course names, versions, what is malformed.
managed = "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess"
iam.attach_role_policy(RoleName="flow-role", PolicyArn=managed)
iam.attach_role_policy(RoleName="flow-role", PolicyArn=managed)
assert [p["PolicyArn"] for p in iam.list_attached_role_policies(RoleName="flow-role")["AttachedPolicies"]] == [managed]
refused("DeleteConflict", iam.delete_role, RoleName="flow-role")
refused("MalformedPolicyDocument", iam.put_role_policy, RoleName="flow-role", PolicyName="p", PolicyDocument="{")
allowed = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "sagemaker:InvokeEndpoint", "Resource": "*"}]}
iam.put_role_policy(RoleName="flow-role", PolicyName="p", PolicyDocument=json.dumps(allowed))
assert iam.get_role_policy(RoleName="flow-role", PolicyName="p")["PolicyDocument"] == allowed
policy = iam.create_policy(PolicyName="flow-policy", PolicyDocument=json.dumps(allowed))["Policy"]
iam.create_policy_version(PolicyArn=policy["Arn"], PolicyDocument=json.dumps(allowed), SetAsDefault=True)
assert iam.get_policy(PolicyArn=policy["Arn"])["Policy"]["DefaultVersionId"] == "v2"

# A job's role must exist and trust SageMaker.
sagemaker = boto3.client("sagemaker")
model = dict(ModelName="flow-denied", PrimaryContainer={
    "Image": "kennel/image-classification:1", "ModelDataUrl": "s3://none/model.tar.gz"})
refused("ValidationException", sagemaker.create_model, ExecutionRoleArn=role["Arn"], **model)
refused("ValidationException", sagemaker.create_model, ExecutionRoleArn=role["Arn"] + "-not-there", **model)

iam.delete_role_policy(RoleName="flow-role", PolicyName="p")
iam.detach_role_policy(RoleName="flow-role", PolicyArn=managed)
for name in ("flow-role", "flow-service"):
    iam.delete_role(RoleName=name)
refused("NoSuchEntity", iam.get_role, RoleName="flow-role")
# A session ends with its role.
refused("InvalidClientTokenId", client("sts", session, session["SessionToken"]).get_caller_identity)
