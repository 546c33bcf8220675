"""What a notification costs the thread of a request, over an empty script."""

from report import Row, in_turn
from state import BARE, CONNECT, NOTHING, NOTIFY, READ, REQUIRE, THREE_RULES, Workshop


def measure(module, rounds):
    with Workshop(module) as shop:
        ours = shop.notify(THREE_RULES)
        scripts = {
            "an empty script": (NOTHING, False),
            "a bare C module": (BARE, False),
            "a bare C module that reads the same fields": (READ, False),
            "require": (REQUIRE, False),
            "require and notify, one rule": (shop.notify(THREE_RULES[:1]), True),
            "require and notify, three rules": (ours, True),
            "luasocket, a connection each": (CONNECT.format(port=shop.port), False),
        }
        rows = []
        # Exact: the same to a few instructions each time.
        counts = {name: [shop.instructions(*script)] for name, script in scripts.items()}
        rows += _added("instructions", "instructions", counts)
        taken = in_turn(rounds, {name: (lambda script=script: shop.times(*script)) for name, script in scripts.items()})
        for key, what in (("p50_us", "time"), ("cpu_us", "thread CPU")):
            values = {name: [one[key] for one in rounds_of] for name, rounds_of in taken.items()}
            rows += _added(what, "µs", values)
        heap = {name: [one["heap_peak"] for one in rounds_of] for name, rounds_of in taken.items()}
        rows += _added("Lua heap", "bytes", heap)
        return rows


def _added(what, unit, values):
    empty = values["an empty script"]
    rows = [Row(f"{what}: an empty script", unit, empty)]
    for name, found in values.items():
        if found is not empty:
            rows.append(Row(f"{what}: {name}", unit, found, "an empty script", empty, added=True))
    return rows


__all__ = ["NOTIFY", "measure"]
