"""The report as the tables of docs/performance.md: each group's goes between its marks there.

A group that the report lacks keeps the table that is there. The marks are `<!-- cost -->` and `<!-- /cost -->`.
"""

import re

from report import PROJECT, shown

PAGE = PROJECT / "docs" / "performance.md"
#: The heads of a group's rows, and how a row without anything to compare it with is told.
HEADS = {
    "cost": "added",
    "publish": "against the row of nats.c, or one after the other",
    "spool": "against the disk",
    "growth": "against the first of its kind, or the memory at the start",
}
#: The columns of a gateway's table: their heads and the rows that each takes its numbers from.
COLUMNS = [
    ("PUTs a second", ["PUT rate"]),
    ("PUT p50, p99", ["PUT p50", "PUT p99"]),
    ("CPU of the gateway's threads for a PUT", ["CPU of a PUT, the gateway's threads"]),
    ("of rgw_nats'", ["CPU of a PUT, the threads of rgw_nats"]),
    ("copy p50, p99", ["copy p50", "copy p99"]),
    ("DELETE p50, p99", ["DELETE p50", "DELETE p99"]),
]
OURS = "CPU of a PUT, the threads of rgw_nats"
#: In microseconds for a PUT.
ASLEEP = 5


def _unit(unit):
    return "" if unit == "1/s" else f" {unit}"


def _against(row, plain=""):
    """How a row stands beside what it is compared with; nothing, or `plain`, if that is itself."""
    if row.ratio is None:
        return plain
    return f"{row.ratio:+,.0f} {row.unit}" if row.added else f"× {shown(row.ratio)}"


def _lines(head, rows):
    return [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows)]


def _plain(name, rows):
    head = ("row", "median", HEADS[name])
    return _lines(head, [(row.name, f"{shown(row.median)} {row.unit}", _against(row)) for row in rows])


def _gateway(rows):
    """A table for each kind of load: one line for each script, one column for each thing that was measured."""
    kinds = {}
    for row in rows:
        label, script = row.name.split(": ", 1)
        # "18.2 PUT rate", or "18.2 40 requests, PUT rate".
        few, what = re.fullmatch(r"[0-9.]+ (?:(\d+ requests), )?(.*)", label).groups()
        kinds.setdefault(few, {}).setdefault(script, {})[what] = row
    lines = []
    for few, scripts in kinds.items():
        found = []
        for script, of in scripts.items():
            cells = [script]
            for _, names in COLUMNS:
                # Without our module its threads sleep, and their difference is that of nothing.
                absent = names == [OURS] and abs(of[OURS].median) < ASLEEP
                numbers = [_against(of[name], f"{shown(of[name].median)}{_unit(of[name].unit)}") for name in names]
                cells.append("" if absent else ", ".join(numbers))
            found.append(tuple(cells))
        head = (f"script ({few})" if few else "script", *(head for head, _ in COLUMNS))
        lines += ["", *_lines(head, found)] if lines else _lines(head, found)
    return lines


def markdown(name, group, rows):
    """A group's table, with a line that says where and when it was measured."""
    of = group["machine"]
    rounds = max(len(row.values) for row in rows)
    where = f"{of['processors']} × {of['processor']}, load {of['load']}"
    told = f"{rounds} rounds, {of['when'][:16]}, {of['commit']}, {where}:"
    body = _gateway(rows) if name.startswith("gateway ") else _plain(name, rows)
    return "\n".join([told, "", *body])


def write(groups, rows_of):
    """Puts the groups' tables into the page; gives the names of those that have no marks there."""
    text = PAGE.read_text()
    lost = []
    for name, group in groups.items():
        marks = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        place = re.compile(f"(?s){re.escape(marks[0])}.*?{re.escape(marks[1])}")
        if not place.search(text):
            lost.append(name)
            continue
        table = f"{marks[0]}\n{markdown(name, group, rows_of(group))}\n\n{marks[1]}"
        text = place.sub(lambda _, table=table: table, text)
    PAGE.write_text(text)
    return lost
