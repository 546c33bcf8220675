"""A container as of Rook: volumes under /var/rgw, and radosgw begins as root and becomes 167.

A pod of Rook has no fsGroup, so that a new volume is root's, and so are the files of a Secret.
"""

import shutil
import signal
import time

import pytest
from harness import wait_until
from harness.container import CEPH
from harness.load import each_once, keys_of, put_many

from containers.conftest import Layout, bring_up

LAYOUT = Layout(module="/var/rgw/rgw_nats", config="/var/rgw/nats", spool="/var/rgw/spool", foreign="/var/rgw/foreign")
#: Who has no access.
WHO = "the gateway is user 167, group 167"


@pytest.fixture(scope="module", autouse=True)
def gateway(whole_cluster, volume, broker):
    """The container."""
    return bring_up(whole_cluster, LAYOUT, volume, broker, as_root=True)


def spooled(directory):
    """The end of a file with a spool."""
    return f'[spool]\ndirectory = "{directory}"'


def said(cluster, configuration, *texts):
    """Waits until the log has a line with these texts while requests come; returns it."""
    seen = len(cluster.log())

    def found():
        configuration.put("probe")
        return next((line for line in cluster.log()[seen:].splitlines() if all(text in line for text in texts)), None)

    return wait_until(found, f"the log to say {texts}", timeout=20, pause=0.1)


def test_events_arrive(cluster, configuration, consumer):
    configuration.take_up()
    assert cluster.gateway.status("Uid").split() == [str(CEPH)] * 4
    assert cluster.gateway.status("CapEff") == "0" * 16
    assert cluster.gateway.loaded() == {f"{LAYOUT.module}/rgw_nats.so"}
    assert consumer.events[-1].name == "ObjectCreated:Put"


def test_what_waits_when_a_container_is_killed_is_there_after_it(cluster, broker, consumer, configuration):
    configuration.take_up(spooled(LAYOUT.spool))
    broker.stop()
    put_many(cluster, 200, clients=4)
    # A PUT is answered before its script runs.
    time.sleep(1)
    cluster.stop_gateway(signal.SIGKILL)
    broker.start()
    cluster.start_gateway()
    # The spool is opened when the first event asks for it.
    configuration.put("after")

    def stored():
        events = consumer.stream_events("events")
        return keys_of(event for event in events if event.subject.startswith(configuration.subject))

    wait_until(lambda: stored()["after"] == 1, "the event after it", timeout=60, pause=0.5)
    found = stored()
    del found["probe"], found["after"]
    assert found == each_once(200)


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        (LAYOUT.foreign, f"Permission denied (os error 13); {WHO}, and needs access: chown or chmod mends that"),
        ("/spool", "Read-only file system (os error 30); it must be on a volume that the gateway can write to"),
    ],
    ids=["of root", "on no volume"],
)
def test_a_spool_that_can_not_be_written_to_says_why_and_what_mends_it(cluster, configuration, place, problem):
    configuration.write(spooled(place))
    said(cluster, configuration, "Lua ERROR", f"spool_io: {place}: {problem}")
    configuration.take_up()


def test_a_spool_works_once_its_volume_was_given_to_the_gateway(cluster, configuration):
    place = f"{LAYOUT.foreign}/later"
    configuration.write(spooled(place))
    said(cluster, configuration, "Lua ERROR", f"spool_io: {place}: Permission denied")
    shutil.chown(cluster.volume("foreign"), CEPH, CEPH)
    wait_until(lambda: configuration.put("mended") or configuration.arrived(), "the spool to be open", pause=0.2)


def test_secrets_of_root_alone_are_named_and_used_once_mended(cluster, volume, configuration):
    login = f'allow_cleartext_secrets = true\n[auth]\nuser = "any"\npassword_file = "{LAYOUT.config}/password"'
    volume.update({"password": "x", "rgw_nats.toml": configuration.text(login)}, modes={"password": 0o400})
    line = said(cluster, configuration, f"auth: {LAYOUT.config}/password: Permission denied (os error 13); {WHO}")
    assert "defaultMode" in line
    volume.update({})
    # No further request is needed.
    wait_until(configuration.arrived, "the event of meanwhile", timeout=3)


def test_a_file_of_root_alone_is_named_before_and_after_a_restart(cluster, volume, configuration):
    configuration.take_up()
    volume.update({"rgw_nats.toml": configuration.text()}, modes={"rgw_nats.toml": 0o400})
    problem = f"bad_config: {LAYOUT.toml}: Permission denied (os error 13); {WHO}"
    said(cluster, configuration, problem, "the one before stays in force")
    cluster.stop_gateway(signal.SIGKILL)
    cluster.start_gateway()
    said(cluster, configuration, "Lua ERROR", problem)
    volume.update({})
    wait_until(lambda: configuration.put("mended") or configuration.arrived(), "the mended file", pause=0.05)


def test_a_password_in_a_file_of_kubernetes_is_not_warned_of(cluster, configuration):
    """Everybody can read the file, but its pod alone sees it, and can't change its mode."""
    configuration.take_up('allow_cleartext_secrets = true\nauth = { user = "any", password = "x" }')
    assert "has a secret in it" not in cluster.journal()


def test_a_full_tmp_is_in_nobodys_way(cluster, configuration):
    assert "No space left" in cluster.gateway.run("dd", "if=/dev/zero", "of=/tmp/full", "bs=64k")[0]
    configuration.take_up(spooled(LAYOUT.spool))
    configuration.take_up()
    cluster.gateway.run("rm", "/tmp/full")
