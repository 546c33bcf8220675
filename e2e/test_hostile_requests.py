"""No request that a client can send harms the gateway: it lives, and what changes an object is an event, no more."""

import base64
import contextlib
import email.header
import hashlib
import itertools
import random
import re
import threading
import time

import pytest
from harness import hostile, wait_until
from harness.attack import COPY, DELETE, PUT, md5, tags_of
from harness.raw_client import RawClient
from harness.subject import ends_of, is_legal


def largest(limit, is_taken):
    """The largest number up to a limit that the gateway takes."""
    low = 0
    while low < limit:
        middle = (low + limit + 1) // 2
        low, limit = (middle, limit) if is_taken(middle) else (low, middle - 1)
    return low


@pytest.fixture
def keys_without_tls(scripted):
    """RGW takes keys of the customer's over a connection that others can read."""
    option = ("client.rgw.a", "rgw_crypt_require_ssl")
    scripted.machine.run("ceph", "config", "set", *option, "false")
    yield
    scripted.machine.run("ceph", "config", "rm", *option)


def test_tags_that_hang_or_abort_a_script_that_walks_them_arrive_as_the_gateway_has_stored_them(attack):
    for number, tagging in enumerate(hostile.TAGGINGS):
        attack.put(b"%d" % number, headers=[("x-amz-tagging", tagging)])
    events = attack.end()
    assert len(events) >= 18
    for event in events:
        tags = sorted((pair["key"], pair["val"]) for pair in event.record["s3"]["object"]["tags"])
        assert tags == tags_of(attack.ask("GET", event.key.encode(), "tagging").body), hostile.TAGGINGS[int(event.key)]


def test_a_plus_among_tags_with_a_repeated_key_stays_a_plus(attack):
    attack.put(b"k", headers=[("x-amz-tagging", "a+b=1+2&c=1&c=2")])
    (event,) = attack.end()
    tags = [(pair["key"], pair["val"]) for pair in event.record["s3"]["object"]["tags"]]
    assert sorted(tags) == [("a+b", "1+2"), ("c", "1"), ("c", "2")]


def test_as_much_metadata_as_the_front_end_takes(attack):
    def many(count):
        headers = [(f"x-object-meta-{n:x}", f"{n}") for n in range(count)]
        return attack.put(b"many/%d" % count, late=headers).ok

    def long(size):
        return attack.put(b"long/%d" % size, late=[("x-object-meta-v", b"v" * size)]).ok

    assert long(2048)
    most, longest = largest(2000, many), largest(20000, long)
    assert most > 256
    assert longest > 8192
    sent = {(f"x-amz-meta-{n:x}", f"{n}") for n in range(most)}
    events = {event.key: event.record["s3"]["object"]["metadata"] for event in attack.end()}
    kept = {(pair["key"], pair["val"]) for pair in events[f"many/{most}"]}
    assert len(kept) == 256, "as many as documented"
    assert kept < sent
    assert events["long/2048"] == [{"key": "x-amz-meta-v", "val": "v" * 2048}]
    assert events[f"long/{longest}"] == [{"key": "x-amz-meta-v", "val": "v" * longest}]


def test_metadata_of_any_bytes(attack):
    for number, header in enumerate(hostile.METADATA):
        attack.put(b"%d" % number, late=[header])
    events = attack.end()
    assert len(events) >= 10
    for event in events:
        (name, value), pairs = hostile.METADATA[int(event.key)], event.record["s3"]["object"]["metadata"]
        if pairs and not value.startswith(b"=?"):
            # What is no plain text RGW itself writes as mail headers do.
            ((whole, charset),) = email.header.decode_header(pairs[0]["val"])
            given = re.sub(rb"\r\n +", b" ", value)
            assert (whole if charset else whole.encode()) == given, name


def test_headers_that_scripts_can_see_but_records_have_not(attack):
    for number, header in enumerate(hostile.ENVIRONMENT):
        attack.put(b"%d" % number, late=[header])
    attack.put(b"all", late=[header for header in hostile.ENVIRONMENT if header[0] not in ("Date", "Expect")])
    for event in attack.end():
        assert event.record["requestParameters"] == {"sourceIPAddress": "127.0.0.1"}
    assert len(attack.wanted) >= 10


