"""S3 requests that boto3 does not make: signed here, sent by urllib3."""

import hashlib
import hmac
from urllib.parse import urlsplit

import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

_REGION = "us-east-1"
_EMPTY = hashlib.sha256(b"").hexdigest()


class _Chunked(S3SigV4Auth):
    """Signs the headers of a request whose body is signed chunk by chunk."""

    def payload(self, request):
        return "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"


def request(method, url, access, secret, body=b"", headers=None, auth=S3SigV4Auth):
    """Sends a signed request; returns the reply."""
    prepared = _sign(method, url, access, secret, body, headers, auth)
    return _send(method, url, body, prepared)


def put_in_chunks(url, access, secret, chunks, headers=None):
    """PUTs an object in chunks, each of which has a signature of its own."""
    size = sum(map(len, chunks))
    own = {"Content-Encoding": "aws-chunked", "x-amz-decoded-content-length": str(size), **(headers or {})}
    signed = _sign("PUT", url, access, secret, b"", own, _Chunked)
    moment = signed["X-Amz-Date"]
    scope = f"{moment[:8]}/{_REGION}/s3/aws4_request"
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = signed["Authorization"].rpartition("Signature=")[2]
    body = b""
    for chunk in [*chunks, b""]:
        digest = hashlib.sha256(chunk).hexdigest()
        text = "\n".join(("AWS4-HMAC-SHA256-PAYLOAD", moment, scope, signature, _EMPTY, digest))
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        body += f"{len(chunk):x};chunk-signature={signature}\r\n".encode() + chunk + b"\r\n"
    return _send("PUT", url, body, signed)


def _sign(method, url, access, secret, body, headers, auth):
    """The headers of a request, its signature among them."""
    # S3SigV4Auth wants a client's configuration and takes it from the request's context.
    unsigned = AWSRequest(method, url, {"Host": urlsplit(url).netloc, **(headers or {})}, body)
    auth(Credentials(access, secret), "s3", _REGION).add_auth(unsigned)
    return dict(unsigned.headers)


def _send(method, url, body, headers):
    reply = urllib3.request(method, url, body=body, headers=headers, retries=False)
    assert 200 <= reply.status < 300, f"{method} {url}: {reply.status} {reply.data!r}"
    return reply
