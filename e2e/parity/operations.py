"""What is done to objects.

Each operation is a generator: what it does before its `yield` is preparation, of which nobody is notified; after it
comes the one request whose records are compared.
"""

from dataclasses import dataclass

import urllib3
from harness import signed
from harness.cluster import RELEASES

#: What an object is given so that there is something to be missed in a record of it.
METADATA = {"color": "red", "Mixed": "x y"}
TAGS = "k1=v1&k2=v2"
RICH = {"Body": b"hello", "Metadata": METADATA, "Tagging": TAGS}
PART = 5 << 20
_FORM_TAGS = "<Tagging><TagSet><Tag><Key>k1</Key><Value>v1</Value></Tag></TagSet></Tagging>"


@dataclass(frozen=True)
class Operation:
    """An operation, known by its function's name."""

    name: str
    title: str
    steps: object
    releases: tuple


OPERATIONS = []


def operation(title, releases=RELEASES):
    """Adds an operation to the list."""

    def take(function):
        OPERATIONS.append(Operation(function.__name__, title, function, releases))
        return function

    return take


def of_release(release):
    """The operations that this release is compared in."""
    return [one for one in OPERATIONS if release in one.releases]


@operation("put")
def put(side):
    yield
    side.owner.put_object(Bucket=side.plain, Key="put", Body=b"hello")


@operation("put with metadata and tags")
def put_rich(side):
    yield
    side.owner.put_object(Bucket=side.plain, Key="dir/put_rich", **RICH)


@operation("put with a tag key that is there twice")
def put_tag_twice(side):
    yield
    side.owner.put_object(Bucket=side.plain, Key="put_tag_twice", Body=b"x", Tagging="a=1&a=2&b=3")


@operation("put of an empty object")
def put_empty(side):
    yield
    side.owner.put_object(Bucket=side.plain, Key="put_empty", Body=b"")


@operation("put over an object")
def put_over(side):
    side.owner.put_object(Bucket=side.plain, Key="put_over", **RICH)
    yield
    side.owner.put_object(Bucket=side.plain, Key="put_over", Body=b"another", Metadata={"color": "blue"})


@operation("put, key in UTF-8")
def put_utf8(side):
    yield
    side.owner.put_object(Bucket=side.plain, Key="größe/日本/😀", Body=b"x")


@operation("put, key with blank, `+`, `%`, quotes and the like")
def put_odd_key(side):
    yield
    side.owner.put_object(Bucket=side.plain, Key="a b+c%2Fd%25e%/.*>$&=?#\"'\\\t~", Body=b"x")


@operation("put, key of 1,024 bytes")
def put_long_key(side):
    yield
    side.owner.put_object(Bucket=side.plain, Key="k" * 1024, Body=b"x")


@operation("put by a presigned URL")
def put_presigned(side):
    signer = side.cluster.s3("parity", "parity", signature_version="s3v4")
    url = signer.generate_presigned_url(
        "put_object", Params={"Bucket": side.plain, "Key": "put_presigned", "Metadata": {"color": "red"}}
    )
    yield
    reply = urllib3.request("PUT", url, body=b"hello", headers={"x-amz-meta-color": "red"}, retries=False)
    assert reply.status == 200, reply.data


@operation("put in signed chunks")
def put_chunked(side):
    yield
    url = f"{side.url}/{side.plain}/put_chunked"
    chunks = [b"x" * 65536, b"y" * 1000]
    signed.put_in_chunks(url, "parity", "parity", chunks, {"x-amz-meta-color": "red", "x-amz-tagging": TAGS})


@operation("append to an object")
def put_append(side):
    url = f"{side.url}/{side.plain}/put_append?append&position="
    signed.request("PUT", f"{url}0", "parity", "parity", b"hello", {"x-amz-meta-color": "red"})
    yield
    signed.request("PUT", f"{url}5", "parity", "parity", b" world")