def test_keys_of_any_bytes_come_back_from_subjects(attack):
    dice = random.Random(1)
    made = [b"".join(dice.choices(hostile.LETTERS, k=dice.randrange(1, 30))) for _ in range(60)]
    taken = [key for key in dict.fromkeys(hostile.KEYS + made) if attack.put(key).ok]
    assert set(taken) >= {key for key in hostile.KEYS if len(key) <= 1024 and b"\0" not in key and _is_text(key)}
    # A form takes those, too, that the path of a URL may not have; one that ends in a NUL RGW stores and never lists.
    for key in (b"a\0b", b"a\0/b", b"\xff\xfe\xc3", b"..\xff/\xff.."):
        assert attack.post_form(key).ok
    attack.end()


def _is_text(key):
    with contextlib.suppress(UnicodeDecodeError):
        return bool(key.decode())
    return False


def test_a_key_that_makes_too_long_a_subject_is_shortened(attack):
    # An upload by a form may have a key of some 2,000 bytes.
    keys = [b"." * 1900 + b"a", b"." * 1900 + b"b", b"." * 1300, b"a/" * 20 + b"*" * 1500, b"/" * 1990, b"\xff" * 1500]
    # Each place of the cut: before, in and behind an escape that follows a letter of more than one byte.
    keys += [b"a" * before + "é...".encode() * 370 for before in range(11)]
    for key in keys:
        assert attack.raw.post_form(attack.bucket, key).ok
    attack.put(b"last")
    events = {event.key: event for event in attack.consumer.wait(len(keys) + 1, timeout=2)}
    assert len({event.subject for event in events.values()}) == len(keys) + 1
    for key in keys:
        subject = events[key.decode(errors="replace")].subject
        assert is_legal(subject)
        head, tail = ends_of(subject.split(".")[3:])
        assert head
        assert key.startswith(head)
        assert key.endswith(tail)


@pytest.mark.usefixtures("keys_without_tls")
def test_secrets_in_headers_never_leave_the_gateway(attack, swift):
    secret = hashlib.sha256(b"secret").digest()
    words = [base64.b64encode(secret).decode(), base64.b64encode(hashlib.md5(secret).digest()).decode(), "hunter2"]
    customer = "x-amz-server-side-encryption-customer-"
    keys = {f"{customer}algorithm": "AES256", f"{customer}key": words[0], f"{customer}key-MD5": words[1]}
    wait_until(lambda: attack.put(b"sse-c", headers=keys).ok, "a key of the customer's to be taken without TLS")
    assert attack.ask("GET", b"sse-c", headers=keys).body == b"x"
    assert attack.put(b"mine", headers=[("x-amz-meta-mine", "yes"), ("x-amz-secret", "hunter2")]).ok
    for name in ("security-token", "mfa", "secret", "delete-at", "website-redirect-location", "server-side-x", "meta"):
        assert attack.put(name.encode(), headers=[(f"x-amz-{name}", "hunter2")]).ok
    late = [swift, *((name, "hunter2") for name in ("Cookie", "X-Goog-Security-Token", "X-Auth-Key"))]
    assert attack.put(b"others", late=late).ok
    url = attack.s3.generate_presigned_url("put_object", Params={"Bucket": attack.bucket, "Key": "url"})
    words += [swift[1], re.search("Signature=([^&]+)", url)[1]]
    assert attack.raw.ask_unsigned("PUT", url[url.index("/", 8) :]).ok
    attack.wanted[PUT, b"url"] += 1
    events = attack.end()
    assert len(attack.wanted) >= 11
    said = "\n".join([attack.cluster.journal(), *(f"{event.subject} {event.headers} {event.data}" for event in events)])
    for word in words:
        assert word not in said
    metadata = {event.key: event.record["s3"]["object"]["metadata"] for event in events}
    assert metadata.pop("mine") == [{"key": "x-amz-meta-mine", "val": "yes"}]
    assert not any(metadata.values())


