"""A gateway that refuses what it could not notify of, where RGW lets a script do that."""

import contextlib

import pytest
from botocore.exceptions import ClientError
from harness import wait_until
from harness.cluster import FIND_MODULE

CONFIGURATION = '{{ url = "{url}", bucket = "b*", max_pending = 3 }}'
SCRIPT = FIND_MODULE + 'local nats = require("rgw_nats")\n'


def scripts(cluster, url):
    configuration = CONFIGURATION.format(url=url)
    cluster.put_script(f"{SCRIPT}return nats.admit(Request, {configuration})", context="preRequest")
    cluster.put_script(f"{SCRIPT}assert(nats.notify(Request, {configuration}))")


def test_what_finds_no_room_is_refused_with_503_where_a_script_can_do_that(cluster, s3, broker, consumer, release):
    s3.create_bucket(Bucket="other")
    consumer.make_stream("events", "s3.>")
    scripts(cluster, broker.url)
    pid = cluster.gateway.pid
    broker.stop()
    for number in range(3):
        s3.put_object(Bucket="bkt", Key=f"k{number}", Body=b"x")
    # The script of the third runs when its client has the answer; the next request on the connection waits for it.
    s3.list_buckets()
    if release == "20.2":
        for refused in (
            lambda: s3.put_object(Bucket="bkt", Key="k3", Body=b"x"),
            lambda: s3.delete_object(Bucket="bkt", Key="k0"),
            lambda: s3.copy_object(Bucket="bkt", Key="k4", CopySource="bkt/k0"),
        ):
            with pytest.raises(ClientError) as caught:
                refused()
            response = caught.value.response
            assert response["ResponseMetadata"]["HTTPStatusCode"] == 503
            assert response["Error"]["Code"] == "ServiceUnavailable"
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


def is_taken(s3):
    with contextlib.suppress(ClientError):
        return s3.put_object(Bucket="bkt", Key="later", Body=b"x")


def test_a_wrong_configuration_refuses_nobody(cluster, s3):
    cluster.put_script(f'{SCRIPT}return nats.admit(Request, "/nowhere.toml")', context="preRequest")
    for _ in range(3):
        s3.put_object(Bucket="bkt", Key="k", Body=b"x")
    cluster.put_script(f'{SCRIPT}return nats.admit(Request, {{ urk = "x" }})', context="preRequest")
    s3.put_object(Bucket="bkt", Key="k", Body=b"x")
    assert cluster.answers()
