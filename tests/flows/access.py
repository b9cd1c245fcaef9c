"""Who may do what, through boto3: every service asks IAM at every call, a change counts from the next call on, and
the refusals are AWS's."""

import json
import urllib.error
import urllib.request

import boto3
from botocore.config import Config

from common import eventually, refused, role, trust

account = boto3.client("sts").get_caller_identity()["Account"]
iam, s3 = boto3.client("iam"), boto3.client("s3")
iam.create_user(UserName="ann")
key = iam.create_access_key(UserName="ann")["AccessKey"]
ann_arn = f"arn:aws:iam::{account}:user/ann"


def ann(name):
    return boto3.client(name, aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"],
                        config=Config(retries={"max_attempts": 1}))


def statement(action, resource, effect="Allow", **more):
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def may(*statements):
    """What ann may do from the next call on."""
    iam.put_user_policy(UserName="ann", PolicyName="own", PolicyDocument=policy(*statements))


def words(action, resource):
    return (f"User: {ann_arn} is not authorized to perform: {action} on resource: {resource} "
            f"because no identity-based policy allows the {action} action")


# Nothing without a policy, in each protocol; who one is, anybody may ask.
assert ann("sts").get_caller_identity()["Arn"] == ann_arn
sagemaker = f"arn:aws:sagemaker:us-east-1:{account}"
said = refused("AccessDeniedException", ann("sagemaker").describe_training_job, TrainingJobName="Job")
assert said == words("sagemaker:DescribeTrainingJob", f"{sagemaker}:training-job/job"), said
said = refused("AccessDenied", ann("iam").list_users)
assert said == words("iam:ListUsers", "*"), said
said = refused("AccessDeniedException", ann("sagemaker-runtime").invoke_endpoint, EndpointName="Dogs", Body=b"x")
assert said == words("sagemaker:InvokeEndpoint", f"{sagemaker}:endpoint/dogs"), said
said = refused("AccessDeniedException", ann("lambda").invoke, FunctionName="dogs")
assert said == words("lambda:InvokeFunction", f"arn:aws:lambda:us-east-1:{account}:function:dogs"), said
refused("AccessDeniedException", ann("logs").describe_log_groups)
refused("AccessDenied", ann("s3").list_buckets)
s3.create_bucket(Bucket="access-photos")
s3.put_object(Bucket="access-photos", Key="a/k", Body=b"photo")
said = refused("AccessDenied", ann("s3").get_object, Bucket="access-photos", Key="a/k")
assert said == words("s3:GetObject", '"arn:aws:s3:::access-photos/a/k"'), said

# The narrowest policy, and nothing beside it.
may(statement("sagemaker:DescribeTrainingJob", f"{sagemaker}:training-job/job"))
refused("ValidationException", ann("sagemaker").describe_training_job, TrainingJobName="Job")
refused("AccessDeniedException", ann("sagemaker").describe_training_job, TrainingJobName="Other")
may(statement("s3:GetObject", "arn:aws:s3:::access-photos/a/*"),
    statement("s3:ListBucket", "arn:aws:s3:::access-photos", Condition={"StringLike": {"s3:prefix": "a/*"}}))
assert ann("s3").get_object(Bucket="access-photos", Key="a/k")["Body"].read() == b"photo"
assert ann("s3").list_objects_v2(Bucket="access-photos", Prefix="a/")["KeyCount"] == 1
refused("AccessDenied", ann("s3").list_objects_v2, Bucket="access-photos")
refused("AccessDenied", ann("s3").put_object, Bucket="access-photos", Key="a/k", Body=b"x")
# A presigned address has its signer's rights, as they are when it is used.
address = ann("s3").generate_presigned_url("get_object", Params={"Bucket": "access-photos", "Key": "a/k"})
assert urllib.request.urlopen(address).read() == b"photo"
may(statement("s3:*", "*"), statement("s3:GetObject", "*", effect="Deny"))
said = refused("AccessDenied", ann("s3").get_object, Bucket="access-photos", Key="a/k")
assert said.endswith("with an explicit deny in an identity-based policy"), said
try:
    urllib.request.urlopen(address)
    raise AssertionError("a presigned address outlived its signer's rights")
except urllib.error.HTTPError as error:
    assert error.code == 403

# Handing a role over is a right of its own.
model = dict(ModelName="access", ExecutionRoleArn=role(), PrimaryContainer={
    "Image": "kennel/image-classification:1", "ModelDataUrl": "s3://access-photos/model.tar.gz"})
may(statement("sagemaker:*", "*"))
said = refused("AccessDeniedException", ann("sagemaker").create_model, **model)
assert said == words("iam:PassRole", role()), said
passing = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
may(statement("sagemaker:*", "*"), statement("iam:PassRole", role(), Condition=passing))
ann("sagemaker").create_model(**model)
ann("sagemaker").delete_model(ModelName="access")

