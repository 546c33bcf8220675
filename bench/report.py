"""Rows of numbers, each a ratio of two things that were measured in turn, in one run."""

import json
import os
import platform
import statistics
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
REPORT = PROJECT / "target" / "bench" / "report.json"


@dataclass
class Row:
    """One thing that was measured, in rounds, against another."""

    name: str
    unit: str
    values: list
    #: What it is compared with: a name of this report, or a number's meaning, with its values of the same rounds.
    against: str = ""
    base: list = field(default_factory=list)
    #: Whether the difference is of interest, and not the quotient.
    added: bool = False

    @property
    def median(self):
        return statistics.median(self.values)

    @property
    def ratio(self):
        """The median of the rounds' own ratios (or differences): what drifts between rounds does not count."""
        if not self.base:
            return None
        pairs = zip(self.values, self.base, strict=True)
        return statistics.median(one - other if self.added else one / other for one, other in pairs)

    def as_dict(self):
        return asdict(self) | {"median": self.median, "ratio": self.ratio}


def machine():
    """What these numbers were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "?")
    commit = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty"]
    return {
        "processor": model,
        "processors": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "kernel": platform.release(),
        # Of the last minute, when the group was through: what else the machine did shows here.
        "load": round(os.getloadavg()[0], 1),
        "system": Path("/etc/debian_version").read_text().strip(),
        "commit": subprocess.run(commit, capture_output=True, text=True, check=False).stdout.strip(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def in_turn(rounds, measures):
    """Measures several things in turn, round by round, each time in another order; gives their values by name."""
    values = {name: [] for name in measures}
    names = list(measures)
    for number in range(rounds):
        for place in range(len(names)):
            name = names[(place + number) % len(names)]
            values[name].append(measures[name]())
    return values


def shown(number):
    if number is None:
        return ""
    if abs(number) >= 1000:
        return f"{number:,.0f}"
    return f"{number:.3g}" if abs(number) < 10 else f"{number:.1f}"


def table(rows):
    lines = [("row", "median", "lowest", "highest", "unit", "ratio", "against")]
    for row in rows:
        ratio = ("+" if row.added and row.ratio is not None and row.ratio >= 0 else "") + shown(row.ratio)
        numbers = (shown(row.median), shown(min(row.values)), shown(max(row.values)))
        lines.append((row.name, *numbers, row.unit, ratio, row.against))
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def write(groups):
    """Writes the groups that were measured into the report, in the place of those of an earlier run."""
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    report = json.loads(REPORT.read_text()) if REPORT.exists() else {"groups": {}}
    here = machine()
    for name, rows in groups.items():
        report["groups"][name] = {"machine": here, "rows": [row.as_dict() for row in rows]}
    REPORT.write_text(json.dumps(report, indent=1) + "\n")
