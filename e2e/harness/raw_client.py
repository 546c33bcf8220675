"""A client that sends what client libraries refuse to: any bytes as a request, signed where that is wanted."""

import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import re
import socket
import struct
from dataclasses import dataclass
from urllib.parse import quote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

#: A form may have any key, in any of this user's buckets.
ANY_KEY = {
    "expiration": "2100-01-01T00:00:00Z",
    "conditions": [["starts-with", f"${name}", ""] for name in ("key", "bucket", "success_action_redirect", "tagging")]
    + [["starts-with", "$success_action_status", ""]],
}


@dataclass
class Reply:
    """What the gateway answered; status 0 if it closed the connection without an answer."""

    status: int
    headers: dict
    body: bytes

    @property
    def ok(self):
        return 200 <= self.status < 300


class RawClient:
    """Sends each request over a connection of its own, byte by byte as it was asked to."""

    def __init__(self, port, access="test", secret="test"):
        self._address = ("127.0.0.1", port)
        self.host = f"127.0.0.1:{port}"
        self._credentials = Credentials(access, secret)

    def build(self, method, path, query="", headers=(), body=b"", late=()):
        """The bytes of a signed request. `path` is of plain bytes, `headers` are pairs of texts and signed, `late` are
        pairs of texts or bytes that are not.
        """
        target = quote(path, safe="/~") + (f"?{query}" if query else "")
        request = AWSRequest(method, f"http://{self.host}{target}", {"Host": self.host, **dict(headers)}, body)
        S3SigV4Auth(self._credentials, "s3", "us-east-1").add_auth(request)
        return plain(method, target, [*request.headers.items(), *late], body)

    def ask(self, method, path, query="", headers=(), body=b"", late=()):
        """Sends a signed request and returns the reply."""
        return self.send(self.build(method, path, query, headers, body, late), method)

    def ask_unsigned(self, method, target, headers=(), body=b""):
        """Sends a request that is not signed and returns the reply."""
        return self.send(plain(method, target, [("Host", self.host), *headers], body), method)

    def send(self, data, method="PUT"):
        """Sends bytes and no more after them; returns the reply."""
        with socket.create_connection(self._address, 20) as connection:
            # The gateway may refuse a request before it is through; its answer can still be there.
            with contextlib.suppress(OSError):
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
            return _read_reply(connection, method)

    def pipeline(self, requests):
        """Sends requests over one connection without waiting for replies between them; returns their status."""
        with socket.create_connection(self._address, 20) as connection:
            connection.sendall(b"".join(requests))
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        return [int(status) for status in re.findall(rb"^HTTP/1\.1 (\d+)", answer, re.MULTILINE)]

    def abandon(self, data, reset=False):
        """Sends bytes and is gone without waiting for a reply; by a reset, if so wanted."""
        with socket.create_connection(self._address, 20) as connection:
            connection.sendall(data)
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def post_form(self, bucket, key, fields=(), filename=b"file", policy=ANY_KEY, secret=None):
        """Uploads as a browser's form does; all of the form is of bytes."""
        words = base64.b64encode(policy if isinstance(policy, bytes) else json.dumps(policy).encode())
        mac = hmac.new((secret or self._credentials.secret_key).encode(), words, hashlib.sha1)
        signed = [(b"AWSAccessKeyId", self._credentials.access_key.encode()), (b"policy", words)]
        signed.append((b"signature", base64.b64encode(mac.digest())))
        part = b'--x\r\nContent-Disposition: form-data; name="%s"'
        body = b"".join(part % name + b"\r\n\r\n%s\r\n" % value for name, value in [(b"key", key), *signed, *fields])
        body += part % b"file" + b'; filename="%s"\r\n\r\nabc\r\n--x--\r\n' % filename
        kind = ("Content-Type", "multipart/form-data; boundary=x")
        return self.ask_unsigned("POST", f"/{bucket}", [kind], body)


def plain(method, target, headers=(), body=b""):
    """The bytes of a request as it is given, but for a length if there is none."""
    lines = [b"%s %s HTTP/1.1" % (_bytes(method), _bytes(target))]
    lines += [b"%s: %s" % (_bytes(name), _bytes(value)) for name, value in headers]
    names = {_bytes(name).lower() for name, _ in headers}
    if (body or method in ("PUT", "POST")) and not names & {b"content-length", b"transfer-encoding"}:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body])


def _bytes(text):
    return text.encode() if isinstance(text, str) else text


def _read_reply(connection, method):
    response = http.client.HTTPResponse(connection, method=method)
    try:
        response.begin()
        return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    except (OSError, http.client.HTTPException):
        return Reply(0, {}, b"")
