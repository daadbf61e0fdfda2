"""What a server asks by ``input_required`` (2026-07-28), and what the retry answers: events of their own.

The requests stand in the first round's result, the answers in the second round's parameters. Both come from peers that
are not trusted: what cannot be read makes no event, and no value makes this raise.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Raw

from indelible.capture import methods
from indelible.capture.calls import Call, Round
from indelible.capture.frames import bounded
from indelible.capture.outcomes import Verdict
from indelible.events import Event, Kind, Source, Target, format_time

MAX_ANSWERS: Final = 64
"""Answers of one retry that are looked at."""


class Moment(NamedTuple):
    """When the retry came: ns since the epoch, and on the monotonic clock."""

    now: int
    mono: int


def answers(before: Round, responses: Any, source: Source, target: Target, at: Moment) -> list[Event]:
    """Return an event of each sampling or elicitation that a retry answers; `target` is the call's."""
    if not isinstance(responses, Mapping):
        return []
    questions = _mapping(before.asked)
    found = []
    for name, answer in itertools.islice(responses.items(), MAX_ANSWERS):
        request = questions.get(name)
        method = request.get("method") if isinstance(request, Mapping) else _guess(answer)
        if not isinstance(method, str) or method not in methods.SERVER_CALLS:
            continue
        params = request.get("params") if isinstance(request, Mapping) else None
        call = asked(method, params, source, target, Moment(at.now, before.mono), before.request_id)
        found.append(call.finish(judge(answer), at.mono))
    return found


def asked(method: str, params: Any, source: Source, target: Target, at: Moment, within: str) -> Call:
    """Return what a server asks its client, `method` being one of `methods.SERVER_CALLS`.

    `target` is that of the call `within` which it asks.
    """
    about = Target(
        backend=target.backend,
        method=method,
        type=method.partition("/")[0],
        server_version=target.server_version,
        protocol_version=target.protocol_version,
    )
    call = Call(b"null", method, None, source, about, format_time(at.now), at.mono)
    call.has_id = False  # in a round it has none, and the SDK numbers its requests itself
    call.event_type = methods.SERVER_CALLS[method]
    call.args = params
    call.continues = within
    return call


def judge(answer: Any) -> Verdict:
    """Return what an answer says; that of an elicitation has an action (MCP schema, ``ElicitResult``)."""
    action = answer.get("action") if isinstance(answer, Mapping) else None
    if not isinstance(action, str):
        return Verdict("completed", result=answer)
    kind: Kind = "cancelled" if action == "cancel" else "completed"
    return Verdict(kind, result=answer, metadata={"action": bounded(action)})


def _guess(answer: Any) -> str | None:
    """Return what was asked for, by the form of the answer, when the question is not known."""
    if not isinstance(answer, Mapping):
        return None
    return (
        "elicitation/create" if "action" in answer else "sampling/createMessage" if "role" in answer else None
    )


def _mapping(raw: Raw | None) -> Mapping[str, Any]:
    try:
        value = msgspec.json.decode(raw) if raw is not None else None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
