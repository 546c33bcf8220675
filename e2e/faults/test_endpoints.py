"""Brokers that do not let the gateway in: each is told for what it is, and none concerns another."""

import ssl
import subprocess
import time

import pytest
from harness import Broker, Consumer, wait_until
from harness.cluster import FIND_MODULE
from harness.load import each_once, keys_of, put_many
from harness.operator import Operator
from harness.question import ask


@pytest.fixture
def authorities(tmp_path):
    """Two that have each issued a certificate, and one that the first has issued for another name."""

    def openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, cwd=tmp_path)

    request = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj")
    for name in ("ours", "theirs"):
        openssl(*request, f"/CN={name}", "-x509", "-days", "2", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    for name, authority, address in (
        ("right", "ours", "127.0.0.1"),
        ("wrong", "theirs", "127.0.0.1"),
        ("misnamed", "ours", "127.0.0.2"),
    ):
        openssl(*request, f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        (tmp_path / "names").write_text(f"subjectAltName = IP:{address}\n")
        by = ("-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-CAcreateserial", "-extfile", "names")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", "-days", "2", *by)
    return tmp_path


def test_wrong_certificates_and_logins_are_told_and_stop_nobody_else(cluster, s3, broker, consumer, authorities):
    root = cluster.machine.path("/nats")
    for file in authorities.iterdir():
        (root / file.name).write_bytes(file.read_bytes())
    brokers = {}

    for name in ("right", "wrong", "misnamed"):
        certificate = f'tls {{ cert_file: "/nats/{name}.pem", key_file: "/nats/{name}.key" }}'
        brokers[name] = Broker(cluster.machine, name, config=certificate)
    other = 'authorization { user: "gateway", password: "other" }'
    brokers["password"] = Broker(cluster.machine, "password", jetstream=True, config=other)
    for one in brokers.values():
        one.start()
    keeper = Consumer(brokers["password"], subject=None, user="gateway", password="other")
    keeper.make_stream("events", "s3.>")
    keeper.close()
    login = 'auth = { user = "gateway", password = "hunter2" }, allow_cleartext_secrets = true'
    own = {"right": 'tls = { ca_file = "/nats/ours.pem" }', "password": login}
    own["wrong"] = own["misnamed"] = own["right"]
    lines = [FIND_MODULE, 'local nats = require("rgw_nats")']
    for url, options in [(broker.url, "")] + [(brokers[name].url, own[name]) for name in own]:
        lines.append(f'assert(nats.notify(Request, {{ url = "{url}", {options} }}))')
    cluster.put_script("\n".join(lines))
    tls_consumer = Consumer(brokers["right"], tls=ssl.create_default_context(cafile=authorities / "ours.pem"))
    try:
        put_many(cluster, 50, clients=2)
        assert keys_of(consumer.wait(50)) == each_once(50)
        assert keys_of(tls_consumer.wait(50)) == each_once(50)
        for name, reason in (
            ("wrong", "invalid peer certificate: UnknownIssuer"),
            ("misnamed", "invalid peer certificate: certificate not valid for name"),
            ("password", "authorization violation"),
        ):
            wait_until(
                lambda name=name, reason=reason: any(
                    str(brokers[name].port) in line and reason in line for line in cluster.journal().splitlines()
                ),
                f"{reason} of {name}",
            )
        assert "hunter2" not in cluster.journal() + cluster.log()
        # What waits for the one that has let nobody in goes out as soon as it does.
        brokers["password"].stop()
        path = cluster.machine.path("/nats/password.conf")
        path.write_text(path.read_text().replace('"other"', '"hunter2"'))
        brokers["password"].start()
        keeper = Consumer(brokers["password"], subject=None, user="gateway", password="hunter2")
        wait_until(lambda: keeper.stream_count("events") == 50, "the events of the one with a password")
        keeper.close()
    finally:
        tls_consumer.close()
        for one in brokers.values():
            one.end()


def test_a_login_that_expires_is_told_before_and_after_and_stops_nobody_else(cluster, s3, broker, consumer, tmp_path):
    operator = Operator(tmp_path)
    strict = Broker(cluster.machine, "strict", config=operator.configuration).start()
    subscriber = Consumer(strict, **operator.login().options)
    file = cluster.machine.path("/nats/gateway.creds")
    expires = int(time.time()) + 20
    file.write_text(operator.login(expires).credentials)
    lines = [FIND_MODULE, 'local nats = require("rgw_nats")']
    for url, login in ((broker.url, ""), (strict.url, ', auth = { credentials_file = "/nats/gateway.creds" }')):
        lines.append(f'assert(nats.notify(Request, {{ url = "{url}"{login} }}))')

    def connections():
        (found,) = ask(cluster, s3, "return nats.status().connections")
        return {one["url"]: one for one in found}

    try:
        cluster.put_script("\n".join(lines))
        put_many(cluster, 20, clients=2)
        assert keys_of(subscriber.wait(20)) == keys_of(consumer.wait(20)) == each_once(20)
        assert int(connections()[strict.url]["login_expires_ms"]) == expires * 1000
        wait_until(lambda: time.time() > expires and not strict.connections(), "the login to expire", timeout=40)
        cluster.put_script("\n".join(lines))
        put_many(cluster, 20, clients=2, prefix="later")
        assert keys_of(consumer.wait(40)) == each_once(20) + each_once(20, "later")

        def told():
            return [line for line in cluster.journal().splitlines() if strict.url in line]

        wait_until(lambda: any("authorization violation" in line.lower() for line in told()), "the refusal")
        assert any("Authentication Expired" in line for line in told()), told()
        found = connections()
        assert (found[strict.url]["pending"], found[strict.url]["connected"]) == ("20", "false")
        assert (found[broker.url]["pending"], found[broker.url]["last_error"]) == ("0", "")
        # A new login in the file is taken up by itself, and what waits goes out.
        file.write_text(operator.login().credentials)
        assert keys_of(subscriber.wait(40)) == each_once(20) + each_once(20, "later")
    finally:
        subscriber.close()
        strict.end()
