"""A long time without a broker: the gateway's clients do not feel it, its memory is bounded, all of it arrives."""

import statistics
import time

from harness import wait_until
from harness.cluster import script
from harness.load import put_many

#: How many PUTs are looked at together.
ROUND = 400
#: What a gateway's memory may grow by meanwhile: by the messages that are taken off the disk (10,000), the spool's
#: cache and what radosgw itself keeps of requests.
GROWTH = 96 << 20


def test_an_outage_costs_no_request_its_time_and_all_of_it_arrives(cluster, s3, broker, consumer, soak):
    seconds = 900 if soak else 30
    directory = "/ceph/spool-outage"
    cluster.machine.path(directory).mkdir()
    consumer.make_stream("events", "s3.>")
    cluster.put_script(script(broker.url, f'spool = {{ directory = "{directory}" }}'))
    total, with_broker = 0, []
    for _ in range(3):
        with_broker += put_many(cluster, ROUND, clients=4)
        total += ROUND
    wait_until(lambda: consumer.stream_count("events") == total, "the events before")
    before = cluster.gateway.resident()
    broker.stop()
    without, grown = [], 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        without += put_many(cluster, ROUND, clients=4)
        total += ROUND
        grown = max(grown, cluster.gateway.resident() - before)
    print(
        f"{len(without)} PUTs in {seconds} s without a broker; median {statistics.median(with_broker) * 1000:.2f} ms"
        f" with it, {statistics.median(without) * 1000:.2f} ms without; memory grew by {grown / (1 << 20):.1f} MiB"
    )
    # The same PUTs just before are the measure.
    assert statistics.median(without) < 1.5 * statistics.median(with_broker)
    assert grown < GROWTH
    broker.start()
    wait_until(lambda: consumer.stream_count("events") >= total, f"{total} events", timeout=300, pause=0.2)
    time.sleep(1)
    assert consumer.stream_count("events") == total
    events = consumer.stream_events("events") if not soak else []
    assert len({event.headers["Nats-Msg-Id"] for event in events}) == len(events)
