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
}
"""Public name to the module that has it: imported at first use, so that `indelible --help` stays quick."""

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
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        msg = f"module 'indelible' has no attribute {name!r}"
        raise AttributeError(msg)
    from importlib import import_module

    return getattr(import_module(home), name)
