"""What notifications do to a real gateway under load: rate, time and CPU of PUTs, and the time of
copies and DELETEs."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import amqp
import boto3
import botocore.config
import botocore.exceptions
from harness import Broker, Cluster
from harness.cluster import FIND_MODULE, LUA_DIRECTORY
from harness.machine import free_ports, wait_until
from report import Row
from state import CONNECT, NOTIFY, PROGRAMS

CLIENTS = 8
SIZE = 4096
REQUESTS = 1500
WARM_UP = 300
#: Of those that take a fifth of a second each.
FEW = 40
METADATA = {"color": "red", "camera": "x100"}
TAGGING = "project=blue&stage=raw"
HEADERS = "".join(f"x-amz-meta-{key}: {value}\r\n" for key, value in METADATA.items()) + f"x-amz-tagging: {TAGGING}\r\n"
#: What is copied, from each bucket to itself.
SOURCE = "source.jpg"
EMPTY = "an empty script"
#: RGW takes the password of RabbitMQ's guest for a secret.
SETTINGS = ["debug rgw = 0", "rgw enable usage log = false", "rgw allow notification secrets in cleartext = true"]
#: Where Debian has luasocket, and where the machine gets it.
SOCKET = {"/usr/share/lua/5.3": "/usr/local/share/lua/5.3", "/usr/lib/x86_64-linux-gnu/lua/5.3": LUA_DIRECTORY}


class Gateway:
    """A cluster that is put under load, with one script after the other."""

    def __init__(self, release, module, directory, rabbit=None):
        self.cluster = Cluster(release, directory / "cluster", conf="\n".join(SETTINGS)).start()
        machine = self.cluster.machine
        target = machine.path(LUA_DIRECTORY)
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(module, target / "rgw_nats.so")
        for here, there in SOCKET.items():
            for part in ("socket", "socket.lua"):
                if (Path(here) / part).is_dir():
                    shutil.copytree(Path(here) / part, machine.path(f"{there}/{part}"))
                elif (Path(here) / part).exists():
                    machine.path(there).mkdir(parents=True, exist_ok=True)
                    shutil.copy(Path(here) / part, machine.path(there))
        self.broker = Broker(machine).start()
        self.sink_port = free_ports(1)[0]
        self.sink = subprocess.Popen([PROGRAMS / "sink", str(self.sink_port)])
        machine.path("/ceph/spool").mkdir()
        self.s3 = self.cluster.s3(signature_version="s3v4")
        http = {"push-endpoint": f"http://127.0.0.1:{self.sink_port}"}
        persistent = {"persistent": "true"}
        #: The buckets that RGW itself notifies of, each by its own endpoint; nobody does of the first one.
        endpoints = {"bkt": None, "http": http, "http-persistent": http | persistent}
        if rabbit:
            own = {"push-endpoint": rabbit.url, "amqp-exchange": amqp.EXCHANGE, "amqp-ack-level": "broker"}
            endpoints |= {"amqp": own, "amqp-persistent": own | persistent}
        self._targets = {}
        for bucket, endpoint in endpoints.items():
            self.s3.create_bucket(Bucket=bucket)
            self.s3.put_object(Bucket=bucket, Key=SOURCE, Body=b"x" * SIZE)
            if endpoint:
                self._notify(bucket, endpoint)
            self._targets[bucket] = self._sign(bucket)

    def close(self):
        self.sink.kill()
        self.sink.wait()
        self.cluster.close()

    def _notify(self, bucket, endpoint):
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "default"}
        config = botocore.config.Config(retries={"max_attempts": 0})
        sns = boto3.client("sns", endpoint_url=f"http://127.0.0.1:{self.cluster.s3_port}", config=config, **keys)
        arn = sns.create_topic(Name=bucket, Attributes=endpoint)["TopicArn"]
        rule = {"Id": bucket, "TopicArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
        self.s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"TopicConfigurations": [rule]}
        )

    def _sign(self, bucket):
        """Paths and queries of the requests to come, by method: signing them costs their client nothing then."""
        targets = {}
        for method, name, more in (
            ("PUT", "put_object", {"Metadata": METADATA, "Tagging": TAGGING}),
            ("COPY", "copy_object", {"CopySource": f"{bucket}/{SOURCE}"}),
            ("DELETE", "delete_object", {}),
        ):
            lines = []
            for number in range(REQUESTS):
                parameters = {"Bucket": bucket, "Key": f"images/2026/{number}.jpg"} | more
                url = urlsplit(self.s3.generate_presigned_url(name, parameters, ExpiresIn=36000))
                lines.append(f"{url.path}?{url.query}\n")
            targets[method] = lines
        return targets

    def script(self, text):
        """Changes the script; none is none."""
        if text is None:
            self.cluster.admin("script", "rm", "--context=postRequest", check=False)
        else:
            self.cluster.put_script(text)
        # The gateway keeps what it has read until it is told.
        time.sleep(1)

    def configuration(self, name, more):
        path = f"/ceph/{name}.toml"
        text = f'url = "{self.broker.url}"\nname = "{name}"\n{more}\n[[notification]]\nid = "one"\nbucket = "bkt"\n'
        self.cluster.machine.path(path).write_text(text)
        return FIND_MODULE + NOTIFY.format(file=path)

    def send(self, bucket, method, count, clients=CLIENTS):
        size, headers = {
            "PUT": (SIZE, HEADERS),
            "COPY": (0, f"x-amz-copy-source: {bucket}/{SOURCE}\r\n"),
            "DELETE": (0, ""),
        }[method]
        verb = "PUT" if method == "COPY" else method
        command = [PROGRAMS / "put", self.cluster.s3_port, clients, size, verb, headers]
        targets = "".join(self._targets[bucket][method][:count])
        done = subprocess.run(
            [str(part) for part in command], input=targets, capture_output=True, text=True, check=False, timeout=60
        )
        if done.returncode != 0:
            raise RuntimeError(done.stderr[-2000:])
        return json.loads(done.stdout)

    def cpu_us(self):
        """What the gateway's threads have used, in microseconds: those that serve requests, and ours."""
        requests, ours = 0, 0
        for task in Path(f"/proc/{self.cluster.gateway.pid}/task").iterdir():
            try:
                used = int((task / "schedstat").read_text().split()[0]) / 1000
                name = (task / "comm").read_text()
            except FileNotFoundError:
                continue
            if name.startswith("rgw_nats"):
                ours += used
            else:
                requests += used
        return requests, ours

    def load(self, bucket, warm_up=WARM_UP, count=REQUESTS):
        """One round: PUTs, copies of one object to the same keys, and then DELETEs of them."""
        self.send(bucket, "PUT", warm_up)
        before = self.cpu_us()
        puts = self.send(bucket, "PUT", count)
        after = self.cpu_us()
        copies = self.send(bucket, "COPY", count)
        deletes = self.send(bucket, "DELETE", count)
        return {
            "rate": puts["requests"] / puts["seconds"],
            "p50": puts["p50_us"],
            "p99": puts["p99_us"],
            "cpu": (after[0] - before[0]) / count,
            "ours": (after[1] - before[1]) / count,
            "copy_p50": copies["p50_us"],
            "copy_p99": copies["p99_us"],
            "delete_p50": deletes["p50_us"],
            "delete_p99": deletes["p99_us"],
        }

    def check(self):
        """All was delivered: what is lost costs less."""
        state = self.broker.monitor("varz")
        return state["in_msgs"]