@operation("put into a versioned bucket")
def put_versioned(side):
    side.owner.put_object(Bucket=side.versioned, Key="put_versioned", **RICH)
    yield
    side.owner.put_object(Bucket=side.versioned, Key="put_versioned", Body=b"another", Tagging=TAGS)


@operation("put into a bucket with versioning suspended")
def put_suspended(side):
    yield
    side.owner.put_object(Bucket=side.suspended, Key="put_suspended", Body=b"hello")


@operation("put into a tenant's bucket")
def put_tenant(side):
    yield
    side.keeper.put_object(Bucket=side.tenants, Key="put_tenant", **RICH)


@operation("put into an account's bucket", releases=("20.2",))
def put_account(side):
    yield
    side.member.put_object(Bucket=side.accounts, Key="put_account", **RICH)


@operation("put into another user's bucket")
def put_friend(side):
    yield
    side.friend.put_object(Bucket=side.shared, Key="put_friend", **RICH)


@operation("put by nobody known")
def put_anonymous(side):
    yield
    reply = urllib3.request("PUT", f"{side.url}/{side.shared}/put_anonymous", body=b"hello", retries=False)
    assert reply.status == 200, reply.data


def _swift(side):
    """The headers that let the owner in by Swift."""
    login = {"X-Auth-User": "parity:swift", "X-Auth-Key": "swift"}
    reply = urllib3.request("GET", f"{side.url}/auth/v1.0", headers=login, retries=False)
    return {"X-Auth-Token": reply.headers["X-Auth-Token"]}


@operation("put by Swift")
def swift_put(side):
    headers = {**_swift(side), "X-Object-Meta-Color": "red"}
    yield
    url = f"{side.url}/swift/v1/{side.plain}/swift_put"
    reply = urllib3.request("PUT", url, body=b"hello", headers=headers, retries=False)
    assert reply.status == 201, reply.data


@operation("delete by Swift")
def swift_delete(side):
    side.owner.put_object(Bucket=side.plain, Key="swift_delete", **RICH)
    headers = _swift(side)
    yield
    reply = urllib3.request("DELETE", f"{side.url}/swift/v1/{side.plain}/swift_delete", headers=headers, retries=False)
    assert reply.status == 204, reply.data


def _form(side, bucket, key):
    fields = {"x-amz-meta-color": "red", "tagging": _FORM_TAGS}
    conditions = [{name: value} for name, value in fields.items()]
    form = side.owner.generate_presigned_post(bucket, key, Fields=fields, Conditions=conditions)
    yield
    reply = urllib3.request("POST", form["url"], fields={**form["fields"], "file": ("f.txt", b"hello")}, retries=False)
    assert reply.status == 204, reply.data


@operation("post of a browser's form")
def post(side):
    return _form(side, side.plain, "post")


@operation("post into a versioned bucket")
def post_versioned(side):
    return _form(side, side.versioned, "post_versioned")


def _multipart(side, bucket, key):
    place = {"Bucket": bucket, "Key": key}
    upload = side.owner.create_multipart_upload(**place, Metadata=METADATA, Tagging=TAGS)["UploadId"]
    parts = []
    for number, size in ((1, PART), (2, 100)):
        part = side.owner.upload_part(**place, UploadId=upload, PartNumber=number, Body=b"x" * size)
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    yield
    side.owner.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})


@operation("multipart upload completed")
def multipart(side):
    return _multipart(side, side.plain, "multipart")


@operation("multipart upload completed in a versioned bucket")
def multipart_versioned(side):
    return _multipart(side, side.versioned, "multipart_versioned")


def _copy(side, source, bucket, key, **options):
    side.owner.put_object(Bucket=source, Key=f"{key}_source", **RICH)
    yield
    side.owner.copy_object(Bucket=bucket, Key=key, CopySource=f"{source}/{key}_source", **options)


@operation("copy within a bucket")
def copy(side):
    return _copy(side, side.plain, side.plain, "copy")


