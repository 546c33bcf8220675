"""RabbitMQ, for RGW's own AMQP endpoint."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from harness.machine import free_ports, wait_until

BIN = Path("/usr/lib/rabbitmq/bin")
#: An exchange that each RabbitMQ has.
EXCHANGE = "amq.topic"


class RabbitMQ:
    """One node of its own, with its files in a directory of its own; ends with `close`."""

    def __init__(self):
        # Erlang's processes must come to it, whoever they run as.
        self.directory = Path(tempfile.mkdtemp(prefix="rgw_nats-rabbitmq-", dir="/var/tmp"))
        self.port, distribution, names = free_ports(3)
        configuration = self.directory / "rabbitmq.conf"
        configuration.write_text(f"listeners.tcp.1 = 127.0.0.1:{self.port}\nlog.console = false\n")
        self._environment = os.environ | {
            "HOME": str(self.directory),
            "RABBITMQ_NODENAME": f"bench{self.port}@localhost",
            "RABBITMQ_CONFIG_FILE": str(configuration),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.directory / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "plugins"),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_PID_FILE": str(self.directory / "pid"),
            "ERL_EPMD_PORT": str(names),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        self._log = (self.directory / "out").open("wb")
        self._server = subprocess.Popen(
            [BIN / "rabbitmq-server"], env=self._environment, stdout=self._log, stderr=subprocess.STDOUT
        )
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}"

    def start(self):
        wait_until(self._is_ready, "RabbitMQ", timeout=120)
        return self

    def _is_ready(self):
        if self._server.poll() is not None:
            raise RuntimeError((self.directory / "out").read_text()[-2000:])
        command = [BIN / "rabbitmq-diagnostics", "-q", "check_port_connectivity"]
        return subprocess.run(command, env=self._environment, capture_output=True, check=False).returncode == 0

    def close(self):
        try:
            command = [BIN / "rabbitmqctl", "-q", "stop"]
            subprocess.run(command, env=self._environment, capture_output=True, check=False, timeout=30)
            self._server.wait(30)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        # Erlang's register of names runs on by itself.
        subprocess.run(["epmd", "-kill"], env=self._environment, capture_output=True, check=False)
        self._log.close()
        shutil.rmtree(self.directory, ignore_errors=True)
