"""A stream on three servers: each event exactly once and in order, whoever leads it and whoever is gone."""

import signal
import time

import pytest
from harness import BrokerCluster, Consumer
from harness.cluster import script
from harness.load import Writers
from harness.machine import patiently


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


def test_a_leader_that_is_killed_or_hangs_costs_no_event_and_doubles_none(cluster, s3, brokers, consumer, soak):
    patiently(lambda: consumer.make_stream("events", "s3.>", num_replicas=3))
    cluster.put_script(script(brokers.url, 'stream = "events", ack_timeout_ms = 2000'))
    with Writers(cluster) as writers:
        for how in ("kill", "hang") * (8 if soak else 2):
            leader = brokers.named(patiently(lambda: consumer.stream_leader("events") or 1 / 0))
            if how == "kill":
                leader.stop(signal.SIGKILL)
            else:
                leader.pause()
            # The two others need some seconds to notice and to choose.
            time.sleep(6)
            leader.rejoin() if how == "kill" else leader.resume()
            time.sleep(1)
    total = writers.stop()
    assert total > 500
    # A server that leads again knows the ids of what it never stored, as long as its duplicate window is (two minutes).
    writers.check(consumer, "events", total, timeout=180)
