"""Mail addresses: what RE2 finds (`PATTERN`), and the same found around each ``@`` at a third of the cost.

Most texts with an address in them hold nothing odd: no ``%40``, no ``\\u0040``, no quoted local part. There an
address is the run of allowed signs on both sides of an ``@``, which needs no search. `quick` does those, and
says so when it cannot; `tests/unit/redact/test_quick.py` holds it against the pattern.
"""

from __future__ import annotations

import re
import string
from typing import Any, Final

Match = Any

LOCAL: Final = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~\x80-\xff-]"
AT: Final = r"(?:@|%40|\\+u0040|&#64;)"
PATTERN: Final = (
    rf"(?:{LOCAL}+|\"[^\"\s]{{1,64}}\"){AT}"
    r"(?:[A-Za-z0-9\x80-\xff_-]+\.)+[A-Za-z\x80-\xff][A-Za-z0-9\x80-\xff-]+"
)
HINT: Final = rf"(?:{LOCAL}|\"){AT}[A-Za-z0-9\x80-\xff_-]"
NEEDLES: Final = ("@", "40", "64;")

_LOCAL_BYTES: Final = (string.ascii_letters + string.digits + ".!#$%&'*+/=?^_`{|}~-").encode() + bytes(
    range(0x80, 0x100)
)
_HOST: Final = rb"(?:[A-Za-z0-9\x80-\xff_-]+\.)+[A-Za-z\x80-\xff][A-Za-z0-9\x80-\xff-]+"
_DOMAIN: Final = re.compile(_HOST).match
_ORDINARY: Final = re.compile(rb"(?!git@)[A-Za-z0-9][A-Za-z0-9._+-]*+@(?![1-4]x\.)" + _HOST).match
_RETINA = re.compile(rb"@[1-4]x\.(?:png|jpe?g|gif|svg|webp|avif|ico)$", re.IGNORECASE)
_PLAIN: Final = re.compile(rb"(?!git@)[A-Za-z0-9][A-Za-z0-9._+-]*@(?![1-4]x\.)[^@%]+").fullmatch
_SIGNS: Final = (b"@", b"%40", b"\\u0040", b"&#64;")
_JOINTS: Final = (b"/", b"=", b"?", b"&", b"|")


def replace(_match: Match, text: bytes, begin: int, end: int) -> bytes | None:
    """Return what takes the place of a match of `PATTERN`; None keeps it."""
    return _instead(text[begin:end])


def quick(text: bytes) -> bytes | None:
    """Return `text` without its addresses, as the pattern would; None when only the pattern can tell.

    Linear: what stands on the left of an ``@`` is looked at up to the ``@`` before it, and so on the right.
    """
    at = text.find(b"@")
    if at < 0 or text.find(b"40") >= 0 or text.find(b"64;") >= 0 or text.find(b'"@') >= 0:
        return None
    pieces: list[bytes] = []
    copied = free = 0
    while at >= 0:
        before = text[free:at]
        start = free + len(before.rstrip(_LOCAL_BYTES))
        if (match := _ORDINARY(text, start)) is not None:
            free = match.end()
            pieces += (text[copied:start], b"[EMAIL]")
            copied = free
        elif start < at and (match := _DOMAIN(text, at + 1)) is not None:
            free = match.end()
            new = _instead(text[start:free])
            if new is not None:
                pieces += (text[copied:start], new)
                copied = free
        else:
            free = at + 1
        at = text.find(b"@", free)
    if not pieces:
        return text
    pieces.append(text[copied:])
    return b"".join(pieces)


def _instead(found: bytes) -> bytes | None:
    if _PLAIN(found):
        return b"[EMAIL]"
    at = max(map(found.rfind, _SIGNS))
    local = found[: at + 1].rstrip(b"@%\\&")
    # What stands in front of a mail's local part in a URL or a path is no part of it.
    start = max(map(local.rfind, _JOINTS)) + 1
    start += len(local) - start - len(local[start:].lstrip(b"'`{*.^~"))
    # `git@github.com:owner/repo` is the address of a repository, `icon@2x.png` a file.
    if start == len(local) or local[start:] == b"git" or _RETINA.search(found[at:]):
        return None
    return local[:start] + b"[EMAIL]"
