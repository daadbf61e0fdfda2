"""Who found what where: what redaction takes out of a document, a text or a recorded event, and by which rule.

The rule that lives here: **the explanation is of what the redactor does, not of what it might do.** The document is
redacted by the redactor's own walk; then the two are laid side by side, and each place that differs is asked for its
reason. So there is a finding exactly when something was taken out, whatever the reasons are. No finding holds a value.

What only changes its form is no finding: an integer beyond 64 bits or a NaN that becomes a text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import orjson

from indelible.config import RedactionSettings
from indelible.events import MAX_INTEGER
from indelible.redact import fields
from indelible.redact.digest import Digester
from indelible.redact.limits import MAX_DEPTH, MAX_STRING_CHARS, NAME_CACHE
from indelible.redact.marks import MarkTree, Place
from indelible.redact.plain import TOO_DEEP, Plain
from indelible.redact.strategies import DROP, REDACTED, Strategies, said
from indelible.redact.texts import Texts
from indelible.redact.tracing import OTHER, Hit, Tracer
from indelible.redact.values import DIGESTED, FLAG_VALUES, Values, command_secrets
from indelible.redact.values import FLAG as FLAG_ITEM
from indelible.redaction_settings import Strategy

KEY: Final = "key"
"""The member's name is sensitive."""
MARK: Final = "mark"
"""The tool's schema marks it."""
FLAG: Final = "flag"
"""It follows a sensitive flag in an array."""
COMMAND: Final = "command"
"""A program's own flag gives it away."""
MANIFEST: Final = "manifest"
"""A Secret of Kubernetes holds it."""
DEPTH: Final = "depth"
"""It lies deeper than anybody looks."""
LENGTH: Final = "length"
"""The text is longer than what is kept of one."""

_MAX_SHOWN_KEY: Final = 64
_NUMERIC: Final = (int, float)
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch
_HEX: Final = re.compile(r"[0-9a-f]{64}").fullmatch


class Found(NamedTuple):
    """One thing that is taken out."""

    rule: str
    path: str
    """Of the value, as ``jq`` takes it: ``.items[0].note``; ``.`` is the document itself."""
    part: str
    """``value``, or ``key`` when it is in the member's name."""
    inside: tuple[str, ...]
    """What it was wrapped in, outermost first: ``base64``, ``json .path``."""
    begin: int | None
    """Characters of the text there from which it is missing, the end exclusive; None for all of a value."""
    end: int | None
    strategy: Strategy = "full"
    """What became of it."""

    @property
    def chars(self) -> int | None:
        """How many characters are taken out; None where it was no text."""
        return None if self.begin is None or self.end is None else self.end - self.begin


