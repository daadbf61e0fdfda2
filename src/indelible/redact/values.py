"""JSON values: the walk that applies marks, key names, value patterns and truncation, in this order.

What a value becomes depends on it, its key and its place in the schema, never on its neighbours, with one exception:
in an array, what follows a flag whose name is sensitive (``["--password", "x"]``) is that flag's value. A value that is
not changed is returned as the same object, so that "was anything redacted?" costs nothing to ask.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from indelible.events import MAX_INTEGER
from indelible.redact import commands, jsontext, manifests
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
from indelible.redact.strategies import DROP, REDACTED, Hide, Strategies, stricter
from indelible.redact.texts import Plan, Texts
from indelible.redaction_settings import Strategy

_CLEAN_CHARS: Final = 13
"""Letters and digits alone make no secret that can be told, when there are fewer of them."""
_PLAIN_INTEGER: Final = 10**12
"""A smaller integer has too few digits for a card's number."""
_CUT_PASSES: Final = 4
DIGESTED = re.compile(rf"\[DIGEST hmac:[0-9a-f]{{{DIGEST_HEX}}}\]")
FLAG: Final = re.compile(r"--?([A-Za-z_][A-Za-z0-9_.\-]{0,127})").fullmatch
"""A flag of a command line, alone in an item of an array; what looks so is never another flag's value."""
_NAMING: Final[Mapping[str, tuple[str, ...]]] = {
    "value": ("name", "key", "header", "variable", "field", "label", "id", "path", "element", "selector"),
    "values": ("name",),
    "text": ("element", "selector"),
    "Value": ("Name", "Key"),
    "ParameterValue": ("ParameterKey",),
}
"""Keys of values, and of what names them beside these: headers, variables, fields of forms and elements of pages as
browsers are told to fill them in, JSON Patch, what AWS takes."""
_TELLING: Final = frozenset((*_NAMING, "kind", manifests.KEY_TYPE))
_MAX_SPACES: Final = 3
"""Spaces in what names a value (``Password field``); with more it is prose."""
FLAG_VALUES: Final = (str, int, float)
_OPEN_MARKER = re.compile(r"\[[A-Za-z0-9_ -]{0,64}(?: [a-z]{2,4}:[0-9A-Za-z.-]{0,64})?$")


class How(NamedTuple):
    """How one payload is walked: by which marks, and whether its texts become digests."""

    tree: MarkTree | None = None
    digest: bool = False
    plan: Plan | None = None
    """What its texts need, by what the prefilter said of all of it; None: each text is searched."""


_BRACKETS: Final = frozenset({("{", "}"), ("[", "]")})

_PLAINLY: Final = How()

_HARMLESS: Final[tuple[Hide | None, str | None]] = (None, None)
"""What is known of most keys: the value is no secret, and the key stays as it is."""


