"""The way of an event: the values of NATS's chart in a nats-server, the stream and the consumer, the script and the
configuration of the gateways in the emulator, and a reader.
"""

import json
import subprocess

import pytest
from harness.machine import free_ports, wait_until
from jetstream import SERVER, ask, login, make_stream_and_consumer, next_event
from manifests import CEPHADM_SCRIPT, CEPHADM_TOML, PLACEHOLDERS, PROJECT, SCRIPT, TOML, VALUES, filled
from yaml import safe_load

#: Runs a script in the emulator, and waits until what it has published is stored.
RUN = """
package.cpath, package.path = arg[1], arg[2]
local nats, emulator = require("rgw_nats"), require("rgw_nats.emulator")
local gateway = emulator.new(arg[3])
local request = gateway:request("put_obj", { Bucket = { Name = "photos" }, Object = { Name = "a.jpg", Size = 4 } })
assert(gateway:run(assert(io.open(arg[4])):read("a"), request))
for _ = 1, 100 do
  local connection = nats.status().connections[1]
  if connection and connection.pending == 0 and connection.accepted > 0 then break end
  io.popen("sleep 0.1"):close()
end
os.exit(0, true)
"""


@pytest.fixture
def url(tmp_path):
    """A nats-server with the values of the chart, the stream and the consumer."""
    (port,) = free_ports(1)
    configuration = tmp_path / "nats.conf"
    own = {"host": "127.0.0.1", "port": port, "jetstream": {"store_dir": str(tmp_path / "jetstream")}}
    configuration.write_text(json.dumps(own | SERVER))
    url = f"nats://127.0.0.1:{port}"

    def answers():
        try:
            return "error" not in ask(url, "INFO")
        except Exception:
            return False

    with subprocess.Popen(["nats-server", "-c", configuration], stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(answers, "nats-server to answer")
            make_stream_and_consumer(url)
            yield url
        finally:
            process.terminate()


def test_the_chart_gives_its_box_the_administrators_login():
    values = safe_load(filled(VALUES))
    assert values["config"]["jetstream"]["enabled"] is True
    assert login().items() >= values["natsBox"]["contexts"]["default"]["merge"].items()


@pytest.mark.parametrize("lua", ["5.3", "5.4"])
@pytest.mark.parametrize(
    ("script", "configuration", "paths"),
    [
        (SCRIPT, TOML, ("/var/rgw/nats/rgw_nats.toml", "/var/rgw/nats/nkey_seed", "nats://nats.nats.svc:4222")),
        (CEPHADM_SCRIPT, CEPHADM_TOML, ("/etc/rgw_nats.toml", "/opt/rgw_nats/nkey_seed", "nats://nats.example:4222")),
    ],
    ids=["rook", "cephadm"],
)
def test_an_event_reaches_the_consumer(url, tmp_path, lua, script, configuration, paths):
    """The user of the gateways has no more permissions than the values give it."""
    file, seed, example = paths
    for name, text in (("rgw_nats.toml", configuration), ("nkey_seed", PLACEHOLDERS["GATEWAY_SEED"])):
        for before, after in ((example, url), (seed, tmp_path / "nkey_seed")):
            text = text.replace(before, str(after))
        (tmp_path / name).write_text(text)
    (tmp_path / "notify.lua").write_text(script.replace(file, str(tmp_path / "rgw_nats.toml")))
    (tmp_path / "run.lua").write_text(RUN)
    places = (f"{PROJECT}/build/?.so", f"{PROJECT}/lua/?.lua")
    command = [f"lua{lua}", tmp_path / "run.lua", *places, "20.2", tmp_path / "notify.lua"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert ask(url, "STREAM.INFO.S3")["state"]["messages"] == 1, done.stderr
    subject, record = next_event(url)
    assert subject == "s3.photos.ObjectCreated:Put"
    assert record["s3"]["object"]["key"] == "a.jpg"
    assert ask(url, "CONSUMER.INFO.S3.worker")["num_pending"] == 0
    # What the module has to say of missing permissions.
    assert not any(word in done.stderr.lower() for word in ("denied", "permission")), done.stderr
