"""The parts of MCP messages that are read beside the envelope: ``_meta``, client and server info, lists.

Everything here comes from peers that are not trusted: a value of another type than the specification's is as
good as absent, and nothing raises.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from indelible.capture.frames import ABSENT, Message, bounded

CLIENT_INFO: Final = "io.modelcontextprotocol/clientInfo"
SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"
PROTOCOL_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
"""Reserved ``_meta`` keys of revision 2026-07-28."""

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")


class Meta(msgspec.Struct, gc=False):
    """The keys of a request's ``_meta`` that are understood.

    A request id is taken from `request_id`, `requestId` or `X-Request-ID`, in this order; the last one also in
    lower case, as proxies write headers.
    """

    request_id: str | UnsetType = UNSET
    request_id_camel: str | UnsetType = msgspec.field(default=UNSET, name="requestId")
    x_request_id: str | UnsetType = msgspec.field(default=UNSET, name="X-Request-ID")
    x_request_id_lower: str | UnsetType = msgspec.field(default=UNSET, name="x-request-id")
    traceparent: str | UnsetType = UNSET
    protocol_version: str | UnsetType = msgspec.field(default=UNSET, name=PROTOCOL_VERSION)
    client_info: Raw = msgspec.field(default=ABSENT, name=CLIENT_INFO)


_decode_meta = msgspec.json.Decoder(Meta).decode
_decode_any = msgspec.json.Decoder().decode


class _WithParams(msgspec.Struct, gc=False):
    params: Raw = ABSENT


_decode_params = msgspec.json.Decoder(_WithParams).decode


def read(message: Message) -> Meta | None:
    """Return what a request's ``_meta`` says, or None when it has none."""
    params = message.params
    if params is UNSET or params.meta is ABSENT:
        return None
    try:
        return _decode_meta(params.meta)
    except (msgspec.MsgspecError, RecursionError):
        return of_fields(mapping(params.meta))


TEXTS: Final = frozenset(field.encode_name for field in msgspec.structs.fields(Meta)) - {CLIENT_INFO}
"""The keys of a ``_meta`` that are texts; some are headers, too."""


def of_fields(fields: Mapping[str, Any]) -> Meta:
    """Return what the keys of a ``_meta`` say that are texts; what has another type is left out."""
    return msgspec.convert({key: fields[key] for key in TEXTS if isinstance(fields.get(key), str)}, Meta)


def correlation(carried: Meta) -> tuple[str | None, str | None, str | None]:
    """Return request id, trace id and span id (W3C Trace Context, section 3.2), None for what is not there."""
    request_id = None
    proxied = (carried.x_request_id, carried.x_request_id_lower)
    for given in (carried.request_id, carried.request_id_camel, *proxied):
        if given is not UNSET and _REQUEST_ID.fullmatch(given):
            request_id = given
            break
    if carried.traceparent is not UNSET:
        found = _TRACEPARENT.fullmatch(carried.traceparent)
        if found and found[1].strip("0") and found[2].strip("0"):
            return request_id, found[1], found[2]
    return request_id, None, None


def mapping(raw: bytes | Raw) -> dict[str, Any]:
    """Return a JSON object; anything else is an empty one."""
    if raw is ABSENT:
        return {}
    try:
        value = _decode_any(raw)
    except (msgspec.MsgspecError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def raw_params(text: bytes) -> Raw | None:
    """Return a message's parameters as they stand in it."""
    try:
        params = _decode_params(text).params
    except (msgspec.MsgspecError, RecursionError):
        return None
    return None if params is ABSENT else params


def short(value: object) -> str | None:
    """Return a text that a peer gave itself, bounded; None for anything else."""
    return bounded(value) if isinstance(value, str) and value else None


def name_version(info: object) -> str | None:
    """Return ``name/version`` of an ``Implementation``."""
    if not isinstance(info, dict):
        return None
    name, version = short(info.get("name")), short(info.get("version"))
    return f"{name}/{version}" if name and version else name


def server_version(result: Mapping[str, Any]) -> str | None:
    """Return the server's version as a result tells it: as its `serverInfo`, else in its ``_meta`` (2026-07-28)."""
    fields = result.get("_meta")
    later = fields.get(SERVER_INFO) if isinstance(fields, Mapping) else None
    info = next((info for info in (result.get("serverInfo"), later) if isinstance(info, Mapping)), None)
    return None if info is None else short(info.get("version"))


def completed_ref(text: bytes) -> str | None:
    """Return what a ``completion/complete`` completes for: a prompt's name or a resource's URI."""
    params = mapping(text).get("params")
    ref = params.get("ref") if isinstance(params, dict) else None
    if not isinstance(ref, dict):
        return None
    name = ref.get("name", ref.get("uri"))
    return name if isinstance(name, str) else None


def cancelled(text: bytes) -> tuple[bytes | None, str | None]:
    """Return the id, as it was written, and the reason of a ``notifications/cancelled``."""
    params = mapping(raw_params(text) or ABSENT)
    if "requestId" not in params:
        return None, None
    reason = params.get("reason")
    return bytes(_decode_request_id(text)), bounded(reason) if isinstance(reason, str) else None


class _Cancelled(msgspec.Struct, gc=False):
    request_id: Raw = msgspec.field(default=ABSENT, name="requestId")


class _WithCancelled(msgspec.Struct, gc=False):
    params: _Cancelled


def _decode_request_id(text: bytes) -> Raw:
    try:
        return msgspec.json.decode(text, type=_WithCancelled).params.request_id
    except (msgspec.MsgspecError, RecursionError):
        return ABSENT


def tools_of(result: Raw) -> list[Any]:
    """Return the definitions in a ``tools/list`` result."""
    tools = mapping(result).get("tools")
    return tools if isinstance(tools, list) else []
