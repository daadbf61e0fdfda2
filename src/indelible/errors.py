"""The error hierarchy, named by who is at fault, so that a caller knows what to do.

Every message is one line that says what is wrong, where, and what to do about it: the commands print it
as it stands. Foreign exceptions are translated once, at the seam where they arise, with ``from exc``.
"""

from __future__ import annotations

from typing import Final

FOREIGN: Final = (Exception, SystemExit)
"""What another package's code may raise. SystemExit would end a thread in silence, and a command with its own code."""


def message_of(exc: BaseException) -> str:
    """Return an exception's text; a class whose text cannot be had has none."""
    try:
        return str(exc)
    except Exception:  # noqa: BLE001 - a class of anybody's
        return ""


class IndelibleError(Exception):
    """Base of everything that Indelible raises on purpose.

    ``exit_code`` is what a command that dies of it returns: 1 the answer is "no", 2 wrong usage or config,
    3 could not (I/O).
    """

    exit_code = 3


class ConfigError(IndelibleError):
    """The user's configuration or arguments are wrong: nothing was written, fix them and try again."""

    exit_code = 2


class EventError(IndelibleError):
    """The caller's event is not one: a value of a wrong type, an unknown event type."""

    exit_code = 2


class TrailError(IndelibleError):
    """The trail, or the machine under it, is at fault."""


class TrailUnavailable(TrailError):  # noqa: N818 - a state of the trail, not a mistake of anybody's
    """The trail cannot be written now (full disk, I/O error, time-out); it may work again later."""


class NotInTime(TrailUnavailable):
    """It took too long, and the event is on its way all the same: it may be in the trail yet."""


class TrailLocked(TrailError):  # noqa: N818
    """Another process writes this trail; the message names it.

    ``holder`` is what the holder wrote of itself into the lock file, empty when that could not be read.
    """

    def __init__(self, message: str, holder: str = "") -> None:
        super().__init__(message)
        self.holder = holder


class TrailCorrupt(TrailError):  # noqa: N818
    """What is on disk is not a trail, or not the one that its checkpoint describes."""


class NoteError(TrailError):
    """A signed note, a key or a checkpoint does not parse or does not verify (C2SP signed-note)."""

    exit_code = 1


class AnchorError(TrailError):
    """A checkpoint could not be handed to an anchor: it cannot be reached, refused, or did not answer as it must."""


class WireError(TrailError):
    """What came over the trail's socket is not what may come there."""


class ClientConfigError(IndelibleError):
    """The configuration of an MCP client could not be changed, or what is known of the change cannot be read."""


class SourceError(IndelibleError):
    """A place that records are read back from cannot be read, or not any further."""


class NotProven(TrailError):  # noqa: N818
    """The trail cannot show what it was asked for: the answer is "no", and the message says why."""

    exit_code = 1
