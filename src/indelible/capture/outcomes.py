"""From an answer to what became of the call."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec
from msgspec import Raw

from indelible.capture.frames import ABSENT, DoubtfulMessage, Message, bounded
from indelible.events import MAX_INTEGER, Kind

TIMEOUT_CODES: Final = (408, -32001)
"""Codes that SDKs answer with when a time limit of theirs has passed; -32001 has other uses too."""


class Result(msgspec.Struct, gc=False):
    """The few keys of a result that say what became of the call."""

    is_error: bool = msgspec.field(default=False, name="isError")
    result_type: str | None = msgspec.field(default=None, name="resultType")
    request_state: str | None = msgspec.field(default=None, name="requestState")
    task: Raw = ABSENT
    content: Raw = ABSENT
    action: str | None = None


class Verdict(msgspec.Struct, gc=False):
    """What became of a call, in the event's words."""

    kind: Kind
    error: str | None = None
    error_code: int | None = None
    result: Raw | None = None
    request_state: str | None = None
    """Of an ``input_required``: what the retry will carry."""
    metadata: dict[str, Any] | None = None


_decode_result = msgspec.json.Decoder(Result).decode
_decode_any = msgspec.json.Decoder().decode


def judge(message: Message, text: bytes) -> Verdict:
    """Return what the answer `message` says; `text` is JSON that holds it."""
    if message.error is not ABSENT and bytes(message.error) != b"null":
        return _judge_error(message.error)
    if isinstance(message, DoubtfulMessage) and message.unparsed:
        failed = bytes(message.result) != b"{}"
        return Verdict("tool_error" if failed else "completed", metadata={"unparsed": message.unparsed})
    find = text.find  # twice as fast as `in` (CPython 3.11)
    if find(b"isError") < 0 and find(b"resultType") < 0 and find(b'"task"') < 0 and find(b"\\u") < 0:
        return Verdict("completed", result=message.result)
    return _judge_result(message.result, text)


class _Flags(msgspec.Struct, gc=False):
    is_error: bool = msgspec.field(default=False, name="isError")
    result_type: str = msgspec.field(default="complete", name="resultType")


_decode_flags = msgspec.json.Decoder(_Flags).decode


def _judge_result(raw: Raw, text: bytes) -> Verdict:
    try:
        flags = _decode_flags(raw)
        if not flags.is_error and flags.result_type == "complete" and text.find(b'"task"') < 0:
            return Verdict("completed", result=raw)
    except (msgspec.MsgspecError, RecursionError):
        pass
    result = read_result(raw)
    if result.is_error:
        return Verdict("tool_error", error=_first_text(result.content), result=raw)
    if result.result_type == "input_required":
        return Verdict("input_required", result=raw, request_state=result.request_state or "")
    verdict = Verdict("completed", result=raw)
    task = _any(result.task)
    if isinstance(task, dict) and isinstance(task.get("taskId"), str):
        verdict.metadata = {"task": task["taskId"]}
    return verdict


def read_result(raw: Raw) -> Result:
    """Return a result's telling keys; of values of a wrong type, what a careless client makes of them."""
    try:
        return _decode_result(raw)
    except (msgspec.MsgspecError, RecursionError):
        value = _any(raw)
    if not isinstance(value, dict):
        return Result()
    return Result(
        bool(value.get("isError")),
        _text(value.get("resultType")),
        _text(value.get("requestState")),
        content=Raw(json.dumps(value.get("content")).encode()),
        action=_text(value.get("action")),
    )


def _judge_error(raw: Raw) -> Verdict:
    error = _any(raw)
    if not isinstance(error, dict):
        return Verdict("protocol_error", error=_text(error))
    code, message = error.get("code"), _text(error.get("message"))
    if isinstance(code, bool) or not isinstance(code, int) or abs(code) > MAX_INTEGER:
        code = None
    kind: Kind = "protocol_error"
    if code in TIMEOUT_CODES and message and ("timed out" in message.lower() or "timeout" in message.lower()):
        kind = "timed_out"
    return Verdict(kind, error=message, error_code=code)


def _first_text(content: Raw) -> str | None:
    """Return the text of a result's first text block: by convention, what went wrong."""
    blocks = _any(content)
    for block in blocks if isinstance(blocks, list) else ():
        if isinstance(block, dict) and isinstance(block.get("text"), str):
            return _text(block["text"])
    return None


def _text(value: object) -> str | None:
    return bounded(value) if isinstance(value, str) else None


def _any(raw: Raw) -> Any:
    if raw is ABSENT:
        return None
    try:
        return _decode_any(raw)
    except (msgspec.MsgspecError, RecursionError):
        return None


def judge_reply(message: Message, text: bytes) -> Verdict:
    """Return what a client's answer to a server's request says (sampling, elicitation)."""
    verdict = judge(message, text)
    if verdict.kind in ("completed", "tool_error") and b'"action"' in text:
        action = read_result(message.result).action
        if action is not None:
            verdict.metadata = {"action": action}
            verdict.kind = "cancelled" if action == "cancel" else "completed"
    return verdict
