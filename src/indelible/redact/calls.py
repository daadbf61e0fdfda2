"""A call's request and its outcome, the long way: what differs from one call to the next. Pure."""

from __future__ import annotations

from typing import Any, Final

import orjson

from indelible.events import Outcome, Request
from indelible.redact import fields
from indelible.redact.limits import SHORT_STRINGS_BYTES
from indelible.redact.payload import ABSENT, Payload, as_raw

UNKNOWN: Final = "unknown"
"""Stands where an event without a word that every event has would leave a hole."""


def strings_of(request: Request | None, outcome: Outcome | None) -> bytes | None:
    """Return the small strings of a call as JSON; None when any is no text, or might be over its cap."""
    found: list[Any] = []
    if request is not None:
        found = [request.request_id, request.rpc_id, request.intent, request.continues]
    if outcome is not None:
        latency = outcome.latency_ms
        if (
            (latency is not None and (type(latency) is not float or latency - latency != 0.0))
            or outcome.error_code is not None
            or type(outcome.status) is not str
            or type(outcome.kind) is not str
            or outcome.status not in fields.STATUSES
            or outcome.kind not in fields.KINDS
            or fields.size(outcome.result_bytes) != outcome.result_bytes
        ):
            return None
        found += (outcome.error, outcome.error_type)
    try:
        encoded = orjson.dumps("\n".join([text for text in found if text is not None]))
    except TypeError:  # no text at all, or one with a lone surrogate
        return None
    return encoded if len(encoded) <= SHORT_STRINGS_BYTES else None


def request_of(request: Request, args: Payload, room: fields.Room | None, key_id: str) -> Request:
    """Return a request as it may stand in a line; without a `room` its small strings are known to be clean."""
    hmac, size = args.hmac, args.size
    digested_by = None if hmac is None else key_id
    if size is None and request.args_bytes is not None:  # too large to be handed over, but measured
        size = fields.size(request.args_bytes)
    if room is not None:
        kept = fields.apply(room, request, fields.REQUEST)
        return Request(**kept, args=as_raw(args.kept), args_bytes=size, args_hmac=hmac, hmac_key_id=digested_by)
    return Request(
        request_id=request.request_id,
        intent=request.intent,
        rpc_id=request.rpc_id,
        trace_id=None if request.trace_id is None else fields.trace_id(request.trace_id),
        span_id=None if request.span_id is None else fields.span_id(request.span_id),
        continues=request.continues,
        args=as_raw(args.kept),
        args_bytes=size,
        args_hmac=hmac,
        hmac_key_id=digested_by,
    )


def outcome_of(outcome: Outcome, result: Payload, room: fields.Room | None) -> Outcome:
    """Return an outcome likewise."""
    if room is not None:
        kept = {"status": UNKNOWN, "kind": UNKNOWN, **fields.apply(room, outcome, fields.OUTCOME)}
        if result.size is not None:
            kept["result_bytes"] = result.size
        return Outcome(**kept, result_hmac=result.hmac, result=as_raw(result.kept))
    if result is ABSENT and outcome.result_hmac is None:
        return outcome
    return Outcome(
        status=outcome.status,
        kind=outcome.kind,
        latency_ms=outcome.latency_ms,
        error=outcome.error,
        error_type=outcome.error_type,
        result_bytes=outcome.result_bytes if result.size is None else result.size,
        result_hmac=result.hmac,
        result=as_raw(result.kept),
    )
