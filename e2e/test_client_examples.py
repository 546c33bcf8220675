"""The examples that use the client: a policy check, routes from a key-value bucket, and a worker."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from harness import wait_until
from harness.cluster import FIND_MODULE
from harness.machine import MODULE, PROJECT
from harness.peer import Peer

URL = "nats://127.0.0.1:4222"


def example(name, broker, **changes):
    """An example with the test's broker, the line that it has for a Lua directory, and some of its settings."""
    text = (Path(PROJECT) / "examples" / name).read_text()
    for old, new in {f"-- {FIND_MODULE}": FIND_MODULE, URL: broker.url, **changes}.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@pytest.fixture
def peer(broker):
    peer = Peer(broker.url)
    yield peer
    peer.close()


class Service:
    """A policy service of nats-py: what it was asked, and what it says."""

    def __init__(self, peer):
        self.asked = []
        self.answer = b"allow"
        self.subscription = peer(peer.client.subscribe("policy.check", cb=self._reply))
        peer(peer.client.flush())

    async def _reply(self, message):
        self.asked.append(json.loads(message.data))
        if self.answer is not None:
            await message.respond(self.answer)


@pytest.fixture
def policy(cluster, s3, broker):
    """Uploads the policy script, with some of its settings changed."""

    def put(**changes):
        cluster.put_script(example("nats_policy.lua", broker, **changes), context="preRequest")

    return put


