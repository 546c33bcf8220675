"""The script in examples/, as an administrator uploads it."""

from pathlib import Path

import pytest
from harness.cluster import FIND_MODULE
from harness.machine import PROJECT

pytestmark = pytest.mark.main


def example(broker):
    """The example with the test's broker, and with the line that it has for a module in a Lua directory."""
    text = (Path(PROJECT) / "examples/nats_notify.lua").read_text()
    assert f"-- {FIND_MODULE}" in text
    assert 'url = "nats://127.0.0.1:4222"' in text
    return text.replace(f"-- {FIND_MODULE}", FIND_MODULE).replace("nats://127.0.0.1:4222", broker.url)


def test_the_example_publishes(cluster, s3, broker, consumer):
    cluster.put_script(example(broker))
    s3.put_object(Bucket="bkt", Key="hello.txt", Body=b"hello")
    (event,) = consumer.wait(1)
    assert event.subject == "s3.bkt.ObjectCreated:Put"
    assert event.headers["Content-Type"] == "application/json"


def test_a_tenant_has_a_script_of_its_own(cluster, broker, consumer, release):
    keys = ("--access-key=acme", "--secret-key=acme")
    cluster.admin("user", "create", "--uid=owner", "--tenant=acme", "--display-name=Owner", *keys)
    cluster.put_script(example(broker), tenant="acme")
    client = cluster.s3("acme", "acme")
    client.create_bucket(Bucket="private")
    client.put_object(Bucket="private", Key="k", Body=b"x")
    (event,) = consumer.wait(1)
    record = event.record
    region = "" if release == "16.2" else "default"
    assert record["s3"]["bucket"]["arn"] == f"arn:aws:s3:{region}:acme:private"
    # As RGW's own records have it: 20 writes the tenant, the others do not.
    owner = "acme$owner" if release == "20.2" else "owner"
    assert record["userIdentity"]["principalId"] == owner
    assert record["s3"]["bucket"]["ownerIdentity"]["principalId"] == owner
    cluster.admin("script", "rm", "--context=postRequest", "--tenant=acme", "--uid=acme$owner", check=False)
