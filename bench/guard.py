"""Holds the instructions that a notification adds to a request against recorded bounds (bounds.json).

    guard.py [--module FILE] [--record]

Counted by callgrind, so that the load of the machine does not matter. --record writes new bounds: docs/performance.md
says when.
"""

import argparse
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

from growth import SHAPES  # noqa: E402
from report import PROJECT  # noqa: E402
from state import NOTHING, REQUIRE, THREE_RULES, Workshop  # noqa: E402

BOUNDS = HERE / "bounds.json"
#: What is recorded over what was measured: another Debian has another libc and another Lua.
MARGIN = 1.03


def measured(module):
    many = [SHAPES["beginnings of keys"](number, number == 999) for number in range(1000)]
    with Workshop(module) as shop:
        scripts = {
            "require": (REQUIRE, False),
            "notify, one rule": (shop.notify(THREE_RULES[:1], 'name = "one"'), True),
            "notify, three rules": (shop.notify(THREE_RULES, 'name = "three"'), True),
            "notify, 1,000 rules": (shop.notify(many, 'name = "many"'), True),
        }
        empty = shop.instructions(NOTHING)
        found = {name: round(shop.instructions(*script) - empty) for name, script in scripts.items()}
        arguments = ["-m", "100", "-t", "10"]
        empty = shop.instructions(NOTHING, arguments=arguments)
        script = shop.notify(THREE_RULES[:1], 'name = "metadata"')
        found["notify, 100 metadata"] = round(shop.instructions(script, ready=True, arguments=arguments) - empty)
        return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", type=Path, default=PROJECT / "build/rgw_nats.so")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    found = measured(options.module)
    if options.record:
        bounds = {name: round(count * MARGIN) for name, count in found.items()}
        BOUNDS.write_text(json.dumps(bounds, indent=2) + "\n")
        return
    bounds = json.loads(BOUNDS.read_text())
    over = []
    for name, count in found.items():
        print(f"{name}: {count:,} instructions added to a request; the bound is {bounds[name]:,}")
        if count > bounds[name]:
            over.append(name)
    if over:
        sys.exit(f"over the bound: {', '.join(over)}; docs/performance.md says what to do")


if __name__ == "__main__":
    main()
