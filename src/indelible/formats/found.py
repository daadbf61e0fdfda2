"""A record that was found elsewhere, read back: which line it says that it is of, and its fields. Pure.

The rules that live here:

- A record is read by its format's own grammar, from its first byte to its last: what a caller wrote stays inside the
  value that it stands in, and no `leaf=` in there is ever taken for the record's.
- A key that stands twice means different things to different readers: such a record is not read.
- Nothing here is believed. What is read are claims: `indelible.query.records` compares them with a trail.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from indelible.formats.shapes import STAMP_KEY

MAX_RECORD_BYTES: Final = 1 << 20
"""A line of 64 KB, each byte of which an encoding makes six or more."""

JSON: Final = "JSON"
CEF: Final = "CEF"
LEEF: Final = "LEEF"
SYSLOG: Final = "RFC 5424"

_MAX_SEQ: Final = 2**53
_LEAF = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")


Keys = tuple[str | int, ...]
Fields = dict[Keys, Any]


class Found(NamedTuple):
    """What a record says."""

    family: str
    seq: int
    event_id: str
    origin: str
    leaf: bytes
    body: bytes
    """The record itself."""
    front: bytes
    """What a transport put in front of it; empty when nothing did."""
    fields: Fields
    """Every value by its key; of JSON by the keys and indexes that lead to it."""
    settings: dict[str, Any]
    """What of `indelible.formats.record.Options` shows in it: no line has these."""


def read_found(data: bytes) -> Found | None:
    """Return what a record says; None for what is none of ours, or not whole."""
    front, body = split_front(data)
    for family, begins, read in _READERS:
        if body.startswith(begins):
            return _claims(family, front, body, read(body))
    return None


class _Read(NamedTuple):
    stamp: Mapping[str, Any]
    fields: Fields
    settings: dict[str, Any]


def _claims(family: str, front: bytes, body: bytes, read: _Read | None) -> Found | None:
    if read is None:
        return None
    seq, leaf = read.stamp.get("seq"), read.stamp.get("leaf")
    event_id, origin = read.stamp.get("event_id", ""), read.stamp.get("origin")
    if isinstance(seq, str) and _NUMBER.fullmatch(seq):
        seq = int(seq)
    if type(seq) is not int or not 0 <= seq < _MAX_SEQ or not isinstance(origin, str) or not origin:
        return None
    if not isinstance(leaf, str) or not _LEAF.fullmatch(leaf) or not isinstance(event_id, str):
        return None
    return Found(family, seq, event_id, origin, bytes.fromhex(leaf), body, front, read.fields, read.settings)


# --- what transports put in front -------------------------------------------------------------------------------

_TOKEN: Final = rb"[!-~]{1,255}"
_NAME: Final = rb"[A-Za-z0-9_.:/\[\]-]{1,255}"
_STAMP_5424: Final = rb"(?:-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d))"
_STAMP_3164: Final = rb"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d"
_ELEMENTS: Final = rb'(?:-|(?:\[[!#-<>-\\^-~]{1,32}(?: [!#-<>-\\^-~]{1,32}="(?:[^"\\\]]|\\.)*")*\])+)'

_FRONT = re.compile(
    rb"(?:"
    # a whole RFC 5424 header, the record is its MSG
    rb"<\d{1,3}>1 " + _STAMP_5424 + rb"(?: " + _TOKEN + rb"){4} " + _ELEMENTS + rb" (?:\xef\xbb\xbf)?"
    # RFC 3164, as sent, or as receivers write it into a file
    rb"|(?:<\d{1,3}>)?(?:" + _STAMP_3164 + rb"|" + _STAMP_5424 + rb") " + _NAME + rb" (?:" + _NAME + rb" )?"
    rb")(?=CEF:0\||LEEF:2\.0\||\{)"
)


def split_front(data: bytes) -> tuple[bytes, bytes]:
    """Return a transport's header and the record after it: of CEF, LEEF or JSON that came through a syslog.

    What follows the header is the record's first byte: a `CEF:0|` further on is in somebody's value.
    """
    match = _FRONT.match(data)
    end = match.end() if match else 0
    return data[:end], data[end:]


# --- JSON ---------------------------------------------------------------------------------------------------------

_PLACES: Final = (
    (STAMP_KEY,),
    ("metadata", STAMP_KEY),
    ("data", STAMP_KEY),
    ("unmapped", STAMP_KEY),
)
"""Where a JSON format has its stamp: as the last key, or where the system that it is for has room for such."""

_SETTINGS: Final = {
    "vendor": (("observer", "vendor"), ("metadata", "product", "vendor_name")),
    "product": (("observer", "product"), ("metadata", "product", "name")),
    "version": (("observer", "version"), ("metadata", "product", "version")),
    "host": (("observer", "hostname"), ("host", "name")),
}
"""Where JSON formats (ECS, OCSF) say what is set."""


def _read_json(body: bytes) -> _Read | None:
    try:
        value = json.loads(body, object_pairs_hook=_once, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    if "resourceLogs" in value:
        return _read_otlp(value)
    stamp = next((found for place in _PLACES if isinstance(found := _at(value, place), dict)), None)
    if stamp is None:
        return None
    settings = {
        name: found
        for name, places in _SETTINGS.items()
        for place in places
        if isinstance(found := _at(value, place), str)
    }
    return _Read(stamp, dict(_flat(value, ())), settings)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands twice")
    return made


def _refuse(name: str) -> None:
    raise ValueError(name)


def _at(value: object, place: Keys) -> object:
    for key in place:
        if isinstance(value, dict):
            value = value.get(key)
        else:
            value = (
                value[key] if isinstance(value, list) and isinstance(key, int) and len(value) > key else None
            )
    return value


def _flat(value: Any, path: Keys) -> Iterator[tuple[Keys, Any]]:
    """Yield each value that holds no other by its path; numbers of one value are equal, `true` is no number."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flat(item, (*path, key))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _flat(item, (*path, index))
    else:
        yield path, (type(value) is bool, value)


