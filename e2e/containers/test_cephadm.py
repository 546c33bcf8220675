"""A container as of cephadm: the module at /opt/rgw_nats, radosgw as 167 from the start."""

import os
import re
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from harness import Broker, Consumer, wait_until
from harness.container import CEPH
from harness.load import each_once, keys_of, put_many

from containers.conftest import Layout, bring_up

LAYOUT = Layout(
    module="/opt/rgw_nats", config="/etc/rgw_nats", spool="/var/lib/rgw_nats/spool", foreign="/var/lib/rgw_nats/foreign"
)


@pytest.fixture(scope="module", autouse=True)
def bare(whole_cluster, volume, broker):
    """The container is up; what descriptors it had before the module."""
    return bring_up(whole_cluster, LAYOUT, volume, broker)


def test_the_container_is_as_narrow_as_these_tests_claim(cluster):
    gateway = cluster.gateway
    for name in ("Uid", "Gid"):
        assert gateway.status(name).split() == [str(CEPH)] * 4
    assert {gateway.status(f"Cap{kind}") for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert (gateway.status("NoNewPrivs"), gateway.status("Seccomp")) == ("1", "2")
    assert b"HOME=" not in Path(f"/proc/{gateway.pid}/environ").read_bytes()
    assert gateway.run("id", "-un")[1] == 1, "167 has no name"
    for path in ("/", "/usr", LAYOUT.module, LAYOUT.config):
        assert "Read-only file system" in gateway.run("touch", f"{path}/x")[0]
    disk = os.statvfs(gateway.path("/tmp"))
    assert disk.f_blocks * disk.f_frsize == 16 << 20
    limits = Path(f"/proc/{gateway.pid}/limits").read_text()
    assert re.search(r"Max open files +1024 +1024 ", limits)
    assert re.search(r"Max processes +1000 +1000 ", limits)


def test_events_arrive(cluster, s3, configuration, consumer):
    configuration.take_up()
    s3.put_object(Bucket="bkt", Key="a.jpg", Body=b"xyz", Metadata={"camera": "x100"}, Tagging="stage=raw")
    s3.copy_object(Bucket="bkt", Key="b.jpg", CopySource="bkt/a.jpg")
    s3.delete_object(Bucket="bkt", Key="a.jpg")
    wait_until(lambda: len([event for event in consumer.events if event.key != "probe"]) == 3, "three events")
    found = [(event.name, event.key) for event in consumer.events if event.key != "probe"]
    kinds = ["ObjectCreated:Put", "ObjectCreated:Copy", "ObjectRemoved:Delete"]
    assert found == list(zip(kinds, ["a.jpg", "b.jpg", "a.jpg"], strict=True))
    assert cluster.gateway.loaded() == {f"{LAYOUT.module}/rgw_nats.so"}


def test_the_module_needs_few_threads_and_descriptors(cluster, s3, bare, broker, configuration):
    configuration.take_up(f'[spool]\ndirectory = "{LAYOUT.spool}"')
    put_many(cluster, 400, clients=8)
    s3.list_buckets()
    names = cluster.gateway.threads()
    ours = Counter(name for name in names if name.startswith("rgw_nats"))
    # One that reads files comes and goes.
    assert ours - Counter(rgw_nats_io=1) == {"rgw_nats": 1, "rgw_nats_spool": 1}
    assert len(names) < 1000
    more = cluster.gateway.descriptors() - bare
    print(f"{dict(ours)} of {len(names)} threads; descriptors: {dict(more)}, and a socket for each connection")
    assert more.total() <= 8
    assert len(broker.connections()) <= 2, "one for each configuration that was in force"


def test_a_new_configuration_is_used_two_seconds_after_its_exchange(configuration):
    configuration.take_up()
    took = [configuration.take_up() for _ in range(5)]
    print(f"with requests all the time: {', '.join(f'{one:.2f}' for one in took)} s")
    assert max(took) <= 2


def test_a_new_configuration_is_used_by_the_first_request_after_a_pause(configuration, consumer):
    configuration.take_up()
    for number in range(3):
        configuration.write()
        time.sleep(2)
        before = len(consumer.events)
        configuration.put(f"first{number}")
        event = consumer.wait(before + 1)[-1]
        assert event.subject.startswith(configuration.subject), event.subject


def test_a_volume_without_the_file_leaves_the_configuration_in_force(cluster, volume, configuration):
    configuration.take_up()
    text = configuration.text()
    volume.write({"another": "x"})

    def told():
        configuration.put("probe")
        return "the one before stays in force" in cluster.journal()

    wait_until(told, "the missing file to be told of", pause=0.1)
    assert f"{LAYOUT.toml}: No such file or directory" in cluster.journal()
    volume.write({"rgw_nats.toml": text})
    wait_until(lambda: configuration.put("probe") or configuration.arrived(), "the file to be taken up", pause=0.05)


def test_a_new_password_is_used_two_seconds_after_its_exchange(cluster, volume, configuration, request):
    users = "authorization {{ users: [ {{ user: gateway, password: {} }}, {{ user: reader, password: x }} ] }}"
    broker = Broker(cluster.machine, name="login", config=users.format("zero")).start()
    consumer = Consumer(broker, f"test.{request.node.name}.>", user="reader", password="x")
    login = f'allow_cleartext_secrets = true\n[auth]\nuser = "gateway"\npassword_file = "{LAYOUT.config}/password"'
    volume.update({"password": "zero\n", "rgw_nats.toml": configuration.text(login, url=broker.url)})
    wait_until(lambda: configuration.put("probe") or consumer.events, "the first login", pause=0.1)
    took = []
    for password in ("one", "two"):
        broker.change(users.format(password))
        wait_until(lambda: not broker.connections(), "the server to end the connection")
        configuration.put(password)
        # The longest wait between attempts.
        time.sleep(5)
        volume.update({"password": f"{password}\n"})
        since = time.monotonic()
        wait_until(lambda: password in keys_of(consumer.events), "the event of meanwhile")  # noqa: B023
        took.append(time.monotonic() - since)
    print(f"until the new password was used: {', '.join(f'{one:.2f}' for one in took)} s")
    assert "authorization violation" in cluster.journal()
    # Nothing waits for this server when it has gone.
    configuration.take_up()
    consumer.close()
    broker.end()
    assert max(took) <= 2


def test_a_terminated_gateway_sends_what_waits_and_ends_well(cluster, broker, consumer, configuration):
    configuration.take_up("exit_timeout_ms = 20000")
    broker.stop()
    put_many(cluster, 50, clients=2)
    since = time.monotonic()
    cluster.gateway.send(signal.SIGTERM)
    time.sleep(1)
    assert cluster.gateway.is_alive(), "events wait for the broker"
    broker.start()
    assert cluster.gateway.wait(180) == 0
    print(f"from TERM to the end: {time.monotonic() - since:.1f} s")
    assert "undelivered" not in cluster.journal()
    found = [event for event in consumer.stream_events("events") if event.subject.startswith(configuration.subject)]
    assert keys_of(found) - Counter(probe=1000) == each_once(50)
