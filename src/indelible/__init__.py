"""The audit trail for MCP: every call recorded once, redacted, sealed, and provable.

import indelible

with indelible.open_trail("audit.jsonl") as trail:
    with trail.operation("tools/call", "send_mail", args={"to": "a@b.c"}, user_id="u1") as op:
        op.result(send_mail("a@b.c"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from indelible._version import __version__

if TYPE_CHECKING:
    from indelible import asgi, events, fastmcp, mcp, testing
    from indelible.capture.attach import attach
    from indelible.capture.decorator import audited
    from indelible.context import RequestIdFilter, current_request_id
    from indelible.errors import (
        ConfigError,
        EventError,
        IndelibleError,
        NotProven,
        TrailCorrupt,
        TrailError,
        TrailLocked,
        TrailUnavailable,
    )
    from indelible.events import Event
    from indelible.opening import open_trail
    from indelible.operation import Operation
    from indelible.query.library import Search, search
    from indelible.query.proofs import Proven, prove, verify_proof
    from indelible.recorder import Recorder
    from indelible.trail.checking.check import verify_trail as verify

_HOMES = {
    "ConfigError": "indelible.errors",
    "Event": "indelible.events",
    "EventError": "indelible.errors",
    "IndelibleError": "indelible.errors",
    "NotProven": "indelible.errors",
    "Operation": "indelible.operation",
    "Proven": "indelible.query.proofs",
    "Recorder": "indelible.recorder",
    "RequestIdFilter": "indelible.context",
    "Search": "indelible.query.library",
    "TrailCorrupt": "indelible.errors",
    "TrailError": "indelible.errors",
    "TrailLocked": "indelible.errors",
    "TrailUnavailable": "indelible.errors",
    "attach": "indelible.capture.attach",
    "audited": "indelible.capture.decorator",
    "current_request_id": "indelible.context",
    "open_trail": "indelible.opening",
    "prove": "indelible.query.proofs",
    "search": "indelible.query.library",
    "verify": "indelible.trail.checking.check:verify_trail",
    "verify_proof": "indelible.query.proofs",
}
"""Public name to where it lives (``module`` or ``module:name``), imported at first use: start-up time counts."""

_MODULES = frozenset({"asgi", "events", "fastmcp", "mcp", "testing"})
"""Public modules, imported at first use too."""

__all__ = [
    "ConfigError",
    "Event",
    "EventError",
    "IndelibleError",
    "NotProven",
    "Operation",
    "Proven",
    "Recorder",
    "RequestIdFilter",
    "Search",
    "TrailCorrupt",
    "TrailError",
    "TrailLocked",
    "TrailUnavailable",
    "__version__",
    "asgi",
    "attach",
    "audited",
    "current_request_id",
    "events",
    "fastmcp",
    "mcp",
    "open_trail",
    "prove",
    "search",
    "testing",
    "verify",
    "verify_proof",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"indelible.{name}")
    home = _HOMES.get(name)
    if home is None:
        msg = f"module 'indelible' has no attribute {name!r}"
        raise AttributeError(msg)
    module, _, attribute = home.partition(":")
    return getattr(import_module(module), attribute or name)