_OTLP_PLACES: Final = ("resourceLogs", 0, "scopeLogs", 0, "logRecords", 0)
_OTLP_SETTINGS: Final = {"app_name": "service.name", "version": "service.version", "host": "host.name"}


def _read_otlp(value: dict[str, Any]) -> _Read | None:
    """Read an ExportLogsServiceRequest of one log record; its lists of KeyValue are read as mappings."""
    for keys in (_OTLP_PLACES[:1], _OTLP_PLACES[:3], _OTLP_PLACES[:5]):
        found = _at(value, keys)
        if not isinstance(found, list) or len(found) != 1:
            return None
    try:
        named = _named(value)
    except ValueError:
        return None
    about = _at(named, (*_OTLP_PLACES[:2], "resource", "attributes"))
    own = _at(named, (*_OTLP_PLACES, "attributes", STAMP_KEY, "kvlistValue", "values"))
    if not isinstance(own, dict):
        return None
    stamp = {key: next(iter(held.values())) for key, held in own.items() if isinstance(held, dict) and held}
    settings = {
        name: found
        for name, key in _OTLP_SETTINGS.items()
        if isinstance(found := _at(about, (key, "stringValue")), str)
    }
    return _Read(stamp, dict(_flat(named, ())), settings)


def _named(value: Any) -> Any:
    """Return a value in which lists of KeyValue are objects. Raises ValueError for a key that stands twice."""
    if isinstance(value, dict):
        return {key: _named(item) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    if value and all(isinstance(item, dict) and item.keys() == {"key", "value"} for item in value):
        return _once([(str(item["key"]), _named(item["value"])) for item in value])
    return [_named(item) for item in value]


# --- CEF ----------------------------------------------------------------------------------------------------------

_CEF = re.compile(r"CEF:0" + r"\|((?:[^\\|]++|\\[\\|])*+)" * 6 + r"\|(.*)", re.DOTALL)
_CEF_KEY = re.compile(r"(?:^| )([A-Za-z0-9_]+)=")
"""In a value every `=` has a backslash before it: after a letter or digit it ends a key."""
_CEF_ESCAPE = re.compile(r"\\([\\=nr])")
_CEF_TEXT: Final = {"n": "\n", "r": "\r"}


def _read_cef(body: bytes) -> _Read | None:
    match = _CEF.fullmatch(_text(body))
    if match is None:
        return None
    vendor, product, version = (re.sub(r"\\(.)", r"\1", match[number]) for number in (1, 2, 3))
    extension = match[7]
    keys = list(_CEF_KEY.finditer(extension))
    if not keys or keys[0].start():
        return None
    fields: dict[str, Any] = {}
    for key, following in zip(keys, [*keys[1:], None], strict=True):
        value = extension[key.end() : following.start() if following else None]
        if key[1] in fields:
            return None
        if "\\" in value:
            value = _CEF_ESCAPE.sub(lambda found: _CEF_TEXT.get(found[1], found[1]), value)
        fields[key[1]] = value
    settings = {"vendor": vendor, "product": product, "version": version, "host": fields.get("dvchost", "")}
    header = {"signature": match[4], "name": match[5], "severity": match[6]}
    stamp = _stamp_of(fields, "externalId", "IndelibleMcpSeq", "deviceExternalId", "IndelibleMcpLeaf")
    return _Read(stamp, _plain(header | fields), settings)


# --- LEEF ---------------------------------------------------------------------------------------------------------

_LEEF = re.compile(r"LEEF:2\.0" + r"\|([^|]*)" * 4 + r"\|x09\|(.*)", re.DOTALL)


def _read_leef(body: bytes) -> _Read | None:
    match = _LEEF.fullmatch(_text(body))
    if match is None:
        return None
    fields: dict[str, Any] = {"EventID": match[4]}
    for pair in match[5].split("\t"):
        key, equals, value = pair.partition("=")
        if not equals or not key or key in fields:
            return None
        fields[key] = value
    host = fields.get("devHost", "")
    settings = {"vendor": match[1], "product": match[2], "version": match[3], "host": host}
    return _Read(_stamp_of(fields, "eventId", "seq", "origin", "leaf"), _plain(fields), settings)


# --- RFC 5424 -----------------------------------------------------------------------------------------------------

_SYSLOG = re.compile(
    r"<(0|[1-9]\d{0,2})>1 (\S+) (\S+) (\S+) (\S+) (\S+) "
    r'((?:\[(?:[^"\]]|"(?:[^"\\\]]|\\.)*")*\])+)(?: (.*))?',
    re.DOTALL,
)
_ELEMENT = re.compile(r'\[([^ \]="]+)((?: [^ \]="]+="(?:[^"\\\]]|\\.)*")*)\]', re.DOTALL)
_PARAM = re.compile(r' ([^ \]="]+)="((?:[^"\\\]]|\\.)*)"', re.DOTALL)
_PARAM_ESCAPE = re.compile(r'\\(["\\\]])')


def _read_syslog(body: bytes) -> _Read | None:
    match = _SYSLOG.fullmatch(_text(body))
    if match is None:
        return None
    fields: dict[str, Any] = {"severity": int(match[1]) % 8, "TIMESTAMP": match[2], "MSGID": match[6]}
    fields["MSG"] = match[8] or ""
    enterprise = None
    for element in _elements(match[7]):
        name, at, number = element[1].partition("@")
        enterprise = number if at else enterprise
        for param in _PARAM.finditer(element[2]):
            key = param[1] if name == "indelible" else f"{name}.{param[1]}"
            if key in fields:
                return None
            fields[key] = _PARAM_ESCAPE.sub(r"\1", param[2]) if "\\" in param[2] else param[2]
    nil = {"-": ""}
    settings: dict[str, Any] = {"facility": int(match[1]) // 8, "host": nil.get(match[3], match[3])}
    settings |= {"app_name": nil.get(match[4], match[4])}
    if enterprise and _NUMBER.fullmatch(enterprise):
        settings["enterprise"] = int(enterprise)
    return _Read(_stamp_of(fields, "event_id", "seq", "origin", "leaf"), _plain(fields), settings)


def _elements(text: str) -> Iterator[re.Match[str]]:
    """Yield the elements, each where the one before it ends: never one that begins in a value."""
    at = 0
    while element := _ELEMENT.match(text, at):
        yield element
        at = element.end()


# --- what the text formats share ----------------------------------------------------------------------------------


def _stamp_of(fields: Mapping[str, Any], event_id: str, seq: str, origin: str, leaf: str) -> dict[str, Any]:
    """Return the parts of the stamp that stand under these keys."""
    keys = {"event_id": event_id, "seq": seq, "origin": origin, "leaf": leaf}
    return {part: fields[key] for part, key in keys.items() if key in fields}


def _plain(fields: Mapping[str, Any]) -> Fields:
    return {(key,): value for key, value in fields.items()}


def _text(body: bytes) -> str:
    return body.decode("utf-8", "surrogateescape")


_READERS: Final = (
    (CEF, b"CEF:0|", _read_cef),
    (LEEF, b"LEEF:2.0|", _read_leef),
    (SYSLOG, b"<", _read_syslog),
    (JSON, b"{", _read_json),
)
"""How a record begins, and what reads it."""
