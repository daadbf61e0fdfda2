"""JSON-RPC lines to messages: once, fast, and never with an exception.

The rule: **whatever a peer might carry out is seen here.** Peers parse differently (Go folds the case of keys,
Python replaces invalid UTF-8, many take NaN, the last of two keys wins, or the first), so a line that is not
plain is read leniently, and what is doubtful about it is noted with the message. Three readers, each for what
the one before it cannot take:

1. msgspec, straight into a struct, arguments and results left as the bytes that they are (1 µs);
2. the standard library's parser, lenient, which sees every key of an object; the message is encoded again,
   so that what is kept of it is always valid JSON in UTF-8;
3. a scan of the line's ends, for what is nested too deep or is too large, which finds method, id and name.

Pure: bytes in, structs out. Nothing here changes the bytes that are forwarded.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from indelible.capture import methods
from indelible.values import MEGABYTE

CAREFUL_LIMIT: Final = 4 * MEGABYTE
"""A longer line that is not plain is scanned, not parsed leniently: that costs ten times its size in memory."""

SCAN_BYTES: Final = 64 * 1024
"""How much of a line's beginning, and of its end, a scan looks at (0.05 s at the worst)."""

Unparsed = Literal["too deep", "too large"]


ABSENT: Final = Raw()
"""The value of a key that is not there; compare with ``is``. A ``null`` is a value."""


class Params(msgspec.Struct, gc=False):
    """Those parameters that say what is called; every other key is left alone."""

    name: str | UnsetType = UNSET
    uri: str | UnsetType = UNSET
    arguments: Raw = ABSENT
    request_state: str | UnsetType = msgspec.field(default=UNSET, name="requestState")
    request_id: Raw = msgspec.field(default=ABSENT, name="requestId")
    meta: Raw = msgspec.field(default=ABSENT, name="_meta")


class Message(msgspec.Struct, gc=False):
    """One JSON-RPC message; keys that it does not have are `ABSENT` or ``UNSET``."""

    method: str | UnsetType = UNSET
    id: Raw = ABSENT
    params: Params | UnsetType = UNSET
    result: Raw = ABSENT
    error: Raw = ABSENT


class DoubtfulMessage(Message):
    """A message that was not plain, with the reason. Made here only, never decoded from the wire."""

    ambiguous: tuple[str, ...] = ()
    """Keys of the envelope that different parsers read differently."""
    unparsed: Unparsed | None = None
    """The message was scanned: arguments and results are not known."""


Parsed = tuple[tuple[Message, bytes], ...]
"""The messages of one line, each with valid JSON that holds it; empty when the line is not JSON."""

_decode: Final = msgspec.json.Decoder(Message).decode
_decode_batch = msgspec.json.Decoder(list[Raw]).decode
_FAILURES: Final = (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError)


MAX_TEXT: Final = 65_536
"""Characters of a text that is kept while a call waits; no line has room for more."""


def bounded(text: str) -> str:
    """Return a text whole, or a digest of one that is too long to keep.

    Never a part of it: cut before redaction, a secret is no longer known for one.
    """
    if len(text) <= MAX_TEXT:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"[{len(text)} characters, sha256 {digest}]"


def read(frame: bytes) -> Message | None:
    """Return the one JSON object of a line, as msgspec reads it; None when it is none."""
    try:
        message = _decode(frame)
        if not frame.isascii():
            frame.decode()  # the arguments were skipped, not checked
    except _FAILURES:
        return None
    return message


def parse_request(frame: bytes, message: Message | None) -> Parsed:
    """Parse one line from the side that makes the calls; `message` is what `read` gave for it."""
    if message is None:
        return _parse_other(frame)
    if _is_plain(frame, message):
        return ((message, frame),)
    return _parse_lenient(frame)


