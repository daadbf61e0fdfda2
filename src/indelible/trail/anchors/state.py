"""What an anchor has taken, and what is wrong with it: `anchors/<name>.json` beside the trail.

A state is replaced in one step, so that a crash leaves the old one or the new. The old one is no harm: a witness
answers with the size that it has, a file is looked at before anything is added to it, and a syslog receiver gets one
checkpoint twice. `verify` never believes a state.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from indelible.errors import NoteError
from indelible.trail import attempts, durable
from indelible.trail.proofs.checkpoint import parse, split_note
from indelible.trail.reader import names_in, read_small

if TYPE_CHECKING:
    from pathlib import Path

    from indelible.anchor_settings import AnchorSettings
    from indelible.trail.durable import Access
    from indelible.trail.layout import Layout
    from indelible.trail.proofs.checkpoint import Checkpoint

SUFFIX: Final = ".json"
MAX_STATE_BYTES: Final = 65_536

_ROOT = re.compile("[0-9a-f]{64}")


class AnchorState(msgspec.Struct, kw_only=True):
    """The state of one anchor. Times are RFC 3339, UTC."""

    name: str
    type: str
    to: str
    origin: str
    size: int = 0
    """How many events the newest checkpoint covers that it took; 0 when none."""
    root: str = ""
    """That checkpoint's root, in hex."""
    taken_at: str | None = None
    failures: int = 0
    """Attempts since then that failed."""
    error: str | None = None
    """Why the last one failed; None when it did not."""
    failed_at: str | None = None


class StateFile:
    """The state of one anchor of one trail, in memory and on the disk."""

    def __init__(self, layout: Layout, settings: AnchorSettings, origin: str, access: Access) -> None:
        self._path = layout.anchors / f"{settings.name}{SUFFIX}"
        self._access = access
        new = AnchorState(name=settings.name, type=settings.type, to=settings.target, origin=origin)
        known = read_state(self._path)
        same = known is not None and (known.type, known.to, known.origin) == (new.type, new.to, new.origin)
        self.state = known if known is not None and same else new

    def begin(self) -> None:
        """Show the state, though nothing has happened yet. Raises OSError."""
        self._write(durably=False)

    def covers(self, note: bytes) -> bool:
        """Tell whether a checkpoint is the one that the anchor took last."""
        try:
            checkpoint = parse(split_note(note)[0])
        except NoteError:
            return False
        return (checkpoint.size, checkpoint.root.hex()) == (self.state.size, self.state.root)

    def taken(self, checkpoint: Checkpoint) -> None:
        """The anchor has taken a checkpoint: known here from now on, also when OSError is raised by the writing."""
        state = self.state
        state.size, state.root = checkpoint.size, checkpoint.root.hex()
        attempts.taken(state)
        self._write(durably=True)

    def failed(self, why: str) -> None:
        """An attempt failed. Raises OSError when that cannot be written."""
        attempts.failed(self.state, why)
        self._write(durably=False)  # what was taken is not changed by it

    def _write(self, *, durably: bool) -> None:
        durable.make_directory(self._path.parent, self._access, durable=durably)
        data = msgspec.json.encode(self.state) + b"\n"
        durable.replace_file(self._path, data, self._access, durable=durably)


def read_state(path: Path) -> AnchorState | None:
    """Return a state, or None when there is none that can be read: it is begun anew then."""
    try:
        data = read_small(path, MAX_STATE_BYTES)
        state = None if data is None else msgspec.json.decode(data, type=AnchorState)
    except (OSError, msgspec.DecodeError):
        return None
    if state is None or state.size < 0 or not _ROOT.fullmatch(state.root or "0" * 64):
        return None
    return None if state.size and not state.root else state


def anchor_states(layout: Layout, checkpoint: int | None) -> list[dict[str, Any]]:
    """Return the states of a trail's anchors as `status --json` prints them, by name.

    `checkpoint` is how many events the trail's own checkpoint covers; `behind` is how many of these the anchor's newest
    does not cover.
    """
    found = []
    for name in sorted(names_in(layout.anchors)):
        state = read_state(layout.anchors / name) if name.endswith(SUFFIX) and name[0] != "." else None
        if state is not None:
            behind = None if checkpoint is None else max(0, checkpoint - state.size)
            found.append({**msgspec.to_builtins(state), "behind": behind})
    return found
