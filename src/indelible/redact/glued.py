"""A name that a value took with it: ``Bearer abc/password: x``, ``?sig=abc/token = x``, ``Bearer abc/Bearer def``.

A token runs as far as its alphabet goes, and names are spelled in the same letters. Where what was taken ends as a
sensitive name, and a value of that name follows, the value would stay behind without a name. So a name is left in
its place, one of a few fixed words, since what was taken may be a secret to its last letter; `indelible.redact.pairs`
then takes the value.
"""

from __future__ import annotations

import re
import string
from typing import Final

from indelible.redact.keys import KeyNames

CLOSERS: Final = r"\"'\\\])`*"
"""What may stand between a name and its separator, in a class."""
SEPARATOR: Final = r"(?:=>|:=|={1,3}|::?|%3[Dd])"
SCHEMES: Final = "bearer|basic|digest|negotiate|token|apikey"

_NAME_BYTES: Final = (string.ascii_letters + string.digits + "_.-").encode()
_CLOSING_BYTES: Final = b"\"'\\])`*"
_MAX_NAME: Final = 200
"""Bytes at the end of what was taken that are looked at."""
_ASSIGNED: Final = re.compile(rf"(?:%3[Dd]|[:=]{{1,3}}>?)(?:{SCHEMES})?$".encode(), re.IGNORECASE).search
_PAIR: Final = re.compile(rf"[{CLOSERS}]*+[ \t]*+{SEPARATOR}|[ \t]++(?:is|was)[ \t]".encode()).match
_FLAG: Final = re.compile(rb"[ \t]++[^\s\-]").match
_SCHEME_WORDS: Final = (b"bearer", b"basic")
_CREDENTIALS: Final = re.compile(rb"[\s:]+[A-Za-z0-9._~+/=-]{6}").match
_WORD: Final = re.compile(
    rb"password|passcode|passphrase|passwd|pwd|secret|token|pin|(?:api|access|private)[_-]?key", re.IGNORECASE
)
_WHOLE_LINE: Final = (b"cookie", b"authorization", b"authorisation")


def name_left(names: KeyNames, taken: bytes, text: bytes, end: int) -> bytes:
    """Return what has to stay of `taken`, which ends at `end` of `text`: ``/token``, ``/--token``; mostly nothing."""
    if end == len(text):
        return b""
    taken = taken[-_MAX_NAME:].rstrip(_CLOSING_BYTES)
    scheme = taken[-6:].lower()
    if scheme.endswith(_SCHEME_WORDS) and _CREDENTIALS(text, end):
        return b"/bearer" if scheme == b"bearer" else b"/basic"
    name = _last_name(taken)
    flag = name[:1] == b"-"
    if name and (_PAIR(text, end) or (flag and _FLAG(text, end))) and _sensitive(names, name):
        return b"/" + (b"--" if flag else b"") + _fixed(name)
    match = _ASSIGNED(taken)  # `a/token="b"`, `a/token=bearer b`: a separator went with it
    if match is not None:
        name = _last_name(taken[: match.start()].rstrip(_CLOSING_BYTES))
        if name and _sensitive(names, name):
            return b"/" + _fixed(name) + match[0]
    return b""


def _last_name(taken: bytes) -> bytes:
    return taken[len(taken.rstrip(_NAME_BYTES)) :]


def _sensitive(names: KeyNames, name: bytes) -> bool:
    return names.sensitive_in_text(name.decode("ascii"))


def _fixed(name: bytes) -> bytes:
    if name.lower().endswith(_WHOLE_LINE):
        return b"cookie"
    found = _WORD.findall(name)
    word: bytes = found[-1] if found else b"secret"
    return word
