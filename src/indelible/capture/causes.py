"""What each capture makes of each cause by which a call ends: the table, as data. Pure.

docs/reference/outcomes.md shows it, and tests make every cause really happen in every capture and look at the one
event that it left. A capture is a column of `TABLE`; a cause that it cannot see, or sees as something else than what
happened, is a *blank*: its cell says why in one sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from indelible.events import STATUS_OF_KIND, Kind, Status

CAUSES: Final[Mapping[str, str]] = {
    "returned": "the handler returned",
    "error_result": "the handler returned a result with `isError: true`",
    "raised": "the handler raised an exception",
    "rpc_error": "the handler answered with a JSON-RPC error of its own",
    "unknown_tool": "no tool has this name",
    "unknown_resource": "no resource has this URI",
    "unknown_prompt": "no prompt has this name",
    "invalid_arguments": "the arguments do not fit the tool's schema",
    "malformed_params": "the request's parameters are not those of its method",
    "denied": "the server's own authorization said no",
    "rejected_credential": "the transport rejected the credential",
    "cancelled": "the client sent `notifications/cancelled`",
    "disconnected": "the client went away while it waited",
    "disconnected_http_session": "the same, over Streamable HTTP with a session (2025 revisions)",
    "timed_out": "a time limit of the server passed",
    "killed": "the process that records was killed",
    "server_died": "the server died, and who records did not",
    "input_required": "the handler asked for input (2026-07-28)",
    "continued": "the client came back with that input",
    "refused": "the intent could not be recorded, under `deny`",
    "withheld": "the outcome could not be recorded, under `deny`",
}
"""Every cause, by its id."""


class Cell(NamedTuple):
    """What one capture makes of one cause."""

    kind: Kind | None
    """None: there is no event."""
    code: int | None = None
    error_type: str | None = None
    blank: str = ""
    """Why nothing is seen, or something else than what happened."""

    @property
    def status(self) -> Status | None:
        """What the event's status is."""
        return None if self.kind is None else STATUS_OF_KIND[self.kind]


_NO_CREDENTIAL: Final = Cell(None, blank="The transport answers before the server is asked.")
_NO_ROUNDS: Final = Cell(None, blank="The protocol of SDK 1.x has no such answer.")
_COMMON: Final[Mapping[str, Cell]] = {
    "returned": Cell("completed"),
    "error_result": Cell("tool_error"),
    "unknown_resource": Cell("protocol_error", -32602),
    "malformed_params": Cell("protocol_error", -32602),
    "denied": Cell("denied", -32003),
    "rejected_credential": _NO_CREDENTIAL,
    "cancelled": Cell("cancelled"),
    "disconnected": Cell("cancelled"),
    "disconnected_http_session": Cell(
        "completed", blank="The protocol says that going away cancels nothing: the handler runs to its end."
    ),
    "killed": Cell("interrupted"),
    "server_died": Cell(None, blank="The server is the process that records: that it was killed stands above."),
    "refused": Cell("denied", error_type="audit_unavailable"),
    "withheld": Cell("denied", error_type="audit_unavailable"),
}
"""What the captures of the official SDK have in common."""

_TOLD: Final = Cell("tool_error", blank="The client is told a text that a tool may say of anything.")
_OLD_REVISION: Final = Cell(None, blank="The revision has no such answer.")
_HTTP: Final[Mapping[str, Cell]] = {
    **_COMMON,
    "raised": Cell("tool_error"),
    "rpc_error": Cell("protocol_error", -32050),
    "unknown_tool": Cell("protocol_error", -32602),
    "unknown_prompt": Cell("protocol_error", 0),
    "invalid_arguments": Cell("protocol_error", -32602),
    "rejected_credential": Cell("unauthenticated"),
    "disconnected_http_session": Cell("cancelled"),
    "timed_out": _TOLD,
    "input_required": _OLD_REVISION,
    "continued": _OLD_REVISION,
}
"""What is seen in front of a server, whatever it is built with: here `MCPServer`, and SDK 1.x for the old transport."""