def parse_answer(frame: bytes) -> Parsed:
    """Parse one line from the side that gives the answers."""
    message = read(frame)
    if message is None:
        return _parse_other(frame)
    if message.result is ABSENT and message.error is ABSENT:
        # A notification or a request: its parameters may hold any key, but it must not be an answer as well.
        lower = frame.lower()
        plain = b'"result"' not in lower and b'"error"' not in lower
    else:
        plain = _is_plain(frame, message)
    return ((message, frame),) if plain else _parse_lenient(frame)


_plain: set[bytes] = set()
OUTLINES: Final = 1024
"""How many outlines are remembered, and the bytes of the longest one."""


def outline_of(frame: bytes, message: Message) -> bytes:
    """Return a line without the values that may hold anything.

    It hardly differs from one call of a tool to the next. Of ids only digits are left out, since no key can be made
    of them.
    """
    outline, params = frame, message.params
    if params is not UNSET:
        if params.arguments is not ABSENT:
            outline = outline.replace(params.arguments, b"", 1)
        if params.meta is not ABSENT:
            outline = outline.replace(params.meta, b"", 1)
    if message.result is not ABSENT:
        outline = outline.replace(message.result, b"", 1)
    if message.error is not ABSENT:
        outline = outline.replace(message.error, b"", 1)
    rpc_id = bytes(message.id)
    return outline.replace(rpc_id, b"", 1) if rpc_id.isdigit() else outline


def _is_plain(frame: bytes, message: Message) -> bool:
    """Tell whether every parser reads the same envelope, never wrongly with True.

    What is looked at is the line's outline; those that were found to be plain are remembered.
    """
    outline = outline_of(frame, message)
    if outline in _plain:
        return True
    if _is_doubtful(outline.lower(), message):
        return False
    if len(outline) <= OUTLINES:
        if len(_plain) >= OUTLINES:
            _plain.clear()
        _plain.add(outline)
    return True


def _is_doubtful(outline: bytes, message: Message) -> bool:
    """Tell whether some parser could find other keys there than msgspec did: each must stand there once.

    A backslash could spell a key; U+017F and U+212A fold to the letters s and k.
    """
    if b"\\" in outline or b"\xc5\xbf" in outline or b"\xe2\x84\xaa" in outline:
        return True
    count, params = outline.count, message.params
    if params is UNSET:
        if b'"params"' in outline:
            return True
    elif (
        count(b'"params"') != 1
        or count(b'"name"') != (params.name is not UNSET)
        or count(b'"uri"') != (params.uri is not UNSET)
        or count(b'"arguments"') != (params.arguments is not ABSENT)
        or count(b'"_meta"') != (params.meta is not ABSENT)
        or count(b'"requeststate"') != (params.request_state is not UNSET)
        or count(b'"requestid"') != (params.request_id is not ABSENT)
    ):
        return True
    answers = (message.result is not ABSENT) + (message.error is not ABSENT)
    return (
        count(b'"method"') != (message.method is not UNSET)
        or count(b'"id"') != (message.id is not ABSENT)
        or count(b'"result"') + count(b'"error"') != answers
        or (message.method is not UNSET and answers > 0)
    )


# --- the lenient reader ---------------------------------------------------------------------------------


def _parse_other(frame: bytes) -> Parsed:
    """Parse what is not one plain object: a batch, foreign JSON, or no JSON at all."""
    if frame.lstrip()[:1] == b"[":
        try:
            items = _decode_batch(frame)
        except _FAILURES:
            pass
        else:
            return tuple(parsed for item in items for parsed in _parse_item(bytes(item)))
    return _parse_lenient(frame)


def _parse_item(item: bytes) -> Parsed:
    if item[:1] != b"{":
        return ((Message(), item),)  # an array in an array is no message
    if b'"result"' in item or b'"error"' in item:
        return parse_answer(item)
    return parse_request(item, read(item))


class _Object(dict[str, Any]):
    """An object that remembers its pairs when they say more than the mapping does."""

    pairs: list[tuple[str, Any]] | None = None