class Explainer:
    """Redacts by one configuration and says why; used by one thread."""

    def __init__(self, settings: RedactionSettings, digest_key: bytes) -> None:
        """Compile the configuration; the digests of what is cut are under `digest_key`.

        Raises ConfigError, one line, for a pattern that RE2 does not take.
        """
        strategies = Strategies(settings, digest_key, digest_key)
        self._values = Values(Texts(settings), Digester(digest_key), strategies, custom=bool(settings.patterns))
        self._texts = self._values.texts
        self._tracer = Tracer(self._texts, self._inner)
        self._clean: set[tuple[str, bytes]] = set()
        """Parts of events in which nothing is found."""
        self._recorded = False
        """What is looked at was recorded: a digest in the place of a marked text says nothing any more."""

    def text(self, text: str) -> tuple[str, list[Found]]:
        """Return a text redacted, and what was taken out of it, by place."""
        redacted, hits = self._tracer.trace(Plain().text(text))
        return redacted, [_found(hit, "") for hit in hits]

    def document(self, value: Any, tree: MarkTree | None = None) -> tuple[Any, list[Found]]:
        """Return JSON data redacted as arguments are, and what was taken out of it; `tree` has its schema's marks."""
        redacted = self._values.redact(value, tree)
        return redacted, list(self._document(value, redacted, "", tree))

    def event(
        self, entry: Mapping[str, Any], tree: MarkTree | None = None, results: MarkTree | None = None
    ) -> list[Found]:
        """Return what today's rules find in a line of a trail; `tree` and `results` mark its arguments, and its result.

        A text that is only longer than what would be kept of it is no finding here.
        """
        try:
            encoded = orjson.dumps(entry)
            unmarked = tree is None and results is None
            if unmarked and not self._texts.flagged(encoded) and _is_shallow(encoded):
                return []
        except (TypeError, ValueError):  # a number that nobody else can encode, half a surrogate pair
            entry = Plain().convert(dict(entry))
        self._recorded = True
        try:
            marks = {"args": tree, "result": results}
            return [found for found in self._entry(entry, marks) if found.rule != LENGTH]
        finally:
            self._recorded = False

    # --- events -----------------------------------------------------------------------------------------

    def _entry(self, entry: Mapping[str, Any], marks: Mapping[str, MarkTree | None]) -> Iterator[Found]:
        for name, value in entry.items():
            path = _member("", name)
            if name in _REPEATED and type(value) is dict:
                yield from self._repeated(name, value, path)
            elif name in _PARTS and type(value) is dict:
                yield from self._part(value, path, _PARTS[name], marks)
            elif name in _HEAD:
                yield from self._field(value, path, _HEAD[name])
            elif name == "metadata" and entry.get("event_type") in _ORDERS:
                yield from self._anything(_unnamed(value), path)
            elif name == "metadata" or type(value) not in _NUMERIC:
                yield from self._anything(value, path)

    def _repeated(self, name: str, part: dict[str, Any], path: str) -> Iterator[Found]:
        """Look at a part that is the same in many lines; in most of them nothing is found."""
        try:
            known = name, orjson.dumps(part)
        except TypeError:  # an integer beyond 64 bits
            known = name, b""
        if known in self._clean:
            return
        found = list(self._part(part, path, _PARTS[name], {}))
        if not found and 0 < len(known[1]) <= _MAX_KNOWN_BYTES:
            if len(self._clean) >= NAME_CACHE:
                self._clean.clear()
            self._clean.add(known)
        yield from found

    def _part(
        self,
        part: dict[str, Any],
        path: str,
        rules: Mapping[str, fields.Rule],
        marks: Mapping[str, MarkTree | None],
    ) -> Iterator[Found]:
        for name, value in part.items():
            below = _member(path, name)
            if name in _MARKED:
                yield from self._anything(value, below, marks.get(name))
            elif name == "recorder" and type(value) is dict:
                yield from self._part(value, below, fields.RECORDER, {})
            elif name in rules:
                yield from self._field(value, below, rules[name])
            elif not (name in _DIGESTS and type(value) is str and _HEX(value)):
                yield from self._anything(value, below)

    def _field(self, value: Any, path: str, rule: fields.Rule) -> Iterator[Found]:
        if rule in _PRINCIPALS:  # who acted is what the trail is for
            return
        if type(value) is not str:
            yield from self._anything(value, path)
        elif rule(fields.Room(self._values), value) != value:
            yield from (_found(hit, path) for hit in self._tracer.trace(value)[1])

    def _anything(self, value: Any, path: str, tree: MarkTree | None = None) -> Iterator[Found]:
        yield from self._document(value, self._values.redact(value, tree), path, tree)

    # --- documents --------------------------------------------------------------------------------------

    def _document(self, value: Any, redacted: Any, path: str, tree: MarkTree | None) -> Iterator[Found]:
        if tree is not None and tree.sensitive(tree.root):
            if value != REDACTED:
                yield _whole(MARK, path, value, redacted)
            return
        yield from self._compare(value, redacted, path, 0, tree, () if tree is None else tree.root)

    def _inner(self, value: Any, redacted: Any, level: int) -> Iterator[tuple[str, tuple[str, ...], Strategy]]:
        """Explain JSON that was inside a text."""
        for found in self._compare(value, redacted, "", level, None, ()):
            yield found.rule, (f"json {found.path}", *found.inside), found.strategy

    def _compare(
        self, old: Any, new: Any, path: str, level: int, tree: MarkTree | None, place: Place
    ) -> Iterator[Found]:
        if new is old:
            return
        kind = type(old)
        if kind is dict and type(new) is dict:
            yield from self._members(old, new, path, level, tree, place)
        elif kind is list and type(new) is list:
            yield from self._items(old, new, path, level, tree, place)
        elif kind is str:
            unmarked = self._values.marked_text(old, tree, place) if place and tree is not None else old
            if unmarked is not old:
                yield _whole(MARK, path, old, unmarked)
            yield from self._string(unmarked, new, path, level)
        elif kind is int or kind is float:
            yield from self._number(old, new, path)
        else:
            yield _whole(DEPTH if new == TOO_DEEP else OTHER, path, old, new)

    def _members(
        self,
        old: dict[str, Any],
        new: dict[str, Any],
        path: str,
        level: int,
        tree: MarkTree | None,
        place: Place,
    ) -> Iterator[Found]:
        left = iter(new.items())
        for key, item in old.items():
            inner, marked = ((), False) if tree is None or not place else tree.member(place, key)
            named = self._values.name_of_value(old, key)
            hidden = named is not None or self._values.hides(key)
            if "drop" in (
                self._values.of_key(key, marked=marked),
                None if named is None else self._values.of_key(named, marked=False),
            ):
                yield _whole(KEY if hidden else MARK, _member(path, self._name(key)), item, DROP)
                continue
            new_key, new_item = next(left)
            below = _member(path, new_key)
            if new_key != key:
                yield from (_found(hit, below, part="key") for hit in self._tracer.trace(key)[1])
            if new_item is item:
                continue
            if hidden:
                yield _whole(KEY, below, item, new_item)
            elif self._values.holds_secrets(old, key):
                yield from self._held(item, new_item, below)
            elif marked:
                yield from self._marked(item, below, new_item)
            else:
                yield from self._compare(item, new_item, below, level, tree, inner)

    def _held(self, old: dict[str, Any], new: dict[str, Any], path: str) -> Iterator[Found]:
        """Tell what was taken out of a Secret of Kubernetes: all that it holds, whatever it is called."""
        kept = iter(new.items())
        for key, item in old.items():
            dropped = len(new) < len(old)
            new_key, new_item = (self._name(key), DROP) if dropped else next(kept)
            if new_item is not item:
                yield _whole(MANIFEST, _member(path, new_key), item, new_item)

    def _items(
        self, old: list[Any], new: list[Any], path: str, level: int, tree: MarkTree | None, place: Place
    ) -> Iterator[Found]:
        secrets = dict(command_secrets(old))
        for position, (item, new_item) in enumerate(zip(old, new, strict=True)):
            if new_item is item:
                continue
            below = f"{path or '.'}[{position}]"
            inner = () if tree is None or not place else tree.item(place, position)
            if tree is not None and inner and tree.sensitive(inner):
                yield from self._marked(item, below, new_item)
            elif type(item) in FLAG_VALUES and position and self._is_value_of(old[position - 1], item):
                yield _whole(FLAG, below, item, new_item)
            elif position in secrets and self._values.is_left(new_item, secrets[position]):
                yield _whole(COMMAND, below, item, new_item)
            elif type(item) is list and self._values.name_of_pair(item) and new_item[1] is not item[1]:
                yield _whole(KEY, f"{below}[1]", item[1], new_item[1])
                yield from self._compare(item[:1], new_item[:1], below, level, None, ())
            else:
                yield from self._compare(item, new_item, below, level, tree, inner)

    def _name(self, key: str) -> str:
        """Return what stays of a member's name."""
        return self._tracer.trace(key)[0]

    def _marked(self, item: Any, path: str, new: Any) -> Iterator[Found]:
        if not (self._recorded and type(item) is str and DIGESTED.fullmatch(item)):
            yield _whole(MARK, path, item, new)

    def _is_value_of(self, before: Any, item: Any) -> bool:
        """Tell whether an item of an array is the value of a sensitive flag before it."""
        if type(before) is not str or (type(item) is str and FLAG_ITEM(item)):
            return False
        flag = FLAG_ITEM(before)
        return flag is not None and self._texts.names.sensitive_in_text(flag[1])

    def _string(self, old: str, new: str, path: str, level: int) -> Iterator[Found]:
        redacted, hits = self._tracer.trace(old, level)
        yield from (_found(hit, path) for hit in hits)
        if new != redacted and len(redacted) > MAX_STRING_CHARS:
            yield _whole(LENGTH, path, old, new)
        elif not hits and new != old:
            yield _whole(OTHER, path, old, new)

    def _number(self, old: float, new: Any, path: str) -> Iterator[Found]:
        shown = str(old)
        hits = self._tracer.trace(shown)[1] if type(new) is str else []
        yield from (_found(hit, path) for hit in hits)
        beyond = type(old) is int and not -MAX_INTEGER <= old <= MAX_INTEGER
        if not hits and new != old and not (beyond and new == shown) and old - old == 0:
            yield _whole(OTHER, path, shown, new)


