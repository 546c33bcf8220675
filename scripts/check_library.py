"""Holds a built library against what its users have: glibc 2.28 or newer, one of two processors, and a size.

    check_library.py FILE...

Needs readelf. Prints a line for each file; exits with 1 if one of them does not pass.
"""

import re
import subprocess
import sys
from pathlib import Path

#: The newest versions of symbols that may be needed: what EL 8 and Debian 10 have.
NEWEST = {"GLIBC": (2, 28), "GCC": (8, 0)}
#: What may be loaded with it. A program for glibc before 2.34 has threads and dlopen in libraries of their own.
NEEDED = {
    "libc.so.6",
    "libpthread.so.0",
    "libdl.so.2",
    "libgcc_s.so.1",
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
}
#: Those that must be there for that reason.
SEPARATE = {"libpthread.so.0", "libdl.so.2"}
PROCESSORS = {"Advanced Micro Devices X86-64": "x86_64", "AArch64": "aarch64"}
#: In bytes: a gateway maps it, and clusters carry it through their networks. The budget is 5 MiB;
#: docs/decisions/0002-one-library.md has what stands between.
LARGEST = 8 << 20


def readelf(path, *options):
    return subprocess.run(["readelf", "--wide", *options, path], check=True, capture_output=True, text=True).stdout


def problems(path):
    """What is wrong with a library; its processor comes first."""
    head = readelf(path, "--file-header")
    machine = re.search(r"Machine:\s*(.*)", head)[1]
    if machine not in PROCESSORS:
        yield f"is for another processor: {machine}"
    for symbol, family, version in re.findall(r" UND (\w+)@([A-Z]+)_([\d.]+)", readelf(path, "--dyn-syms")):
        if tuple(map(int, version.split("."))) > NEWEST[family]:
            yield f"needs {symbol} of {family} {version}; src/glibc.rs has what to do"
    needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", readelf(path, "--dynamic")))
    yield from (f"needs {name}, which not every system has" for name in sorted(needed - NEEDED))
    yield from (
        f"does not name {name}, which has what it needs before glibc 2.34" for name in sorted(SEPARATE - needed)
    )
    if re.search(r"\.(symtab|debug_\w+)\b", readelf(path, "--section-headers")):
        yield "is not stripped"
    if path.stat().st_size > LARGEST:
        yield f"has {path.stat().st_size:,} bytes; {LARGEST:,} are the limit (docs/decisions/0002-one-library.md)"


def main():
    status = 0
    for path in map(Path, sys.argv[1:]):
        found = list(problems(path))
        for problem in found:
            print(f"{path}: {problem}", file=sys.stderr)
        status |= bool(found)
        if not found:
            newest = ".".join(map(str, NEWEST["GLIBC"]))
            machine = re.search(r"Machine:\s*(.*)", readelf(path, "--file-header"))[1]
            print(f"{path}: {PROCESSORS[machine]}, {path.stat().st_size:,} bytes, glibc {newest}")
    sys.exit(status)


if __name__ == "__main__":
    main()
