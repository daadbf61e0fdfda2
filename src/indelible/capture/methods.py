"""Which messages are calls: the one table.

A *call* is what makes an ``mcp_operation``. Every request from the client is one, unless it is the protocol's
own housekeeping; so a method that nobody here has heard of is recorded, with its effects unknown, rather than
missed. A notification (no ``id``) is a call only when its method is one of `CALLS`: a server that is lax
about ids may carry it out all the same, whereas any other notification asks for nothing.

Source: the MCP schemas of revisions 2024-11-05 to 2026-07-28.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from indelible.events import Effects, EventType

HOUSEKEEPING: Final = frozenset(
    {
        "initialize",
        "ping",
        "server/discover",
        "tools/list",
        "resources/list",
        "resources/templates/list",
        "prompts/list",
        "roots/list",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "subscriptions/listen",
        "tasks/get",
        "tasks/list",
        "tasks/result",
    }
)
"""Requests that ask about the server, or fetch what an earlier call made: they act on nothing."""


class Method(NamedTuple):
    """How the calls of one method are described."""

    type: str
    name: Literal["name", "uri", "ref", None]
    """The parameter that names the capability; ``ref`` is a completion's reference."""
    args: Literal["arguments", "params", None]
    """What goes into `request.args`; ``params`` is everything."""
    effects: Effects | None
    """What the protocol says; None: the tool's definition decides."""


CALLS: Final[dict[str, Method]] = {
    "tools/call": Method("tool", "name", "arguments", None),
    "resources/read": Method("resource", "uri", None, "read_only"),
    "prompts/get": Method("prompt", "name", "arguments", "read_only"),
    "completion/complete": Method("completion", "ref", "params", "read_only"),
}
"""The calls that the protocol defines; `describe` answers for the others (``tasks/cancel``, vendors' own)."""

SERVER_CALLS: Final[dict[str, EventType]] = {
    "sampling/createMessage": "sampling",
    "elicitation/create": "elicitation",
}
"""Requests of the server to the client that are events of their own; they are never an ``mcp_operation``."""


def describe(method: str) -> Method:
    """Return how a call of `method` is described; one that is not in the table has its family as type."""
    known = CALLS.get(method)
    if known is not None:
        return known
    return Method(method.partition("/")[0] or "unknown", None, "params", "unknown")


def is_call(method: str, *, has_id: bool) -> bool:
    """Tell whether a client's message with this method makes an ``mcp_operation``."""
    if has_id:
        return method not in HOUSEKEEPING
    return method in CALLS
