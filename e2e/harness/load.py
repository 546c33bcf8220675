"""PUTs by several clients at once, and the count of their events."""

import threading
import time
from collections import Counter


def put_many(cluster, count, clients, prefix="k"):
    """PUTs by several clients at once; returns how long each took, in seconds."""
    times = []

    def work(number):
        s3 = cluster.s3()
        for key in range(number, count, clients):
            start = time.perf_counter()
            s3.put_object(Bucket="bkt", Key=f"{prefix}{key}", Body=b"x")
            times.append(time.perf_counter() - start)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(times) == count
    return times


def keys_of(events):
    return Counter(event.key for event in events)


def each_once(count, prefix="k"):
    return Counter(f"{prefix}{number}" for number in range(count))
