"""Percent-encoding in a text (RFC 3986, section 2.1): what a run of it says, and how what is left is written back.

An escape has no length that tells its use, so a run is whatever stands together: up to a space, a quote, ``<`` or
``>``. What is no escape (``100%``, ``%zz``) stands for itself. A ``+`` may be one, or the space that it is in a form
(WHATWG URL, section 5.1): such a run is read both ways; and a ``/`` may have been a backslash of JSON.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote_from_bytes

from indelible.redact.keys import KEPT

ESCAPE: Final = "%[0-9A-Fa-f]{2}"
ESCAPE_IN_TEXT: Final = re.compile(ESCAPE)
_PLAIN: Final = rf"(?:[^\s\"<>%\[]++|\[(?:[A-Za-z0-9_-]{{1,64}} {KEPT}\])?+)*+"
"""What has no escape; a marker is one word in it, though it holds a space."""
RUN: Final = re.compile(rf"(?<![^\s\"<>]){_PLAIN}(?:%{_PLAIN})++".encode())
"""Begins only where nothing of it stands on the left: so each byte is looked at once."""

_ESCAPED: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_AS_THEY_ARE: Final = "!#$&'()*+,/:;=?@[]{}|~"
"""What is left is written with these signs: a marker stays a marker, and what has a meaning in a URL keeps it."""


def decode(run: bytes) -> bytes:
    """Return what a run says, each escape by its byte; the same object when there is no escape in it."""
    return _ESCAPED.sub(lambda escape: bytes((int(escape[1], 16),)), run) if _ESCAPED.search(run) else run


def readings(run: bytes) -> tuple[bytes, ...]:
    """Return what a run may say, each as long as the others; nothing when there is no escape in it."""
    said = decode(run)
    if said is run:
        return ()
    # As a form first: else the ``+`` of ``"password":+"x"`` would be taken for the value.
    found = (said,) if b"+" not in run else (decode(run.replace(b"+", b" ")), said)
    return found if _WAS_JSON(said) is None else (*found, said.replace(b"/", b"\\"))


_WAS_JSON: Final = re.compile(rb"/\"|/u00[0-9A-Fa-f]{2}").search
"""A URL's parser makes ``/`` of every ``\\`` (WHATWG URL, section 4.4), those of JSON's escapes too."""


def patch(run: bytes, said: bytes, left: bytes) -> bytes:
    """Return the run that says `left`, with the bytes of `run`, which says `said`, at both ends where they agree."""
    first = _same(said, left)
    # No half of a character, and no `%` that what follows would make an escape of.
    while first and (_inside(left, first) or b"%" in said[max(0, first - 2) : first]):
        first -= 1
    most = min(len(said), len(left)) - first
    last = _same(said[: -most - 1 : -1], left[: -most - 1 : -1])
    while last and _inside(left, len(left) - last):
        last -= 1
    middle = quote_from_bytes(left[first : len(left) - last], _AS_THEY_ARE).encode()
    return run[: _place(run, first)] + middle + run[_place(run, len(said) - last) :]


def _same(one: bytes, other: bytes) -> int:
    """Return how many bytes at the beginning of both are the same."""
    at = 0
    while one[at : at + _STRIDE] == other[at : at + _STRIDE] and at < min(len(one), len(other)):
        at += _STRIDE
    most = min(len(one), len(other))
    while at < most and one[at] == other[at]:
        at += 1
    return min(at, most)


_STRIDE: Final = 256


def _place(run: bytes, at: int) -> int:
    """Return where in a run the byte stands that is number `at` of what it says."""
    before = 0
    for escape in _ESCAPED.finditer(run):
        if escape.start() - 2 * before >= at:
            break
        before += 1
    return at + 2 * before


def _inside(text: bytes, at: int) -> bool:
    """Tell whether a character of UTF-8 goes on at `at`."""
    return at < len(text) and text[at] & 0xC0 == 0x80
