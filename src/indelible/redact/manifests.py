"""Secrets of Kubernetes: of a manifest of kind ``Secret``, all that ``data`` and ``stringData`` hold; keys in JSON.

Names of keys say nothing there (``db``, ``tls.crt``), the kind says it all. As YAML in a text: block style, as kubectl
writes it; every value at one level below ``data`` goes, with its further lines. In flow style, and as JSON within a
text, the braces go with all that they hold.
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
KEY_TYPES: Final = ("EC", "RSA", "oct", "OKP", "AKP")
KEY_PARTS: Final = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"))
"""Members of a key in JSON that are secret, and what tells that it is one (RFC 7518, section 6; RFC 8037)."""

HINT: Final = r"kind\\*[\"']?:(?:\s|\\+[nrt])*\\*[\"']?Secret|kty\\*[\"']"
IN_TEXT: Final = re.compile("Secret|kty")

_KEY: Final = re.compile(rf"[\"']{KEY_TYPE}\\*[\"']\s*:\s*\\*[\"'](?:{'|'.join(KEY_TYPES)})\\*[\"']".encode())
_KEY_PART: Final = re.compile(
    rf"[\"'](?:{'|'.join(sorted(KEY_PARTS))})\\*[\"']\s*:\s*\\*[\"']([A-Za-z0-9_=-]+)".encode()
)
_KIND: Final = re.compile(rb"(?m)^(?:.*[\"'`])?[ \t-]*kind:[ \t]*[\"']?Secret[\"']?[ \t]*\r?$")
_FLOW_KIND: Final = re.compile(rb"\bkind\\*[\"']?\s*:\s*\\*[\"']?Secret\b")
_FLOW_HOLDER: Final = re.compile(rb"\b(?:data|stringData)\\*[\"']?\s*:\s*\{")
_BRACE: Final = re.compile(rb"[{}]")
_LEFT: Final = re.compile(
    rb"\{\s*+(?:\\*[\"']?[^\"'\\:{}]*+\\*[\"']?\s*+:\s*+\\*[\"']?\[[A-Z][^\]{}]*+\]\\*[\"']?\s*+,?\s*+)*+\}"
).match
"""Members that were redacted already, or none."""
_SPLIT: Final = re.compile(rb"(?m)^---.*$")
_HOLDER: Final = re.compile(rb"([ \t]*)(?:- )?[\"']?(?:data|stringData)[\"']?:[ \t]*(?:#.*)?\r?\Z")
_ITEM: Final = re.compile(rb"[ \t]*[\"']?[A-Za-z0-9._-]+[\"']?:[ \t]*")


class Manifests:
    """Finds the values of Secrets in YAML and of keys in JSON, as a pattern finds its matches."""

    def finditer(self, text: bytes) -> Iterator[Span]:
        """Yield every value in order. Each line is looked at once."""
        done = 0
        lines = text.replace(b"\\r\\n", b"  \r\n").replace(b"\\n", b" \n")
        for span in sorted((*_secrets(lines), *_flow(text), *_key_parts(text))):
            if span.begin >= done:
                yield span
                done = span.end


def _key_parts(text: bytes) -> Iterator[Span]:
    """Yield what is secret of keys that stand within a text; their members hold no braces, but for `oth`."""
    done = 0
    while (found := _KEY.search(text, done)) is not None:
        begin = max(done, text.rfind(b"{", done, found.start()))
        done = text.find(b"}", found.end())
        done = len(text) if done < 0 else done
        yield from (Span(*part.span(1)) for part in _KEY_PART.finditer(text, begin, done))


def _flow(text: bytes) -> Iterator[Span]:
    """Yield what Secrets hold that stand within a text as JSON or in YAML's flow style, with its braces."""
    at = 0 if _FLOW_KIND.search(text) is not None else len(text)
    while (holder := _FLOW_HOLDER.search(text, at)) is not None:
        begin, depth = holder.end() - 1, 0
        for brace in _BRACE.finditer(text, begin):
            depth += 1 if brace[0] == b"{" else -1
            if not depth:
                break
        at = brace.end() if not depth else len(text)
        if _LEFT(text, begin, at) is None:
            yield Span(begin, at)


def _secrets(text: bytes) -> Iterator[Span]:
    """Yield the values of Secrets. A line's end may be written as an escape of as many bytes."""
    if _KIND.search(text) is not None:
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
