"""JSON values: the walk that applies marks, key names, value patterns and truncation, in this order.

What a value becomes depends on it, its key and its place in the schema, never on its neighbours. A value
that is not changed is returned as the same object, so that "was anything redacted?" costs nothing to ask.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from indelible.events import MAX_INTEGER
from indelible.redact.digest import Digester
from indelible.redact.limits import (
    CACHED_CHARS,
    DIGEST_HEX,
    MAX_DEPTH,
    MAX_STRING_CHARS,
    NAME_CACHE,
    PREFIX_CHARS,
    TRUNCATED,
)
from indelible.redact.marks import MarkTree, Place
from indelible.redact.plain import TOO_DEEP, add, number
from indelible.redact.texts import Texts

REDACTED: Final = "[REDACTED]"

_CLEAN_CHARS: Final = 13
"""Letters and digits alone make no secret that can be told, when there are fewer of them."""
_PLAIN_INTEGER: Final = 10**12
"""A smaller integer has too few digits for a card's number."""
_CUT_PASSES: Final = 4
_DIGESTED = re.compile(rf"\[DIGEST hmac:[0-9a-f]{{{DIGEST_HEX}}}\]")
_OPEN_MARKER = re.compile(r"\[[A-Za-z0-9_ -]{0,64}$")


class How(NamedTuple):
    """How one payload is walked: by which marks, and whether its texts become digests."""

    tree: MarkTree | None = None
    digest: bool = False
    needles: tuple[str, ...] | None = None
    """A text without any of these stays as it is (`Texts.needles`); None: nothing is known."""


_PLAINLY: Final = How()


class Values:
    """Redacts JSON values; safe to use from several threads."""

    def __init__(self, texts: Texts, digester: Digester, *, custom: bool) -> None:
        """Join a text redactor and a digester; `custom` patterns are tried on every number too."""
        self._texts = texts
        self._digester = digester
        self._smallest = 0 if custom else _PLAIN_INTEGER
        self._keys: dict[str, tuple[bool, str]] = {}
        texts.redact_json = self._inner

    def redact(
        self, value: Any, tree: MarkTree | None = None, *, digest: bool = False, may: list[int] | None = None
    ) -> Any:
        """Return a JSON value redacted; with `digest`, every text in it becomes a digest.

        `may` is what the prefilter said of its encoding, when that is known: it saves a search for each text.
        """
        if tree is not None and tree.sensitive(tree.root):
            return REDACTED
        needles = None if may is None else self._texts.needles(may)
        place = () if tree is None else tree.root
        return self._walk(value, 0, 0, How(tree, digest, needles), place)

    def _inner(self, value: Any, level: int) -> Any:
        return self._walk(value, 0, level, _PLAINLY, ())

    def _walk(self, value: Any, depth: int, level: int, how: How, place: Place) -> Any:
        kind = type(value)
        if kind is str:
            if how.digest:
                return self._digest(value)
            if how.needles is not None and len(value) <= MAX_STRING_CHARS:
                for needle in how.needles:
                    if needle in value:
                        break
                else:
                    return value
            elif len(value) < _CLEAN_CHARS and self._smallest and value.isalnum():
                return value
            return self._texts.redact(value, level) if level else self.text(value)
        if kind is dict or kind is list:
            if depth >= MAX_DEPTH:
                return TOO_DEEP
            walk = self._object if kind is dict else self._array
            return walk(value, depth + 1, level, how, place)
        if kind is int or kind is float:
            return self._number(value)
        return value

    def _object(self, value: Any, depth: int, level: int, how: How, place: Place) -> dict[str, Any]:
        result: dict[str, Any] = {}
        changed = False
        below: Place = ()
        for key, item in value.items():
            sensitive, new_key = self._keys.get(key) or self._key(key)
            if place and how.tree is not None:
                below = how.tree.member(place, key)
                sensitive = sensitive or how.tree.sensitive(below)
            if sensitive:
                new = item if item == REDACTED else REDACTED
            elif type(item) is int and -_PLAIN_INTEGER < item < _PLAIN_INTEGER and self._smallest:
                new = item
            else:
                new = self._walk(item, depth, level, how, below)
            changed = changed or new is not item or new_key != key
            if new_key in result:
                add(result, new_key, new)
            else:
                result[new_key] = new
        return result if changed else value

    def _array(self, value: Any, depth: int, level: int, how: How, place: Place) -> list[Any]:
        result = []
        changed = False
        below: Place = ()
        for position, item in enumerate(value):
            if place and how.tree is not None:
                below = how.tree.item(place, position)
            if below and how.tree is not None and how.tree.sensitive(below):
                new = item if item == REDACTED else REDACTED
            else:
                new = self._walk(item, depth, level, how, below)
            changed = changed or new is not item
            result.append(new)
        return result if changed else value

    def _key(self, key: str) -> tuple[bool, str]:
        """Tell whether a key hides its value, and what may be kept of the key itself."""
        new = self.text(key)
        names = self._texts.names
        # What a pattern leaves of a key may be a name too: `tokeneyJ…` becomes `token[TOKEN]`.
        sensitive = names.sensitive(key) or (new != key and names.sensitive(new))
        known = (sensitive, key if new == key else new)
        if len(key) <= CACHED_CHARS:
            if len(self._keys) >= NAME_CACHE:
                self._keys.clear()
            self._keys[key] = known
        return known

    def _number(self, value: float) -> Any:
        if type(value) is float and isinstance(plain := number(value), str):
            return plain
        if -self._smallest < value < self._smallest:
            return value
        shown = str(value)
        redacted = self._texts.redact(shown)
        if redacted != shown:
            return redacted
        return shown if type(value) is int and not -MAX_INTEGER <= value <= MAX_INTEGER else value

    def _digest(self, value: str) -> str:
        if not value or _DIGESTED.fullmatch(value):
            return value
        return f"[DIGEST hmac:{self._digester.short(value)}]"

    # --- texts ------------------------------------------------------------------------------------------

    def text(self, value: str) -> str:
        """Return a text redacted, and cut when it is long: its first characters, its size, its digest."""
        redacted = self._texts.redact(value)
        if len(redacted) <= MAX_STRING_CHARS:
            return redacted
        return self.cut(value, redacted, PREFIX_CHARS)

    def only_redact(self, value: str) -> str:
        """Return a text redacted, however long it is."""
        return self._texts.redact(value)

    def short(self, value: str, limit: int) -> str:
        """Return a text redacted and then cut to `limit` characters at most, with an ellipsis."""
        redacted = self._texts.redact(value)
        for _ in range(_CUT_PASSES):  # cutting may leave what looks like something else: look again
            if len(redacted) <= limit:
                return redacted
            redacted = self._texts.redact(prefix(redacted, limit - 1) + "…")
        return redacted if len(redacted) <= limit else prefix(redacted, limit - 1) + "…"

    def cut_plain(self, value: str, keep: int) -> str:
        """Cut a text that needs no redaction; size and digest follow."""
        return f"{value[:keep]}{TRUNCATED} {len(value)} chars hmac:{self._digester.short(value)}"

    def cut(self, original: str, redacted: str, keep: int) -> str:
        """Return the first `keep` characters of a redacted text, with size and digest of the original."""
        tail = f"{TRUNCATED} {len(original)} chars hmac:{self._digester.short(original)}"
        return self._texts.redact(prefix(redacted, keep) + tail)


def prefix(redacted: str, keep: int) -> str:
    """Return the beginning of a redacted text, not ending inside a marker."""
    start = redacted[:keep]
    half = _OPEN_MARKER.search(start)
    return start[: half.start()] if half and len(redacted) > keep else start
