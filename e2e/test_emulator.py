"""The emulator (`rgw_nats.emulator`) against the gateway that it stands for: the same script, the same requests."""

import contextlib
import http.client
import re
import subprocess
from pathlib import Path

import botocore.exceptions
import pytest
from harness.machine import wait_until

HERE = Path(__file__).resolve().parent
WRITE = 'local r = Request.Response\nr.HTTPStatusCode, r.RGWCode, r.HTTPStatus, r.Message = 503, -7, "Own", "own"\n'


def written_by_the_gateway(cluster):
    return cluster.machine.path("/ceph/written.txt").read_text()


@pytest.fixture
def written_by_the_emulator(release, gateway_lua, tmp_path):
    """What scripts write, run by the gateway's Lua without Ceph; `requests` begin as emulate.lua takes them."""

    def run(scripts, requests):
        written, arguments = tmp_path / "written.txt", []
        written.unlink(missing_ok=True)
        for context, text in scripts.items():
            script = tmp_path / f"{context}.lua"
            script.write_text(text.replace("/ceph/written.txt", str(written)))
            arguments.append(f"{context}:{script}")
        arguments += ["--", *(request + ":" * (3 - request.count(":")) for request in requests)]
        command = [f"lua{gateway_lua}", HERE / "emulate.lua", release, *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        return written.read_text()

    return run


def call(operation, **arguments):
    """Sends a request whose response may be broken: an operation that was done under the status of a failure."""
    with contextlib.suppress(botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
        operation(**arguments)


def post_form(cluster, client, key):
    """Uploads an object as a browser does."""
    fields = client.generate_presigned_post("bkt", key)["fields"] | {"file": "hello"}
    part = '--frontier\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n{}\r\n'
    parts = (part.format(name, '; filename="f"' if name == "file" else "", value) for name, value in fields.items())
    connection = http.client.HTTPConnection("127.0.0.1", cluster.s3_port, timeout=20)
    headers = {"Content-Type": "multipart/form-data; boundary=frontier"}
    connection.request("POST", "/bkt", "".join(parts) + "--frontier--\r\n", headers)
    connection.getresponse().read()
    connection.close()


@pytest.fixture(autouse=True)
def written(cluster):
    """Nothing, at first."""
    cluster.machine.path("/ceph/written.txt").unlink(missing_ok=True)


@pytest.fixture
def lines(cluster):
    """Waits for so many lines of response.lua, and returns them sorted: a client that is refused does not wait."""

    def lines(count):
        def all_lines():
            path = cluster.machine.path("/ceph/written.txt")
            found = path.read_text().splitlines() if path.exists() else []
            return found if len(found) >= count else None

        return sorted(wait_until(all_lines, f"{count} lines"))

    return lines


@pytest.fixture
def denied(cluster):
    """A client who may do nothing."""
    keys = ("--access-key=denied", "--secret-key=denied")
    cluster.admin("user", "create", "--uid=denied", "--display-name=Denied", *keys, check=False)
    return cluster.s3("denied", "denied")


def test_each_probe_finds_the_same(cluster, s3, written_by_the_emulator):
    text = (HERE / "probes.lua").read_text()
    cluster.put_script(text)
    probes = re.findall(r"^function probes\.(\w+)", text, re.MULTILINE)
    probes += re.findall(r"^  (\w+) = function\(\)", text, re.MULTILINE)
    assert len(probes) > 30
    requests = []
    for probe in probes:
        tags = "a=1&a=2&b=3" if probe == "repeated" else "k1=v1&k2=v2"
        s3.put_object(Bucket="bkt", Key=probe, Body=b"hello", Metadata={"foo": "bar"}, Tagging=tags)
        requests.append(f"put_obj:{probe}:{tags}")
    # The response to a put does not wait for the script; that to this one does, and it has the connection after them.
    s3.delete_object(Bucket="bkt", Key="none")
    found = written_by_the_gateway(cluster)
    # One that 16 ends there has a line and no more.
    assert [line for line in found.splitlines() if not line.startswith(" ")] == probes
    assert found == written_by_the_emulator({"postRequest": text}, requests)


def test_a_pre_request_script_sees_the_same(cluster, s3, written_by_the_emulator):
    text = (HERE / "early.lua").read_text()
    cluster.put_script(text, context="preRequest")
    metadata = {"foo": "bar"}
    one = {"Bucket": "bkt", "Key": "one"}
    s3.put_object(**one, Body=b"hello", Metadata=metadata, Tagging="k1=v1")
    s3.copy_object(Bucket="bkt", Key="two", CopySource="bkt/one", Metadata=metadata, MetadataDirective="REPLACE")
    s3.get_object(**one)["Body"].read()
    s3.put_object_tagging(**one, Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    s3.put_object_acl(**one, ACL="private")
    upload = s3.create_multipart_upload(Bucket="bkt", Key="mp", Metadata=metadata)["UploadId"]
    part = {"Bucket": "bkt", "Key": "mp", "UploadId": upload}
    tag = s3.upload_part(**part, PartNumber=1, Body=b"hello")["ETag"]
    s3.complete_multipart_upload(**part, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]})
    post_form(cluster, s3, "formed")
    s3.delete_object(Bucket="bkt", Key="two")
    s3.delete_objects(Bucket="bkt", Delete={"Objects": [{"Key": "one"}, {"Key": "mp"}]})
    s3.create_bucket(Bucket="bkt")
    found = written_by_the_gateway(cluster)
    emulated = [
        "put_obj:one:k1=v1",
        "copy_obj:two",
        "get_obj:one",
        "put_obj_tags:one",
        "put_acls:one",
        "init_multipart:mp",
        "upload_part:mp",
        "complete_multipart:mp",
        "post_obj:formed",
        "delete_obj:two",
        "multi_object_delete",
        "create_bucket",
    ]
    assert found == written_by_the_emulator({"preRequest": text}, emulated)


def test_a_response_written_before_the_operation_is_seen_after_it_alike(
    cluster, s3, denied, lines, written_by_the_emulator
):
    text = (HERE / "response.lua").read_text()
    s3.put_object(Bucket="bkt", Key="one", Body=b"hello")
    cluster.put_script(WRITE, context="preRequest")
    cluster.put_script(text)
    one = {"Bucket": "bkt", "Key": "one"}
    call(s3.put_object, **one, Body=b"hello")
    call(s3.copy_object, Bucket="bkt", Key="two", CopySource="bkt/one")
    call(s3.head_object, **one)
    call(s3.put_object_tagging, **one, Tagging={"TagSet": []})
    call(s3.put_object_acl, **one, ACL="private")
    call(s3.create_multipart_upload, Bucket="bkt", Key="mp")
    call(s3.list_objects, Bucket="bkt")
    post_form(cluster, s3, "formed")
    call(s3.delete_object, Bucket="bkt", Key="two")
    call(s3.delete_objects, Bucket="bkt", Delete={"Objects": [{"Key": "formed"}]})
    call(denied.put_object, Bucket="bkt", Key="denied", Body=b"hello")
    call(s3.put_object, Bucket="bkt", Key="bad", Body=b"hello", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==")
    call(s3.head_object, Bucket="bkt", Key="none")
    emulated = [
        "put_obj:one",
        "copy_obj:two",
        "get_obj:one",
        "put_obj_tags:one",
        "put_acls:one",
        "init_multipart:mp",
        "list_bucket",
        "post_obj:formed",
        "delete_obj:two",
        "multi_object_delete",
        "put_obj:denied::AccessDenied",
        "put_obj:bad::BadDigest",
        "get_obj:none::NoSuchKey",
    ]
    found = lines(len(emulated))
    scripts = {"preRequest": WRITE, "postRequest": text}
    assert found == sorted(written_by_the_emulator(scripts, emulated).splitlines())


@pytest.mark.parametrize("writes", ["", WRITE])
def test_an_abort_is_the_same_after_it(cluster, s3, lines, written_by_the_emulator, writes):
    text = (HERE / "response.lua").read_text()
    abort = f"{writes}return RGW_ABORT_REQUEST or -1\n"
    cluster.put_script(abort, context="preRequest")
    cluster.put_script(text)
    call(s3.put_object, Bucket="bkt", Key="one", Body=b"hello")
    call(s3.delete_object, Bucket="bkt", Key="one")
    found = lines(2)
    emulated = ["put_obj:one", "delete_obj:one"]
    scripts = {"preRequest": abort, "postRequest": text}
    assert found == sorted(written_by_the_emulator(scripts, emulated).splitlines())
