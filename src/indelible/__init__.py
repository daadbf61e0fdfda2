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
    from indelible.errors import (
        ConfigError,
        EventError,
        IndelibleError,
        TrailCorrupt,
        TrailError,
        TrailLocked,
        TrailUnavailable,
    )
    from indelible.events import Event
    from indelible.operation import Operation
    from indelible.recorder import Recorder, open_trail
    from indelible.trail.check import verify_trail as verify

_HOMES = {
    "ConfigError": "indelible.errors",
    "Event": "indelible.events",
    "EventError": "indelible.errors",
    "IndelibleError": "indelible.errors",
    "Operation": "indelible.operation",
    "Recorder": "indelible.recorder",
    "TrailCorrupt": "indelible.errors",
    "TrailError": "indelible.errors",
    "TrailLocked": "indelible.errors",
    "TrailUnavailable": "indelible.errors",
    "open_trail": "indelible.recorder",
    "verify": "indelible.trail.check:verify_trail",
}
"""Public name to where it lives (``module`` or ``module:name``), imported at first use: start-up time counts."""

__all__ = [
    "ConfigError",
    "Event",
    "EventError",
    "IndelibleError",
    "Operation",
    "Recorder",
    "TrailCorrupt",
    "TrailError",
    "TrailLocked",
    "TrailUnavailable",
    "__version__",
    "open_trail",
    "verify",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        msg = f"module 'indelible' has no attribute {name!r}"
        raise AttributeError(msg)
    from importlib import import_module

    module, _, attribute = home.partition(":")
    return getattr(import_module(module), attribute or name)
