"""What is on disk outlives the gateway: crashes, full disks, dead letters."""

import contextlib
import signal
import threading
import time

from harness import wait_until
from harness.cluster import script, spooled
from harness.load import Writers, each_once, keys_of, put_many
from harness.question import ask


def test_what_waits_when_a_gateway_is_killed_is_there_after_it(cluster, s3, broker, consumer, spool):
    consumer.make_stream("events", "s3.>")
    cluster.put_script(script(broker.url, spooled(spool)))
    put_many(cluster, 20, clients=2, prefix="before")
    wait_until(lambda: consumer.stream_count("events") == 20, "20 events")
    broker.stop()
    put_many(cluster, 200, clients=4)
    # The last script of each client runs when its client has the answer.
    s3.list_buckets()
    wait_until(lambda: ".k" not in cluster.journal()[-100:], "the scripts")
    cluster.stop_gateway(signal.SIGKILL)
    broker.start()
    cluster.start_gateway()
    # The spool is opened when the first event asks for it.
    s3.put_object(Bucket="bkt", Key="after", Body=b"")
    wait_until(lambda: consumer.stream_count("events") >= 221, "all events", timeout=60)
    events = consumer.stream_events("events")
    assert keys_of(events) - each_once(20, "before") == each_once(200) + keys_of(events[-1:])


def test_what_was_answered_after_its_script_survives_each_kill(cluster, s3, broker, consumer, spool):
    consumer.make_stream("events", "s3.>")
    cluster.put_script(script(broker.url, spooled(spool)))
    s3.put_object(Bucket="bkt", Key="source", Body=b"x")
    answered, lock = [], threading.Lock()

    def load(client, round_number):
        own = cluster.s3()
        for number in range(100_000):
            key = f"r{round_number}-c{client}-{number}"
            try:
                # The client of a copy has its answer when the script is through.
                own.copy_object(Bucket="bkt", Key=key, CopySource="bkt/source")
            except Exception:
                return
            with lock:
                answered.append(key)

    for round_number in range(5):
        clients = [threading.Thread(target=load, args=(client, round_number)) for client in range(4)]
        for client in clients:
            client.start()
        wait_until(lambda: len(answered) > 100 * (round_number + 1), "100 copies more")  # noqa: B023
        cluster.stop_gateway(signal.SIGKILL)
        for client in clients:
            client.join()
        cluster.start_gateway()
    s3.copy_object(Bucket="bkt", Key="last", CopySource="bkt/source")

    def keys():
        return keys_of(consumer.stream_events("events"))

    wait_until(lambda: keys()["last"] == 1, "the last event", timeout=60)
    wait_until(lambda: not set(answered) - set(keys()), "each copy that was answered", timeout=60)
    assert max(keys().values()) == 1, "none doubled"
    assert len(answered) > 500


def test_a_killed_gateway_owes_no_more_than_the_last_put_of_each_connection(cluster, s3, broker, consumer, spool):
    """A PUT is answered before its script runs; but the next request of its connection waits for that."""
    consumer.make_stream("events", "s3.>")
    cluster.put_script(script(broker.url, spooled(spool)))
    rounds, clients, owed = 5, 4, []

    def load(own, answered, prefix):
        with contextlib.suppress(Exception):
            for number in range(100_000):
                own.put_object(Bucket="bkt", Key=f"{prefix}-{number}", Body=b"x")
                answered.append(f"{prefix}-{number}")

    for round_number in range(rounds):
        answered = [[] for _ in range(clients)]
        threads = [
            threading.Thread(target=load, args=(cluster.s3(max_pool_connections=1), one, f"r{round_number}-c{client}"))
            for client, one in enumerate(answered)
        ]
        for thread in threads:
            thread.start()
        wait_until(lambda: sum(map(len, answered)) > 200, "200 PUTs")  # noqa: B023
        cluster.stop_gateway(signal.SIGKILL)
        for thread in threads:
            thread.join()
        cluster.start_gateway()
        s3.put_object(Bucket="bkt", Key=f"r{round_number}", Body=b"")

        def keys():
            return keys_of(consumer.stream_events("events"))

        # What is on disk goes out in its order, that of the new process behind it.
        wait_until(lambda: keys()[f"r{round_number}"] == 1, "the next event", timeout=60)  # noqa: B023
        found = keys()
        for one in answered:
            missing = [key for key in one if key not in found]
            assert missing in ([], one[-1:])
            owed += missing
    print(f"{len(owed)} of {rounds * clients} connections were owed the event of their last PUT")
    assert max(found.values()) == 1


def test_two_gateways_share_a_directory_and_one_delivers_what_the_other_leaves(cluster, s3, broker, consumer, spool):
    consumer.make_stream("events", "s3.>")
    cluster.put_script(script(broker.url, spooled(spool)))
    other, port = cluster.further_gateway("other")
    with Writers(cluster, count=50) as one, Writers(cluster, count=50, port=port, prefix="o") as two:
        assert one.finish() + two.finish() == 400
    wait_until(lambda: consumer.stream_count("events") == 400, "the events of both")
    slots = sorted(path.name for path in cluster.machine.path(spool).glob("slot-*"))
    assert len(slots) == 2, "each has its own"
    broker.stop()
    with Writers(cluster, count=50, prefix="d") as one, Writers(cluster, count=50, port=port, prefix="p") as two:
        assert one.finish() + two.finish() == 400
    # The scripts of the last requests have run when the next request on their connections is answered.
    cluster.s3(port=port).list_buckets()
    time.sleep(1)
    other.stop(signal.SIGKILL)
    broker.start()
    wait_until(lambda: consumer.stream_count("events") >= 800, "the rest of both, by the one that lives", timeout=90)
    time.sleep(1)
    Writers.check_versions(consumer.stream_events("events"), 800)
    assert "the spool has adopted" in cluster.journal()


def test_dead_letters_are_listed_replayed_under_a_new_id_and_purged(cluster, s3, broker, consumer, spool):
    consumer.make_stream("events", "s3.>", max_msg_size=2500)
    configuration = f'{{ url = "{broker.url}", {spooled(spool)} }}'
    cluster.put_script(script(broker.url, spooled(spool)))
    s3.put_object(Bucket="bkt", Key="large", Body=b"", Metadata={"a": "x" * 1900})
    s3.put_object(Bucket="bkt", Key="small", Body=b"")
    wait_until(lambda: consumer.stream_count("events") == 1, "the small one")
    wait_until(lambda: "a message is a dead letter" in cluster.journal(), "the dead letter")
    (letters,) = ask(cluster, s3, f"return (assert(nats.dead_letters({configuration})))")
    (letter,) = letters
    assert letter["subject"] == "s3.bkt.ObjectCreated:Put"
    assert "(10054)" in letter["reason"]
    consumer.update_stream("events", "s3.>", max_msg_size=-1)
    (answer,) = ask(cluster, s3, f"return (assert(nats.replay({configuration}, {{ {letter['position']} }})))")
    assert answer == {"replayed": "1"}
    wait_until(lambda: consumer.stream_count("events") == 2, "the replayed one")
    event = consumer.stream_events("events")[-1]
    assert event.key == "large"
    assert event.headers["Nats-Msg-Id"].startswith(letter["id"] + ".r")
    (answer,) = ask(cluster, s3, f"return (assert(nats.purge({configuration}, {{ older_than_ms = 0 }})))")
    assert answer == {"purged": "0"}