def test_requests_of_those_who_may_not_are_no_events(attack, swift):
    assert attack.put(b"k").ok
    token = (swift[0], swift[1][:-1] + "\xff")
    for access, secret in (("other", "other"), ("test", "wrong"), ("stranger", "x"), ("", ""), ("\u00e9", "x")):
        client = RawClient(attack.cluster.s3_port, access, secret)
        for method, key, query, body in (
            ("PUT", b"k", "", b"x"),
            ("PUT", b"new", "", b"x"),
            ("PUT", b"k", "tagging", b"<Tagging><TagSet/></Tagging>"),
            ("DELETE", b"k", "", b""),
            ("POST", b"", "delete", b"<Delete><Object><Key>k</Key></Object></Delete>"),
            ("POST", b"new", "uploads", b""),
        ):
            reply = client.ask(method, attack.path(key), query, body=body)
            # 20.2 tells of each key by itself.
            assert reply.status in (400, 403) or (query == "delete" and b"<Code>AccessDenied" in reply.body)
        copy = [("x-amz-copy-source", f"/{attack.bucket}/k")]
        assert client.ask("PUT", attack.path(b"copy"), headers=copy).status in (400, 403)
        assert client.post_form(attack.bucket, b"form").status in (400, 403)
    target = attack.path(b"k")
    expired = attack.s3.generate_presigned_url("put_object", Params={"Bucket": attack.bucket, "Key": "k"}, ExpiresIn=-9)
    for method in ("PUT", "DELETE"):
        assert attack.raw.ask_unsigned(method, target).status == 403
        assert attack.raw.ask_unsigned(method, b"/swift/v1" + target, [token]).status == 401
        for words in hostile.AUTHORIZATIONS:
            headers = [("Authorization", words), ("x-amz-date", "20260101T000000Z")]
            assert attack.raw.ask_unsigned(method, target, headers).status in (400, 403)
    assert attack.raw.ask_unsigned("PUT", expired[expired.index("/", 8) :], body=b"x").status == 403
    attack.end()


