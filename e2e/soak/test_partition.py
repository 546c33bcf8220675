"""A server that is cut off from the others of its cluster, and knows it no sooner than they do."""

import time

import pytest
from harness import BrokerCluster, Consumer, Networks
from harness.cluster import script
from harness.load import Writers, patiently
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
    consumer = Consumer(brokers, subject=None)
    yield consumer
    consumer.close()


def test_a_leader_that_is_cut_off_costs_no_event_and_doubles_none(cluster, s3, networks, brokers, consumer):
    patiently(lambda: consumer.make_stream("events", "s3.>", num_replicas=3))
    # The gateway is with the first server: one that is alone acknowledges what it has seen before (streams::is_staged).
    patiently(lambda: consumer.move_leader("events", brokers.brokers[0].name))
    cluster.put_script(script(brokers.url, 'stream = "events", ack_timeout_ms = 2000'))
    with Writers(cluster) as writers:
        for bridges in ((ROUTES,), (ROUTES, CLIENTS), (CLIENTS,)):
            leader = patiently(lambda: consumer.stream_leader("events") or 1 / 0)
            number = brokers.brokers.index(brokers.named(leader))
            for bridge in bridges:
                networks.cut_off(number, bridge)
            # The two others need some seconds to notice and to choose; a client needs 30 for a server that is silent.
            time.sleep(10)
            for bridge in bridges:
                networks.heal(number, bridge)
            time.sleep(2)
    total = writers.stop()
    assert total > 500
    writers.check(consumer, "events", total, timeout=150)
