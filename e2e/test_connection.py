"""One connection, whatever the load; a broker that comes and goes; an end that loses nothing."""

import signal
import statistics
import threading
import time

import pytest
from harness import Broker, Consumer, wait_until
from harness.cluster import script
from harness.load import each_once, keys_of, put_many


@pytest.mark.main
def test_a_thousand_puts_are_a_thousand_events_over_one_connection(cluster, s3, broker, consumer):
    cluster.put_script(script(broker.url))
    put_many(cluster, 1000, clients=8)
    events = consumer.wait(1000)
    assert keys_of(events) == each_once(1000)
    assert len({event.headers["Nats-Msg-Id"] for event in events}) == 1000
    (connection,) = broker.connections()
    assert connection["name"].startswith("rgw_nats/")
    assert broker.monitor("varz")["total_connections"] == 2, "ours and the consumer's, since the broker started"
    assert cluster.gateway.threads().count("rgw_nats") == 1


@pytest.mark.main
def test_puts_go_on_without_a_broker_and_their_events_arrive_when_it_is_back(cluster, s3, broker, consumer):
    cluster.put_script(script(broker.url))
    consumer.make_stream("events", "s3.>")
    with_broker = put_many(cluster, 100, clients=1, prefix="before")
    wait_until(lambda: consumer.stream_count("events") == 100, "100 events")
    broker.stop()
    without = put_many(cluster, 100, clients=1, prefix="k")
    # The same number of PUTs just before is the measure; waiting for a broker would be seconds for each.
    assert statistics.median(without) < 3 * statistics.median(with_broker)
    assert max(without) < 1
    broker.start()
    wait_until(lambda: consumer.stream_count("events") == 200, "the events of the outage")
    events = consumer.stream_events("events")
    assert keys_of(events) == each_once(100, "before") + each_once(100)
    assert [event.key for event in events[100:]] == [f"k{number}" for number in range(100)], "in order"


def test_a_broker_that_hangs_holds_nobody_up(cluster, s3, broker, consumer):
    cluster.put_script(script(broker.url))
    consumer.make_stream("events", "s3.>")
    with_broker = put_many(cluster, 100, clients=1, prefix="before")
    broker.pause()
    try:
        without = put_many(cluster, 100, clients=1, prefix="k")
    finally:
        broker.resume()
    assert statistics.median(without) < 3 * statistics.median(with_broker)
    assert max(without) < 1
    wait_until(lambda: consumer.stream_count("events") == 200, "the events of the pause")
    assert keys_of(consumer.stream_events("events")) == each_once(100, "before") + each_once(100)


def test_a_broker_killed_under_load_gets_each_event(cluster, s3, broker, consumer):
    cluster.put_script(script(broker.url))
    consumer.make_stream("events", "s3.>")
    load = threading.Thread(target=put_many, args=(cluster, 600, 4))
    load.start()
    for _ in range(4):
        time.sleep(0.2)
        broker.stop(signal.SIGKILL)
        broker.start()
    load.join()
    # JetStream drops what comes a second time under the same id.
    wait_until(lambda: consumer.stream_count("events") >= 600, "600 events")
    time.sleep(0.5)
    assert keys_of(consumer.stream_events("events")) == each_once(600)


def test_a_broker_that_is_not_there_yet_gets_what_was_before_it(cluster, s3, broker):
    broker.stop()
    cluster.put_script(script(broker.url))
    put_many(cluster, 20, clients=2)
    broker.start()
    # No stream holds what comes while nobody listens, so the count of the broker must do.
    wait_until(lambda: broker.monitor("varz")["in_msgs"] >= 20, "20 messages")


@pytest.mark.main
def test_all_events_arrive_before_a_terminated_gateway_is_gone(cluster, s3, broker, consumer):
    cluster.put_script(script(broker.url))
    put_many(cluster, 1000, clients=8)
    assert cluster.stop_gateway(signal.SIGTERM) == 0
    assert not broker.connections(), "the gateway is gone"
    assert broker.monitor("varz")["in_msgs"] >= 1000
    assert keys_of(consumer.wait(1000)) == each_once(1000)


def test_a_gateway_that_ends_waits_for_a_slow_broker(cluster, s3, broker, consumer):
    cluster.put_script(script(broker.url, "exit_timeout_ms = 20000"))
    put_many(cluster, 10, clients=1, prefix="first")
    consumer.wait(10)
    broker.pause()
    put_many(cluster, 1000, clients=8)
    cluster.gateway.send(signal.SIGTERM)
    time.sleep(1)
    assert cluster.gateway.is_alive(), "events wait for the broker"
    broker.resume()
    assert cluster.gateway.wait(180) == 0
    assert keys_of(consumer.wait(1010)) == each_once(10, "first") + each_once(1000)