def measure(release, module, rounds):
    with _gateway(release, module) as gateway:
        rows = _measure(gateway, release, rounds)
    return rows + _measure_amqp(release, module, rounds)


@contextmanager
def _gateway(release, module, rabbit=None):
    directory = Path(tempfile.mkdtemp(prefix="rgw_nats-bench-", dir="/var/tmp"))
    try:
        gateway = Gateway(release, module, directory, rabbit)
        try:
            yield gateway
        finally:
            gateway.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _measure_amqp(release, module, rounds):
    """RGW's own AMQP endpoint, in a gateway of its own and with few requests: 18.2.7 takes 200 ms for each, and a
    segmentation fault of its own has ended it under more of them. What was measured until then counts."""
    variants = {
        EMPTY: "bkt",
        "RGW's own AMQP endpoint": "amqp",
        "RGW's own AMQP endpoint, persistent": "amqp-persistent",
    }
    found = {name: [] for name in variants}
    rabbit = amqp.RabbitMQ()
    try:
        rabbit.start()
        with _gateway(release, module, rabbit) as gateway:
            gateway.script("local nothing")
            for _ in range(rounds):
                taken = {name: gateway.load(bucket, CLIENTS, FEW) for name, bucket in variants.items()}
                for name, values in taken.items():
                    found[name].append(values)
    except (RuntimeError, subprocess.TimeoutExpired, botocore.exceptions.ClientError) as error:
        # 16.2 refuses the topic, 18.2 may end or hang.
        print(f"bench: the gateway fails with its own AMQP endpoint: {error}", file=sys.stderr, flush=True)
    finally:
        rabbit.close()
    return _rows(found, f"{release} {FEW} requests,") if found[EMPTY] else []


