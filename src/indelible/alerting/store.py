"""What rules keep from one run to the next: `alerts/_rules.windows` beside the trail.

The rules that live here. Place and windows are one file, replaced in one step: after a crash both are those of before,
the events since then are looked at again, and the alerts that they give are known by their ids. The file has digests
and numbers, and no name: an erasure has nothing to look for in it. One that cannot be read is an error, since to begin
anew would be silent about what came meanwhile; it is removed by hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from indelible.errors import TrailError
from indelible.trail import durable
from indelible.trail.reader import read_small

if TYPE_CHECKING:
    from pathlib import Path

    from indelible.trail.durable import Access
    from indelible.trail.layout import Layout

NAME: Final = "_rules.windows"
SHOWN: Final = "_rules.shown"
MAX_BYTES: Final = 64 << 20
"""A hundred thousand windows at the most; mostly a few."""

VERSION: Final = 1


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Where the rules are, and what they have counted."""

    version: int = VERSION
    origin: str
    """Of the trail."""
    next: int
    """The seq of the first event that they have not looked at."""
    engine: dict[str, Any]
    probes: dict[str, Any] = {}
    saved_at: str = ""


def path_of(layout: Layout) -> Path:
    """Return where it stands."""
    return layout.alerts / NAME


def read(layout: Layout) -> Kept | None:
    """Return what was kept; None when nothing was. Raises TrailError for what cannot be read."""
    path = path_of(layout)
    try:
        data = read_small(path, MAX_BYTES)
        found = None if data is None else msgspec.json.decode(data, type=Kept)
    except OSError as exc:
        raise TrailError(f"{path}: cannot be read: {exc.strerror}") from exc
    except (msgspec.DecodeError, RecursionError) as exc:
        raise TrailError(f"{path}: is no state of rules: {exc}; remove it to begin anew") from exc
    if found is not None and found.version > VERSION:
        raise TrailError(f"{path}: is of a later version of Indelible; upgrade, or remove it to begin anew")
    return found


def write(layout: Layout, kept: Kept, access: Access) -> None:
    """Keep it. Raises OSError."""
    durable.make_directory(layout.alerts, access)
    durable.replace_file(path_of(layout), msgspec.json.encode(kept) + b"\n", access)


# --- for `status` ---------------------------------------------------------------------------------------------


class RuleState(msgspec.Struct, frozen=True, kw_only=True):
    """How one rule is."""

    rule: str
    severity: str
    firing: int = 0
    alerts: int = 0
    """Ever."""
    last_alert: str | None = None
    not_told: int = 0
    """Alerts, since the last one that was told."""
    forgotten: int = 0
    """Subjects for which there was no room, ever."""
    failures: int = 0
    """Evaluations of its expressions that failed, in this run."""
    error: str | None = None
    """The last of them."""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """How the rules are."""

    pid: int
    next: int
    at: str
    """When this was so."""
    unreadable: int = 0
    """Lines that are no events."""
    missed: int = 0
    """Events that were deleted, or damaged, before they were looked at."""
    error: str | None = None
    """What keeps the rules from looking, or alerts from being recorded."""
    rules: list[RuleState] = []


def show(layout: Layout, shown: Shown, access: Access) -> None:
    """Show how the rules are. Raises OSError."""
    durable.make_directory(layout.alerts, access)
    durable.replace_file(layout.alerts / SHOWN, msgspec.json.encode(shown) + b"\n", access, durable=False)


def shown(layout: Layout) -> Shown | None:
    """Return how the rules were when that was shown last; None when it never was, or cannot be read."""
    try:
        data = read_small(layout.alerts / SHOWN, 1 << 20)
        return None if data is None else msgspec.json.decode(data, type=Shown)
    except (OSError, msgspec.DecodeError):
        return None
