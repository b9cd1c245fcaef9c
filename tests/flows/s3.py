"""S3 through boto3 and the AWS command line."""

import base64
import hashlib
import os
import tempfile
import urllib.request
import zlib

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

from common import aws, refused

s3 = boto3.client("s3")
bucket = "flow-photos"
s3.create_bucket(Bucket=bucket)
s3.create_bucket(Bucket=bucket)  # one's own, again: fine in us-east-1
refused("InvalidBucketName", s3.create_bucket, Bucket="..bad..")

# A folder up, listed, synchronised, down.
folder = tempfile.mkdtemp()
names = []
for split in ("train", "test"):
    for number in range(12):
        name = f"{split}/ä b+c%/{number:02}.jpg"
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(os.urandom(500 + number))
        # S3 knows whole seconds: a file of this very second would count as newer than its upload.
        os.utime(path, (1_700_000_000, 1_700_000_000))
        names.append(name)
out = aws("s3", "cp", folder, f"s3://{bucket}/dogs/", "--recursive", "--no-progress")
assert out.count("upload:") == 24, out
assert "upload:" not in aws("s3", "sync", folder, f"s3://{bucket}/dogs/")
listed = [line.split()[-1] for line in aws("s3", "ls", f"s3://{bucket}/dogs/").splitlines()]
assert listed == ["test/", "train/"], listed
back = tempfile.mkdtemp()
aws("s3", "sync", f"s3://{bucket}/dogs/", back, "--no-progress")
for name in names:
    with open(os.path.join(folder, name), "rb") as one, open(os.path.join(back, name), "rb") as two:
        assert one.read() == two.read(), name

# Pages, delimiters, both versions of the listing.
pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="dogs/", PaginationConfig={"PageSize": 5})
keys = [entry["Key"] for page in pages for entry in page["Contents"]]
assert keys == sorted(f"dogs/{name}" for name in names), keys
old = s3.list_objects(Bucket=bucket, Prefix="dogs/", Delimiter="/", MaxKeys=1)
assert old["IsTruncated"] and old["CommonPrefixes"] == [{"Prefix": "dogs/test/"}], old
rest = s3.list_objects(Bucket=bucket, Prefix="dogs/", Delimiter="/", Marker=old["NextMarker"])
assert rest["CommonPrefixes"] == [{"Prefix": "dogs/train/"}], rest

# Metadata, ranges, conditions, checksums, copies, tags.
body = b"123456789"
put = s3.put_object(Bucket=bucket, Key="one", Body=body, ContentType="text/x", Metadata={"who": "me"}, ChecksumAlgorithm="SHA256")
assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
got = s3.get_object(Bucket=bucket, Key="one", ChecksumMode="ENABLED")
assert got["Body"].read() == body and got["Metadata"] == {"who": "me"} and got["ContentType"] == "text/x"
assert got["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(body).digest()).decode()
part = s3.get_object(Bucket=bucket, Key="one", Range="bytes=2-4")
assert part["Body"].read() == b"345" and part["ContentRange"] == "bytes 2-4/9"
refused("InvalidRange", s3.get_object, Bucket=bucket, Key="one", Range="bytes=9-")
refused("PreconditionFailed", s3.get_object, Bucket=bucket, Key="one", IfMatch='"no"')
refused("304", s3.head_object, Bucket=bucket, Key="one", IfNoneMatch=put["ETag"])
refused("PreconditionFailed", s3.put_object, Bucket=bucket, Key="one", Body=b"", IfNoneMatch="*")
refused("BadDigest", s3.put_object, Bucket=bucket, Key="bad", Body=body, ContentMD5=base64.b64encode(b"0" * 16).decode())
refused("NoSuchKey", s3.get_object, Bucket=bucket, Key="bad")
s3.copy_object(Bucket=bucket, Key="two", CopySource={"Bucket": bucket, "Key": "dogs/" + names[0]})
assert s3.head_object(Bucket=bucket, Key="two")["ContentLength"] == 500
s3.put_object_tagging(Bucket=bucket, Key="two", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
assert s3.get_object_tagging(Bucket=bucket, Key="two")["TagSet"] == [{"Key": "a", "Value": "b"}]

# Many parts at once; what arrives is what was sent.
big = os.urandom(17 << 20)
path = os.path.join(folder, "big")
with open(path, "wb") as file:
    file.write(big)
s3.upload_file(path, bucket, "big", Config=TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20))
head = s3.head_object(Bucket=bucket, Key="big")
assert head["ETag"].endswith('-4"') and head["ContentLength"] == len(big), head
s3.download_file(bucket, "big", path + ".back")
with open(path + ".back", "rb") as file:
    assert zlib.crc32(file.read()) == zlib.crc32(big)
upload = s3.create_multipart_upload(Bucket=bucket, Key="never")["UploadId"]
refused("NoSuchUpload", s3.upload_part, Bucket=bucket, Key="never", UploadId="none", PartNumber=1, Body=b"x")
s3.abort_multipart_upload(Bucket=bucket, Key="never", UploadId=upload)
assert not s3.list_multipart_uploads(Bucket=bucket).get("Uploads")

# Presigned in both versions; a changed one is worth nothing.
for version in ("s3", "s3v4"):
    signer = boto3.client("s3", config=Config(signature_version=version))
    url = signer.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "one"}, ExpiresIn=60)
    assert urllib.request.urlopen(url).read() == body
    try:
        urllib.request.urlopen(url.replace("/one", "/two"))
        raise AssertionError("a presigned URL was good for another key")
    except urllib.error.HTTPError as error:
        assert error.code == 403, error.code

# Hostile keys are keys, never paths.
for key in ("../../escape", "/etc/passwd", "a/../../b", "x" * 1024):
    s3.put_object(Bucket=bucket, Key=key, Body=b"k")
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"k"
refused("KeyTooLongError", s3.put_object, Bucket=bucket, Key="x" * 1025, Body=b"k")

# Keys that are not ours, and no keys.
stranger = boto3.client("s3", aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key="x" * 40, aws_session_token=None)
refused("InvalidAccessKeyId", stranger.list_buckets)
from botocore import UNSIGNED  # noqa: E402

refused("AccessDenied", boto3.client("s3", config=Config(signature_version=UNSIGNED)).list_objects_v2, Bucket=bucket)

refused("BucketNotEmpty", s3.delete_bucket, Bucket=bucket)
aws("s3", "rm", f"s3://{bucket}", "--recursive", "--quiet")
aws("s3", "rb", f"s3://{bucket}")
refused("NoSuchBucket", s3.list_objects_v2, Bucket=bucket)