def test_a_gateway_whose_broker_is_away_ends_and_says_what_is_lost(cluster, s3, broker):
    # That the wait is bounded tests/host shows, where nothing else takes time; 20.2 alone takes up to a minute to end.
    cluster.put_script(script(broker.url, "exit_timeout_ms = 500"))
    broker.stop()
    put_many(cluster, 20, clients=2)
    assert cluster.stop_gateway() == 0
    assert f"the process ends with 20 messages for {broker.url} undelivered" in cluster.journal()


def test_a_user_without_an_inbox_publishes_unconfirmed(cluster, s3):
    """What the broker refuses is told in the journal, and nothing is sent again and again."""
    users = """
        no_auth_user: gateway
        authorization: { users: [
            { user: gateway, password: x, permissions: { publish: "s3.>", subscribe: "none" } },
            { user: reader, password: x },
        ] }
    """
    broker = Broker(cluster.machine, name="limited", config=users).start()
    consumer = Consumer(broker, user="reader", password="x")
    try:
        cluster.put_script(script(broker.url))
        for number in range(3):
            put_many(cluster, 20, clients=2, prefix=f"round{number}-")
        events = consumer.wait(60)
        assert len({event.headers["Nats-Msg-Id"] for event in events}) == 60
        time.sleep(1)
        assert len(consumer.events) == 60
        assert "Permissions Violation" in cluster.journal()
        assert "events are not confirmed" in cluster.journal()
    finally:
        consumer.close()
        broker.end()


def test_a_login_in_the_url_and_a_denied_subject(cluster, s3):
    users = """
        authorization: { users: [
            { user: "gate way", password: "p/ss@", permissions: {
                publish: ["s3.>", "_INBOX.>"], subscribe: "_INBOX.>"
            } },
            { user: reader, password: x },
        ] }
    """
    broker = Broker(cluster.machine, name="login", config=users).start()
    consumer = Consumer(broker, user="reader", password="x")
    try:
        url = broker.url.replace("//", "//gate%20way:p%2Fss%40@")
        denied = script(url, 'allow_cleartext_secrets = true, subject = "other.{bucket}", id = "b"').splitlines()[-1]
        cluster.put_script(script(url, "allow_cleartext_secrets = true") + denied)
        put_many(cluster, 10, clients=1)
        assert keys_of(consumer.wait(10)) == each_once(10)
        wait_until(lambda: "the server denies publishing to other.bkt" in cluster.journal(), "the denial")
        assert "p/ss" not in cluster.journal()
        assert "p%2Fss" not in cluster.journal()
    finally:
        consumer.close()
        broker.end()


def test_a_message_that_the_server_does_not_take_blocks_nobody(cluster, s3):
    broker = Broker(cluster.machine, name="narrow", config="max_control_line: 512").start()
    consumer = Consumer(broker)
    try:
        cluster.put_script(script(broker.url, 'subject = "s3.{bucket}.{key}"'))
        broker.pause()
        put_many(cluster, 20, clients=1)
        s3.put_object(Bucket="bkt", Key="x" * 600, Body=b"")
        put_many(cluster, 20, clients=1, prefix="after")
        broker.resume()
        wait_until(lambda: {event.key for event in consumer.events} >= set(each_once(20, "after")), "what came after")
        keys = [event.key for event in consumer.events]
        assert set(keys) == set(each_once(20) + each_once(20, "after"))
        assert "the server ends the connection for a message" in cluster.journal()
    finally:
        consumer.close()
        broker.end()


def test_two_consumers_see_what_one_sees(cluster, s3, broker, consumer):
    cluster.put_script(script(broker.url))
    other = Consumer(broker, "s3.bkt.>")
    put_many(cluster, 10, clients=1)
    assert keys_of(consumer.wait(10)) == keys_of(other.wait(10)) == each_once(10)
    other.close()


def test_each_address_of_a_name_is_tried(cluster, s3, broker, consumer):
    hosts = cluster.machine.path("/etc/hosts")
    before = hosts.read_text() if hosts.exists() else ""
    # Nobody listens at the first two.
    addresses = ("::1", "127.0.0.77", broker.host)
    try:
        hosts.write_text(before + "".join(f"{address} broker.example\n" for address in addresses))
        assert set(cluster.machine.run("getent", "ahosts", "broker.example").split()) >= set(addresses)
        cluster.put_script(script(f"nats://broker.example:{broker.port}"))
        put_many(cluster, 3, clients=1)
        assert keys_of(consumer.wait(3)) == each_once(3)
    finally:
        hosts.write_text(before)