_ENVELOPE: Final = ("method", "id", "params", "result", "error")
_PARAMS: Final = ("name", "uri", "arguments", "requestState", "requestId", "_meta")
_FOLDED: Final = frozenset(key.casefold() for key in (*_ENVELOPE, *_PARAMS))
_EXACT: Final = frozenset((*_ENVELOPE, *_PARAMS))


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    made = _Object(pairs)
    if len(made) != len(pairs) or any(key not in _EXACT and key.casefold() in _FOLDED for key in made):
        made.pairs = pairs
    return made


_MAX_DIGITS: Final = 400
"""A longer number is kept as text: Python converts at most 4,300 digits, and no double holds 400."""


def _integer(text: str) -> int | str:
    return int(text) if len(text) <= _MAX_DIGITS else text


def _float(text: str) -> float | str:
    value = float(text)
    return value if math.isfinite(value) else text


_lenient = json.JSONDecoder(
    object_pairs_hook=_object, strict=False, parse_int=_integer, parse_float=_float, parse_constant=str
)
_SPACE: Final = re.compile(r"[\s\0]*")


def _parse_lenient(frame: bytes) -> Parsed:
    if len(frame) > CAREFUL_LIMIT:
        return ((scan(frame, "too large"), b"{}"),)
    text = frame.decode("utf-8", "replace").lstrip("\ufeff")
    parsed: list[tuple[Message, bytes]] = []
    at = _end_of_space(text, 0)
    try:
        while at < len(text):  # some parsers take one value after the other, whatever the lines are
            value, at = _lenient.raw_decode(text, at)
            at = _end_of_space(text, at)
            for item in value if isinstance(value, list) else [value]:
                parsed.append(_rebuild(item))
    except RecursionError:
        return ((scan(frame, "too deep"), b"{}"),)
    except ValueError:
        pass  # what was whole before it may still be carried out
    return tuple(parsed)


def _end_of_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _rebuild(value: Any) -> tuple[Message, bytes]:
    """Return the message that a lenient parser's object holds, encoded again in its plainest form."""
    if not isinstance(value, _Object):
        return Message(), b"null"
    doubts: list[str] = []
    top = _choose(value, _ENVELOPE, "", doubts)
    if not isinstance(top.get("method"), str):
        top.pop("method", None)
    params = top.pop("params", None)
    if isinstance(params, _Object):
        fields = {**params, **_choose(params, _PARAMS, "params.", doubts)}
        for key in ("name", "uri", "requestState"):
            if key in fields and not isinstance(fields[key], str):
                fields[key] = json.dumps(fields[key])
        top["params"] = fields
    elif params is not None:
        top["params"] = {"arguments": params}
    if "method" in top and ("result" in top or "error" in top):
        doubts.append("method")
    text = json.dumps(top, ensure_ascii=False).encode("utf-8", "replace")
    plain = _decode(text)
    made = DoubtfulMessage(
        plain.method, plain.id, plain.params, plain.result, plain.error, ambiguous=tuple(dict.fromkeys(doubts))
    )
    return made, text


def _choose(value: _Object, keys: tuple[str, ...], prefix: str, doubts: list[str]) -> dict[str, Any]:
    """Return one value a key, and add the keys for which there was a choice to `doubts`."""
    if value.pairs is None:
        return {key: value[key] for key in keys if key in value}
    chosen: dict[str, Any] = {}
    for key in keys:
        found = [(name, item) for name, item in value.pairs if name.casefold() == key.casefold()]
        if not found:
            continue
        exact = [item for name, item in found if name == key]
        chosen[key] = exact[-1] if exact else found[-1][1]
        if len(found) > 1 or not exact:
            doubts.append(prefix + key)
        if key == "method":
            chosen[key] = _most_telling([chosen[key], *(item for _, item in found)])
    return chosen


