"""One mon, one memstore osd and one radosgw, on loopback: the least Ceph that runs scripts."""

import contextlib
import shutil
import signal
import socket
import subprocess
import uuid

import boto3
import botocore.config

from .machine import E2E, MODULE, Machine, free_ports, wait_until

RELEASES = ("16.2", "18.2", "20.2")
LUAS = ("5.3", "5.4")
#: The Lua that Debian's radosgw is linked to.
LUA_LIBRARY = "/usr/lib/x86_64-linux-gnu/liblua5.3.so.0"
#: Where the module goes in a machine when the tests install it by hand, and the line that finds it there. RGW's own
#: paths say 5.3 whatever the library in its place is: so it was compiled.
LUA_DIRECTORY = "/usr/local/lib/lua/5.3"
FIND_MODULE = f'package.cpath = "{LUA_DIRECTORY}/?.so;" .. package.cpath\n'

_CONF = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon2},v1:127.0.0.1:{mon1}]
public network = 127.0.0.0/8
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
auth_allow_insecure_global_id_reclaim = false
osd objectstore = memstore
# Debian's 18.2 is built with a relative directory of classes; the osd finds none without this.
osd class dir = /usr/lib/x86_64-linux-gnu/rados-classes
memstore device bytes = 4294967296
log file = /ceph/log/$name.log
admin socket = /ceph/run/$name.asok
run dir = /ceph/run
keyring = /ceph/keyring
mon data = /ceph/mon
osd data = /ceph/osd
mgr data = /ceph/mgr
# By default the mon collects changes for a second, and radosgw makes eight pools one after another.
paxos propose interval = 0.05
mon data avail crit = 1
mon data avail warn = 1
rgw luarocks location = /ceph/luarocks
[client.rgw.a]
# A keep-alive client sees 40 ms per request without tcp_nodelay.
rgw frontends = beast endpoint=127.0.0.1:{s3} tcp_nodelay=1
rgw data = /ceph/rgw
debug rgw = 1
{extra}
"""


def check_lua(release, lua):
    """Raises ValueError if no gateway of this release runs on this Lua."""
    if (release, lua) == ("16.2", "5.4"):
        reason = "Ceph 16.2 is tested on Lua 5.3 alone, which its official packages and image have"
        raise ValueError(f"{reason}; for Lua 5.4 take 18.2 or 20.2")


class Cluster:
    """A Ceph with a gateway, in the root file system of its release."""

    def __init__(self, release, directory, lua="5.3", conf="", say=lambda text: None):
        check_lua(release, lua)
        self.release = release
        self.lua = lua
        self.machine = Machine(release, directory)
        if lua == "5.4":
            self._exchange_lua()
        self.user = None
        self.gateway = None
        self._say = say
        self.s3_port, mon1, mon2 = free_ports(3)
        self._fsid = str(uuid.uuid4())
        for name in ("mon", "osd", "mgr", "log", "run", "rgw", "luarocks"):
            self.machine.path(f"/ceph/{name}").mkdir(parents=True)
        values = {"fsid": self._fsid, "mon1": mon1, "mon2": mon2, "s3": self.s3_port, "extra": conf}
        self.machine.path("/etc/ceph").mkdir(exist_ok=True)
        self.machine.path("/etc/ceph/ceph.conf").write_text(_CONF.format(**values))
        self._monitors = f"[v2:127.0.0.1:{mon2},v1:127.0.0.1:{mon1}]"

    def _exchange_lua(self):
        """Puts Lua 5.4 into the place of the Lua that radosgw is linked to."""
        built = subprocess.run([E2E / "lua54.sh"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        library = self.machine.path(LUA_LIBRARY)
        library.unlink()
        shutil.copy(built, library)

    def start(self, user=None, prepare=lambda: None):
        """Brings all of it up; some 15 s. `prepare` is called before radosgw starts."""
        self._start_storage()
        prepare()
        self.start_gateway(user)
        self.admin("user", "create", "--uid=tester", "--display-name=Tester", "--access-key=test", "--secret-key=test")
        return self

    def _start_storage(self):
        run = self.machine.run
        self._say("mon and osd")
        key = "/ceph/keyring"
        run("ceph-authtool", "--create-keyring", key, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        for name, mon, osd in (
            ("client.admin", "allow *", "allow *"),
            ("client.rgw.a", "allow rw", "allow rwx"),
            ("osd.0", "allow profile osd", "allow *"),
        ):
            run("ceph-authtool", key, "--gen-key", "-n", name, "--cap", "mon", mon, "--cap", "osd", osd)
        run("monmaptool", "--create", "--fsid", self._fsid, "--addv", "a", self._monitors, "/ceph/monmap")
        run("ceph-mon", "--mkfs", "-i", "a", "--monmap", "/ceph/monmap", "--keyring", key)
        self.machine.spawn("mon", "ceph-mon", "-f", "-i", "a")
        osd = str(uuid.uuid4())
        # The osd comes up only if it is made with the uuid that the mon knows.
        run("ceph", "--connect-timeout", "60", "osd", "new", osd)
        run("ceph", "auth", "del", "osd.0", check=False)
        run("ceph", "auth", "import", "-i", key)
        run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self.machine.spawn("osd", "ceph-osd", "-f", "-i", "0")
        run("ceph", "osd", "crush", "add", "osd.0", "1", "host=h", "root=default")

    def start_gateway(self, user=None, env=None):
        """Starts radosgw and waits until it answers. As root, or as another user from the start."""
        self._say("radosgw")
        self.user = user or self.user
        if self.user:
            for name in ("keyring", "log", "run", "rgw", "luarocks"):
                self.machine.run("chown", "-R", f"{self.user}:{self.user}", f"/ceph/{name}")
        self.gateway = self.machine.spawn("radosgw", "radosgw", "-f", "-n", "client.rgw.a", user=self.user, env=env)
        wait_until(self.answers, "radosgw to answer", timeout=120, pause=0.1)

    def further_gateway(self, name, *options):
        """Starts another radosgw of the same zone; returns its process and its port.

        It stays until the machine goes: 20.2 needs up to a minute to end, and others wait for a killed one for half of
        that.
        """
        (port,) = free_ports(1)
        own = (f"--rgw-frontends=beast endpoint=127.0.0.1:{port} tcp_nodelay=1", "--admin-socket=")
        log = f"--log-file=/ceph/log/{name}.log"
        gateway = self.machine.spawn(name, "radosgw", "-f", "-n", "client.rgw.a", *own, log, *options)

        def answers():
            assert gateway.is_alive(), gateway.log.read_text(errors="replace")[-2000:]
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                return client.recv(1)

        wait_until(answers, f"{name} to answer", timeout=60, pause=0.1)
        return gateway, port

    def answers(self):
        """Whether radosgw serves a request, and is the process that was started."""
        if not self.gateway.is_alive():
            tail = self.gateway.log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"radosgw has ended; the end of its output:\n{tail}")
        try:
            self.s3("none", "none").list_buckets()
        except Exception as error:
            return getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode") == 403
        return True

    def stop_gateway(self, number=signal.SIGTERM):
        """Ends radosgw; returns its exit status. 20.2 sleeps up to a minute on the way."""
        return self.gateway.stop(number, timeout=180)

    def restart_gateway(self, **arguments):
        self.stop_gateway()
        self.start_gateway(**arguments)

    def admin(self, *arguments, **options):
        """Runs radosgw-admin."""
        return self.machine.run("radosgw-admin", *arguments, **options)

    def put_script(self, text, context="postRequest", tenant=None):
        """Uploads a script, as an administrator does."""
        self.machine.path("/ceph/script.lua").write_text(text)
        # 16 and 18 take no tenant without a user.
        extra = [f"--tenant={tenant}", f"--uid={tenant}$any"] if tenant else []
        self.admin("script", "put", "--infile=/ceph/script.lua", f"--context={context}", *extra)

    def s3(self, access="test", secret="test", port=None, **options):
        """An S3 client of the gateway, or of one at another port, that never tries twice."""
        settings = {"retries": {"max_attempts": 0}, "s3": {"addressing_style": "path"}, "max_pool_connections": 32}
        settings |= {"connect_timeout": 5, "read_timeout": 60} | options
        return boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port or self.s3_port}",
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            region_name="us-east-1",
            config=botocore.config.Config(**settings),
        )

    def journal(self):
        """What radosgw wrote on its standard error: its journal under systemd."""
        return self.gateway.log.read_text(errors="replace")

    def log(self):
        """radosgw's own log."""
        return self.machine.path("/ceph/log/client.rgw.a.log").read_text(errors="replace")

    def install_module(self):
        """Puts the built module into a Lua directory: no luarocks, no package list."""
        target = self.machine.path(LUA_DIRECTORY)
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(MODULE, target)

    def close(self):
        self.machine.close()


def script(url, extra=""):
    """The script of an administrator who put the module into a Lua directory."""
    options = f'url = "{url}"{", " + extra if extra else ""}'
    return f'{FIND_MODULE}local nats = require("rgw_nats")\nassert(nats.notify(Request, {{{options}}}))\n'


def spooled(directory, more="", sync="always"):
    """The options of a script with a spool."""
    return f'spool = {{ directory = "{directory}", sync = "{sync}" }}{more}'
