"""What results, errors and exceptions mean: by table, by the names of classes, and whatever anybody sends."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from indelible.capture.outcomes import (
    BY_CLASS,
    REFUSALS,
    judge_error,
    judge_exception,
    judge_result,
    refusal,
)
from indelible.events import STATUS_OF_KIND


def told(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "isError": True}


SAID_IN_RESULTS = [
    ("Unknown tool: nope", "protocol_error", -32602),
    ("Tool nope not found", "protocol_error", -32602),
    ("MCP error -32602: Tool nope not found", "protocol_error", -32602),
    ("Input validation error: 'x' is not of type 'integer'", "protocol_error", -32602),
    ("MCP error -32602: Input validation error: Invalid arguments for tool", "protocol_error", -32602),
    ("Error executing tool ok: 1 validation error for okArguments\na\n  Input", "protocol_error", -32602),
    ("1 validation error for call[ok]\na\n  Input should be", "protocol_error", -32602),
    ("Error calling tool 'ok': 2 validation errors for call[ok]\n", "protocol_error", -32602),
    ("Error calling tool 'slow': Tool 'slow' execution timed out after 0.5s", "timed_out", None),
    ("the service said: Unknown tool: nope", "tool_error", None),
    ("Error executing tool boom", "tool_error", None),
    ("execution timed out after a while", "tool_error", None),
    ("", "tool_error", None),
]


@pytest.mark.parametrize(("text", "kind", "code"), SAID_IN_RESULTS)
@pytest.mark.parametrize("form", [dict, lambda result: Raw(json.dumps(result).encode())], ids=["data", "bytes"])
def test_an_error_result_says_which_it_is(text: str, kind: str, code: int | None, form: Any) -> None:
    verdict = judge_result(form(told(text)))
    assert (verdict.kind, verdict.error_code) == (kind, code)
    assert verdict.error == text


def test_every_refusal_of_the_table_is_met_by_a_text() -> None:
    texts = [text for text, _, _ in SAID_IN_RESULTS] + [
        "Unknown prompt: p",
        "Missing required arguments: {'q'}",
    ]
    met = {found for text in texts for where in ("tool", "prompt") if (found := refusal(where, text))}
    assert met == set(REFUSALS)


@pytest.mark.parametrize(
    ("result", "kind", "state", "metadata"),
    [
        ({"content": []}, "completed", None, None),
        ({"content": [], "isError": False}, "completed", None, None),
        ({"resultType": "input_required", "requestState": "s1"}, "input_required", "s1", None),
        ({"resultType": "input_required"}, "input_required", "", None),
        ({"resultType": "task", "taskId": "t1", "status": "working"}, "completed", None, {"task": "t1"}),
        ({"task": {"taskId": "t2", "status": "working"}}, "completed", None, {"task": "t2"}),
        ({"taskId": "mine", "resultType": "complete"}, "completed", None, None),
        ({"task": "a word"}, "completed", None, None),
    ],
)
def test_a_result_is_read_the_same_as_data_and_as_bytes(
    result: dict[str, Any], kind: str, state: str | None, metadata: dict[str, str] | None
) -> None:
    for verdict in (judge_result(result), judge_result(Raw(json.dumps(result).encode()))):
        assert (verdict.kind, verdict.request_state, verdict.metadata) == (kind, state, metadata)


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        (-32001, "Request timed out", "timed_out"),
        (-32000, "Tool 'slow' execution timed out after 0.1s", "timed_out"),
        (408, "Timeout", "timed_out"),
        (-32001, "Not found: x", "protocol_error"),
        (-32000, "Rate limit exceeded for client: a", "denied"),
        (-32000, "Global rate limit exceeded", "denied"),
        (-32050, "Rate limit exceeded", "protocol_error"),
        (-32003, "no", "denied"),
        (-32602, "Unknown resource: r://zz", "protocol_error"),
        (True, "x", "protocol_error"),
        ("-32003", "x", "protocol_error"),
        (2**60, None, "protocol_error"),
    ],
)
def test_an_error_is_told_by_its_code_and_its_text(code: Any, message: Any, kind: str) -> None:
    verdict = judge_error(code, message)
    assert verdict.kind == kind
    assert verdict.error_code is None or type(verdict.error_code) is int


def of(name: str, module: str, base: type[BaseException] = Exception, **fields: Any) -> type[BaseException]:
    return type(name, (base,), {"__module__": module, **fields})


class Error:
    def __init__(self, code: int) -> None:
        self.code = code


def raised(exc: BaseException, cause: BaseException | None = None) -> BaseException:
    exc.__cause__ = cause
    return exc


MCP_ERROR = of("MCPError", "mcp.shared.exceptions")
OLD_ERROR = of("McpError", "mcp.shared.exceptions")
TOOL_ERROR = of("ToolError", "mcp.server.mcpserver.exceptions")
CRASH = of("UnexpectedToolError", "mcp.server.mcpserver.exceptions", TOOL_ERROR)
FAST_TOOL_ERROR = of("ToolError", "fastmcp.exceptions")
RESOURCE_CRASH = of(
    "UnexpectedResourceError", "mcp.server.mcpserver.exceptions", of("ResourceError", "mcp.server.mcpserver.exceptions")
)  # fmt: skip
INVALID = of("ValidationError", "pydantic_core._pydantic_core", title="okArguments")
TOOLS_OWN_MODEL = of("ValidationError", "pydantic_core._pydantic_core", title="Invoice")


def mcp_error(code: int, message: str, kind: type[BaseException] = MCP_ERROR) -> BaseException:
    made = kind(message)
    made.error = Error(code)  # type: ignore[attr-defined]
    return made


def by_way_of(module: str, exc: BaseException) -> BaseException:
    """Return an exception that went through code of a module."""
    code: dict[str, Any] = {"__name__": module}
    exec("def run(exc):\n    raise exc", code)
    with contextlib.suppress(type(exc)):
        code["run"](exc)
    return exc


PROXY = "fastmcp.server.providers.proxy"
LOST = of("RemoteProtocolError", "httpx2", of("ProtocolError", "httpx2"))

EXCEPTIONS = {
    "a proxied server that died": (
        raised(FAST_TOOL_ERROR("x"), by_way_of(PROXY, mcp_error(-32000, "Connection closed"))),
        "backend_unavailable", -32000, "MCPError",
    ),
    "a proxied server that hung up": (
        raised(FAST_TOOL_ERROR("x"), by_way_of(PROXY, LOST("x"))), "backend_unavailable", None, "RemoteProtocolError",
    ),
    "a proxied server that is not there": (
        by_way_of(PROXY, ConnectionRefusedError(111, "x")), "backend_unavailable", None, "ConnectionRefusedError",
    ),
    "a proxied server's own error": (by_way_of(PROXY, mcp_error(-32050, "no")), "protocol_error", -32050, "MCPError"),
    "a tool's own connection": (
        raised(FAST_TOOL_ERROR("x"), by_way_of("tools", LOST("x"))), "tool_error", None, "RemoteProtocolError",
    ),
    "asyncio cancelled": (asyncio.CancelledError(), "cancelled", None, "CancelledError"),
    "trio cancelled": (of("Cancelled", "trio")(), "cancelled", None, "Cancelled"),
    "somebody's cancelled": (of("Cancelled", "orders")("no stock"), "tool_error", None, "Cancelled"),
    "interrupt": (KeyboardInterrupt(), "cancelled", None, "KeyboardInterrupt"),
    "timeout": (TimeoutError("too long"), "timed_out", None, "TimeoutError"),
    "timeout's child": (of("PoolTimeout", "pool", TimeoutError)("x"), "timed_out", None, "PoolTimeout"),
    "tool's own file": (PermissionError(13, "no"), "tool_error", None, "PermissionError"),
    "fastmcp auth": (of("AuthorizationError", "fastmcp.exceptions")("no"), "denied", None, "AuthorizationError"),
    "somebody's auth": (of("AuthorizationError", "bank")("no"), "tool_error", None, "AuthorizationError"),
    "fastmcp scopes": (
        of("InsufficientScopeError", "fastmcp.exceptions", of("AuthorizationError", "fastmcp.exceptions"))("no"),
        "denied", None, "InsufficientScopeError",
    ),
    "fastmcp unknown": (of("NotFoundError", "fastmcp.exceptions")("x"), "protocol_error", -32602, "NotFoundError"),
    "fastmcp input": (of("ValidationError", "fastmcp.exceptions")("x"), "protocol_error", -32602, "ValidationError"),
    "rate": (
        mcp_error(-32000, "Slow down", of("RateLimitError", "fastmcp.server.middleware.rate_limiting", MCP_ERROR)),
        "denied", -32000, "RateLimitError",
    ),
    "protocol": (mcp_error(-32050, "no"), "protocol_error", -32050, "MCPError"),
    "protocol, sdk 1": (mcp_error(-32050, "no", OLD_ERROR), "protocol_error", -32050, "McpError"),
    "limit": (mcp_error(-32001, "Request timed out"), "timed_out", -32001, "MCPError"),
    "a crash in a resource": (
        raised(mcp_error(-32603, "Error reading r://b"), raised(RESOURCE_CRASH("x"), KeyError("x"))),
        "tool_error", -32603, "KeyError",
    ),
    "a crash in a tool": (raised(CRASH("Error executing tool boom"), KeyError("x")), "tool_error", None, "KeyError"),
    "told": (TOOL_ERROR("told"), "tool_error", None, "ToolError"),
    "unknown tool": (TOOL_ERROR("Unknown tool: nope"), "protocol_error", -32602, "ToolError"),
    "arguments": (raised(TOOL_ERROR("x"), INVALID("x")), "protocol_error", -32602, "ValidationError"),
    "a tool's own model": (raised(CRASH("x"), TOOLS_OWN_MODEL("x")), "tool_error", None, "ValidationError"),
    "fastmcp limit": (
        raised(FAST_TOOL_ERROR("x"), mcp_error(-32000, "Tool 'slow' execution timed out after 1s")),
        "timed_out", -32000, "MCPError",
    ),
    "a protocol error told as a result": (
        raised(FAST_TOOL_ERROR("x"), mcp_error(-32050, "no")), "tool_error", None, "MCPError",
    ),
    "a group": (ExceptionGroup("tasks", [KeyError("x")]), "tool_error", None, "KeyError"),
    "anything": (KeyError("x"), "tool_error", None, "KeyError"),
}  # fmt: skip


@pytest.mark.parametrize(("exc", "kind", "code", "error_type"), EXCEPTIONS.values(), ids=EXCEPTIONS)
def test_an_exception_means(exc: BaseException, kind: str, code: int | None, error_type: str) -> None:
    verdict = judge_exception(exc, method="tools/call")
    assert (verdict.kind, verdict.error_code, verdict.error_type) == (kind, code, error_type)


def test_every_class_of_the_table_is_met_by_an_exception() -> None:
    met = {cls.__qualname__ for exc, *_ in EXCEPTIONS.values() for cls in type(exc).__mro__}
    met |= {"GeneratorExit", "ClientDisconnect", "TooSlowError", "DisabledError", "ResourceNotFoundError"}
    assert set(BY_CLASS) <= met


def test_prompts_are_refused_by_exceptions_whose_text_tells() -> None:
    exc = ValueError("Unknown prompt: zz")
    assert judge_exception(exc, method="prompts/get").kind == "protocol_error"
    assert judge_exception(exc, method="tools/call").kind == "tool_error"
    assert judge_exception(ValueError("Unknown"), method="prompts/get").kind == "tool_error"


def test_a_chain_of_causes_ends() -> None:
    outer = TOOL_ERROR("x")
    outer.__cause__ = outer
    assert judge_exception(outer, method="tools/call").kind == "tool_error"


def test_of_a_group_the_first_ones_text_is_told() -> None:
    group = ExceptionGroup("unhandled errors in a TaskGroup", [KeyError("the key"), ValueError("x")])
    assert judge_exception(group, method="tools/call").error == "'the key'"


def test_a_text_that_cannot_be_had_is_none() -> None:
    def explode(self: object) -> str:
        raise RuntimeError

    verdict = judge_exception(of("Shy", "x", __str__=explode)(), method="tools/call")
    assert (verdict.kind, verdict.error_type) == ("tool_error", "Shy")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
KEYS = ("isError", "resultType", "requestState", "task", "taskId", "content", "action", "x")
hostile_results = st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, json_values))


@given(hostile_results | json_values)
def test_no_result_whatever_makes_it_raise(result: Any) -> None:
    verdict = judge_result(result)
    assert verdict.kind in STATUS_OF_KIND
    assert (
        judge_result(Raw(json.dumps(result, allow_nan=False, default=str).encode()))
        if _finite(result)
        else True
    )


def _finite(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False).encode()
    except (ValueError, UnicodeEncodeError):
        return False
    return True


@given(json_values, json_values)
def test_no_error_whatever_makes_it_raise(code: Any, message: Any) -> None:
    assert STATUS_OF_KIND[judge_error(code, message).kind] == "error"
