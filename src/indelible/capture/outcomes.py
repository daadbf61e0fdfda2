"""From an answer, or an exception, to what became of the call.

What the tables here say stands in docs/reference/outcomes.md; frameworks are known by the *names* of their classes, so
that none of them is imported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Raw

from indelible.capture.frames import ABSENT, DoubtfulMessage, Message, bounded
from indelible.errors import message_of
from indelible.events import MAX_INTEGER, Kind

TIMEOUT_CODES: Final = (408, -32001, -32000)
"""Codes that SDKs answer with when a time limit of theirs has passed; all have other uses too, so the text counts."""

DENIED_CODES: Final = (-32003,)
"""Codes that mean "you may not": by custom of servers, no specification has one."""

CONNECTION_CLOSED: Final = -32000
"""With which the SDKs answer what they cancel because their client went; servers have other uses for it, too."""

INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
INVALID_REQUEST: Final = -32600

MAX_CAUSES: Final = 8
"""How far an exception's causes are followed."""


class Refusal(NamedTuple):
    """A text with which a framework says that a call never reached its handler, in words meant for the model."""

    where: Literal["tool", "prompt"]
    """A tool's `isError` result (or what its framework raises); an exception of ``prompts/get``."""
    pattern: re.Pattern[str]
    whose: str
    kind: Kind = "protocol_error"
    code: int | None = INVALID_PARAMS


REFUSALS: Final = (
    Refusal("tool", re.compile(r"Unknown tool: "), "MCPServer, FastMCP, SDK 1.x"),
    Refusal("tool", re.compile(r"(?:MCP error -32602: )?Tool .{1,200} not found"), "TypeScript SDK"),
    Refusal("tool", re.compile(r"Input validation error: "), "SDK 1.x, TypeScript SDK"),
    Refusal("tool", re.compile(r"MCP error -32602: "), "TypeScript SDK"),
    Refusal(
        "tool",
        re.compile(r"Error executing tool \S{1,200}: \d+ validation errors? for \S*Arguments\n"),
        "MCPServer, SDK 1.x",
    ),
    Refusal(
        "tool",
        re.compile(r"(?:Error calling tool '[^'\n]{1,200}': )?\d+ validation errors? for call\["),
        "FastMCP",
    ),
    Refusal(
        "tool",
        re.compile(r"(?s:.{0,1000})execution timed out after [0-9.]{1,32}s\Z"),
        "FastMCP",
        "timed_out",
        None,
    ),
    Refusal("prompt", re.compile(r"Unknown prompt: "), "MCPServer"),
    Refusal("prompt", re.compile(r"Missing required arguments: "), "MCPServer"),
)
"""Anchored at the text's beginning. A tool may say such a thing itself: the status is ``error`` either way."""

_LIMITED: Final = re.compile(r"(?:Global rate|Rate) limit exceeded")
"""How FastMCP's middleware says so, with code -32000."""


_CLOSED: Final = re.compile(r"(?:MCP error -32000: )?Connection closed")
"""How the official SDKs say so, Python's and TypeScript's."""


class Result(msgspec.Struct, gc=False):
    """The few keys of a result that say what became of the call."""

    is_error: bool = msgspec.field(default=False, name="isError")
    result_type: str | None = msgspec.field(default=None, name="resultType")
    request_state: str | None = msgspec.field(default=None, name="requestState")
    task: Raw = ABSENT
    task_id: str | None = msgspec.field(default=None, name="taskId")
    content: Raw = ABSENT
    action: str | None = None


class Verdict(msgspec.Struct, gc=False):
    """What became of a call, in the event's words."""

    kind: Kind
    error: str | None = None
    error_code: int | None = None
    result: Any = None
    """As `events.Outcome.result`: any JSON value, or `msgspec.Raw`."""
    request_state: str | None = None
    """Of an ``input_required``: what the retry will carry."""
    metadata: dict[str, Any] | None = None
    error_type: str | None = None


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


def notified() -> Verdict:
    """Return what is said of a call without an id, which a server that is lax about ids may carry out all the same."""
    why = "sent as a notification: no answer was asked for, so its outcome is not known"
    return Verdict("protocol_error", error=why, error_code=INVALID_REQUEST)


def parting(verdict: Verdict) -> Verdict:
    """Return what an answer to a client that has gone says: a server may answer what it cancels for that reason."""
    if (
        verdict.kind != "protocol_error"
        or verdict.error_code != CONNECTION_CLOSED
        or not _CLOSED.match(verdict.error or "")
    ):
        return verdict
    return Verdict("cancelled", error=verdict.error, error_code=verdict.error_code)


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
        return _told(_first_text(_any(result.content)), raw)
    if result.result_type == "input_required":
        return Verdict("input_required", result=raw, request_state=result.request_state or "")
    flat = result.task_id if result.result_type == "task" else None
    return _completed(raw, _any(result.task), flat)


