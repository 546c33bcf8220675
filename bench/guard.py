"""Holds what a notification adds to a request, on each Lua, against recorded bounds (bounds.json).

    guard.py [--module FILE] [--record]

Instructions, counted by callgrind so that the load of the machine does not matter, and bytes of the Lua heap at its
largest: 20.2 gives a script 128,000 in all. --record writes new bounds: docs/performance.md says when.
"""

import argparse
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

from growth import SHAPES  # noqa: E402
from harness import LUAS  # noqa: E402
from harness.machine import MODULE  # noqa: E402
from state import NOTHING, REQUIRE, THREE_RULES, Workshop  # noqa: E402

BOUNDS = HERE / "bounds.json"
#: What is recorded over what was measured: another Debian has another libc and another Lua.
MARGIN = 1.03
#: The most of the Lua heap that may be recorded for a request, in bytes.
HEAP = 12 << 10


def instructions(shop, scripts):
    """What scripts add to a request's instructions, by name."""
    empty = shop.instructions(NOTHING)
    found = {name: round(shop.instructions(*script) - empty) for name, script in scripts.items()}
    arguments = ["-m", "100", "-t", "10"]
    empty = shop.instructions(NOTHING, arguments=arguments)
    script = shop.notify(THREE_RULES[:1], 'name = "metadata"')
    found["notify, 100 metadata"] = round(shop.instructions(script, ready=True, arguments=arguments) - empty)
    return found


def heap(shop, scripts):
    """What scripts add to the Lua heap at its largest, by name."""
    empty = shop.times(NOTHING)["heap_peak"]
    return {name: shop.times(*script)["heap_peak"] - empty for name, script in scripts.items()}


def measured(module, lua):
    many = [SHAPES["beginnings of keys"](number, number == 999) for number in range(1000)]
    with Workshop(module, lua=lua) as shop:
        scripts = {
            "require": (REQUIRE, False),
            "notify, one rule": (shop.notify(THREE_RULES[:1], 'name = "one"'), True),
            "notify, three rules": (shop.notify(THREE_RULES, 'name = "three"'), True),
            "notify, 1,000 rules": (shop.notify(many, 'name = "many"'), True),
        }
        return {"instructions": instructions(shop, scripts), "bytes of Lua heap": heap(shop, scripts)}


def bounds_of(unit, counts):
    bounds = {name: round(count * MARGIN) for name, count in counts.items()}
    return {name: min(bound, HEAP) for name, bound in bounds.items()} if unit == "bytes of Lua heap" else bounds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", type=Path, default=MODULE)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    found = {lua: measured(options.module, lua) for lua in LUAS}
    if options.record:
        bounds = {lua: {unit: bounds_of(unit, counts) for unit, counts in own.items()} for lua, own in found.items()}
        BOUNDS.write_text(json.dumps(bounds, indent=2) + "\n")
        return
    bounds = json.loads(BOUNDS.read_text())
    within, over = 0, []
    for lua, own in found.items():
        for unit, counts in own.items():
            for name, count in counts.items():
                bound = bounds[lua][unit][name]
                print(f"Lua {lua}, {name}: {count:,} {unit} added to a request; the bound is {bound:,}")
                if count > bound:
                    over.append(f"{name} (Lua {lua}, {unit})")
                else:
                    within += 1
    print(f"{within} passed, {len(over)} failed")
    if over:
        sys.exit(f"over the bound: {', '.join(over)}; docs/performance.md says what to do")


if __name__ == "__main__":
    main()
