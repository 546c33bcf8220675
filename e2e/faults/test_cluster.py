"""A stream on three servers: each event exactly once and in order, whoever leads it and whoever is gone."""

import signal
import threading
import time
from collections import defaultdict

import pytest
from harness import BrokerCluster, Consumer, wait_until
from harness.cluster import script


@pytest.fixture
def brokers(cluster):
    brokers = BrokerCluster(cluster.machine).start()
    yield brokers
    brokers.end()


@pytest.fixture
def consumer(brokers):
    consumer = Consumer(brokers, subject=None)
    yield consumer
    consumer.close()


def patiently(work):
    """What `work` returns, when the cluster is of one mind again."""
    found, problems = [], []

    def attempt():
        try:
            found.append(work())
        except Exception as problem:
            problems.append(repr(problem))
            return False
        return True

    try:
        wait_until(attempt, "the cluster to answer", timeout=60, pause=0.2)
    except TimeoutError as late:
        raise TimeoutError(f"{late}; the last problem: {problems[-1]}") from late
    return found[-1]


def test_a_leader_that_is_killed_or_hangs_costs_no_event_and_doubles_none(cluster, s3, brokers, consumer):
    patiently(lambda: consumer.make_stream("events", "s3.>", num_replicas=3))
    cluster.put_script(script(brokers.url, 'stream = "events", ack_timeout_ms = 2000'))
    stop = threading.Event()
    counts = [0] * 4

    def load(client):
        own = cluster.s3()
        while not stop.is_set():
            # Ten objects for each client; the size tells which version it is.
            own.put_object(Bucket="bkt", Key=f"c{client}-{counts[client] % 10}", Body=b"x" * counts[client])
            counts[client] += 1
            time.sleep(0.005)

    clients = [threading.Thread(target=load, args=(client,)) for client in range(4)]
    for client in clients:
        client.start()
    for how in ("kill", "hang", "kill", "hang"):
        leader = brokers.named(patiently(lambda: consumer.stream_leader("events") or 1 / 0))
        if how == "kill":
            leader.stop(signal.SIGKILL)
        else:
            leader.pause()
        # The two others need some seconds to notice and to choose.
        time.sleep(6)
        leader.start() if how == "kill" else leader.resume()
        time.sleep(1)
    stop.set()
    for client in clients:
        client.join()
    total = sum(counts)
    assert total > 500
    wait_until(lambda: patiently(lambda: consumer.stream_count("events")) >= total, f"{total} events", timeout=90)
    time.sleep(1)
    events = patiently(lambda: consumer.stream_events("events"))
    assert len(events) == total
    assert len({event.headers["Nats-Msg-Id"] for event in events}) == total
    versions = defaultdict(list)
    for event in events:
        versions[event.key].append(event.record["s3"]["object"]["size"])
    for key, sizes in versions.items():
        assert sizes == sorted(sizes), f"{key} came out of order: {sizes}"
