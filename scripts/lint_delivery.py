"""Holds the guarantees of docs/delivery.md to tests that exist: each row names one at least.

A test is named by its file and a part of its own name: `e2e/faults/test_disk.py` (`a_full_disk`).
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs/delivery.md"
#: How a test begins, by its file's kind; what follows up to the end of the line is its name.
TESTS = {
    ".py": re.compile(r"^def test_(\w+)", re.MULTILINE),
    ".rs": re.compile(r"#\[test\]\s+fn (\w+)"),
    ".lua": re.compile(r"^\s*it\(\"([^\"]+)\"", re.MULTILINE),
}
NAMED = re.compile(r"`([\w./-]+)` \(((?:`[^`]+`(?:, )?)+)\)")
#: What stands for no test, where the event is lost.
NONE = "none: nothing is promised"


def rows(text):
    """The cells of the table of guarantees, without its head."""
    table = text.split("## Guarantees", 1)[1].split("\n**", 1)[0]
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def problems(row):
    """What is wrong with the tests of a row."""
    if len(row) != 3:
        return [f"{len(row)} cells instead of 3"]
    _, event, shown = row
    if "**is lost**" in event:
        return [] if shown == NONE else [f'what is lost has "{NONE}"']
    found = [f"no test, or one that is not written as a file and names: {NAMED.sub('', shown)}"]
    if re.fullmatch(rf"{NAMED.pattern}(?:, {NAMED.pattern})*", shown):
        found.clear()
    for file, parts in NAMED.findall(shown):
        path = ROOT / file
        if not path.is_file() or path.suffix not in TESTS:
            found.append(f"{file} is no file of tests")
            continue
        tests = TESTS[path.suffix].findall(path.read_text())
        for part in re.findall(r"`([^`]+)`", parts):
            if not any(part in test for test in tests):
                found.append(f"{file} has no test {part}")
    return found


def main():
    table = rows(DOCUMENT.read_text())
    wrong = [f"{DOCUMENT.name}: {row[0]}: {problem}" for row in table for problem in problems(row)]
    if not table:
        wrong.append(f"{DOCUMENT.name}: no guarantees")
    print("\n".join(wrong), end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