TABLE: Final[Mapping[str, Mapping[str, Cell]]] = {
    "sdk2": {
        **_COMMON,
        "raised": Cell("tool_error", error_type="KeyError"),
        "rpc_error": Cell("protocol_error", -32050, "MCPError"),
        "unknown_tool": Cell("protocol_error", -32602, "MCPError"),
        "unknown_resource": Cell("protocol_error", -32602, "MCPError"),
        "unknown_prompt": Cell("protocol_error", -32602, "MCPError"),
        "invalid_arguments": Cell("protocol_error", -32602, "MCPError"),
        "malformed_params": Cell("protocol_error", -32602, "ValidationError"),
        "denied": Cell("denied", -32003, "MCPError"),
        "timed_out": Cell("timed_out", error_type="TimeoutError"),
        "input_required": Cell("input_required"),
        "continued": Cell("completed"),
    },
    "mcpserver": {
        **_COMMON,
        "raised": Cell("tool_error", error_type="KeyError"),
        "rpc_error": Cell("protocol_error", -32050, "MCPError"),
        "unknown_tool": Cell("protocol_error", -32602, "ToolError"),
        "unknown_resource": Cell("protocol_error", -32602, "MCPError"),
        "unknown_prompt": Cell("protocol_error", -32602, "ValueError"),
        "invalid_arguments": Cell("protocol_error", -32602, "ValidationError"),
        "malformed_params": Cell("protocol_error", -32602, "ValidationError"),
        "denied": Cell("denied", -32003, "MCPError"),
        "timed_out": Cell("timed_out", error_type="TimeoutError"),
        "input_required": Cell("input_required"),
        "continued": Cell("completed"),
    },
    "sdk1": {
        **_COMMON,
        "raised": Cell("tool_error"),
        "rpc_error": Cell(
            "tool_error", blank="The SDK makes a result with `isError: true` of whatever a tool raises."
        ),
        "unknown_tool": Cell("protocol_error", -32602),
        "unknown_resource": Cell("protocol_error", 0),
        "unknown_prompt": Cell("protocol_error", 0),
        "invalid_arguments": Cell("protocol_error", -32602),
        "denied": Cell(
            "tool_error", blank="The SDK makes a result with `isError: true` of whatever a tool raises."
        ),
        "timed_out": Cell("tool_error", blank="The client is told a text that a tool may say of anything."),
        "input_required": _NO_ROUNDS,
        "continued": _NO_ROUNDS,
    },
    "fastmcp4": {
        **_COMMON,
        "raised": Cell("tool_error", error_type="KeyError"),
        "rpc_error": Cell("protocol_error", -32050, "MCPError"),
        "unknown_tool": Cell("protocol_error", -32602, "NotFoundError"),
        "unknown_resource": Cell("protocol_error", -32602, "NotFoundError"),
        "unknown_prompt": Cell("protocol_error", -32602, "NotFoundError"),
        "invalid_arguments": Cell("protocol_error", -32602, "ValidationError"),
        "malformed_params": Cell("protocol_error", -32602, "ValidationError"),
        "denied": Cell("denied", -32602, "NotFoundError"),
        "timed_out": Cell("timed_out", -32000, "MCPError"),
        "input_required": Cell("input_required"),
        "continued": Cell("completed"),
    },
    "fastmcp3": {
        **_COMMON,
        "raised": Cell("tool_error", error_type="KeyError"),
        "rpc_error": Cell("protocol_error", -32050, "McpError"),
        "unknown_tool": Cell("protocol_error", -32602, "NotFoundError"),
        "unknown_resource": Cell("protocol_error", -32602, "NotFoundError"),
        "unknown_prompt": Cell("protocol_error", -32602, "NotFoundError"),
        "invalid_arguments": Cell("protocol_error", -32602, "ValidationError"),
        "malformed_params": Cell(None, blank="FastMCP 3 refuses it before its middleware is asked."),
        "denied": Cell("denied", -32602, "NotFoundError"),
        "disconnected": Cell(
            "completed",
            blank="FastMCP 3 cancels nothing when its client goes away: the handler runs to its end.",
        ),
        "timed_out": Cell("timed_out", -32000, "McpError"),
        "input_required": _NO_ROUNDS,
        "continued": _NO_ROUNDS,
    },
    "asgi-2025": {**_HTTP},
    "asgi-2026": {
        **_HTTP,
        "unknown_prompt": Cell("protocol_error", -32603),
        "rejected_credential": Cell(
            None, blank="Without a session a refusal is an `auth_rejected`, and no call of anybody's."
        ),
        "cancelled": Cell(None, blank="A call is cancelled by closing its stream."),
        "disconnected_http_session": Cell(None, blank="The revision has no sessions."),
        "input_required": Cell("input_required"),
        "continued": Cell("completed"),
    },
    "asgi-sse": {
        **_HTTP,
        "rpc_error": Cell(
            "tool_error", blank="The SDK makes a result with `isError: true` of whatever a tool raises."
        ),
        "denied": Cell(
            "tool_error", blank="The SDK makes a result with `isError: true` of whatever a tool raises."
        ),
        "unknown_resource": Cell("protocol_error", 0),
        "disconnected_http_session": Cell(None, blank="The transport is another."),
    },
    "wrap": {
        **_COMMON,
        "raised": Cell("tool_error"),
        "rpc_error": Cell("protocol_error", -32050),
        "unknown_tool": Cell("protocol_error", -32602),
        "unknown_prompt": Cell("protocol_error", -32603),
        "invalid_arguments": Cell("protocol_error", -32602),
        "rejected_credential": Cell(None, blank="Nobody authenticates over pipes."),
        "disconnected": Cell("cancelled", -32000),
        "disconnected_http_session": Cell(None, blank="Pipes have no such sessions."),
        "timed_out": Cell("tool_error", blank="The client is told a text that a tool may say of anything."),
        "server_died": Cell("backend_unavailable"),
        "input_required": Cell("input_required"),
        "continued": Cell("completed"),
    },
}
"""Capture, cause, cell."""

CAPTURES: Final[Mapping[str, str]] = {
    "sdk2": "official SDK 2.x, low-level `Server`",
    "mcpserver": "official SDK 2.x, `MCPServer`",
    "sdk1": "official SDK 1.x, `FastMCP` and low-level `Server`",
    "fastmcp4": "FastMCP 4",
    "fastmcp3": "FastMCP 3",
    "asgi-2025": "`AuditASGI`, Streamable HTTP with sessions (2025 revisions)",
    "asgi-2026": "`AuditASGI`, Streamable HTTP of 2026-07-28",
    "asgi-sse": "`AuditASGI`, HTTP+SSE (2024-11-05)",
    "wrap": "`wrap`, here of an `MCPServer`",
}
"""Every capture of the table, in words."""
