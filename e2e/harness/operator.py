"""An operator of NATS with one account, made by openssl: what a server in operator mode trusts, and users' logins."""

import base64
import binascii
import json
import subprocess
import time
from dataclasses import dataclass

#: The first byte of a key, which makes its first letter.
_KINDS = {"operator": 14 << 3, "account": 0, "user": 20 << 3}
_SEED = 18 << 3
_UNLIMITED = {"subs": -1, "data": -1, "payload": -1}
_CREDENTIALS = """-----BEGIN NATS USER JWT-----
{jwt}
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------
"""


def _checked(data):
    """As nkeys are written: with CRC-16/XMODEM behind it, in base32."""
    return base64.b32encode(data + binascii.crc_hqx(data, 0).to_bytes(2, "little")).decode().rstrip("=")


def _base64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class _Pair:
    """A key pair: `public` and `seed` as nkeys are written."""

    def __init__(self, directory, name, kind):
        self._file = directory / f"{name}.pem"
        self._openssl("genpkey", "-algorithm", "ed25519", "-out", self._file)
        # The key itself is the end of what openssl wraps around it.
        seed = self._openssl("pkey", "-in", self._file, "-outform", "DER")[-32:]
        public = self._openssl("pkey", "-in", self._file, "-pubout", "-outform", "DER")[-32:]
        first = _KINDS[kind]
        self.public = _checked(bytes([first]) + public)
        self.seed = _checked(bytes([_SEED | first >> 5, (first & 31) << 3]) + seed)

    @staticmethod
    def _openssl(*arguments):
        return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True).stdout

    def sign(self, data):
        message = self._file.with_suffix(".message")
        message.write_bytes(data)
        return self._openssl("pkeyutl", "-sign", "-rawin", "-inkey", self._file, "-in", message)

    def jwt(self, subject, kind, claims, expires=None):
        """A JWT about the holder of another key."""
        claims = {**claims, "type": kind, "version": 2}
        body = {"jti": subject.public, "iat": int(time.time()), "iss": self.public, "sub": subject.public}
        body |= {"name": kind, "nats": claims} | ({"exp": int(expires)} if expires else {})
        parts = ({"typ": "JWT", "alg": "ed25519-nkey"}, body)
        text = ".".join(_base64url(json.dumps(part).encode()) for part in parts)
        return f"{text}.{_base64url(self.sign(text.encode()))}"


@dataclass
class Login:
    """Of a user: the text of a file with credentials, and what nats-py connects with."""

    credentials: str
    options: dict


class Operator:
    """One account; keys lie in `directory`."""

    def __init__(self, directory):
        self._directory, self._users = directory, 0
        self._key, self._account = _Pair(directory, "operator", "operator"), _Pair(directory, "account", "account")
        self._jwt = self._key.jwt(self._key, "operator", {})
        limits = {"imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1, **_UNLIMITED}
        self._account_jwt = self._key.jwt(self._account, "account", {"limits": limits})

    @property
    def configuration(self):
        """The lines of a server that trusts it."""
        preload = f'resolver_preload: {{ {self._account.public}: "{self._account_jwt}" }}'
        return f'operator: "{self._jwt}"\nresolver: MEMORY\n{preload}'

    def login(self, expires=None):
        """Of a new user, until a time in seconds since 1970, if any."""
        self._users += 1
        user = _Pair(self._directory, f"user{self._users}", "user")
        jwt = self._account.jwt(user, "user", _UNLIMITED, expires)

        def sign(nonce):
            return base64.b64encode(user.sign(nonce.encode()))

        options = {"user_jwt_cb": jwt.encode, "signature_cb": sign}
        return Login(_CREDENTIALS.format(jwt=jwt, seed=user.seed), options)
