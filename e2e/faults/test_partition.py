"""A server that is cut off from the others of its cluster, and knows it no sooner than they do."""

import time

import pytest
from harness import BrokerCluster, Consumer, Networks, wait_until
from harness.cluster import script
from harness.load import Writers
from harness.machine import patiently
from harness.networks import CLIENTS, ROUTES


@pytest.fixture
def networks():
    networks = Networks().make()
    yield networks
    networks.end()


@pytest.fixture
def brokers(cluster, networks):
    brokers = BrokerCluster(cluster.machine, networks=networks).start()
    yield brokers
    brokers.end()


@pytest.fixture
def consumer(brokers):
    """A client of the second server."""
    consumer = Consumer(brokers.brokers[1], subject=None)
    yield consumer
    consumer.close()


@pytest.fixture
def stream(cluster, s3, brokers, consumer):
    """A stream on three servers, led by the first one, to which the gateway is connected.

    One that is alone acknowledges what it has seen before (streams::is_staged).
    """
    patiently(lambda: consumer.make_stream("events", "s3.>", num_replicas=3))
    cluster.put_script(script(brokers.url, 'stream = "events", ack_timeout_ms = 2000'))
    s3.put_object(Bucket="bkt", Key="first", Body=b"")
    wait_until(lambda: brokers.brokers[0].connections(), "the gateway's connection")
    patiently(lambda: consumer.move_leader("events", brokers.brokers[0].name))
    return "events"


def count(consumer, stream):
    return patiently(lambda: consumer.stream_count(stream))


def test_a_leader_that_the_others_miss_is_left_for_another_server(cluster, networks, brokers, consumer, stream):
    networks.cut_off(0, ROUTES)
    # The first server still takes what comes, answers to the second attempt that it is a repeat, and keeps none of it.
    with Writers(cluster, pause=0.05) as writers:
        wait_until(lambda: not brokers.brokers[0].connections(), "the gateway to leave it", timeout=90, pause=0.5)
    total = 1 + writers.stop()
    wait_until(lambda: count(consumer, stream) >= total, "all events, while it is cut off", timeout=60, pause=0.5)
    networks.heal(0, ROUTES)
    writers.check(consumer, stream, total, timeout=10)


def test_leaders_that_are_cut_off_in_turn_cost_no_event_and_double_none(
    cluster, networks, brokers, consumer, stream, soak
):
    with Writers(cluster) as writers:
        for bridges in ((ROUTES,), (ROUTES, CLIENTS), (CLIENTS,), (ROUTES,)) * (3 if soak else 1):
            leader = patiently(lambda: consumer.stream_leader(stream) or 1 / 0)
            number = brokers.brokers.index(brokers.named(leader))
            for bridge in bridges:
                networks.cut_off(number, bridge)
            # The two others need some seconds to notice and to choose; a client needs 30 for a server that is silent.
            time.sleep(10)
            for bridge in bridges:
                networks.heal(number, bridge)
            time.sleep(2)
    total = 1 + writers.stop()
    assert total > 500
    # A server that leads again knows the ids of what it never stored, as long as its duplicate window is (two minutes).
    writers.check(consumer, stream, total, timeout=180)