class Values:
    """Redacts JSON values; safe to use from several threads."""

    def __init__(self, texts: Texts, digester: Digester, strategies: Strategies, *, custom: bool) -> None:
        """Join a text redactor, a digester and strategies; `custom` patterns are tried on every number too."""
        self._texts = texts = texts.using(strategies)
        self._strategies = strategies
        self._hide_marked = strategies.hide(strategies.mark)
        self._digester = digester
        self._smallest = 0 if custom else _PLAIN_INTEGER
        self._keys: dict[str, tuple[Hide | None, str | None]] = {}
        texts.redact_json = self._inner

    @property
    def texts(self) -> Texts:
        """What redacts its texts."""
        return self._texts

    def redact(
        self, value: Any, tree: MarkTree | None = None, *, digest: bool = False, may: list[int] | None = None
    ) -> Any:
        """Return a JSON value redacted; with `digest`, every text in it becomes a digest.

        `may` is what the prefilter said of its encoding, when that is known: it saves a search for each text.
        """
        if tree is not None and tree.sensitive(tree.root):
            return REDACTED
        plan = None if may is None or self._texts.custom else self._texts.plan(may)
        return self._walk(value, 0, 0, How(tree, digest, plan), () if tree is None else tree.root)

    def hide(self, value: Any, tree: MarkTree) -> Any:
        """Return a JSON value in which the prefilter found nothing, without what is marked."""
        return REDACTED if tree.sensitive(tree.root) else self._hide(value, tree, tree.root, 0)

    def _hide(self, value: Any, tree: MarkTree, place: Place, depth: int) -> Any:
        result = value
        if type(value) is dict:
            if depth >= MAX_DEPTH:  # only JSON in a text comes here so deep
                return TOO_DEEP
            named = tree.named(place)
            for key in value if named is None else named & value.keys():
                item = value[key]
                below, marked = tree.member(place, key)
                new = self._hide_marked(item) if marked else self._hide_below(item, tree, below, depth)
                if new is not item:
                    result = dict(value) if result is value else result
                    _put(result, key, new)
        elif type(value) is list:
            if depth >= MAX_DEPTH:
                return TOO_DEEP
            for position, item in enumerate(value):
                below = tree.item(place, position)
                hides = tree.sensitive(below)
                new = self._hide_marked(item) if hides else self._hide_below(item, tree, below, depth)
                if new is not item:
                    result = list(value) if result is value else result
                    result[position] = None if new is DROP else new
        elif type(value) is str:
            return self.marked_text(value, tree, place, depth)
        return result

    def _hide_below(self, item: Any, tree: MarkTree, place: Place, depth: int) -> Any:
        return self._hide(item, tree, place, depth + 1) if place else item

    def marked_text(self, value: str, tree: MarkTree, place: Place, depth: int = 0) -> str:
        """Return a text without what is marked in the JSON that it holds; the same object when nothing is.

        Models write objects as texts where a schema has an object, and servers read them so (SDK, FastMCP).
        """
        stripped = value.strip(jsontext.SPACES) if value[:1] in jsontext.STARTS else ""
        if not stripped or stripped[0] not in '{["':
            return value
        parsed = jsontext.parse(stripped)
        if parsed is jsontext.NOTHING:
            return value
        hidden = self._hide(parsed, tree, place, depth + 1)
        # Of a key that stands there twice, one of the values was not looked at.
        if hidden is parsed and not jsontext.has_duplicates(stripped):
            return value
        return jsontext.dumped(hidden)

    def hides(self, key: str) -> bool:
        """Tell whether a key hides its value, by its name alone."""
        return (self._keys.get(key) or self._key(key))[0] is not None

    def of_key(self, key: str, *, marked: bool) -> Strategy | None:
        """Return what becomes of the value of a key; None when neither its name nor a mark hides it."""
        strategy = self._strategies.of_key(key) if self.hides(key) else None
        if not marked:
            return strategy
        return self._strategies.mark if strategy is None else stricter(strategy, self._strategies.mark)

    def _inner(self, value: Any, level: int) -> Any:
        return self._walk(value, 0, level, _PLAINLY, ())

    def _walk(self, value: Any, depth: int, level: int, how: How, place: Place) -> Any:
        kind = type(value)
        if kind is str:
            if place and how.tree is not None and value[:1] in jsontext.STARTS:
                text = self.marked_text(value, how.tree, place, depth)
                if text is not value:
                    return self._kept(value, self._texts.redact(text, level), level)
            return self._string(value, level, how)
        if kind is dict or kind is list:
            if depth >= MAX_DEPTH:
                return TOO_DEEP
            walk = self._object if kind is dict else self._array
            return walk(value, depth + 1, level, how, place)
        if kind is int or kind is float:
            return self._number(value)
        return value

    def _string(self, value: str, level: int, how: How) -> str:
        _, digest, plan = how
        if digest:
            return self._digest(value)
        if plan is not None and len(value) <= MAX_STRING_CHARS:
            if plan.finds(value) is None:
                return value
        elif len(value) < _CLEAN_CHARS and self._smallest and value.isalnum():
            return value
        return self._redacted(value, level, plan)

    def _redacted(self, value: str, level: int, plan: Plan | None) -> str:
        return self._kept(value, self._texts.redact(value, level, plan), level)

    def _kept(self, value: str, redacted: str, level: int) -> str:
        if level or len(redacted) <= MAX_STRING_CHARS:
            return redacted
        return self.cut(value, redacted, PREFIX_CHARS)

    def _object(self, value: Any, depth: int, level: int, how: How, place: Place) -> dict[str, Any]:
        if place and how.tree is not None:
            return self._marked_object(value, depth, level, how, place, how.tree)
        result = value
        renamed = False
        finds = None if how.digest or how.plan is None else how.plan.finds
        known = self._keys.get
        for key, item in value.items():
            decided = known(key) or self._key(key)
            if decided is _HARMLESS:
                kind = type(item)
                if kind is str:
                    if finds is None or len(item) > MAX_STRING_CHARS:
                        new = self._string(item, level, how)
                    elif finds(item) is None:
                        continue
                    else:
                        new = self._redacted(item, level, how.plan)
                elif kind is bool or (
                    kind is int and self._smallest and -_PLAIN_INTEGER < item < _PLAIN_INTEGER
                ):
                    continue
                else:
                    new = self._walk(item, depth, level, how, ())
            else:
                renamed = renamed or decided[1] is not None
                hide = decided[0]
                new = self._walk(item, depth, level, how, ()) if hide is None else hide(item)
            if new is not item:
                result = dict(value) if result is value else result
                _put(result, key, new)
        if not result.keys().isdisjoint(_TELLING):
            result = self._told(value, result)
        return self._renamed(result) if renamed else result

    def _told(self, value: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
        """Hide what one member of an object says of another."""
        for key in _NAMING:
            if key in result:
                result = self._named_value(value, result, key)
        if manifests.KEY_TYPE in result:
            for key in manifests.KEY_PARTS.intersection(result):
                result = self._named_value(value, result, key)
        return self._manifest(value, result) if "kind" in result else result

    def _manifest(self, value: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
        """Hide what a Secret of Kubernetes holds."""
        for holder in manifests.HOLDERS:
            if self.holds_secrets(value, holder) and type(held := result[holder]) is dict:
                hide = self._strategies.hide(self._strategies.of_key("secret"))
                hidden = {key: new for key, item in held.items() if (new := hide(item)) is not DROP}
                if hidden != held:
                    result = {**result, holder: hidden}
        return result

    @staticmethod
    def holds_secrets(value: dict[str, Any], key: str) -> bool:
        """Tell whether everything under a key is secret, whatever its name: the data of a Secret of Kubernetes."""
        return (
            key in manifests.HOLDERS
            and value.get("kind") == manifests.KIND
            and type(value.get(key)) is dict
            and len(value[key]) > 0
        )

    def _named_value(self, value: dict[str, Any], result: dict[str, Any], key: str) -> dict[str, Any]:
        """Hide the value of a header or variable that is written as an object of its own, when its name tells."""
        name = self.name_of_value(value, key)
        if name is None:
            return result
        item = value[key]
        new = self._strategies.hide(self._strategies.of_key(name))(item)
        if new is not item:
            result = dict(value) if result is value else result
            _put(result, key, new)
        return result

    def name_of_value(self, value: dict[str, Any], key: str) -> str | None:
        """Return what hides the value of a key by naming it; None for words of prose and for harmless names."""
        if key in manifests.KEY_PARTS and value.get(manifests.KEY_TYPE) in manifests.KEY_TYPES:
            return "private key"
        for word in _NAMING.get(key, ()):
            name = value.get(word)
            if type(name) is not str or len(name) > CACHED_CHARS or name.count(" ") > _MAX_SPACES:
                continue
            if self.hides(name):
                return name
        return None

    def _marked_object(
        self, value: Any, depth: int, level: int, how: How, place: Place, tree: MarkTree
    ) -> dict[str, Any]:
        result = value
        renamed = False
        for key, item in value.items():
            hide, new_key = self._keys.get(key) or self._key(key)
            renamed = renamed or new_key is not None
            below, marked = tree.member(place, key)
            if marked:
                strategy = self.of_key(key, marked=True)
                hide = self._hide_marked if strategy is None else self._strategies.hide(strategy)
            new = self._walk(item, depth, level, how, below) if hide is None else hide(item)
            if new is not item:
                result = dict(value) if result is value else result
                _put(result, key, new)
        if not result.keys().isdisjoint(_TELLING):
            result = self._told(value, result)
        return self._renamed(result) if renamed else result

    def _renamed(self, value: dict[str, Any]) -> dict[str, Any]:
        """Return an object with what may be kept of its keys."""
        result: dict[str, Any] = {}
        for key, item in value.items():
            _, new_key = self._keys.get(key) or self._key(key)
            add(result, key if new_key is None else new_key, item)
        return result

    def _array(self, value: Any, depth: int, level: int, how: How, place: Place) -> list[Any]:
        result: list[Any] = value
        below: Place = ()
        tree = how.tree if place else None
        flagged: Hide | None = None
        for position, item in enumerate(value):
            if tree is not None:
                below = tree.item(place, position)
            hide, flagged = flagged, None
            if type(item) is str and item[:1] == "-" and (flag := FLAG(item)) is not None:
                hide = None
                if self._texts.names.sensitive_in_text(flag[1]):
                    flagged = self._strategies.hide(self._strategies.of_key(flag[1]))
            if hide is not None and type(item) not in FLAG_VALUES:
                hide = None
            if below and tree is not None and tree.sensitive(below):
                hide = self._hide_marked
            if hide is not None:
                new = hide(item)
                new = None if new is DROP else new
            elif type(item) is int and -_PLAIN_INTEGER < item < _PLAIN_INTEGER and self._smallest:
                continue
            else:
                new = self._walk(item, depth, level, how, below)
                if type(item) is list and len(item) == 2:
                    new = self._pair(item, new)
            if new is not item:
                result = list(value) if result is value else result
                result[position] = new
        return self._command(value, result) if len(value) > 1 and type(value[0]) is str else result

    def name_of_pair(self, pair: list[Any]) -> str | None:
        """Return the name that hides the other of two items (``["X-Api-Key", "x"]``, in an array of such)."""
        if len(pair) != 2:
            return None
        name, item = pair
        if type(name) is not str or len(name) > CACHED_CHARS or type(item) not in FLAG_VALUES or " " in name:
            return None
        if (name[:1], name[-1:]) in _BRACKETS:  # JSON, which redaction writes without its spaces
            return None
        return name if self.hides(name) else None

    def is_left(self, item: Any, at: int) -> bool:
        """Tell whether an item of an array is what was left of a secret that began at a character."""
        return item is None or (type(item) is str and self._strategies.is_left(item[at:]))

    def _pair(self, pair: list[Any], result: list[Any]) -> list[Any]:
        name = self.name_of_pair(pair)
        if name is None:
            return result
        new = self._strategies.hide(self._strategies.of_key(name))(pair[1])
        return result if new is pair[1] else [result[0], None if new is DROP else new]

    def _command(self, value: list[Any], result: list[Any]) -> list[Any]:
        """Hide what the flags of a program give away, where an array is a command."""
        for position, at in command_secrets(value):
            known = result[position]
            new = self._strategies.of_command(value[position], known, at)
            if new != known:
                result = list(value) if result is value else result
                result[position] = new
        return result

    def _key(self, key: str) -> tuple[Hide | None, str | None]:
        """Tell whether a key hides its value, and what may be kept of the key itself; None: all of it."""
        new = self.text(key)
        names = self._texts.names
        # What a pattern leaves of a key may be a name too: `tokeneyJ…` becomes `token[TOKEN]`.
        sensitive = names.sensitive(key) or (new != key and names.sensitive(new))
        if not sensitive and "%" in key:
            sensitive = names.sensitive(unquote(key))
        hide = self._strategies.hide(self._strategies.of_key(key)) if sensitive else None
        known = (hide, None if new == key else new)
        known = _HARMLESS if known == _HARMLESS else known
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
        if not value or DIGESTED.fullmatch(value):
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


def command_secrets(words: list[Any]) -> Iterator[tuple[int, int]]:
    """Yield which items of an array are secrets of a command, and from which character on."""
    found = commands.of(words)
    if found is None:
        return
    name, start = found
    texts = [word if type(word) is str else "" for word in words[start + 1 : start + 1 + commands.MAX_WORDS]]
    for index, at in commands.secrets(name, texts):
        yield start + 1 + index, at


def _put(result: dict[str, Any], key: str, new: Any) -> None:
    if new is DROP:
        del result[key]
    else:
        result[key] = new


def prefix(redacted: str, keep: int) -> str:
    """Return the beginning of a redacted text, not ending inside a marker."""
    start = redacted[:keep]
    half = _OPEN_MARKER.search(start)
    return start[: half.start()] if half and len(redacted) > keep else start
