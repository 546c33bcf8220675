"""A gateway that refuses what it could not notify of, where RGW lets a script do that."""

import contextlib
import json

import pytest
from botocore.exceptions import ClientError, HTTPClientError
from harness import wait_until
from harness.cluster import FIND_MODULE

pytestmark = pytest.mark.main

CONFIGURATION = '{{ url = "{url}", bucket = "b*", max_pending = 3 }}'
#: What a client makes of the reply of a request that was executed under a response that a script has written.
MALFORMED = (ClientError, HTTPClientError)
SCRIPT = FIND_MODULE + 'local nats = require("rgw_nats")\n'


def scripts(cluster, url, options="nil", verdict="return"):
    """Uploads both scripts; `verdict` is what the first does with the result of `admit`."""
    configuration = CONFIGURATION.format(url=url)
    cluster.put_script(f"{SCRIPT}{verdict} nats.admit(Request, {configuration}, {options})", context="preRequest")
    tell = f"""
        local status = nats.encode(nats.status().admit)
        assert(nats.connect("{url}"):publish("status", status))"""
    cluster.put_script(f"{SCRIPT}assert(nats.notify(Request, {configuration}))\n{tell}")


def fill(cluster, s3, broker):
    """Fills the queue of three with the events of three PUTs, while the broker is away."""
    broker.stop()
    for number in range(3):
        s3.put_object(Bucket="bkt", Key=f"k{number}", Body=b"x")
    # The script of the third runs when its client has the answer; the next request on the connection waits for it.
    s3.list_buckets()


@pytest.mark.parametrize(("options", "refusal"), [("nil", (403, "AccessDenied")), ("{ write_response = true }", 503)])
def test_what_finds_no_room_is_refused_where_a_script_can_do_that(
    cluster, s3, broker, consumer, release, options, refusal
):
    s3.create_bucket(Bucket="other")
    consumer.make_stream("events", "s3.>")
    scripts(cluster, broker.url, options)
    pid = cluster.gateway.pid
    fill(cluster, s3, broker)
    if release == "20.2":
        for refused in (
            lambda: s3.put_object(Bucket="bkt", Key="k3", Body=b"x"),
            lambda: s3.delete_object(Bucket="bkt", Key="k0"),
            lambda: s3.copy_object(Bucket="bkt", Key="k4", CopySource="bkt/k0"),
        ):
            with pytest.raises(ClientError) as caught:
                refused()
            response = caught.value.response
            found = (response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"])
            assert found == (refusal if isinstance(refusal, tuple) else (503, "ServiceUnavailable"))
            if refusal == 503:
                assert "no room" in response["Error"]["Message"]
    else:
        # Nothing that a script says before a request is heard; so nothing is said.
        s3.put_object(Bucket="bkt", Key="k3", Body=b"x")
    # What no rule is for, and what only reads, is not kept from anybody.
    s3.put_object(Bucket="other", Key="k", Body=b"x")
    assert s3.get_object(Bucket="bkt", Key="k0")["Body"].read() == b"x"
    broker.start()
    wait_until(lambda: consumer.stream_count("events") >= 3, "the events that waited")
    wait_until(lambda: is_taken(s3), "room")
    wait_until(lambda: consumer.stream_count("events") >= 4, "one more event")
    assert {"k0", "k1", "k2", "later"} <= {event.key for event in consumer.stream_events("events")}
    assert cluster.gateway.pid == pid
    said = [line for line in cluster.gateway.log.read_text().splitlines() if "lets no script refuse a request" in line]
    assert bool(said) == (release != "20.2")


def is_taken(s3):
    with contextlib.suppress(ClientError):
        return s3.put_object(Bucket="bkt", Key="later", Body=b"x")


@pytest.mark.parametrize("options", ["nil", "{ write_response = true }"])
def test_a_refused_request_that_is_executed_all_the_same_is_an_event(cluster, s3, broker, consumer, release, options):
    """A script that does not return what `admit` returns stands for a gateway that ignores it, as newer ones do."""
    if release != "20.2":
        pytest.skip("only 20.2 can refuse a request")
    consumer.make_stream("events", "s3.>")
    consumer.make_stream("status", "status")
    scripts(cluster, broker.url, options, verdict="local _ =")
    fill(cluster, s3, broker)
    # The queue is full, so that the event of this one finds no room: accepted it would be where overflow = "block".
    with contextlib.suppress(*MALFORMED):
        s3.put_object(Bucket="bkt", Key="full", Body=b"x")
    configuration = CONFIGURATION.format(url=broker.url)
    wider = configuration.replace("max_pending = 3", "max_pending = 100, name = 'wider'")
    cluster.put_script(f"""{SCRIPT}assert(nats.notify(Request, {wider}))
        assert(nats.connect("{broker.url}"):publish("status", nats.encode(nats.status().admit)))""")
    for number in range(2):
        with contextlib.suppress(*MALFORMED):
            s3.put_object(Bucket="bkt", Key=f"executed{number}", Body=b"xyz")
    with contextlib.suppress(*MALFORMED):
        s3.delete_object(Bucket="bkt", Key="k0")
    # What fails in the operation, and where nothing was there to be refused, is none.
    with contextlib.suppress(*MALFORMED):
        s3.put_object(Bucket="bnone", Key="k", Body=b"x")
    keys = {entry["Key"] for entry in s3.list_objects_v2(Bucket="bkt")["Contents"]}
    assert {"executed0", "executed1"} <= keys
    assert "k0" not in keys
    broker.start()
    wait_until(lambda: consumer.stream_count("events") >= 6, "the events of refused requests")
    found = [(event.name, event.key) for event in consumer.stream_events("events")]
    for wanted in (
        ("ObjectCreated:Put", "executed0"),
        ("ObjectCreated:Put", "executed1"),
        ("ObjectRemoved:Delete", "k0"),
    ):
        assert found.count(wanted) == 1
    assert not [key for _, key in found if key == "k"]
    wait_until(lambda: consumer.stream_count("status") >= 5, "what status() says")
    last = json.loads(consumer.stream_events("status")[-1].data)
    assert last["executed"] >= 3
    assert last["refused"] >= last["executed"]
    assert "executed all the same" in cluster.gateway.log.read_text()


def test_notify_before_the_operation_is_refused(cluster, s3, broker, consumer):
    """What a script does that was put into the wrong context: the operation may fail yet."""
    script = f'{SCRIPT}assert(nats.notify(Request, {{ url = "{broker.url}" }}))'
    cluster.put_script(script, context="preRequest")
    s3.put_object(Bucket="bkt", Key="k", Body=b"x")
    s3.delete_object(Bucket="bkt", Key="k")
    with pytest.raises(ClientError):
        s3.put_object(Bucket="none", Key="k", Body=b"x")
    wait_until(lambda: "--context=postRequest" in cluster.log(), "the error in the log")
    cluster.put_script(script)
    s3.put_object(Bucket="bkt", Key="after", Body=b"x")
    assert [event.key for event in consumer.wait(1)] == ["after"]


def test_a_wrong_configuration_refuses_nobody(cluster, s3):
    cluster.put_script(f'{SCRIPT}return nats.admit(Request, "/nowhere.toml")', context="preRequest")
    for _ in range(3):
        s3.put_object(Bucket="bkt", Key="k", Body=b"x")
    cluster.put_script(f'{SCRIPT}return nats.admit(Request, {{ urk = "x" }})', context="preRequest")
    s3.put_object(Bucket="bkt", Key="k", Body=b"x")
    assert cluster.answers()