def test_malformed_requests_are_no_events(attack):
    assert attack.put(b"k").ok
    assert {attack.raw.send(data).status // 100 for data in hostile.GARBAGE} <= {0, 4, 5}
    for headers in ([("Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg==")], [("Content-MD5", "zz")], [("If-Match", "none")]):
        assert attack.put(b"new", headers=headers).status in (400, 404, 412)
    assert attack.put(b"k", headers=[("If-None-Match", "*")]).status == 412
    for query, body in hostile.BAD_BODIES:
        for method in ("PUT", "POST"):
            assert attack.ask(method, b"k", query, body=body).status >= 400, (method, query, body[:20])
    for body in hostile.BAD_DELETES:
        attack.ask("POST", b"", "delete", body=body, headers=[("Content-MD5", md5(body))])
    here = f"/{attack.bucket}"
    for source in ("", "/", "%00", "/%ff/%00", "/none/k", f"{here}/none", f"{here}/k?versionId=%00"):
        assert attack.ask("PUT", b"copy", event=COPY, headers=[("x-amz-copy-source", source)]).status in (400, 404)
    whole = attack.raw.build("PUT", attack.path(b"new"), body=b"x" * 100)
    assert attack.raw.send(whole[:-1] + b"y").status == 400, "not what was signed"
    chunked = attack.raw.build("PUT", attack.path(b"new"), late=[("Transfer-Encoding", "chunked")])
    for body in (b"zz\r\nabc\r\n", b"ffffffffffffffff\r\nabc", b"10\r\nabc", b"3\r\nabc\r\n", b"-1\r\n", b"3" * 9000):
        assert not attack.raw.send(chunked + body).ok
    attack.end()


def test_a_thousand_keys_deleted_at_once_harm_nobody(attack):
    """No release shows their keys to a script, so there is no event."""
    keys = b"".join(b"<Object><Key>%d</Key></Object>" % n for n in range(1000))
    body = b"<Delete>%s</Delete>" % keys
    reply = attack.ask("POST", b"", "delete", body=body, headers=[("Content-MD5", md5(body))])
    assert (reply.status, reply.body.count(b"<Deleted>")) == (200, 1000)
    attack.end()


def test_uploads_that_break_off_are_no_events_and_those_whose_client_is_gone_are(attack):
    perhaps = []
    for number in range(10):
        broken = attack.raw.build("PUT", attack.path(b"broken"), body=b"x" * 50000)
        for size in (len(broken) - 50000, len(broken) - 1, 300):
            attack.raw.abandon(broken[:size], reset=number % 2 == 0)
        key = b"gone/%d" % number
        attack.raw.abandon(attack.raw.build("PUT", attack.path(key), body=b"x"))
        attack.wanted[PUT, key] += 1
        # A reset can overtake the request.
        key = b"reset/%d" % number
        attack.raw.abandon(attack.raw.build("PUT", attack.path(key), body=b"x"), reset=True)
        perhaps.append((PUT, key))
    attack.end(perhaps)


def test_many_requests_over_one_connection_are_as_many_events(attack):
    keys = [b"%d" % number for number in range(50)]
    assert attack.raw.pipeline(attack.raw.build("PUT", attack.path(key), body=b"x") for key in keys) == [200] * 50
    attack.wanted.update((PUT, key) for key in keys)
    attack.end()


def test_reads_with_hostile_queries_are_no_events(attack):
    assert attack.put(b"k", headers=[("x-amz-tagging", "a=1&a=2&%00=3")]).ok
    for query in hostile.QUERIES:
        for method in ("GET", "HEAD"):
            for key in (b"k", b"none", b""):
                attack.ask(method, key, query)
    assert attack.ask("GET", b"k").body == b"x"
    attack.end()


@pytest.fixture
def behind_a_proxy(scripted):
    """A client of a further gateway, which takes a client's address from a header."""
    gateway, port = scripted.further_gateway("behind_a_proxy", "--rgw-remote-addr-param=HTTP_X_FORWARDED_FOR")
    yield RawClient(port)
    assert gateway.is_alive()


def test_an_address_that_a_client_makes_up_is_no_more_than_a_text(attack, behind_a_proxy):
    addresses = (b"10.1.2.3", b"", b",", b"\xff\xfe", b'"\\{key}.*>', b"x" * 9000, b"::1, 10.1.2.3", b"a\tb")
    for number, address in enumerate(addresses):
        late = [("X-Forwarded-For", address)]
        assert behind_a_proxy.ask("PUT", attack.path(b"%d" % number), body=b"x", late=late).ok
        attack.wanted[PUT, b"%d" % number] += 1
    found = {event.key: event.record["requestParameters"]["sourceIPAddress"] for event in attack.end()}
    assert found["0"] == "10.1.2.3"
    assert found["5"].strip("x") == ""


def test_eight_clients_at_once_do_all_of_this(attack):
    other = RawClient(attack.cluster.s3_port, "other", "other")
    attack.put(b"source")
    failures = []

    def tangle(dice, key):
        """One request of any kind."""
        odd = key + b"".join(dice.choices(hostile.LETTERS, k=dice.randrange(30)))
        # One key some hundred times in a request ends 16.2, script or not.
        gone = b"".join(b"<Object><Key>none/%d</Key></Object>" % n for n in range(dice.randrange(1000)))
        body = b"<Delete>%s</Delete>" % gone
        whole = attack.raw.build("PUT", attack.path(b"broken"), body=b"x" * 1000)
        dice.choice(
            (
                lambda: attack.put(odd),
                lambda: attack.put(key, headers=[("x-amz-tagging", dice.choice(hostile.TAGGINGS))]),
                lambda: attack.put(key, late=[(b"x-object-meta-%d" % n, b"v") for n in range(dice.randrange(700))]),
                lambda: attack.put(key, late=[dice.choice(hostile.METADATA)]),
                lambda: attack.put(key, late=[dice.choice(hostile.ENVIRONMENT)]),
                lambda: attack.post_form(odd + b"/"),
                lambda: attack.ask("PUT", key, event=COPY, headers=[("x-amz-copy-source", f"/{attack.bucket}/source")]),
                lambda: (attack.put(key), attack.ask("DELETE", key, event=DELETE)),
                lambda: attack.ask("POST", b"", "delete", body=body, headers=[("Content-MD5", md5(body))]),
                lambda: attack.ask(dice.choice(("GET", "HEAD")), b"source", dice.choice(hostile.QUERIES)),
                lambda: attack.ask("PUT", key, dice.choice(hostile.BAD_BODIES)[0], body=b"<"),
                lambda: attack.raw.send(dice.choice(hostile.GARBAGE)),
                lambda: attack.raw.abandon(whole[: -dice.randrange(1, 1000)], reset=dice.random() < 0.5),
                lambda: other.ask("PUT", attack.path(key), body=b"x"),
            )
        )()

    def work(number):
        dice, end = random.Random(number), time.monotonic() + 4
        try:
            for count in itertools.count():
                tangle(dice, b"%d/%d/" % (number, count))
                if time.monotonic() > end:
                    return
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(attack.wanted) > 100
    attack.end()
