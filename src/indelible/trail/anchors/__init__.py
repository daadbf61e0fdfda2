"""Anchors: places that each new checkpoint is handed to, and that the trail's machine cannot reach back into.

The rules that live here. Nothing is handed out but a published checkpoint: signed, and on the disk with all that it
covers. Each anchor has a thread of its own; an append never waits for one. Only the newest checkpoint is handed over:
it says all that those before it said. What an anchor has taken is on the disk (`state`) before the next one goes; what
it refuses, and why, is there too, and is tried again until it is taken.

One file a type: `file`, `syslog`, `http`. `handout` runs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from indelible.errors import ConfigError, NoteError

if TYPE_CHECKING:
    from collections.abc import Callable

    from indelible.anchor_settings import AnchorSettings
    from indelible.trail.durable import Access
    from indelible.trail.proofs.checkpoint import Checkpoint
    from indelible.trail.proofs.cosignature import WitnessKey


class Handing(NamedTuple):
    """A checkpoint on its way to an anchor."""

    note: bytes
    """The signed checkpoint, byte for byte."""
    checkpoint: Checkpoint
    old: int
    """The size that this anchor took last; 0 when none, or not known."""
    prove: Callable[[int], list[bytes]]
    """Return the consistency proof from a size up to the checkpoint's. Raises AnchorError when the tiles have none."""


class Anchor(Protocol):
    """Hands checkpoints to one place. Used from one thread."""

    def hand(self, handing: Handing) -> bytes | None:
        """Return when the place has taken the checkpoint: the note with the witness's cosignature, if it gave one.

        Ends within the anchor's `timeout`, or twice that. Raises AnchorError, and OSError for what the system says.
        """


def make_anchor(settings: AnchorSettings, access: Access) -> Anchor:
    """Return the anchor that the settings ask for. Raises ConfigError; reaches for nothing yet."""
    if settings.type == "file":
        from indelible.trail.anchors.file import FileAnchor

        return FileAnchor(settings, access)
    if settings.type == "syslog":
        from indelible.trail.anchors.syslog import SyslogAnchor

        return SyslogAnchor(settings)
    from indelible.trail.anchors.http import HttpAnchor

    return HttpAnchor(settings, witness_key(settings))


def witness_key(settings: AnchorSettings) -> WitnessKey:
    """Return the key of a witness, from the settings' vkey. Raises ConfigError."""
    from indelible.trail.proofs.cosignature import parse_witness_vkey

    try:
        return parse_witness_vkey(str(settings.vkey))
    except NoteError as exc:
        msg = f"audit.anchors: {settings.name}: {exc}"
        raise ConfigError(msg) from exc


def check_anchors(anchors: tuple[AnchorSettings, ...]) -> None:
    """Raise ConfigError when an anchor's settings cannot be right: before anything is written."""
    for settings in anchors:
        if settings.type == "http":
            witness_key(settings)
        if settings.ca_file is not None:
            from indelible.trail.anchors.tls import context

            context(settings)
