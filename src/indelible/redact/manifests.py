"""Secrets of Kubernetes: of a manifest of kind ``Secret``, all that ``data`` and ``stringData`` hold; keys in JSON.

Names of keys say nothing there (``db``, ``tls.crt``), the kind says it all. As YAML in a text: block style, as kubectl
writes it; every value at one level below ``data`` goes, with its further lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from indelible.redact.spans import Span

KIND: Final = "Secret"
HOLDERS: Final = ("data", "stringData")
"""Members of a Secret whose values are secrets (Kubernetes API reference, Secret v1)."""

KEY_TYPE: Final = "kty"
KEY_PARTS: Final = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "k"))
"""Members of a key in JSON that are secret, and what tells that it is one (RFC 7518, section 6)."""

HINT: Final = r"kind\\*[\"']?:(?:\s|\\+[nrt])*\\*[\"']?Secret|kty\\*\""
IN_TEXT: Final = re.compile("Secret|kty")

_KIND: Final = re.compile(rb"(?m)^[ \t-]*kind:[ \t]*[\"']?Secret[\"']?[ \t]*\r?$")
_SPLIT: Final = re.compile(rb"(?m)^---.*$")
_HOLDER: Final = re.compile(rb"([ \t]*)(?:- )?[\"']?(?:data|stringData)[\"']?:[ \t]*(?:#.*)?\r?\Z")
_ITEM: Final = re.compile(rb"[ \t]*[\"']?[A-Za-z0-9._-]+[\"']?:[ \t]*")


class Manifests:
    """Finds the values of Secrets in YAML, as a pattern finds its matches."""

    def finditer(self, text: bytes) -> Iterator[Span]:
        """Yield every value in order. Each line is looked at once."""
        if _KIND.search(text) is None:
            return
        start = 0
        for end in (*(match.start() for match in _SPLIT.finditer(text)), len(text)):
            if _KIND.search(text, start, end) is not None:
                yield from _values(text, start, end)
            start = end


def _values(text: bytes, start: int, end: int) -> Iterator[Span]:
    """Yield the values of one document's Secrets."""
    holder = item = -1
    value: tuple[int, int] | None = None
    at = start
    for line in text[start:end].splitlines(keepends=True):
        bare = line.strip()
        indent = len(line) - len(line.lstrip(b" \t"))
        here, at = at, at + len(line)
        if not bare:
            continue
        if value is not None and indent > item:  # the value goes on
            value = value[0], here + len(line.rstrip())
            continue
        if value is not None:
            yield Span(*value)
            value = None
        if holder >= 0 and indent > holder and (item < 0 or indent == item):
            match = _ITEM.match(line)
            if match is not None:
                item = indent
                begin = here + match.end()
                last = here + len(line.rstrip())
                value = (begin, last) if begin < last else (last, last)
            continue
        opened = _HOLDER.match(line.rstrip(b"\r\n"))
        holder, item = (len(opened[1]) if opened else -1), -1
    if value is not None:
        yield Span(*value)


def replaced(match: Any, text: bytes, begin: int, end: int) -> bytes | None:
    """Return what stands for a value; None when that stands there, or nothing does."""
    del match
    return b"[REDACTED]" if begin < end and text[begin:end].strip() != b"[REDACTED]" else None
