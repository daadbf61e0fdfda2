"""What the textual formats share: text made visible, cut to a limit, and pairs of keys and values. Pure.

The rules that live here:

- A control character is never written: it becomes text that shows which one it was (``\\u001b``). Each format says for
  itself what becomes of tabs and line ends; U+0085, U+2028 and the like are letters to every framing, and stay.
- A value is cut *before* it is escaped, to the longest beginning whose escaped form fits: no character and no escape is
  ever cut through. Beside it stands the SHA-256 of the whole value, as it stands in the event, in UTF-8.
- A value that is empty is left out, with its key.
- A record that is too long for its receiver loses, in this order: the ends of its longest values, down to `FLOOR_BYTES`
  each; then whole fields, the least important first, and says how many. What identifies it stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import compress
from operator import add, gt
from typing import Final, NamedTuple

from indelible._version import __version__
from indelible.formats.addresses import ip_version
from indelible.formats.fields import (
    CUT,
    FIELDS,
    JSON,
    LEAF,
    LEFT_OUT,
    MENDED,
    NAMED,
    SEQ,
    TEXTS,
    TYPED,
    Field,
    Takes,
    Value,
    texts,
    typed_values,
)
from indelible.formats.record import Options, Record

FLOOR_BYTES: Final = 64
"""What a receiver's limit leaves of a value before whole fields go: enough to know a name again."""

DIGEST_BYTES: Final = len(":,") + 64
"""What the digest of a value costs, beside the field's name."""

FIRST_MS: Final = 10**12
LAST_MS: Final = 10**13 - 1
"""Milliseconds since 1970 that are written with 13 digits: the years 2001 to 2286."""

USUAL_BYTES: Final = 1_000
"""No text but a few has a smaller limit: those few are looked at one by one."""

_BETWEEN: Final = "^"
"""Between texts that are escaped at once: no format escapes it, and few texts have it."""

Escape = Callable[[str], str]

PRINTABLE: Final = "".join(map(chr, range(0x20, 0x7F)))
_LEFT: Final = f"\t\r\n{PRINTABLE}".encode()
_controls = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
_unprintable = re.compile(r"[^!-~]+")
_LEAST: Final = -(2**63)
_MOST: Final = 2**63 - 1
"""What a long holds; no duration is longer either."""


def visible(text: str) -> str:
    """Return a text with its control characters shown, but for TAB, CR and LF."""
    if text.isascii() and not text.encode().translate(None, _LEFT):  # three times as fast as a search
        return text
    return _controls.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def visible_lines(text: str) -> str:
    r"""Return a text with its control characters and its line ends shown, CR and LF as ``\r`` and ``\n``; no TAB."""
    text = visible(text)
    if "\n" in text or "\r" in text:
        text = text.replace("\n", "\\n").replace("\r", "\\r")
    return text


def unicode_text(text: str) -> str:
    """Return a configured text that UTF-8 can encode."""
    return text.encode("utf-8", "replace").decode()


def printable(text: str, limit: int) -> str:
    """Return a text as a header of RFC 5424 takes it: printable ASCII, without spaces; ``-`` when nothing is left."""
    return _unprintable.sub("_", text)[:limit] or "-"


def cut(text: str, limit: int, escape: Escape) -> str:
    """Return the longest beginning of a text that is at most `limit` bytes when it is escaped, escaped."""
    text = text[:limit]  # no escape makes a text shorter
    fits, over = 0, len(text) + 1
    while over - fits > 1:
        middle = (fits + over) // 2
        if len(escape(text[:middle]).encode()) <= limit:
            fits = middle
        else:
            over = middle
    return escape(text[:fits])


def digest(text: str) -> str:
    """Return what stands beside a value that was cut."""
    return sha256(text.encode()).hexdigest()


def version_of(options: Options) -> str:
    """Return the version that a header names."""
    return options.version or __version__


def epoch_ms(microseconds: int) -> int | None:
    """Return milliseconds since 1970; None when 13 digits cannot say it."""
    moment = microseconds // 1_000
    return moment if FIRST_MS <= moment <= LAST_MS else None


