"""PUTs by several clients at once, and the count of their events."""

import threading
import time
from collections import Counter, defaultdict

from .machine import patiently, wait_until


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


class Writers:
    """Clients that write their objects anew again and again, as long as the block lasts or until they are stopped."""

    def __init__(self, cluster, clients=4, objects=10, pause=0.005, count=None, port=None, prefix="c"):
        self._port, self._prefix = port, prefix
        self._counts = [0] * clients
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(cluster, client, objects, pause, count))
            for client in range(clients)
        ]
        for thread in self._threads:
            thread.start()

    def _write(self, cluster, client, objects, pause, count):
        s3 = cluster.s3(port=self._port)
        while not self._stop.is_set() and self._counts[client] != count:
            number = self._counts[client]
            # The size tells which version of the object it is.
            s3.put_object(Bucket="bkt", Key=f"{self._prefix}{client}-{number % objects}", Body=b"x" * number)
            self._counts[client] += 1
            time.sleep(pause)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def are_busy(self):
        return any(thread.is_alive() for thread in self._threads)

    def stop(self):
        """Ends them; returns how many objects were written."""
        self._stop.set()
        return self.finish()

    def finish(self):
        """Waits until they have written what they were to write; returns how much that is."""
        for thread in self._threads:
            thread.join()
        return sum(self._counts)

    @staticmethod
    def check(consumer, stream, total, timeout=90):
        """That the stream has each of so many events once, and those of each object in order."""
        count = lambda: patiently(lambda: consumer.stream_count(stream))  # noqa: E731
        try:
            wait_until(lambda: count() >= total, f"{total} events", timeout=timeout, pause=0.2)
        except TimeoutError as late:
            raise TimeoutError(f"{late}; there are {count()}") from late
        time.sleep(1)
        events = []

        def read():
            events[:] = patiently(lambda: consumer.stream_events(stream))
            return len(events) >= total

        # A leader that was cut off answers with what it has itself, until it hears of the other one.
        wait_until(read, f"{total} events to be read", timeout=30, pause=1)
        Writers.check_versions(events, total)

    @staticmethod
    def check_versions(events, total):
        """That these are so many events, each once, and those of each object in order."""
        assert len(events) == total, f"{len(events)} events of {total}"
        assert len({event.headers["Nats-Msg-Id"] for event in events}) == total
        versions = defaultdict(list)
        for event in events:
            versions[event.key].append(event.record["s3"]["object"]["size"])
        for key, sizes in versions.items():
            assert sizes == sorted(sizes), f"{key} came out of order: {sizes}"
