"""Writes into docs/events.md what docs/parity/ has: how our record stands to RGW's own.

    scripts/events_table.py            writes the section anew
    scripts/events_table.py --check    fails if it is not what would be written

docs/parity/ is written by e2e/test_native_parity.py: one file for each release, in which a field is equal in all
operations that are not named.
"""

import json
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = DOCS / "events.md"
BEGIN = "<!-- scripts/events_table.py writes what follows -->\n"
END = "<!-- up to here -->\n"
#: What a field is that is not equal.
STATES = ("better", "unknown", "wrong")
#: Not equal in nearly all operations, so of no use in the rows of operations.
ALWAYS = ("eventTime", "s3.object.eTag")


def code(names):
    return " ".join(f"`{name}`" for name in names)


def row(*cells):
    return f"| {' | '.join(cells)} |"


class Release:
    """The results of one release."""

    def __init__(self, path):
        self.data = json.loads(path.read_text())
        self.name = self.data["release"]
        self.operations = self.data["operations"]
        #: The operations of which both RGW and we tell.
        self.compared = [name for name, one in self.operations.items() if "only" not in one]
        self.fields = self.data["fields"]

    def groups(self, field):
        """The states of a field, with their reasons and operations."""
        for state in STATES:
            for reason, names in self.fields[field].get(state, {}).items():
                yield state, reason, names

    def where(self, names):
        """Operations in the fewest words."""
        rest = [name for name in self.compared if name not in names]
        if not rest:
            return "all"
        return code(names) if len(names) <= len(rest) + 1 else f"all but {code(rest)}"

    def total(self, state):
        return sum(len(names) for field in self.fields for kind, _, names in self.groups(field) if kind == state)


class Notes:
    """Numbered notes: what a field is instead of equal, why, and where."""

    def __init__(self, releases):
        self._releases = releases
        self._notes = []

    def number(self, field, state, reason):
        """The number of a note, made at its first use."""
        key = (field, state, reason)
        if key not in self._notes:
            self._notes.append(key)
        return self._notes.index(key) + 1

    def lines(self):
        for number, (field, state, reason) in enumerate(self._notes, 1):
            places = {}
            for release in self._releases:
                for kind, why, names in release.groups(field):
                    if (kind, why) == (state, reason):
                        places.setdefault(release.where(names), []).append(release.name)
            alike = len(places) == 1 and len(next(iter(places.values()))) == len(self._releases)
            where = "; ".join(text if alike else f"{', '.join(names)}: {text}" for text, names in places.items())
            yield f"{number}. `{field}`, {state}{': ' if reason else ''}{reason}. {where}."


def fields_table(releases):
    notes = Notes(releases)
    lines = [row("field", *(release.name for release in releases)), row("---", *("---" for _ in releases))]
    equal = []
    for field in releases[0].fields:
        for state in STATES:
            for release in releases:
                for kind, reason, _ in release.groups(field):
                    if kind == state:
                        notes.number(field, state, reason)
        cells = []
        for release in releases:
            groups = list(release.groups(field))
            count = sum(len(names) for *_, names in groups)
            numbers = {}
            for state, reason, _ in groups:
                numbers.setdefault(state, []).append(str(notes.number(field, state, reason)))
            texts = [f"{state} ({', '.join(numbers[state])})" for state in STATES if state in numbers]
            cells.append(", ".join(["equal"] * (count < len(release.compared)) + texts))
        if set(cells) == {"equal"}:
            equal.append(field)
        else:
            lines.append(row(f"`{field}`", *cells))
    lines.append(row(code(equal), *("equal" for _ in releases)))
    return [*lines, "", *notes.lines()]


def totals_table(releases):
    lines = [row("Ceph", "operations", "fields compared", "equal", *STATES), row(*["---"] * 7)]
    for release in releases:
        fields = len(release.compared) * len(release.fields)
        others = [release.total(state) for state in STATES]
        counts = (len(release.operations), fields, fields - sum(others), *others)
        lines.append(row(release.name, *map(str, counts)))
    return lines


def missing(release, name):
    """What an operation's record lacks, in a cell."""
    if name not in release.operations:
        return "–"
    only = release.operations[name].get("only")
    if only:
        return "only RGW tells" if only == "RGW" else "only we tell"
    lacks = {"unknown": [], "wrong": []}
    for field in release.fields:
        for state, _, names in release.groups(field):
            if name in names and state in lacks and field not in ALWAYS:
                lacks[state].append(field.rpartition(".")[2])
    return " ".join(filter(None, (code(lacks["unknown"]), lacks["wrong"] and f"wrong: {code(lacks['wrong'])}")))


def operations_table(releases):
    known = {}
    for release in reversed(releases):
        # The newest release has all of them, in their order.
        for name, one in release.operations.items():
            known.setdefault(name, one)
    heads = ("operation", "what is done", "RGW's event", *(release.name for release in releases))
    lines = [row(*heads), row(*["---"] * len(heads))]
    reasons = {}
    for name, one in known.items():
        event = one["event"].replace("Object", "", 1)
        lines.append(row(f"`{name}`", one["title"], event, *(missing(release, name) for release in releases)))
    for release in releases:
        for name, one in release.operations.items():
            if "only" in one:
                reasons.setdefault(f"- `{name}`: {one['why']}.", None)
    return [*lines, "", *reasons]


def section():
    releases = [Release(path) for path in sorted((DOCS / "parity").glob("*.json"))]
    parts = (
        "### What was compared",
        totals_table(releases),
        "### Field by field",
        fields_table(releases),
        "### Operation by operation",
        "What RGW's record of each operation has and ours has not, beside "
        f"{code(name.rpartition('.')[2] for name in ALWAYS)}.\nEmpty: nothing. –: it was not done on that release.",
        operations_table(releases),
    )
    return "\n\n".join(part if isinstance(part, str) else "\n".join(part) for part in parts) + "\n"


def main():
    page = PAGE.read_text()
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        sys.exit(f"{PAGE} lacks the lines between which the tables go")
    new = f"{head}{begin}\n{section()}\n{end}{tail}"
    if sys.argv[1:] == ["--check"]:
        if new != page:
            sys.exit("docs/events.md is not what docs/parity/ makes of it; run scripts/events_table.py")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        PAGE.write_text(new)


if __name__ == "__main__":
    main()
