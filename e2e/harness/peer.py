"""nats-py as the other side of an exchange, on a thread of its own."""

import asyncio
import threading

import nats


class Peer:
    """A connection of nats-py, and its JetStream."""

    def __init__(self, url):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.client = self(nats.connect(url, name="nats-py"))
        self.js = self.client.jetstream()

    def __call__(self, work):
        """Runs something to its end."""
        return self.start(work).result(60)

    def start(self, work):
        """Begins something; what comes back has `result`."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self):
        self(self.client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
