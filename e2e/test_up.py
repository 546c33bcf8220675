"""`make up`: what it prints works, and nothing is left of it after Ctrl-C."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from harness.machine import E2E, wait_until


@pytest.fixture
def up(release, gateway_lua, tmp_path):
    """The process of e2e/up.py, once it has printed what to try, and what it has printed."""
    output = tmp_path / "up.txt"
    command = [sys.executable, E2E / "up.py", "--release", release, "--lua", gateway_lua]
    with output.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)

    def is_ready():
        assert process.poll() is None, output.read_text()
        return "Ctrl-C ends it all" in output.read_text()

    try:
        wait_until(is_ready, "make up", timeout=120, pause=0.2)
        yield process, output.read_text()
    finally:
        process.kill()
        process.wait()


def servers_of(pid):
    """The processes that this one has started, and those have."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [found for child in children for found in (int(child), *servers_of(child))]


def names(pids):
    """The programs of those that are alive. (18.2 gives its process another name.)"""
    lines = [Path(f"/proc/{pid}/cmdline") for pid in pids]
    return {Path(line.read_text().split("\0")[0]).name for line in lines if line.exists()} - {""}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "killed"])
def test_the_printed_commands_work_and_nothing_is_left(up, tmp_path, release, gateway_lua, number):
    process, printed = up
    assert printed.startswith(f"rgw_nats on Ceph {release}, Lua {gateway_lua}\n")
    watch, put, script = re.findall(r"^  # [a-z ]+\n  (.*)$", printed, re.MULTILINE)
    # As in another shell: outside of the mounts of these tests, and in some other directory.
    shell = {"shell": True, "text": True, "cwd": "/", "env": {"PATH": os.environ["PATH"]}}
    subprocess.run(put, check=True, **shell)
    seen = tmp_path / "seen.txt"
    with seen.open("w") as file:
        watcher = subprocess.Popen(f"exec {watch}", stdout=file, **shell)
    try:
        wait_until(lambda: "album/readme.md" in seen.read_text(), "the event that was there before")
        subprocess.run(put, check=True, **shell)
        wait_until(lambda: seen.read_text().count("ObjectCreated:Put\n") == 4, "one more event")
    finally:
        watcher.send_signal(signal.SIGINT)
        assert watcher.wait(10) == 0
    shown = subprocess.run(script, check=True, capture_output=True, **shell).stdout
    assert shown.strip() in printed.replace(" " * 11, "")

    servers = servers_of(process.pid)
    assert {"ceph-mon", "ceph-osd", "radosgw", "nats-server"} <= names(servers)
    directory = Path(re.search(r"(/var/tmp/rgw_nats-\w+)/", printed)[1])
    process.send_signal(number)
    assert process.wait(30) == (0 if number == signal.SIGINT else -number)
    wait_until(lambda: not names(servers), "the servers to be gone", timeout=5)
    # A killed process leaves its directory, and nothing mounted or running.
    assert directory.exists() == (number == signal.SIGKILL)
    subprocess.run(["rm", "-rf", "--one-file-system", directory], check=True)
