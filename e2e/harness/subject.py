"""Subjects read back, by docs/api.md alone: what a consumer would write."""

import re
from urllib.parse import unquote_to_bytes

_LEGAL = re.compile(r"[^\s\x00-\x20\x7f-\x9f.*>]+(\.[^\s\x00-\x20\x7f-\x9f.*>]+)*")
_CUT = re.compile(r"(.*)%~[0-9A-F]{16}(.*)")


def is_legal(subject):
    """Whether NATS takes it: tokens with dots between, of no white space, control characters and wildcards."""
    return len(subject.encode()) <= 3900 and _LEGAL.fullmatch(subject) is not None


def value_of(token):
    """The bytes that a token stands for."""
    if token == "-":
        return b""
    assert not re.search("%(?![0-9A-F]{2})", token), f"{token} has a % that begins no escape"
    return unquote_to_bytes(token)


def key_of(tokens):
    """The bytes of a key from its tokens."""
    return b"/".join(map(value_of, tokens))


def ends_of(tokens):
    """The bytes before and after what was cut out of a key that was too long; nothing if it is whole."""
    ends = _CUT.fullmatch(".".join(tokens))
    return [b"/".join(value_of(token) for token in end.split(".") if token) for end in ends.groups()] if ends else None