def judge_result(result: object) -> Verdict:
    """Return what a result in its wire form says: a mapping as it is about to be encoded, or its bytes as `Raw`."""
    if isinstance(result, Raw):
        return _judge_result(result, bytes(result))
    if type(result) is not dict and not isinstance(result, Mapping):
        return Verdict("completed", result=result)
    get = result.get
    if get("isError"):
        return _told(_first_text(get("content")), result)
    how = get("resultType")
    if how == "input_required":
        return Verdict("input_required", result=result, request_state=_text(get("requestState")) or "")
    task = get("task")
    if task is None and how != "task":  # nearly always
        return Verdict("completed", result=result)
    return _completed(result, task, _text(get("taskId")) if how == "task" else None)


def _completed(result: object, task: object, flat: str | None) -> Verdict:
    """Judge a result without fault; a server may have made a task of the call.

    2025-11-25 tells of it under ``task``, 2026-07-28 in the result itself (`flat`).
    """
    verdict = Verdict("completed", result=result)
    if task is None and flat is None:
        return verdict
    named = _text(task.get("taskId")) if isinstance(task, Mapping) else None
    if named or flat:
        verdict.metadata = {"task": named or flat}
    return verdict


def _told(text: str | None, result: object) -> Verdict:
    """Return what a result with `isError` says."""
    refused = refusal("tool", text or "")
    if refused is None:
        return Verdict("tool_error", error=text, result=result)
    return Verdict(refused.kind, error=text, error_code=refused.code, result=result)


def refusal(where: Literal["tool", "prompt"], text: str) -> Refusal | None:
    """Return what a text says that a framework refuses calls with; None for any other."""
    for known in REFUSALS:
        if known.where == where and known.pattern.match(text):
            return known
    return None


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
    return judge_error(error.get("code"), error.get("message"))


def judge_error(code: object, message: object) -> Verdict:
    """Return what a JSON-RPC error says (JSON-RPC 2.0, section 5.1)."""
    number = code if isinstance(code, int) and not isinstance(code, bool) and abs(code) <= MAX_INTEGER else None
    text = _text(message)
    kind: Kind = "protocol_error"
    if number in DENIED_CODES or (number == -32000 and text and _LIMITED.match(text)):
        kind = "denied"
    elif number in TIMEOUT_CODES and text and ("timed out" in text.lower() or "timeout" in text.lower()):
        kind = "timed_out"
    return Verdict(kind, error=text, error_code=number)


def _first_text(blocks: object) -> str | None:
    """Return the text of a result's first text block: by convention, what went wrong."""
    for block in blocks if isinstance(blocks, list) else ():
        if isinstance(block, Mapping) and isinstance(block.get("text"), str):
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


# --- exceptions ---------------------------------------------------------------------------------------------


class _Means(NamedTuple):
    packages: tuple[str, ...]
    """Top packages that the class may be of; empty for any."""
    kind: Kind
    code: int | None = None


BY_CLASS: Final = {
    "CancelledError": _Means(("asyncio", "concurrent"), "cancelled"),
    "Cancelled": _Means(("trio",), "cancelled"),
    "KeyboardInterrupt": _Means(("builtins",), "cancelled"),
    "GeneratorExit": _Means(("builtins",), "cancelled"),
    "ClientDisconnect": _Means(("starlette",), "cancelled"),
    "TimeoutError": _Means(("builtins",), "timed_out"),
    "TooSlowError": _Means(("trio",), "timed_out"),
    "AuthorizationError": _Means(("fastmcp",), "denied"),
    "RateLimitError": _Means(("fastmcp",), "denied", -32000),
    "NotFoundError": _Means(("fastmcp",), "protocol_error", INVALID_PARAMS),
    "DisabledError": _Means(("fastmcp",), "protocol_error", INVALID_PARAMS),
    "ResourceNotFoundError": _Means(("mcp",), "protocol_error", INVALID_PARAMS),
}
"""What an exception means whose class, or a base of it, has this name. `asyncio.TimeoutError` is the built-in one."""

_WRAPPERS: Final = {
    "ToolError": ("mcp", "fastmcp"),
    "ResourceError": ("mcp", "fastmcp"),
    "PromptError": ("fastmcp",),
}
"""Classes that frameworks raise around what went wrong: the cause counts."""

_PROXY: Final = "fastmcp.server.providers.proxy"
"""The module through whose code every call of a proxied server goes, in FastMCP 3 and 4."""

_LOST: Final = {
    **dict.fromkeys(("NetworkError", "ProtocolError", "ConnectTimeout"), ("httpx", "httpx2")),
    **dict.fromkeys(("ClosedResourceError", "BrokenResourceError", "EndOfStream"), ("anyio",)),
    "ConnectionError": ("builtins",),
}
"""What a connection ends with whose other end died, or could not be reached."""

_PARAMS: Final = re.compile(r"call\[|\w*(?:Arguments|Params|Request)\Z")
"""Titles of pydantic's models of what a client sent, against those of models that tool code has of its own."""


