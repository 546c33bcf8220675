"""A gateway with the module, installed as an administrator installs it, to look at: for the demo and `make up`."""

import argparse
import contextlib
import shutil
import signal
import sys
import tempfile
import textwrap
from pathlib import Path

from .broker import Broker
from .cluster import LUAS, RELEASES, Cluster, check_lua
from .display import Progress, paint
from .machine import PROJECT, private_mounts

ROCKS = "/opt/rgw_nats/rocks"


def arguments(description, **options):
    """The arguments of the command line: the release, the Lua, and `options` that are switches, with their help."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--release", choices=RELEASES, default="18.2", help="the Ceph release")
    parser.add_argument("--lua", choices=LUAS, default="5.3", help="the Lua that the gateway runs on")
    for name, text in options.items():
        parser.add_argument(f"--{name}", action="store_true", help=text)
    found = parser.parse_args()
    try:
        check_lua(found.release, found.lua)
    except ValueError as problem:
        parser.error(str(problem))
    return found


def add_package(cluster, progress):
    """Puts the rock of `make rock` on RGW's own package list, from which a gateway installs when it starts."""
    shutil.copytree(PROJECT / "dist", cluster.machine.path(ROCKS))
    # `script-package add` searches with the machine's oldest Lua; the gateway installs for the Lua that it runs on.
    for config in cluster.machine.path("/etc/luarocks").glob("config-5.?.lua"):
        config.write_text(f'rocks_servers = {{ "{ROCKS}" }}\n')
    progress("radosgw-admin script-package add --package=rgw_nats")
    cluster.admin("script-package", "add", "--package=rgw_nats")


def end(number, frame):
    """Ends the process as an exception does, so that everything is cleaned up."""
    sys.exit(128 + number)


@contextlib.contextmanager
def installation(release, lua, jetstream=False):
    """Yields a cluster with a script that publishes all events, and its broker; nothing of them is left afterwards."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    # A shell without job control has its background jobs ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    private_mounts()
    directory = Path(tempfile.mkdtemp(prefix="rgw_nats-", dir="/var/tmp"))
    print(paint("1", f"rgw_nats on Ceph {release}, Lua {lua}"), flush=True)
    progress = Progress()
    try:
        cluster = Cluster(release, directory / "cluster", lua=lua, say=progress)
        try:
            # 20.2 can't read what it installs as root once it has become another user; so it starts as that user.
            user = "ceph" if release == "20.2" else None
            cluster.start(user, prepare=lambda: add_package(cluster, progress))
            progress("nats-server")
            broker = Broker(cluster.machine, jetstream=jetstream).start()
            script = f'local nats = require("rgw_nats")\nassert(nats.notify(Request, {{ url = "{broker.url}" }}))\n'
            progress("radosgw-admin script put --context=postRequest")
            cluster.put_script(script)
            print(textwrap.indent(script, "           "), end="")
            yield cluster, broker
        finally:
            # A second Ctrl-C must not leave anything.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            progress("ending it all")
            cluster.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
