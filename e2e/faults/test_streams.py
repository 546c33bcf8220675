"""What a stream of JetStream must have: each event exactly once, in its order, whatever happens to the broker."""

import random
import signal
import time

from harness import wait_until
from harness.cluster import FIND_MODULE, script
from harness.load import Writers, each_once, keys_of, put_many

STATUS = (
    FIND_MODULE
    + """
local nats = require("rgw_nats")
assert(nats.notify(Request, {{ url = "{url}"{options} }}))
local state
for _, connection in ipairs(nats.status().connections) do
  if connection.url == "{url}" then state = connection end
end
local file = io.open("/ceph/status.txt", "w")
for _, name in ipairs({{ "accepted", "delivered", "retried", "refused", "dropped", "pending" }}) do
  file:write(name, "=", state[name], " ")
end
file:write("\\n", state.last_error)
file:close()
"""
)


def status(cluster, s3):
    """The counters of the one connection, as the script of the next request sees them, and the last error."""
    s3.put_object(Bucket="bkt", Key="status", Body=b"")
    s3.list_buckets()
    counters, error = cluster.machine.path("/ceph/status.txt").read_text().split("\n", 1)
    return {name: int(value) for name, value in (pair.split("=") for pair in counters.split())} | {"last_error": error}


def status_script(cluster, url, options=""):
    report = cluster.machine.path("/ceph/status.txt")
    report.touch()
    report.chmod(0o666)
    cluster.put_script(STATUS.format(url=url, options=options))


def test_a_broker_killed_at_random_moments_holds_each_event_once_and_in_order(cluster, s3, broker, consumer, soak):
    each, least = (2500, 20) if soak else (400, 5)
    cluster.put_script(script(broker.url))
    consumer.make_stream("events", "s3.>")
    chance = random.Random(7)
    # Ten objects for each client, so that order matters.
    with Writers(cluster, pause=0, count=each) as writers:
        kills = 0
        while writers.are_busy or kills < least:
            time.sleep(chance.uniform(0.05, 0.6) * (3 if soak else 1))
            broker.stop(signal.SIGKILL)
            broker.start()
            kills += 1
    writers.check(consumer, "events", 4 * each)


def test_a_named_stream_is_waited_for(cluster, s3, broker, consumer):
    cluster.put_script(script(broker.url, 'stream = "events", retry_sleep_duration = 1'))
    put_many(cluster, 20, clients=2)
    # The server has read them all by now, and no stream.
    wait_until(lambda: "not_stored" in cluster.journal(), "a word of it in the journal")
    consumer.make_stream("events", "s3.>")
    wait_until(lambda: consumer.stream_count("events") == 20, "20 events")
    assert keys_of(consumer.stream_events("events")) == each_once(20)
    assert {event.headers["Nats-Expected-Stream"] for event in consumer.stream_events("events")} == {"events"}


def test_a_stream_that_is_deleted_holds_up_nobody_else(cluster, s3, broker, consumer):
    status_script(cluster, broker.url, ', subject = "s3.{bucket}.{event}"')
    s3.create_bucket(Bucket="other")
    consumer.make_stream("one", "s3.bkt.>")
    consumer.make_stream("two", "s3.other.>")
    put_many(cluster, 5, clients=1)
    s3.put_object(Bucket="other", Key="k", Body=b"")
    wait_until(lambda: (consumer.stream_count("one"), consumer.stream_count("two")) == (5, 1), "both streams")
    consumer.delete_stream("one")
    # The subscriber to all subjects would answer to nothing; no stream does.
    put_many(cluster, 5, clients=1, prefix="gone")
    for number in range(20):
        s3.put_object(Bucket="other", Key=f"k{number}", Body=b"")
    wait_until(lambda: consumer.stream_count("two") == 21, "the other stream")
    consumer.make_stream("one", "s3.bkt.>")
    wait_until(lambda: consumer.stream_count("one") == 5, "what was put meanwhile")
    assert keys_of(consumer.stream_events("one")) == each_once(5, "gone")


def test_a_message_that_a_stream_never_takes_is_refused_and_the_others_are_not(cluster, s3, broker, consumer):
    status_script(cluster, broker.url)
    consumer.make_stream("events", "s3.>", max_msg_size=2000)
    s3.put_object(Bucket="bkt", Key="small", Body=b"")
    s3.put_object(Bucket="bkt", Key="large", Body=b"", Metadata={"a": "x" * 2000})
    s3.put_object(Bucket="bkt", Key="last", Body=b"")
    wait_until(lambda: consumer.stream_count("events") == 2, "two events")
    wait_until(lambda: status(cluster, s3)["refused"] == 1, "the refusal")
    assert "(10054)" in status(cluster, s3)["last_error"]
    assert [event.key for event in consumer.stream_events("events")][:2] == ["small", "last"]


