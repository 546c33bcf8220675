"""Draws the report as pictures, docs/bench/*.svg, and writes its tables into docs/performance.md.

    plot.py [--report FILE] [--table]

--table prints the report as text, and draws and writes nothing.
"""

import argparse
import json
import sys
from html import escape
from pathlib import Path

import tables
from report import PROJECT, REPORT, Row, shown, table

PICTURES = PROJECT / "docs" / "bench"
WIDTH, LINE, LEFT, RIGHT = 860, 24, 380, 110
STYLE = (
    "text{font:13px sans-serif;fill:#1a202c}.title{font-weight:bold}.bar{fill:#2b6cb0}.peer{fill:#a0aec0}"
    "@media(prefers-color-scheme:dark){text{fill:#e2e8f0}.bar{fill:#63b3ed}.peer{fill:#718096}}"
)


def bars(title, entries):
    """A picture with a bar for each entry: its label, its number, what stands beside it, and whether it is a peer."""
    height = LINE * (len(entries) + 2)
    most = max((number for _, number, _, _ in entries), default=0) or 1
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="8" y="{LINE * 0.8:.0f}">{escape(title)}</text>',
    ]
    for place, (label, number, text, peer) in enumerate(entries):
        top = LINE * (place + 1.4)
        length = max(1.0, (WIDTH - LEFT - RIGHT) * max(number, 0) / most)
        kind = "peer" if peer else "bar"
        parts += [
            f'<text x="{LEFT - 8}" y="{top + 14:.0f}" text-anchor="end">{escape(label)}</text>',
            f'<rect class="{kind}" x="{LEFT}" y="{top + 2:.1f}" width="{length:.1f}" height="{LINE - 8}"/>',
            f'<text x="{LEFT + length + 6:.1f}" y="{top + 14:.0f}">{escape(text)}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def rows_of(group):
    return [
        Row(**{key: row[key] for key in ("name", "unit", "values", "against", "base", "added")})
        for row in group["rows"]
    ]


def _after(row, prefix):
    return row.name.removeprefix(prefix)


def _chosen(rows, prefix):
    return [row for row in rows if row.name.startswith(prefix)]


def pictures(groups):
    """The pictures by name: those whose groups were measured."""
    found = {}
    if "cost" in groups:
        entries = [
            (_after(row, "instructions: "), row.ratio, shown(row.ratio), "ours" not in row.name and "bare" in row.name)
            for row in _chosen(rows_of(groups["cost"]), "instructions: ")
            if row.ratio is not None
        ]
        found["cost"] = bars("Instructions added to a request, over an empty script", entries)
    if "publish" in groups:
        rows = [row for row in rows_of(groups["publish"]) if row.ratio is not None and "requests" not in row.name]
        entries = [(row.name, row.ratio, shown(row.ratio), False) for row in rows]
        found["publish"] = bars("Publishes from one Lua state, as a share of nats.c's in the same round", entries)
    if "growth" in groups:
        rows = _chosen(rows_of(groups["growth"]), "instructions added, ")
        entries = [(_after(row, "instructions added, "), row.median, shown(row.median), False) for row in rows]
        found["growth"] = bars("Instructions added to a request, by what there is more of", entries)
    if "spool" in groups:
        rows = [row for row in rows_of(groups["spool"]) if row.unit == "1/s"]
        entries = [(row.name, row.median, f"{shown(row.median)}/s", row.ratio is None) for row in rows]
        found["spool"] = bars("Appends to the spool a second", entries)
    for name, group in groups.items():
        if not name.startswith("gateway "):
            continue
        release = name.split()[1]
        rows = rows_of(group)
        for key, title in (("PUT rate", "PUTs a second"), ("DELETE p99", "99th percentile of DELETEs, µs")):
            chosen = _chosen(rows, f"{release} {key}: ")
            entries = [
                (
                    _after(row, f"{release} {key}: "),
                    row.median,
                    f"{shown(row.median)} ({shown(row.ratio or 1.0)})",
                    "ack" not in row.name,
                )
                for row in chosen
            ]
            picture = f"gateway-{release}-{key.lower().replace(' ', '-')}"
            found[picture] = bars(f"{title}, release {release}; in brackets: against the empty script", entries)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, default=REPORT)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    groups = json.loads(options.report.read_text())["groups"]
    if options.table:
        for name, group in groups.items():
            print(f"{name}\n{table(rows_of(group))}\n")
        return
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures(groups).items():
        (PICTURES / f"{name}.svg").write_text(picture)
        print(PICTURES / f"{name}.svg")
    lost = tables.write(groups, rows_of)
    if lost:
        sys.exit(f"plot: {tables.PAGE} has no marks for {', '.join(lost)}")
    print(tables.PAGE)


if __name__ == "__main__":
    main()
