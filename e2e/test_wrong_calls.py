"""No call, however wrong, harms the gateway."""

import contextlib
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from harness import wait_until
from harness.cluster import FIND_MODULE, script

pytestmark = pytest.mark.main

WRONG_CALLS = (Path(__file__).parent / "wrong_calls.lua").read_text()


#: What the client does, and the operation that the script waits for.
OPERATIONS = {
    "put_obj": lambda s3: s3.put_object(Bucket="bkt", Key="k", Body=b"x", Metadata={"a": "b"}, Tagging="c=d"),
    "copy_obj": lambda s3: s3.copy_object(Bucket="bkt", Key="copy", CopySource="bkt/source"),
    "delete_obj": lambda s3: s3.delete_object(Bucket="bkt", Key="source"),
    "multi_object_delete": lambda s3: s3.delete_objects(Bucket="bkt", Delete={"Objects": [{"Key": "source"}]}),
    "list_bucket": lambda s3: s3.list_objects(Bucket="bkt"),
    "get_obj": lambda s3: s3.get_object(Bucket="bkt", Key="missing"),
}


LIMITS = ("rgw_lua_max_memory_per_state", "rgw_lua_max_runtime_per_state")


@pytest.fixture
def unlimited(cluster, release):
    """20.2 gives a script 128 kB and a second; this one needs more of both."""
    if release == "20.2":
        for limit in LIMITS:
            cluster.machine.run("ceph", "config", "set", "client.rgw.a", limit, "100000000")
    yield
    if release == "20.2":
        for limit in LIMITS:
            cluster.machine.run("ceph", "config", "rm", "client.rgw.a", limit)


def test_a_script_that_runs_out_of_memory_and_time_in_our_calls_ends_alone(cluster, s3):
    cluster.put_script(FIND_MODULE + WRONG_CALLS)
    pid = cluster.gateway.pid
    for number in range(5):
        s3.put_object(Bucket="bkt", Key=f"k{number}", Body=b"x", Tagging="c=d")
    assert cluster.answers()
    assert cluster.gateway.pid == pid


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.usefixtures("unlimited")
def test_every_function_called_wrongly_in_every_way(cluster, s3, operation):
    s3.put_object(Bucket="bkt", Key="source", Body=b"x")
    report = cluster.machine.path("/ceph/wrong_calls.txt")
    report.unlink(missing_ok=True)
    cluster.put_script(f'if Request.RGWOp ~= "{operation}" then return end\n{FIND_MODULE}{WRONG_CALLS}')
    pid = cluster.gateway.pid
    with contextlib.suppress(ClientError):
        OPERATIONS[operation](s3)
    # The client has its answer before the script is through.
    wait_until(lambda: report.exists() and "calls" in report.read_text(), "the script's last line")
    assert cluster.answers()
    assert cluster.gateway.is_alive()
    assert cluster.gateway.pid == pid
    (line,) = report.read_text().splitlines()
    assert int(line.removeprefix("calls ")) > 500


def test_a_bad_configuration_is_told_in_the_log_and_harms_nobody(cluster, s3):
    cluster.put_script(script("nats://127.0.0.1:1", 'subjet = "x", id = 7'))
    s3.put_object(Bucket="bkt", Key="k", Body=b"x")
    assert cluster.answers()
    log = [line for line in cluster.log().splitlines() if "Lua ERROR" in line]
    assert "unknown key subjet; did you mean subject?" in log[-1]
    assert "id must be a string, got number" in log[-1]