@operation("copy to another bucket")
def copy_across(side):
    return _copy(side, side.plain, side.other, "copy_across")


@operation("copy with metadata and tags of its own (`REPLACE`)")
def copy_replace(side):
    own = {"Metadata": {"color": "blue"}, "MetadataDirective": "REPLACE"}
    own |= {"Tagging": "k3=v3", "TaggingDirective": "REPLACE"}
    return _copy(side, side.plain, side.plain, "copy_replace", **own)


@operation("copy with metadata and tags but no `REPLACE`, which are no use")
def copy_no_replace(side):
    return _copy(side, side.plain, side.plain, "copy_no_replace", Metadata={"color": "blue"}, Tagging="k3=v3")


@operation("copy onto itself with other metadata")
def copy_self(side):
    side.owner.put_object(Bucket=side.plain, Key="copy_self", **RICH)
    yield
    own = {"Metadata": {"color": "blue"}, "MetadataDirective": "REPLACE"}
    side.owner.copy_object(Bucket=side.plain, Key="copy_self", CopySource=f"{side.plain}/copy_self", **own)


@operation("copy in a versioned bucket")
def copy_versioned(side):
    return _copy(side, side.versioned, side.versioned, "copy_versioned")


@operation("delete")
def delete(side):
    side.owner.put_object(Bucket=side.plain, Key="delete", **RICH)
    yield
    side.owner.delete_object(Bucket=side.plain, Key="delete")


@operation("delete of a key that is not there")
def delete_missing(side):
    yield
    side.owner.delete_object(Bucket=side.plain, Key="delete_missing")


@operation("delete by another user")
def delete_friend(side):
    side.owner.put_object(Bucket=side.shared, Key="delete_friend", **RICH)
    yield
    side.friend.delete_object(Bucket=side.shared, Key="delete_friend")


@operation("delete that makes a marker")
def marker(side):
    side.owner.put_object(Bucket=side.versioned, Key="marker", **RICH)
    yield
    side.owner.delete_object(Bucket=side.versioned, Key="marker")


@operation("delete that makes a marker of a key that is not there")
def marker_missing(side):
    yield
    side.owner.delete_object(Bucket=side.versioned, Key="marker_missing")


@operation("delete of a version")
def delete_version(side):
    version = side.owner.put_object(Bucket=side.versioned, Key="delete_version", **RICH)["VersionId"]
    yield
    side.owner.delete_object(Bucket=side.versioned, Key="delete_version", VersionId=version)


@operation("delete of the version `null`")
def delete_null(side):
    for state in ("Suspended", "Enabled"):
        side.owner.put_bucket_versioning(Bucket=side.versioned, VersioningConfiguration={"Status": state})
        side.owner.put_object(Bucket=side.versioned, Key="delete_null", **RICH)
    yield
    side.owner.delete_object(Bucket=side.versioned, Key="delete_null", VersionId="null")


@operation("delete of a marker")
def delete_marker(side):
    side.owner.put_object(Bucket=side.versioned, Key="delete_marker", **RICH)
    version = side.owner.delete_object(Bucket=side.versioned, Key="delete_marker")["VersionId"]
    yield
    side.owner.delete_object(Bucket=side.versioned, Key="delete_marker", VersionId=version)


@operation("delete in a bucket with versioning suspended")
def delete_suspended(side):
    side.owner.put_object(Bucket=side.suspended, Key="delete_suspended", **RICH)
    yield
    side.owner.delete_object(Bucket=side.suspended, Key="delete_suspended")


# A key that is missing among them aborts 16.2.15: its own notification code throws where nothing catches.
@operation("delete of several objects in one request", releases=("18.2", "20.2"))
def delete_several(side):
    keys = [f"delete_several/{number}" for number in range(2)]
    for key in keys:
        side.owner.put_object(Bucket=side.plain, Key=key, **RICH)
    yield
    side.owner.delete_objects(Bucket=side.plain, Delete={"Objects": [{"Key": key} for key in keys]})