def _most_telling(candidates: list[Any]) -> Any:
    """Return the first candidate that would be a call: some parser may take that one."""
    for item in candidates:
        if isinstance(item, str) and methods.is_call(item, has_id=True):
            return item
    return candidates[0]


# --- the scan -------------------------------------------------------------------------------------------

_TOKEN: Final = re.compile(rb'[\s,]*("[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}:]|[^\s"\[\]{}:,]+)', re.DOTALL)
_TAIL: Final = re.compile(
    rb'((?:,\s*"(?:jsonrpc|id|method)"\s*:\s*(?:"[^"\\]*"|[^\s"\\,{}\[\]]+)\s*)+)\}\s*$', re.IGNORECASE
)
_COLON: Final = re.compile(rb"\s*:")
_MEMBER: Final = re.compile(rb'"(\w+)"\s*:\s*("[^"\\]*"|[^\s"\\,{}\[\]]+)')
_IS_ERROR: Final = re.compile(rb'"isError"\s*:\s*true')


def scan(frame: bytes, reason: Unparsed) -> DoubtfulMessage:
    """Find method, id and name in a whole line without parsing it."""
    return scan_ends(frame[:SCAN_BYTES], frame[-SCAN_BYTES:], reason)


def scan_ends(head: bytes, tail: bytes, reason: Unparsed = "too large") -> DoubtfulMessage:
    """Find method, id and name in the first and last `SCAN_BYTES` of a line.

    The head is walked token by token, so what is nested is not mistaken for the envelope; of the tail only
    scalars that directly precede the closing brace are believed.
    """
    found = _walk(head)
    trailing = _TAIL.search(tail)
    for key, value in _MEMBER.findall(trailing[1]) if trailing else ():
        found.setdefault((key.decode().lower(),), value)
    message = DoubtfulMessage(unparsed=reason)
    message.method = _text(found.get(("method",)), UNSET)
    if ("id",) in found:
        message.id = _plain_raw(found[("id",)])
    if ("params",) in found:
        name, uri = found.get(("params", "name")), found.get(("params", "uri"))
        message.params = Params(name=_text(name, UNSET), uri=_text(uri, UNSET))
    if ("error",) in found:
        message.error = Raw(b"{}")
    elif ("result",) in found:
        is_error = _IS_ERROR.search(head) or _IS_ERROR.search(tail)
        message.result = Raw(b'{"isError":true}' if is_error else b"{}")
    return message


def _text(token: bytes | None, otherwise: UnsetType) -> str | UnsetType:
    if token is None or token[:1] != b'"':
        return otherwise
    try:
        value = json.loads(token.decode("utf-8", "replace"), strict=False)
    except ValueError:
        return otherwise
    return str(value).encode("utf-8", "replace").decode()


def _plain_raw(token: bytes) -> Raw:
    try:
        return Raw(json.dumps(json.loads(token.decode("utf-8", "replace"), strict=False)).encode())
    except ValueError:
        return Raw(b"null")


def _walk(head: bytes) -> dict[tuple[str, ...], bytes]:
    """Return the keys at depth 1, and those at depth 2 in ``params``, with the first token of each value."""
    found: dict[tuple[str, ...], bytes] = {}
    depth = at = 0
    under, pending = "", None
    while (match := _TOKEN.match(head, at)) is not None:
        token, at = match[1], match.end()
        if token in b"{[":
            depth += 1
            pending = None
        elif token in b"}]":
            depth -= 1
        elif depth == 1 or (depth == 2 and under == "params"):
            if token == b":":
                continue
            colon = _COLON.match(head, at) if pending is None else None
            if colon is not None:
                pending = str(_text(token, UNSET)).casefold()
                if depth == 1:
                    under = pending
                start = _TOKEN.match(head, colon.end())
                path = (pending,) if depth == 1 else ("params", pending)
                found.setdefault(path, start[1] if start else b"")
            else:
                pending = None
    return found
