"""A payload (arguments, a result, metadata): its size and digest, and what of it may be kept.

The digest is over the *original* as compact JSON with sorted keys. A value that has no such form (invalid
JSON, nested too deep, objects of Python) is digested over its bytes as received, or over what it was
converted to, and the payload says which.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

import msgspec
import orjson

from indelible.config import RecordMode
from indelible.redact import jsontext
from indelible.redact.digest import Digester
from indelible.redact.fit import fit
from indelible.redact.limits import MAX_DEPTH, MAX_STRING_CHARS
from indelible.redact.marks import MarkTree
from indelible.redact.plain import Plain, not_finite
from indelible.redact.texts import Texts
from indelible.redact.values import Values

INVALID: Final = "[INVALID JSON]"

_dumps = orjson.dumps
_loads = orjson.loads
_SORTED: Final = orjson.OPT_SORT_KEYS


class Payload(msgspec.Struct, frozen=True, gc=False):
    """What is kept of a payload."""

    kept: bytes | None = None
    """Redacted compact JSON, at most the field's cap; None when only a digest is recorded."""
    size: int | None = None
    """Bytes of the original as compact JSON (as received, when it has no such form)."""
    hmac: str | None = None
    digested: str | None = None
    """``as received`` or ``as converted`` when the digest is over something else than canonical JSON."""
    replaced_surrogates: bool = False
    beside_clean: bool = False
    """The prefilter has seen the bytes handed over beside the payload too, and found nothing."""

    unusual: bool = False
    """It has no canonical JSON: the event's metadata says so."""


ABSENT: Final = Payload()


class _Odd(NamedTuple):
    """A payload without canonical JSON: what may be walked of it, and the bytes that are digested instead."""

    value: Any
    canonical: bytes
    digested: str
    size: int
    replaced_surrogates: bool = False


class Payloads:
    """Seals payloads by one configuration and key; safe to use from several threads."""

    def __init__(self, texts: Texts, values: Values, digester: Digester) -> None:
        """Join the parts of a redactor."""
        self._search = texts.search
        self._values = values
        self._hex = digester.hex

    def take(
        self,
        value: Any,
        mode: RecordMode,
        cap: int,
        tree: MarkTree | None = None,
        digest: bool = False,  # noqa: FBT001, FBT002 - by position: keywords cost as much as the test of it
        beside: bytes = b"",
    ) -> Payload:
        """Return what may be kept of a payload, at most `cap` bytes, by `mode`.

        `tree` holds the marks of its schema, `digest` makes every text in it a digest, and `beside` is more
        encoded JSON for the prefilter to look at in the same search.
        """
        raw = type(value) is msgspec.Raw
        try:
            if raw:
                value = _loads(memoryview(value))
            encoded = _dumps(value, None, None if mode == "full" else _SORTED)
            if encoded.find(b"null") >= 0 and not_finite(value):
                return self._odd(_convert(value), mode, cap, tree, digest=digest)
            if mode != "full":
                return Payload(None, len(encoded), None if mode == "none" else self._hex(encoded))
            hmac = self._hex(_dumps(value, None, _SORTED))
        except (TypeError, ValueError):  # what orjson raises
            form = _decode(bytes(value)) if type(value) is msgspec.Raw else _convert(value)
            return self._odd(form, mode, cap, tree, digest=digest)
        may = self._search(encoded + beside)
        clean = may is None
        if clean and not digest and _simple(encoded, cap):
            kept = encoded
            if tree is not None:
                parsed = value if raw else _loads(encoded)
                hidden = self._values.hide(parsed, tree)
                kept = encoded if hidden is parsed else _fitted(hidden, cap)
        else:
            redacted = self._values.redact(
                value if raw else _loads(encoded), tree, digest=digest, may=may or _NOTHING
            )
            kept = _fitted(redacted, cap)
        return Payload(kept, len(encoded), hmac, None, False, clean and beside != b"")  # noqa: FBT003 - as `take`

    def again(self, kept: msgspec.Raw, cap: int) -> msgspec.Raw | None:
        """Look through a payload that was redacted before: most come out as they are, and none is digested anew."""
        try:
            encoded = _dumps(_loads(memoryview(kept)))
        except (TypeError, ValueError):  # the long way knows what to do with it
            return as_raw(self.take(kept, "full", cap).kept)
        if self._search(encoded) is None and _simple(encoded, cap):
            return msgspec.Raw(encoded)
        return as_raw(self.take(kept, "full", cap).kept)

    def _odd(self, form: _Odd, mode: RecordMode, cap: int, tree: MarkTree | None, *, digest: bool) -> Payload:
        """Do a payload that has no canonical JSON."""
        kept = hmac = None
        if mode == "full":
            kept = _fitted(self._values.redact(form.value, tree, digest=digest), cap)
        if mode != "none":
            hmac = self._hex(form.canonical)
        return Payload(kept, form.size, hmac, form.digested, form.replaced_surrogates, unusual=True)


_NOTHING: Final[list[int]] = []


def as_raw(kept: bytes | None) -> msgspec.Raw | None:
    """Return what is kept of a payload as a part of a struct that is still to be encoded."""
    return None if kept is None else msgspec.Raw(kept)


def _fitted(redacted: Any, cap: int) -> bytes:
    encoded = _dumps(redacted)
    return encoded if len(encoded) <= cap else _dumps(fit(redacted, cap))


def _simple(encoded: bytes, cap: int) -> bool:
    """Tell whether nothing in encoded JSON can be too deep or too long; False may be wrong."""
    if len(encoded) > 2 * MAX_DEPTH and encoded.count(b"[") + encoded.count(b"{") > MAX_DEPTH:
        return False
    if len(encoded) <= MAX_STRING_CHARS:
        return True
    if len(encoded) > cap or encoded.find(b'\\"') >= 0:
        return False
    return max(map(len, encoded.split(b'"'))) <= MAX_STRING_CHARS


def _convert(value: Any) -> _Odd:
    """Make JSON of what is none."""
    plain = Plain()
    converted = plain.convert(value)
    canonical = jsontext.dumped(converted, sort=True).encode()
    return _Odd(converted, canonical, "as converted", len(canonical), plain.replaced_surrogates)


def _decode(raw: bytes) -> _Odd:
    """Read JSON that came over the wire and is not quite JSON; leniently, as the server behind may."""
    try:
        value = json.loads(raw.decode("utf-8", "surrogatepass"), parse_int=_parse_int)
    except (ValueError, RecursionError):
        return _Odd(INVALID, raw, "as received", len(raw))
    plain = Plain()
    converted = plain.convert(value)
    return _Odd(converted, raw, "as received", len(raw), plain.replaced_surrogates)


_MAX_INTEGER_DIGITS: Final = 1_000


def _parse_int(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MAX_INTEGER_DIGITS else f"[INTEGER of {len(digits)} digits]"
