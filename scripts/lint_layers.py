"""Holds the layers of src/ apart, and the one way by which Lua gets at this library.

ARCHITECTURE.md says what each layer may use. Tests within a file are free to reach for more.
"""

import re
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "src"
BASE = {"error", "value", "message", "log", "thread", "promise"}
#: Which of this library's modules each one may use.
ALLOWED = {
    "lua": BASE | {"event", "process", "config", "delivery", "transport"},
    "process": BASE | {"event", "delivery", "config"},
    "event": BASE | {"config"},
    "delivery": BASE | {"transport", "config"},
    "transport": BASE | {"config"},
    "config": BASE,
    "message": {"error"},
    "error": set(),
    "value": set(),
    "promise": {"error", "value"},
    "log": set(),
    "thread": set(),
    "glibc": set(),
    "lib": {"lua"},
}
#: What one layer alone may write, by pattern, and the files that may.
ONLY = {
    r"\blua_State\b": ("Lua's API", r"lua(/.*)?\.rs"),
    # What is taken from mlua must be the same in Lua 5.3 and 5.4.
    r"\bmlua\b": ("mlua", r"lua/ffi\.rs"),
    r"\basync_nats\b": ("async_nats", r"transport(/.*)?\.rs"),
    r"^\s*(pub(\([a-z]+\))? )?static\b|\bthread_local!": ("a static", r"process\.rs|lua/ffi\.rs"),
    r"\blua_push(c?closure|cfunction)\b|\bluaL_(setfuncs|newlib|register)\b": (
        "a function given to Lua",
        r"lua/(boundary|ffi)\.rs",
    ),
    r"\blua_error\b|\bluaL_(error|argerror|check\w+|opt\w+)\b(?<!luaL_checkstack)": (
        "an error raised in Lua",
        r"lua/(module|ffi)\.rs",
    ),
    r"extern \"C-unwind\" fn": ("a function that Lua can call", r"lua/(boundary|module|ffi)\.rs"),
    r"\bcatch_unwind\b": ("a place that catches panics", r"lua/boundary\.rs"),
    r"\bstd::fs\b|\bfs::": (
        "the file system",
        r"(process/file|config/secret|transport/tls|delivery/spool/(slot|disk))\.rs",
    ),
    r"\bredb::": ("the storage engine", r"delivery/spool/(store|dead|upkeep|failure|disk)\.rs"),
    r"\bthread::Builder\b|\bthread::spawn\b": ("a thread's start", r"thread\.rs"),
    r"\bSystemTime\b|\bUNIX_EPOCH\b(?<!OffsetDateTime::UNIX_EPOCH)": ("the clock", r"process\.rs"),
}


def module_of(path):
    return path.relative_to(SOURCE).parts[0].removesuffix(".rs")


def problems(path):
    """What is wrong in one file, line by line, its tests left out."""
    name = path.relative_to(SOURCE).as_posix()
    module = module_of(path)
    lines = path.read_text().split("#[cfg(test)]\nmod tests")[0].splitlines()
    if len(lines) > 500:
        yield f"{name}: {len(lines)} lines without its tests; 500 are the limit"
    for number, line in enumerate(lines, 1):
        code = line.split("//")[0]
        for used in re.findall(r"\bcrate::(\w+)", code):
            if used != module and used in ALLOWED and used not in ALLOWED[module]:
                yield f"{name}:{number}: the layer {module} must not know {used}"
        for pattern, (what, files) in ONLY.items():
            if re.search(pattern, code) and not re.fullmatch(files, name):
                yield f"{name}:{number}: {what} has no place here"


def main():
    files = sorted(path for path in SOURCE.rglob("*.rs") if "tests" not in path.with_suffix("").parts)
    unknown = {module_of(path) for path in files} - set(ALLOWED)
    found = [f"{name}: a layer that scripts/lint_layers.py does not know" for name in sorted(unknown)]
    found += [problem for path in files if module_of(path) in ALLOWED for problem in problems(path)]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