def _measure(gateway, release, rounds):
    find = f'package.path = "/usr/local/share/lua/5.3/?.lua;" .. package.path\n{FIND_MODULE}'
    spool = '[spool]\ndirectory = "/ceph/spool"\nsync = "group"'
    variants = {
        "no script": ("bkt", None, False),
        EMPTY: ("bkt", "local nothing", False),
        'ack = "none"': ("bkt", gateway.configuration("none", 'ack = "none"'), True),
        'ack = "broker"': ("bkt", gateway.configuration("broker", 'ack = "broker"'), True),
        "ack = broker and a spool": ("bkt", gateway.configuration("spool", f'ack = "broker"\n{spool}'), True),
        "luasocket, a connection each": ("bkt", find + CONNECT.format(port=gateway.broker.port), True),
        "RGW's own HTTP endpoint": ("http", None, False),
        "RGW's own HTTP endpoint, persistent": ("http-persistent", None, False),
    }
    found = {name: [] for name in variants}
    names = list(variants)
    for number in range(rounds):
        for place in range(len(names)):
            name = names[(place + number) % len(names)]
            if name not in found:
                continue
            bucket, script, notifies = variants[name]
            gateway.script(script)
            before = gateway.check()
            try:
                found[name].append(gateway.load(bucket))
            except subprocess.TimeoutExpired:
                if bucket == "bkt":
                    raise
                # An endpoint of RGW's own, in which its requests hang: 18.2.7 was seen to.
                print(f"bench: {name}: requests hang; it is left out", file=sys.stderr, flush=True)
                del found[name]
                continue
            print(f"bench: {name}: {found[name][-1]['rate']:.0f} PUTs a second", file=sys.stderr, flush=True)
            if notifies:
                wanted = before + 3 * REQUESTS + WARM_UP
                wait_until(lambda wanted=wanted: gateway.check() >= wanted, f"the events of {name}", timeout=30)
    return _rows(found, release)


def _rows(found, prefix):
    rows = []
    for key, what, unit, added in (
        ("rate", "PUT rate", "1/s", False),
        ("p50", "PUT p50", "µs", False),
        ("p99", "PUT p99", "µs", False),
        ("cpu", "CPU of a PUT, the gateway's threads", "µs", True),
        ("ours", "CPU of a PUT, the threads of rgw_nats", "µs", True),
        ("copy_p50", "copy p50", "µs", False),
        ("copy_p99", "copy p99", "µs", False),
        ("delete_p50", "DELETE p50", "µs", False),
        ("delete_p99", "DELETE p99", "µs", False),
    ):
        empty = [one[key] for one in found[EMPTY]]
        for name, taken in found.items():
            values = [one[key] for one in taken]
            label = f"{prefix} {what}: {name}"
            rows.append(Row(label, unit, values, "" if name == EMPTY else EMPTY, [] if name == EMPTY else empty, added))
    return rows