def judge_exception(exc: BaseException, *, method: str) -> Verdict:
    """Return what an exception that a call of `method` ended with means; `error` is its own text."""
    verdict = _judge_exception(exc, method, 0)
    exc = _first(exc)
    if verdict.kind != "cancelled" or verdict.error_type not in (None, "CancelledError", "Cancelled"):
        verdict.error = _text(message_of(exc)) or verdict.error
    return verdict


def _judge_exception(exc: BaseException, method: str, depth: int) -> Verdict:
    if isinstance(exc, BaseExceptionGroup) and depth < MAX_CAUSES:
        return _judge_exception(exc.exceptions[0], method, depth + 1)
    name = type(exc).__qualname__
    cause = exc.__cause__ if depth < MAX_CAUSES else None
    code = _error_code(exc)
    means = _Means((), "backend_unavailable") if _is_of_lost_backend(exc, code) else _means(exc)
    if means is not None:
        kind, code = means.kind, means.code if code is None else code
        return Verdict(kind, error_code=code, error_type=name)
    if _is_one_of(exc, _WRAPPERS):
        return _judge_wrapped(exc, cause, method, depth)
    if _is_refused_input(exc):
        return Verdict("protocol_error", error_code=INVALID_PARAMS, error_type=name)
    if _is_error_of_mcp(exc):
        if cause is None and _is_one_of(exc.__context__, _WRAPPERS):  # MCPServer answers for a resource so
            cause = exc.__context__
        if code == INTERNAL_ERROR and cause is not None:  # the handler's, in the protocol's clothes
            verdict = _judge_exception(cause, method, depth + 1)
            verdict.error_code = code if verdict.error_code is None else verdict.error_code
            return verdict
        verdict = judge_error(code, message_of(exc))
        return Verdict(verdict.kind, error_code=verdict.error_code, error_type=name)
    refused = (
        refusal("prompt", message_of(exc)) if method == "prompts/get" and type(exc) is ValueError else None
    )
    if refused is not None:
        return Verdict(refused.kind, error_code=refused.code, error_type=name)
    return Verdict("tool_error", error_type=name)


def _judge_wrapped(exc: BaseException, cause: BaseException | None, method: str, depth: int) -> Verdict:
    """Judge by the cause; without one the wrapper is the tool's own word, or its framework's refusal."""
    if cause is None:
        refused = refusal("tool", message_of(exc))
        kind: Kind = "tool_error" if refused is None else refused.kind
        code = None if refused is None else refused.code
        return Verdict(kind, error_code=code, error_type=type(exc).__qualname__)
    verdict = _judge_exception(cause, method, depth + 1)
    if verdict.kind == "protocol_error" and _is_error_of_mcp(cause):
        return Verdict(
            "tool_error", error_type=verdict.error_type
        )  # told as a result, so the client sees no code
    return verdict


def _first(exc: BaseException) -> BaseException:
    """Return what the first task of a group ended with: the group's own text tells only how many there were."""
    for _ in range(MAX_CAUSES):
        if not isinstance(exc, BaseExceptionGroup):
            break
        exc = exc.exceptions[0]
    return exc


def _top(cls: type) -> str:
    return str(cls.__module__).partition(".")[0]


def _means(exc: BaseException) -> _Means | None:
    for cls in type(exc).__mro__:
        known = BY_CLASS.get(cls.__qualname__)
        if known is not None and (not known.packages or _top(cls) in known.packages):
            return known
    return None


def _is_one_of(exc: BaseException | None, names: Mapping[str, tuple[str, ...]]) -> bool:
    return any(_top(cls) in names.get(cls.__qualname__, ()) for cls in type(exc).__mro__)


_ERRORS: Final = {"MCPError": ("mcp", "fastmcp"), "McpError": ("mcp", "fastmcp")}


def _is_error_of_mcp(exc: BaseException) -> bool:
    return _is_one_of(exc, _ERRORS)


def _error_code(exc: BaseException) -> int | None:
    code = getattr(getattr(exc, "error", None), "code", None) if _is_error_of_mcp(exc) else None
    return code if isinstance(code, int) and not isinstance(code, bool) else None


def _is_of_lost_backend(exc: BaseException, code: int | None) -> bool:
    """Tell whether a server behind a proxy died or was not there; a tool's own connections are the tool's affair."""
    closed = code == CONNECTION_CLOSED and _CLOSED.match(message_of(exc)) is not None
    if not closed and not _is_one_of(exc, _LOST):
        return False
    trace = exc.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") == _PROXY:
            return True
        trace = trace.tb_next
    return False


def _is_refused_input(exc: BaseException) -> bool:
    """Tell whether it is the framework's refusal of what the client sent."""
    for cls in type(exc).__mro__:
        if cls.__qualname__ == "ValidationError":
            if _top(cls) == "fastmcp":
                return True
            if _top(cls) in ("pydantic", "pydantic_core"):
                return bool(_PARAMS.match(str(getattr(exc, "title", ""))))
    return False