def test_a_copy_of_what_is_given_up_goes_to_its_subject(cluster, s3, broker, consumer):
    consumer.make_stream("events", "s3.>", max_msg_size=2500)
    consumer.make_stream("dead", "dead.>")
    cluster.put_script(script(broker.url, 'stream = "events", dead_letter_subject = "dead.rgw"'))
    s3.put_object(Bucket="bkt", Key="large", Body=b"", Metadata={"a": "x" * 1900})
    s3.put_object(Bucket="bkt", Key="small", Body=b"")
    wait_until(lambda: consumer.stream_count("events") == 1, "the small one")
    wait_until(lambda: consumer.stream_count("dead") == 1, "the copy")
    (copy,) = consumer.stream_events("dead")
    assert copy.key == "large"
    assert copy.headers["Rgw-Dead-Subject"] == "s3.bkt.ObjectCreated:Put"
    assert "(10054)" in copy.headers["Rgw-Dead-Reason"]
    assert copy.headers["Nats-Msg-Id"].endswith(".dead")


def test_retries_end_where_an_end_is_set(cluster, s3, broker, consumer):
    status_script(cluster, broker.url, ', stream = "nowhere", max_retries = 2, retry_sleep_duration = 1')
    s3.put_object(Bucket="bkt", Key="k", Body=b"")
    wait_until(lambda: status(cluster, s3)["refused"] >= 1, "the end of the retries")
    found = status(cluster, s3)
    assert found["retried"] >= 2
    assert "max_retries of 2 is over" in cluster.journal()


def test_without_jetstream_a_round_trip_is_enough(cluster, s3, broker, consumer):
    status_script(cluster, broker.url)
    put_many(cluster, 20, clients=2)
    assert keys_of(consumer.wait(20))["k0"] == 1
    wait_until(lambda: status(cluster, s3)["delivered"] >= 20, "20 deliveries")
    assert status(cluster, s3)["retried"] == 0


def test_a_request_waits_for_the_acknowledgement_as_long_as_it_should(cluster, s3, broker, consumer):
    consumer.make_stream("events", "s3.>")
    cluster.put_script(script(broker.url, "wait_ms = 2000"))
    s3.put_object(Bucket="bkt", Key="k", Body=b"")
    s3.delete_object(Bucket="bkt", Key="k")
    # A delete's client waits for the script, which has waited for the stream.
    assert consumer.stream_count("events") == 2
    broker.pause()
    try:
        start = time.monotonic()
        s3.delete_object(Bucket="bkt", Key="k2")
        waited = time.monotonic() - start
    finally:
        broker.resume()
    assert 1.9 < waited < 10
    wait_until(lambda: consumer.stream_count("events") == 3, "the event all the same")


def test_a_stream_is_made_where_that_is_asked_for_and_never_changed(cluster, s3, broker, consumer):
    def options(subject):
        ensure = f'{{ subjects = {{ "{subject}" }}, duplicate_window = 300, max_bytes = 1000000 }}'
        return f'stream = "made", ensure_stream = {ensure}'

    cluster.put_script(script(broker.url, options("s3.>")))
    put_many(cluster, 10, clients=1)
    wait_until(lambda: consumer.has_stream("made") and consumer.stream_count("made") == 10, "10 events")
    config = consumer.stream_config("made")
    assert (config.subjects, config.duplicate_window, config.max_bytes) == (["s3.>"], 300, 1000000)
    assert config.discard == "new"
    cluster.put_script(script(broker.url, options("other.>")))
    put_many(cluster, 1, clients=1, prefix="more")
    wait_until(lambda: "without the subject other.> of ensure_stream" in cluster.journal(), "a warning")
    assert consumer.stream_config("made").subjects == ["s3.>"]


def test_what_is_wrong_with_a_stream_is_said_with_what_mends_it(cluster, s3, broker, consumer):
    consumer.make_stream("weak", "s3.>", duplicate_window=5, max_bytes=100000, max_msg_size=5000)
    cluster.put_script(script(broker.url))
    put_many(cluster, 1, clients=1)
    for command in (
        "nats stream edit weak --discard=new",
        "nats stream edit weak --max-msg-size=-1",
        "nats stream edit weak --dupe-window=70s",
    ):
        wait_until(lambda command=command: command in cluster.journal(), command)
    cluster.put_script(script(broker.url, 'stream = "missing"'))
    put_many(cluster, 1, clients=1, prefix="more")
    wait_until(lambda: "stream missing: is not there; nats stream add missing" in cluster.journal(), "the command")