_HEAD: Final = fields.EVENT
_PARTS: Final[Mapping[str, Mapping[str, fields.Rule]]] = {
    "source": fields.SOURCE,
    "target": fields.TARGET,
    "request": fields.REQUEST,
    "policy": fields.POLICY,
    "outcome": fields.OUTCOME,
    "cost": fields.COST,
    "state": {**fields.STATE, "from": fields.STATE["from_"]},
}
_REPEATED: Final = ("source", "target")
_MARKED: Final = ("args", "result")
"""Parts of an event that a tool's schema may mark."""
_MAX_KNOWN_BYTES: Final = 1_024
_PRINCIPALS: Final = tuple(fields.SOURCE[name] for name in ("user_id", "tenant", "roles", "on_behalf_of"))
_ORDERS: Final = ("hold_placed", "hold_released", "entry_erased")
"""Events of the trail's own that say whom they are about, and who asked."""
_DIGESTS: Final = ("args_hmac", "result_hmac")


def parse(data: bytes) -> Any:
    """Return JSON as a recorder takes it, leniently. Raises ValueError for what is none."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return Plain().convert(json.loads(data.decode("utf-8", "surrogatepass")))
    except RecursionError:
        raise ValueError("nested too deep") from None


def _unnamed(metadata: Any) -> Any:
    """Return what an order says without the principals in it: they stay, as in `source`."""
    if type(metadata) is not dict:
        return metadata
    parts = {"hold": ("user", "session"), "asked": ("login",)}
    return {
        key: {name: item for name, item in value.items() if name not in parts[key]}
        if key in parts and type(value) is dict
        else value
        for key, value in metadata.items()
    }


def _is_shallow(encoded: bytes) -> bool:
    return encoded.count(b"[") + encoded.count(b"{") <= MAX_DEPTH


def _found(hit: Hit, path: str, part: str = "value") -> Found:
    return Found(hit.rule, path or ".", part, hit.inside, hit.begin, hit.end, hit.strategy)


def _whole(rule: str, path: str, value: Any, new: Any) -> Found:
    begin, end = (0, len(value)) if type(value) is str else (None, None)
    strategy: Strategy = "drop" if new is DROP or new is None else said(new) if type(new) is str else "full"
    return Found(rule, path or ".", "value", (), begin, end, strategy)


def _member(path: str, key: str) -> str:
    """Return the path of a member by what is left of its name."""
    if len(key) > _MAX_SHOWN_KEY:
        key = key[: _MAX_SHOWN_KEY - 1] + "…"
    if _WORD(key):
        return f"{path}.{key}"
    return f"{path or '.'}[{json.dumps(key, ensure_ascii=False)}]"
