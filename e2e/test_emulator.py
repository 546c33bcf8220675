"""The emulator (`rgw_nats.emulator`) against the gateway that it stands for: the same script, the same requests."""

import re
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def written_by_the_gateway(cluster):
    return cluster.machine.path("/ceph/written.txt").read_text()


def written_by_the_emulator(release, context, text, requests, directory):
    """What a script writes, run by Lua 5.3 without Ceph; `requests` are (operation, object, tags)."""
    written, script = directory / "written.txt", directory / "script.lua"
    script.write_text(text.replace("/ceph/written.txt", str(written)))
    arguments = [":".join(request) for request in requests]
    command = ["lua5.3", HERE / "emulate.lua", release, context, script, *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return written.read_text()


@pytest.fixture(autouse=True)
def written(cluster):
    """Nothing, at first."""
    cluster.machine.path("/ceph/written.txt").unlink(missing_ok=True)


def test_each_probe_finds_the_same(cluster, s3, release, tmp_path):
    text = (HERE / "probes.lua").read_text()
    cluster.put_script(text)
    probes = re.findall(r"^function probes\.(\w+)", text, re.MULTILINE)
    probes += re.findall(r"^  (\w+) = function\(\)", text, re.MULTILINE)
    assert len(probes) > 30
    requests = []
    for probe in probes:
        tags = "a=1&a=2&b=3" if probe == "repeated" else "k1=v1&k2=v2"
        s3.put_object(Bucket="bkt", Key=probe, Body=b"hello", Metadata={"foo": "bar"}, Tagging=tags)
        requests.append(("put_obj", probe, tags))
    # The response to a put does not wait for the script; that to this one does, and it has the connection after them.
    s3.delete_object(Bucket="bkt", Key="none")
    found = written_by_the_gateway(cluster)
    # One that 16 ends there has a line and no more.
    assert [line for line in found.splitlines() if not line.startswith(" ")] == probes
    assert found == written_by_the_emulator(release, "postRequest", text, requests, tmp_path)


def test_a_pre_request_script_sees_the_same(cluster, s3, release, tmp_path):
    text = (HERE / "early.lua").read_text()
    cluster.put_script(text, context="preRequest")
    metadata = {"foo": "bar"}
    s3.put_object(Bucket="bkt", Key="one", Body=b"hello", Metadata=metadata, Tagging="k1=v1")
    s3.copy_object(Bucket="bkt", Key="two", CopySource="bkt/one", Metadata=metadata, MetadataDirective="REPLACE")
    found = written_by_the_gateway(cluster)
    emulated = (("put_obj", "one", "k1=v1"), ("copy_obj", "two", ""))
    assert found == written_by_the_emulator(release, "preRequest", text, emulated, tmp_path)
