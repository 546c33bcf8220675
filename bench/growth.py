"""What costs more as there is more of it: rules, metadata and tags, events, states."""

from report import Row, in_turn
from state import NOTHING, REQUIRE, Workshop

RULES = (1, 10, 100, 1000)
ENTRIES = (0, 10, 100)
CONNECTIONS = (1, 8, 64)
EVENTS = (1_000, 10_000, 100_000, 1_000_000)
STATES = 100_000
#: The last rule matches the driver's request, the others do not; by what rules of a large configuration differ.
SHAPES = {
    "a bucket each": lambda number, last: 'bucket = "mybucket"' if last else f'bucket = "other-{number}"',
    "beginnings of buckets": lambda number, last: 'bucket = "my*"' if last else f'bucket = "other-{number}-*"',
    "beginnings of keys": lambda number, last: f'filter = {{ prefix = "{"images/" if last else f"dir-{number}/"}" }}',
}


def measure(module, rounds):
    rows = []
    with Workshop(module) as shop:
        for name, shape in SHAPES.items():
            rows += _rules(shop, name, shape, rounds)
        rows += _entries(shop)
        rows += _connections(shop)
        rows += _memory(shop)
    return rows


def _rules(shop, name, shape, rounds):
    scripts = {}
    for count in RULES:
        rules = [shape(number, number == count - 1) for number in range(count)]
        scripts[count] = shop.notify(rules, f'name = "rules-{count}-{name.replace(" ", "-")}"')
    empty = shop.instructions(NOTHING)
    counts = {count: [shop.instructions(script, ready=True) - empty] for count, script in scripts.items()}
    calls = {
        count: (lambda script=script: shop.times(script, ready=True)["cpu_us"]) for count, script in scripts.items()
    }
    times = in_turn(rounds, calls | {0: lambda: shop.times(NOTHING)["cpu_us"]})
    rows = []
    for what, unit, values in (
        ("instructions added", "instructions", counts),
        ("thread CPU added", "µs", {n: [a - b for a, b in zip(times[n], times[0], strict=True)] for n in RULES}),
    ):
        first = f"{what}, rules with {name}: {RULES[0]}"
        for count in RULES:
            one = count == RULES[0]
            label = f"{what}, rules with {name}: {count}"
            rows.append(Row(label, unit, values[count], "" if one else first, [] if one else values[RULES[0]]))
    return rows


def _entries(shop):
    rows = []
    script = shop.notify(['bucket = "mybucket"'], 'name = "entries"')
    base = {}
    for count in ENTRIES:
        arguments = ["-m", count, "-t", min(count, 10)]
        found = shop.instructions(script, ready=True, arguments=arguments) - shop.instructions(
            NOTHING, arguments=arguments
        )
        label = f"instructions added, {count} metadata and {min(count, 10)} tags"
        base.setdefault("name", label)
        base.setdefault("values", [found])
        first = count == ENTRIES[0]
        rows.append(Row(label, "instructions", [found], "" if first else base["name"], [] if first else base["values"]))
    return rows


def _connections(shop):
    """A message by each of so many connections, by chance; the handle is asked for by each state anew."""
    text = """
        local nats = require("rgw_nats").connect("{url}", {{ name = "connection-" .. number }})
        assert(nats:publish("bench.subject", Request.Object.Name))
    """
    counts, resident = {}, {}
    for count in CONNECTIONS:
        choose = f"local number = math.random({count})\n"
        script = choose + text.format(url=shop.url)
        # Enough for each connection to have come up before what is measured.
        found = shop.instructions(script, ready=True, count=1000)
        counts[count] = [found - shop.instructions(choose, count=1000)]
        resident[count] = [shop.times(script, ready=True, count=20_000)["resident_after"]]
    rows = []
    for what, unit, values in (("instructions added", "instructions", counts), ("memory", "bytes", resident)):
        first = f"{what}, {CONNECTIONS[0]} connection"
        for count in CONNECTIONS:
            one = count == CONNECTIONS[0]
            label = first if one else f"{what}, {count} connections"
            rows.append(Row(label, unit, values[count], "" if one else first, [] if one else values[CONNECTIONS[0]]))
    return rows


def _memory(shop):
    rows = []
    script = shop.notify(['bucket = "mybucket"'], 'name = "memory"')
    for count in EVENTS:
        found = shop.times(script, ready=True, count=count)
        grown = found["resident_after"] - found["resident_before"]
        rows.append(
            Row(
                f"memory grown over {count:,} notifications",
                "bytes",
                [grown],
                "the memory at their start",
                [found["resident_before"]],
                added=False,
            )
        )
    found = shop.times(REQUIRE, count=STATES)
    grown = found["resident_after"] - found["resident_before"]
    rows.append(
        Row(
            f"memory grown over {STATES:,} states",
            "bytes",
            [grown],
            "the memory at their start",
            [found["resident_before"]],
        )
    )
    return rows
