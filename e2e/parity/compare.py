"""Runs the operations, puts the records of each side by side and says of each field how ours stands to RGW's."""

import time
from dataclasses import dataclass

from .allowed import PATIENCE, counts
from .operations import of_release


@dataclass
class Seen:
    """What came of one operation."""

    native: list
    ours: list
    #: Ours of the same operation where RGW notifies of nothing.
    alone: list
    #: What S3 says of an object that was created.
    truth: dict
    #: When the request was sent and when its reply was there, in seconds since 1970.
    sent: float
    done: float
    #: Our last sequencer before it.
    previous: str


@dataclass(frozen=True)
class Cell:
    """One field of the records of one operation."""

    field: str
    native: object
    ours: object
    alone: object
    seen: Seen

    @property
    def truth(self):
        return self.seen.truth.get(self.field)

    @property
    def is_alike(self):
        """Whether ours is the same with RGW's own notification and without, but for what is never the same twice."""
        return _kind(self.field, self.ours) == _kind(self.field, self.alone)

    @property
    def is_equal(self):
        return self.native == self.ours and self.is_alike

    def __str__(self):
        lines = [f"{self.field}", f"    RGW's   {self.native!r}", f"    ours    {self.ours!r}"]
        if not self.is_alike:
            lines.append(f"    alone   {self.alone!r}    (ours, where RGW has no notification)")
        if self.field in self.seen.truth:
            lines.append(f"    S3 says {self.truth!r}")
        return "\n".join(lines)


def _kind(field, value):
    """A value without what belongs to one request or one bucket."""
    match field.rpartition(".")[2]:
        case "name" | "arn":
            return value.replace("alone-", "beside-")
        case "eventTime" | "sequencer" | "eventId" | "x-amz-request-id" | "id":
            return bool(value)
        case "versionId":
            return value if value in ("", "null") else "a version"
    return value


def flatten(value, path=""):
    """A record's fields by their paths, such as `s3.object.key`, in its order."""
    if not isinstance(value, dict):
        return {path: value}
    fields = {}
    for name, inner in value.items():
        fields |= flatten(inner, f"{path}.{name}" if path else name)
    return fields


def play(world, endpoint, broker, consumer):
    """Does all operations on both sides; returns what came of each, by name."""
    started = []
    for one in of_release(world.cluster.release):
        sides = [one.steps(side) for side in (world.beside, world.alone)]
        for steps in sides:
            next(steps)
        started.append((one.name, *sides))
    world.notify(endpoint, broker)
    results = {}
    for name, beside, alone in started:
        native_due, ours_due = counts(world.cluster.release, name)
        natives, events = len(endpoint.records), len(consumer.events)
        previous = consumer.events[-1].record["s3"]["object"]["sequencer"] if events else ""
        sent = time.time()
        next(beside, None)
        done = time.time()
        _await(endpoint.records, natives + native_due)
        _await(consumer.events, events + ours_due)
        native, ours = endpoint.records[natives:], [event.record for event in consumer.events[events:]]
        next(alone, None)
        _await(consumer.events, events + 2 * ours_due)
        rest = [event.record for event in consumer.events[events + len(ours) :]]
        results[name] = Seen(native, ours, rest, _truth(world, native), sent, done, previous)
    return results


def _truth(world, native):
    if len(native) != 1 or not native[0]["eventName"].startswith("ObjectCreated:"):
        return {}
    thing = native[0]["s3"]
    return world.beside.truth(thing["bucket"]["name"], thing["object"]["key"])


def _await(items, count):
    """Waits until so many are there; the comparison tells if they don't come."""
    deadline = time.monotonic() + PATIENCE
    while len(items) < count and time.monotonic() < deadline:
        time.sleep(0.005)


def cells(seen):
    """The fields of an operation that gave one record on each side, and whether both have them in the same order."""
    native, ours, alone = (flatten(records[0]) for records in (seen.native, seen.ours, seen.alone))
    fields = [
        Cell(field, native[field], ours[field], alone[field], seen)
        for field in native
        if field in ours and field in alone
    ]
    return fields, list(native) == list(ours) == list(alone)