class Slot(NamedTuple):
    """A field's place in a format."""

    name: str
    limit: int
    """Bytes of the value as it is written."""
    before: str
    """What stands before the value: the key, and whatever goes with it."""
    before_ipv6: str
    otherwise: str
    """What stands before a value that is not what the key takes."""
    takes: Takes = "text"

    def key(self, text: str) -> str:
        """Return what stands before a text, which is no number."""
        if self.takes != "address":
            return self.otherwise
        version = ip_version(text)
        return self.before if version == 4 else self.before_ipv6 if version == 6 else self.otherwise


class Layout(NamedTuple):
    """How a format writes pairs."""

    slot: Callable[[Field], Slot]
    escape: Escape
    safe: str
    """What may stand in any value as it is: ASCII."""
    quoted: str
    """Printable ASCII that `escape` puts a backslash in front of, and does nothing else to; the backslash first."""
    separator: str
    alone: str = ""
    """A sign that is written otherwise at the end of a value: a text that has it is escaped by itself."""


class Pairs:
    """Writes the pairs of a record: what identifies it, its fields, its leaf."""

    def __init__(self, layout: Layout) -> None:
        """Prepare what does not change from one record to the next."""
        self._escape = layout.escape
        self._safe = layout.safe.encode("ascii")
        self._quoted = layout.quoted.encode("ascii")
        self._quotes = tuple((sign, f"\\{sign}") for sign in layout.quoted)
        self._alone = layout.alone
        self._separator = layout.separator
        order = (*NAMED, *TEXTS, SEQ, *TYPED, *JSON)
        self._slots = tuple(map(layout.slot, order))
        self._losing = tuple(map(order.index, reversed(FIELDS)))
        self._limits = tuple(slot.limit for slot in self._slots)
        self._typed = tuple(map(layout.slot, (*TYPED, *JSON)))
        plain = tuple(map(layout.slot, (*NAMED, *TEXTS)))
        self._befores = tuple(slot.before for slot in plain)
        self._usual = min(slot.limit for slot in plain if slot.limit >= USUAL_BYTES)
        self._short = tuple((index, slot.limit) for index, slot in enumerate(plain) if slot.limit < USUAL_BYTES)
        self._seq, self._leaf, self._mended, self._cut, self._left_out = (
            layout.slot(field).before for field in (SEQ, LEAF, MENDED, CUT, LEFT_OUT)
        )

    def write(self, record: Record) -> str:
        """Return the pairs of a record, whatever their length.

        Texts are looked at, and escaped, all at once: what `_written` does for each costs three times as much.
        """
        held = texts(record)
        present = None if record.mended else self._shown(held)
        if present is None:
            return self._written(record, self._held(record), self._limits)
        parts = list(map(add, compress(self._befores, held), present))
        parts.append(f"{self._seq}{record.entry.seq}")
        cuts: list[str] = []
        for slot, value in zip(self._typed, typed_values(record.entry), strict=True):
            if value is None or value == "":
                continue
            if isinstance(value, int):  # of 53 bits: a long holds it
                parts.append(f"{slot.before}{value}")
            else:
                parts.append(self._carefully(slot, value, slot.limit, cuts))
        if cuts:
            parts.append(self._cut + ",".join(cuts))
        parts.append(self._leaf + record.leaf)
        return self._separator.join(parts)

    def _shown(self, held: Sequence[str | None]) -> list[str] | None:
        """Return those texts that there are as they are written; None when one has to be looked at by itself."""
        present = list(filter(None, held))
        whole = _BETWEEN.join(present)
        if self._alone and self._alone in whole:
            return None
        escaped = self._escaped(whole)
        if escaped == whole and whole.isascii():
            return present if self._fit(held, present, len(whole)) else None
        if whole.count(_BETWEEN) >= len(present):
            return None
        sizes = map(len, escaped.encode().split(_BETWEEN.encode()))
        if any(map(gt, sizes, compress(self._limits, held))):
            return None
        return escaped.split(_BETWEEN)

    def _fit(self, held: Sequence[str | None], present: list[str], size: int) -> bool:
        """Tell whether no text is too long; all are ASCII, and of a size together."""
        if size > self._usual and max(map(len, present)) > self._usual:
            return False
        for index, limit in self._short:
            text = held[index]
            if text and len(text) > limit:
                return False
        return True

    def fitted(self, record: Record, room: int) -> str:
        """Return the pairs of a record in at most `room` bytes, or what identifies it, when that alone is longer."""
        held = self._held(record)
        limits = list(self._limits)
        sizes = self._sizes(held)
        while True:
            text = self._written(record, held, limits)
            excess = len(text.encode()) - room
            if excess <= 0 or not (
                self._shorten(sizes, limits, excess) or self._leave_out(sizes, limits, excess)
            ):
                return text

    @staticmethod
    def _held(record: Record) -> tuple[Value, ...]:
        return (*texts(record), record.entry.seq, *typed_values(record.entry))

    def _written(self, record: Record, held: Sequence[Value], limits: Sequence[int]) -> str:
        parts: list[str] = []
        cuts: list[str] = []
        left_out = 0
        for slot, value, limit in zip(self._slots, held, limits, strict=True):
            if value is None or value == "":
                continue
            if limit:
                parts.append(self._carefully(slot, value, limit, cuts))
            else:
                left_out += 1
        return self._separator.join(self._ended(record, parts, cuts, left_out))

    def _ended(self, record: Record, parts: list[str], cuts: list[str], left_out: int) -> list[str]:
        if record.mended:
            parts.append(f"{self._mended}true")
        if cuts:
            parts.append(self._cut + ",".join(cuts))
        if left_out:
            parts.append(f"{self._left_out}{left_out}")
        parts.append(self._leaf + record.leaf)
        return parts

    def _carefully(self, slot: Slot, value: str | float, limit: int, cuts: list[str]) -> str:
        if not isinstance(value, str):
            return f"{slot.before if _LEAST <= value <= _MOST else slot.otherwise}{value}"
        before = slot.before
        if slot.takes != "text":
            before = slot.key(value)
            if before is not slot.otherwise:
                return before + value
        if len(value) <= limit:
            escaped = self._escaped(value)
            if (len(escaped) if escaped.isascii() else len(escaped.encode())) <= limit:
                return before + escaped
        cuts.append(f"{slot.name}:{digest(value)}")
        return before + cut(value, limit, self._escape)

    def _escaped(self, value: str) -> str:
        """Return what `escape` does, quicker where nothing is to be made visible."""
        if not value.isascii():
            return self._escape(value)
        special = value.encode().translate(None, self._safe)
        if special.translate(None, self._quoted):
            return self._escape(value)
        if special:
            for sign, written in self._quotes:
                value = value.replace(sign, written)
        return value

    def _sizes(self, held: Sequence[Value]) -> dict[int, int]:
        """Return how many bytes are written of each value that may be cut, the least important first."""
        sizes = {}
        for index in self._losing:
            value, limit = held[index], self._limits[index]
            if value is not None and value != "":
                sizes[index] = min(limit, len(self._escape(str(value)[:limit]).encode()))
        return sizes

    def _shorten(self, sizes: dict[int, int], limits: list[int], excess: int) -> bool:
        """Lower the limit of the longest value; tell whether there was one that is worth it."""
        longest = max(sizes, key=lambda index: (sizes[index], -index), default=None)
        if longest is None:
            return False
        size, cost = sizes[longest], DIGEST_BYTES + len(self._slots[longest].name)
        if size <= FLOOR_BYTES + cost or self._slots[longest].takes != "text":
            return False
        limits[longest] = sizes[longest] = max(FLOOR_BYTES, min(size - 1, size - excess - cost))
        return True

    def _leave_out(self, sizes: dict[int, int], limits: list[int], excess: int) -> bool:
        """Leave out the least important fields, as many as are needed; tell whether there was one left."""
        if not sizes:
            return False
        for index in list(sizes):
            limits[index] = 0
            excess -= sizes.pop(index) + len(self._slots[index].before)
            if excess <= 0:
                break
        return True