def refused(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["ResponseMetadata"]["HTTPStatusCode"]


def test_the_policy_service_decides_where_the_release_lets_it(policy, s3, peer, release):
    service = Service(peer)
    policy()
    s3.put_object(Bucket="bkt", Key="dir/a b", Body=b"x")
    s3.list_objects_v2(Bucket="bkt")
    assert s3.get_object(Bucket="bkt", Key="dir/a b")["Body"].read() == b"x"
    (question,) = service.asked
    assert question["operation"] == "put_obj"
    assert question["uri"] == "/bkt/dir/a b"
    if release == "20.2":
        assert (question["bucket"], question["key"], question["user"]) == ("bkt", "dir/a b", "tester")
    service.answer = b"deny"
    if release == "20.2":
        assert refused(s3.put_object, Bucket="bkt", Key="dir/a b", Body=b"y") == 403
        assert refused(s3.delete_object, Bucket="bkt", Key="dir/a b") == 403
    else:
        # It is asked, and cannot refuse.
        s3.put_object(Bucket="bkt", Key="dir/a b", Body=b"x")
        s3.head_object(Bucket="bkt", Key="dir/a b")
    assert s3.get_object(Bucket="bkt", Key="dir/a b")["Body"].read() == b"x"
    wait_until(lambda: len(service.asked) == (3 if release == "20.2" else 2), "its questions")
    service.answer = b"allow"
    s3.delete_object(Bucket="bkt", Key="dir/a b")
    assert service.asked[-1]["operation"] == "delete_obj"


def test_what_happens_without_an_answer(policy, s3, broker, peer, release):
    def seconds(**arguments):
        start = time.monotonic()
        s3.put_object(Bucket="bkt", Key="k", Body=b"x", **arguments)
        return time.monotonic() - start

    policy()
    usual = seconds()  # Nobody listens, which the broker says at once.
    assert usual < 0.15
    service = Service(peer)
    service.answer = None
    assert 0.2 <= seconds() < 0.6
    # The next ones do not ask, where there is a table to remember that in.
    if release != "16.2":
        assert max(seconds() for _ in range(5)) < 0.15
        assert len(service.asked) == 1
    peer(service.subscription.unsubscribe())
    # Nor does a broker that is away keep anybody for long.
    broker.pause()
    assert max(seconds() for _ in range(3)) < 0.6
    broker.resume()
    policy(**{"ALLOW_WITHOUT_ANSWER = true": "ALLOW_WITHOUT_ANSWER = false", "PAUSE_S = 5": "PAUSE_S = 0"})
    if release == "20.2":
        assert refused(s3.put_object, Bucket="bkt", Key="k", Body=b"y") == 403
        assert s3.get_object(Bucket="bkt", Key="k")["Body"].read() == b"x"
    else:
        s3.put_object(Bucket="bkt", Key="k", Body=b"x")


def test_routes_come_from_a_bucket_of_keys(cluster, s3, broker, peer, release):
    subjects = []

    async def take(message):
        if message.subject.split(".")[0] in ("s3", "media", "team"):
            subjects.append(message.subject)

    peer(peer.client.subscribe(">", cb=take))
    peer(peer.client.flush())
    cluster.put_script(example("nats_routes.lua", broker, **{"KEEP_S = 5": "KEEP_S = 2"}))

    def put(key):
        """Puts an object; returns the subjects that have come by the time its script is through."""
        count = len(subjects)
        s3.put_object(Bucket="bkt", Key=key, Body=b"x")
        # The next request on the connection waits for the script of this one.
        s3.head_object(Bucket="bkt", Key=key)
        limit = time.monotonic() + 1
        wait_until(lambda: len(subjects) > count or time.monotonic() > limit, "an event")
        return subjects[count:]

    # There is no bucket of keys yet.
    assert put("a") == ["s3.bkt.ObjectCreated:Put"]
    bucket = peer(peer.js.create_key_value(bucket="routes"))
    peer(bucket.put("bkt", b"media.{bucket}.{key}"))
    wait_until(lambda: put("b") == ["media.bkt.b"], "the route")
    peer(bucket.put("bkt", b"team.photos"))
    wait_until(lambda: put("c") == ["team.photos"], "another route")
    # What is kept is not asked for again, and outlives the bucket for a while.
    if release != "16.2":
        asked = broker.monitor("varz")["in_msgs"]
        for number in range(10):
            assert put(f"d{number}") == ["team.photos"]
        # An event and a mark each, at most one question.
        assert broker.monitor("varz")["in_msgs"] - asked <= 10 * 3 + 6
    peer(bucket.put("bkt", b"-"))
    wait_until(lambda: put("e") == [], "no events")
    peer(bucket.delete("bkt"))
    wait_until(lambda: put("f") == ["s3.bkt.ObjectCreated:Put"], "the default")
    # A key-value store that is away: the default, and nobody waits for long.
    peer(peer.js.delete_key_value("routes"))
    peer(peer.js.create_key_value(bucket="routes"))
    broker.pause()
    start = time.monotonic()
    for number in range(5):
        s3.put_object(Bucket="bkt", Key=f"g{number}", Body=b"x")
    took = time.monotonic() - start
    broker.resume()
    assert took < (5 * 0.5 if release == "16.2" else 1)
    wait_until(lambda: subjects[-5:] == ["s3.bkt.ObjectCreated:Put"] * 5, "the events of the pause")


# The worker


def worker(broker, directory, version, *arguments):
    """Starts the worker on a plain Lua."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("LUA_")} | {
        "LUA_CPATH": f"{MODULE.parent}/?.so;;"
    }
    script = f"{PROJECT}/examples/nats_worker.lua"
    command = [f"lua{version}", script, broker.url, directory, *arguments]
    return subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True)


def lines(directory):
    path = directory / "bkt/events.log"
    return path.read_text().splitlines() if path.exists() else []


def test_a_worker_handles_the_events_of_a_gateway(cluster, s3, broker, peer, tmp_path):
    text = (Path(PROJECT) / "examples/nats_notify.lua").read_text()
    cluster.put_script(text.replace(f"-- {FIND_MODULE}", FIND_MODULE).replace(URL, broker.url))
    (tmp_path / "bkt").mkdir()
    running = [worker(broker, tmp_path, version) for version in ("5.3", "5.4")]
    try:
        wait_until(lambda: "s3events" in stream_names(peer), "the stream")
        for number in range(20):
            s3.put_object(Bucket="bkt", Key=f"k{number}", Body=b"x" * number)
        s3.delete_object(Bucket="bkt", Key="k0")
        expected = {f"ObjectCreated:Put k{number} {number}" for number in range(20)}
        wait_until(lambda: len(lines(tmp_path)) >= 21, "its work")
        assert expected <= set(lines(tmp_path))
        assert any(line.startswith("ObjectRemoved:Delete k0 ") for line in lines(tmp_path))
        assert len(lines(tmp_path)) == 21
        info = peer(peer.js.consumer_info("s3events", "workers"))
        wait_until(lambda: acknowledged(peer), "acknowledgements")
        assert info.config.max_ack_pending == 1000
        # Over a broker that ends they go on.
        broker.stop()
        broker.start()
        s3.put_object(Bucket="bkt", Key="after", Body=b"")
        wait_until(lambda: "ObjectCreated:Put after 0" in lines(tmp_path), "work after a restart")
    finally:
        for one in running:
            one.terminate()
            one.communicate()


def stream_names(peer):
    return [info.config.name for info in peer(peer.js.streams_info())]


def acknowledged(peer):
    info = peer(peer.js.consumer_info("s3events", "workers"))
    return info.num_pending == 0 and info.num_ack_pending == 0


def record(key):
    s3 = {"bucket": {"name": "bkt"}, "object": {"key": key, "size": 1}}
    return json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": s3}]}).encode()


def test_a_worker_tries_again_and_gives_up(broker, peer, tmp_path):
    peer(peer.js.add_stream(name="s3events", subjects=["s3.>"]))
    given_up = peer(peer.client.subscribe("given_up.s3"))
    peer(peer.client.flush())
    for payload in (b"no JSON", b"{}", b'"a"'):
        peer(peer.js.publish("s3.bkt.x", payload))
    # Its directory is not there: the work fails.
    peer(peer.js.publish("s3.bkt.x", record("late")))
    one = worker(broker, tmp_path, "5.3", "once")
    for payload in (b"no JSON", b"{}", b'"a"'):
        message = peer(given_up.next_msg(20))
        assert message.data == payload
        assert message.headers["Given-Up-Because"]
    wait_until(lambda: peer(peer.js.consumer_info("s3events", "workers")).num_redelivered == 1, "another attempt")
    (tmp_path / "bkt").mkdir()
    _, told = one.communicate(timeout=30)
    assert one.returncode == 0, told
    assert "attempt 1 at s3.bkt.x failed" in told
    assert lines(tmp_path) == ["ObjectCreated:Put late 1"]
    # And what fails each time: 1 s, 2 s, 4 s and 8 s later it is given up.
    (tmp_path / "bkt/events.log").unlink()
    (tmp_path / "bkt").rmdir()
    peer(peer.js.publish("s3.bkt.x", record("never")))
    one = worker(broker, tmp_path, "5.4", "once")
    _, told = one.communicate(timeout=60)
    assert one.returncode == 0, told
    message = peer(given_up.next_msg(5))
    assert message.data == record("never")
    assert "No such file" in message.headers["Given-Up-Because"]
    assert told.count("failed: ") == 4
