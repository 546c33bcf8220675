"""One client's attack on the gateway, and the account of the events that must come of it."""

import base64
import contextlib
import hashlib
import html
import re
from collections import Counter
from urllib.parse import quote, unquote_to_bytes

from .machine import wait_until
from .raw_client import RawClient
from .subject import is_legal, key_of, value_of

QUIET = 0.4
PUT, DELETE, POST, COPY = ("ObjectCreated:Put", "ObjectRemoved:Delete", "ObjectCreated:Post", "ObjectCreated:Copy")
#: So that keys reach subjects.
TEMPLATE = 'subject = "s3.{bucket}.{event}.{key}"'
COMPLETE = "ObjectCreated:CompleteMultipartUpload"


def md5(data):
    """The value of Content-MD5."""
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def tags_of(text):
    """The tags in an answer to ?tagging, as a record has them."""
    plain_text = re.sub("&#x([0-9a-f]{2});", lambda code: chr(int(code[1], 16)), text.decode(errors="replace"))
    pairs = re.findall("<Key>(.*?)</Key><Value>(.*?)</Value>", plain_text, re.DOTALL)
    # RGW writes a line break after a carriage return as it is.
    return sorted((html.unescape(key), html.unescape(value)) for key, value in pairs)


def operation(event):
    """What an event says: its kind, and the key by its subject, which must be legal and fit the record."""
    assert is_legal(event.subject)
    tokens = event.subject.split(".")
    key = key_of(tokens[3:])
    assert (tokens[0], tokens[2], event.key) == ("s3", event.name, key.decode(errors="replace"))
    assert value_of(tokens[1]).decode(errors="replace") == event.record["s3"]["bucket"]["name"]
    return event.name, key


class Attack:
    """A client with a bucket of its own, and what must come of what it does."""

    def __init__(self, cluster, consumer, bucket):
        self.cluster, self.consumer, self.bucket = cluster, consumer, bucket
        self.raw = RawClient(cluster.s3_port)
        self.s3 = cluster.s3()
        self.s3.create_bucket(Bucket=bucket)
        self._pid, self._log = cluster.gateway.pid, len(cluster.log())
        self.wanted = Counter()

    def path(self, key):
        return b"/%s/%s" % (self.bucket.encode(), key)

    def ask(self, method, key, query="", event=None, **more):
        """Sends a signed request; if it succeeds, an event of this kind must come."""
        reply = self.raw.ask(method, self.path(key), query, **more)
        if event and reply.ok:
            self.wanted[event, key] += 1
        return reply

    def put(self, key, query="", body=b"x", **more):
        return self.ask("PUT", key, query, PUT, body=body, **more)

    def post_form(self, key, *arguments, becomes=None, **more):
        """Uploads by a form, under the key that the gateway makes of it."""
        reply = self.raw.post_form(self.bucket, key, *arguments, **more)
        if reply.ok or reply.status == 303:
            self.wanted[POST, becomes or key] += 1
        return reply

    def keys(self):
        """The keys that the bucket has."""
        keys, page = [], [b""]
        while page:
            text = self.ask("GET", b"", f"encoding-type=url&marker={quote(page[-1], safe='~')}").body
            page = [unquote_to_bytes(key) for key in re.findall(b"<Key>(.*?)</Key>", text)]
            keys += page
        return set(keys)

    def check_gateway(self):
        """The gateway that was attacked lives and answers."""
        assert self.cluster.gateway.pid == self._pid
        assert self.cluster.answers()

    def found(self):
        """What the events say that have come so far."""
        return Counter(map(operation, list(self.consumer.events)))

    def end(self, perhaps=(), timeout=10):
        """The gateway lives; the wanted events are there, and no others but `perhaps`. Returns them."""
        assert self.put(b"last").ok
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: not self.wanted - self.found(), "the wanted events", timeout)
            while True:
                self.consumer.wait(len(self.consumer.events) + 1, timeout=QUIET)
        events, found = list(self.consumer.events), self.found()
        assert not self.wanted - found, "all events are there"
        assert not found - self.wanted - Counter(perhaps), "and no others"
        here = {operation(event) for event in events if event.record["s3"]["bucket"]["name"] == self.bucket}
        # No test makes an object anew that it has removed.
        made, gone = ({key for name, key in here if name.startswith(kind)} for kind in ("ObjectCr", "ObjectRe"))
        assert self.keys() == made - gone, "the bucket has the objects that events tell of"
        self.check_gateway()
        assert "Lua ERROR" not in self.cluster.log()[self._log :]
        return [event for event in events if event.key != "last"]
