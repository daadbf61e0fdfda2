"""Set aside a trail that must not go on under its name.

One that is shorter than its checkpoint has lost events that somebody may hold proofs of. One that is a copy may have
an original that goes on. One whose key is lost cannot be signed any more. To go on under the same origin would fork it:
two different events with one seq under one name. So the whole of it goes to `retired/<origin>/`, where it is a trail of
its own that `verify` and `log` read, and a new origin begins, whose first line says which trail it follows, and why.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterable
from typing import Any, Final

from indelible.errors import TrailCorrupt
from indelible.trail import durable, files
from indelible.trail.durable import Access
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import Checkpoint, Verifier
from indelible.trail.start import recovery
from indelible.trail.upkeep import plans

MARKER: Final = "retiring"
"""Stands in the trail's directory while the move is under way."""

_STAYS: Final = frozenset(
    {"lock", "writer.sock", "key", "hmac.key", "retired", "definitions", "gaps", "cursors", "alerts", MARKER}
)
"""What belongs to the place and not to the one trail. `key.vkey` goes with the trail: it bears its name."""

COPIED: Final = "copied"
RESTORED: Final = "restored"
REPLACED: Final = "replaced"
KEY_LOST: Final = "key lost"
"""Why a trail was set aside, when not because its end was missing."""

_MOVE: Final = "move"
"""In the marker: what is to be moved, and where; the rest of it is for the new trail's first line."""


def describe(
    layout: Layout, origin: str, checkpoint: Checkpoint, why: str | None, keys: Iterable[Verifier] = ()
) -> dict[str, Any]:
    """Return what a successor's first line says of a trail: origin, size and root of its checkpoint, where it ends.

    Also the digest of an unfinished erasure's plan that one of `keys` has signed, for a successor without that key.
    """
    end = recovery.end_of(layout, checkpoint.size)
    about = {"origin": origin, "size": checkpoint.size, "root": checkpoint.root.hex()}
    plan = plans.digest_of(layout, origin, keys)
    return {
        **about,
        "end": min(end, checkpoint.size),
        **({} if why is None else {"why": why}),
        **({} if plan is None else {plans.DIGEST: plan}),
    }


def retire(layout: Layout, about: dict[str, Any], access: Access) -> None:
    """Set the trail aside. `about` (see `describe`) is what the new trail's first event will say."""
    origin = str(about["origin"])
    mark(layout, about, {"origin": origin, "name": free_name(layout, origin)}, access)
    finish(layout, access)


def mark(layout: Layout, about: dict[str, Any], move: dict[str, str] | None, access: Access) -> None:
    """Leave word of the trail that the next one follows (`about`), and of what has to `move` before it can begin.

    `move` is the `origin` of what stands there, and the `name` in `retired/` that it gets; None when nothing does.
    """
    durable.replace_file(layout.directory / MARKER, json.dumps({**about, _MOVE: move}).encode(), access)


def free_name(layout: Layout, origin: str) -> str:
    """Return a name in `retired/` that nothing has: that of the origin, numbered when it was there before."""
    name = origin.rpartition("/")[2]
    for number in itertools.count(2):
        if not (layout.retired / name).exists():
            return name
        name = f"{origin.rpartition('/')[2]}.{number}"
    raise AssertionError


def finish(layout: Layout, access: Access) -> dict[str, Any] | None:
    """Go on with a move that was begun; return what was said of the old trail, or None when there is none.

    Each step may be done twice. The marker stays until `settled`, so that a crash before the new trail's first
    line does not lose what that line has to say; once the new trail has its origin, nothing more is moved.
    """
    about = pending(layout)
    if about is None:
        return None
    origin = str(about["origin"])
    move = about.pop(_MOVE, {"origin": origin, "name": origin.rpartition("/")[2]})
    if move is not None:
        target = Layout(layout.retired / str(move["name"]) / layout.active.name)
        if not _begun_anew(layout, str(move["origin"])):
            _move(layout, target, access)
        about.setdefault("moved_to", str(target.active.relative_to(layout.active.parent)))
    return about


def _begun_anew(layout: Layout, origin: str) -> bool:
    """Tell whether what stands in the trail's place is the new one: then it has an origin, and another one."""
    try:
        return layout.origin.read_bytes().strip() != origin.encode()
    except FileNotFoundError:
        return False


def _move(layout: Layout, target: Layout, access: Access) -> None:
    durable.make_directory(target.directory, access)
    for path in sorted(layout.directory.iterdir()):
        if path.name not in _STAYS and not path.name.startswith("."):  # half a file of the new trail's
            path.rename(target.directory / path.name)
    if layout.active.exists() and not target.active.exists():
        layout.active.rename(target.active)
    for link in files.links(layout):
        link.unlink()
    durable.sync_directories([layout.directory, layout.active.parent, target.directory, target.active.parent])


def pending(layout: Layout) -> dict[str, Any] | None:
    """Return what the marker says, or None without one."""
    try:
        about = json.loads((layout.directory / MARKER).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        msg = f"{layout.directory / MARKER}: cannot read it: {exc}; an earlier trail was being set aside"
        raise TrailCorrupt(msg) from exc
    if not isinstance(about, dict) or not isinstance(about.get("origin"), str):
        msg = f"{layout.directory / MARKER}: does not name a trail"
        raise TrailCorrupt(msg)
    return about


def settled(layout: Layout) -> None:
    """Remove the marker: the new trail's first line is on disk."""
    with contextlib.suppress(FileNotFoundError):
        (layout.directory / MARKER).unlink()
        durable.sync_directory(layout.directory)