# A boundary, and a session with a policy.
may(statement("*", "*"))
iam.put_user_permissions_boundary(UserName="ann", PermissionsBoundary="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
ann("s3").list_buckets()
said = refused("AccessDeniedException", ann("sagemaker").list_models)
assert said.endswith("because no permissions boundary allows the sagemaker:ListModels action"), said
iam.delete_user_permissions_boundary(UserName="ann")
document = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"AWS": ann_arn}, "Action": "sts:AssumeRole"}]}
made = iam.create_role(RoleName="access-role", AssumeRolePolicyDocument=json.dumps(document))["Role"]["Arn"]
iam.attach_role_policy(RoleName="access-role", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
may(statement("sts:AssumeRole", "*", effect="Deny"))
refused("AccessDenied", ann("sts").assume_role, RoleArn=made, RoleSessionName="ann")
iam.delete_user_policy(UserName="ann", PolicyName="own")  # the trust policy names ann, which is enough
session = ann("sts").assume_role(RoleArn=made, RoleSessionName="ann", Policy=policy(statement("s3:*", "*")))["Credentials"]
session = boto3.Session(session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])
session.client("s3").list_buckets()
said = refused("AccessDeniedException", session.client("sagemaker").list_models)
assert said.endswith("because no session policy allows the sagemaker:ListModels action"), said

# A bucket's policy lets in whom it names; the public only where that is not blocked.
named = {"Version": "2012-10-17", "Statement": [
    statement("s3:GetObject", "arn:aws:s3:::access-photos/*", Principal={"AWS": ann_arn})]}
s3.put_bucket_policy(Bucket="access-photos", Policy=json.dumps(named))
assert json.loads(s3.get_bucket_policy(Bucket="access-photos")["Policy"]) == named
assert ann("s3").get_object(Bucket="access-photos", Key="a/k")["Body"].read() == b"photo"
plain = address.split("?")[0]
public = json.dumps({**named, "Statement": [{**named["Statement"][0], "Principal": "*"}]})
refused("AccessDenied", s3.put_bucket_policy, Bucket="access-photos", Policy=public)
s3.delete_public_access_block(Bucket="access-photos")
s3.put_bucket_policy(Bucket="access-photos", Policy=public)
assert s3.get_bucket_policy_status(Bucket="access-photos")["PolicyStatus"]["IsPublic"] is True
assert urllib.request.urlopen(plain).read() == b"photo"
s3.delete_bucket_policy(Bucket="access-photos")
try:
    urllib.request.urlopen(plain)
    raise AssertionError("a stranger was let in")
except urllib.error.HTTPError as error:
    assert error.code == 403 and b"<Code>AccessDenied</Code>" in error.read()

# A job reads with its role's rights, not with the platform's.
poor = iam.create_role(RoleName="access-poor", AssumeRolePolicyDocument=trust("sagemaker.amazonaws.com"))["Role"]["Arn"]
jobs = boto3.client("sagemaker")
jobs.create_training_job(
    TrainingJobName="access-denied", RoleArn=poor,
    AlgorithmSpecification={"TrainingImage": "kennel/image-classification:1", "TrainingInputMode": "File"},
    InputDataConfig=[{"ChannelName": "train", "DataSource": {"S3DataSource": {
        "S3DataType": "S3Prefix", "S3Uri": "s3://access-photos/a"}}}],
    OutputDataConfig={"S3OutputPath": "s3://access-photos/out"},
    ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
    StoppingCondition={"MaxRuntimeInSeconds": 60})
failed = eventually("the job fails", lambda: next((job for job in [
    jobs.describe_training_job(TrainingJobName="access-denied")] if job["TrainingJobStatus"] == "Failed"), None))
assert failed["FailureReason"].startswith("ClientError: Data download failed"), failed["FailureReason"]
assert "not authorized to perform: s3:ListBucket on resource: arn:aws:s3:::access-photos" in failed["FailureReason"]

# A model cannot bring what neither its role nor who makes it may read.
may(statement(["sagemaker:CreateModel", "iam:PassRole"], "*"))
model = dict(ModelName="access-model", PrimaryContainer={
    "Image": "kennel/image-classification:1", "ModelDataUrl": "s3://access-photos/a/k"},
    ExecutionRoleArn=f"arn:aws:iam::{account}:role/access-poor")
said = refused("ValidationException", ann("sagemaker").create_model, **model)
assert said.startswith("Could not access model data at s3://access-photos/a/k."), said
may(statement(["sagemaker:CreateModel", "iam:PassRole"], "*"), statement("s3:GetObject", "arn:aws:s3:::access-photos/*"))
ann("sagemaker").create_model(**model)
jobs.delete_model(ModelName="access-model")

# Resources are the same in all regions, so a statement about their own region cannot be gone round by another one.
may(statement("sagemaker:*", "*"), statement("sagemaker:*", f"{sagemaker}:*", effect="Deny"))
elsewhere = boto3.client("sagemaker", aws_access_key_id=key["AccessKeyId"], region_name="eu-west-1",
                         aws_secret_access_key=key["SecretAccessKey"], config=Config(retries={"max_attempts": 1}))
said = refused("AccessDeniedException", elsewhere.describe_training_job, TrainingJobName="access-denied")
assert said.endswith("with an explicit deny in an identity-based policy"), said
may(statement("sagemaker:*", "*"))
assert elsewhere.describe_training_job(TrainingJobName="access-denied")["TrainingJobStatus"] == "Failed"
iam.delete_user_policy(UserName="ann", PolicyName="own")

iam.detach_role_policy(RoleName="access-role", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
iam.delete_role(RoleName="access-role")
iam.delete_role(RoleName="access-poor")
iam.delete_access_key(UserName="ann", AccessKeyId=key["AccessKeyId"])
iam.delete_user(UserName="ann")
