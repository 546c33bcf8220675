"""Runs the benchmarks, prints a table and writes target/bench/report.json.

    run.py [--rounds N] [--module FILE] [--release R] [GROUP ...]

Each row is what was measured in turn with the thing it is compared with; docs/performance.md says how to read them.
"""

import argparse
import sys
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

import cost  # noqa: E402
import gateway  # noqa: E402
import growth  # noqa: E402
import publish  # noqa: E402
import report  # noqa: E402
import spool  # noqa: E402

GROUPS = {
    "cost": lambda options: cost.measure(options.module, options.rounds),
    "publish": lambda options: publish.measure(options.module, options.rounds),
    "growth": lambda options: growth.measure(options.module, options.rounds),
    "spool": lambda options: spool.measure(options.rounds),
    "gateway": lambda options: gateway.measure(options.release, options.module, options.rounds),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--module", type=Path, default=report.PROJECT / "build/rgw_nats.so")
    parser.add_argument("--release", default="18.2")
    options = parser.parse_args()
    unknown = [name for name in options.groups if name not in GROUPS]
    if unknown:
        parser.error(f"there is no group {unknown[0]}; there are {', '.join(GROUPS)}")
    failed = []
    for name in options.groups or GROUPS:
        print(f"bench: {name}", file=sys.stderr, flush=True)
        try:
            rows = GROUPS[name](options)
        except Exception:
            # The other groups are measured all the same, and what is known of this one stays in the report as it was.
            traceback.print_exc()
            failed.append(name)
            continue
        report.write({f"{name} {options.release}" if name == "gateway" else name: rows})
        print(f"\n{name}\n{report.table(rows)}\n", flush=True)
    if failed:
        sys.exit(f"bench: failed: {', '.join(failed)}; the reasons stand above")


if __name__ == "__main__":
    main()
