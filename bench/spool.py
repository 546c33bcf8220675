"""The spool: appends a second by rule and number of callers, and how long a large one takes to open."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from report import PROJECT, Row

SECONDS = 1
ENTRIES = 1_000_000
PAYLOAD = 1024
TEST = "appends_a_second_and_time_to_open"
RULES = {"Always": "always", "Group(0)": "group", "None": "none"}


def measure(rounds):
    rates, floor, times = {}, [], {}
    with tempfile.TemporaryDirectory(prefix="rgw_nats-bench-", dir="/var/tmp") as directory:
        for number in range(rounds):
            floor.append(_plain(Path(directory) / "plain"))
            # A million entries take a minute: once is enough.
            last = number == rounds - 1
            text = _run(directory, ENTRIES if last else 1000)
            for rule, callers, rate in re.findall(r"^(\S+), (\d+) callers: (\d+)/s", text, re.MULTILINE):
                rates.setdefault((RULES[rule], int(callers)), []).append(float(rate))
            if last:
                for what, seconds in re.findall(r"^(.+): ([\d.]+) s$", text, re.MULTILINE):
                    times[what] = float(seconds)
    plain = "write and fdatasync of 1 KiB, one after the other"
    rows = [Row(plain, "1/s", floor)]
    for (rule, callers), values in rates.items():
        rows.append(Row(f'appends of 1 KiB, sync = "{rule}", {callers} callers', "1/s", values, plain, floor))
    for what, seconds in times.items():
        copy = "the disk's time to sync and read as much"
        rows.append(Row(what, "s", [seconds], copy, [_copied()]))
    return rows


def _run(directory, entries):
    variables = {
        "RGW_NATS_SPOOL_DISK": directory,
        "RGW_NATS_SPOOL_SECONDS": str(SECONDS),
        "RGW_NATS_SPOOL_ENTRIES": str(entries),
        "CARGO_PROFILE_RELEASE_LTO": "off",
    }
    command = ["cargo", "test", "--quiet", "--release", "--locked", "--lib", TEST]
    command += ["--", "--ignored", "--nocapture"]
    done = subprocess.run(
        command, cwd=PROJECT, env=os.environ | variables, capture_output=True, text=True, check=False, timeout=1800
    )
    if done.returncode != 0:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return done.stdout


def _plain(path):
    """What the disk does without any spool."""
    payload = b"x" * PAYLOAD
    count, begin = 0, time.monotonic()
    with path.open("wb", buffering=0) as file:
        while time.monotonic() - begin < SECONDS:
            file.write(payload)
            os.fdatasync(file.fileno())
            count += 1
    return count / (time.monotonic() - begin)


def _copied():
    """Seconds to write, sync and read a file as large as the payloads."""
    with tempfile.TemporaryDirectory(prefix="rgw_nats-bench-", dir="/var/tmp") as directory:
        path = Path(directory) / "plain"
        begin = time.monotonic()
        with path.open("wb") as file:
            for _ in range(ENTRIES // 1024):
                file.write(b"x" * PAYLOAD * 1024)
            file.flush()
            os.fdatasync(file.fileno())
        shutil.copyfile(path, Path(directory) / "copy")
        return time.monotonic() - begin
