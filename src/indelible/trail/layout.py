"""Where a trail keeps what: names only, no I/O.

audit.jsonl                     the active file
audit.jsonl.1, .2 …             links to the newest segments, .1 the newest
audit.jsonl.d/
  origin                        the trail's name, random, made once
  place                         where the trail lives: its own inode, by which a copy is told
  checkpoint                    the newest signed checkpoint
  tile/<L>/<N>[.p/<W>]          the tree (C2SP tlog-tiles)
  key, key.vkey                 the signing key (0600) and its public half
  keys/<old id>-<new id>        a rotation of the signing key: the old one names the new one
  hmac.key                      the secret from which each recorder's digest key is derived
  segments/<first seq>.jsonl    closed files, 20 digits, .zst when compressed
  lock                          held while somebody writes
  writer.sock                   where its holder takes other recorders' events
  state                         the writer's hint for the next start; never trusted by verification
  suspect                       the id of an event that a holder is writing though an earlier one may have died of it
  reserve                       room that is kept back for the trail's last words on a full disk
  disk                          which thresholds of the disk the trail has said to be passed
  next.jsonl                    a file being made after a failed sync
  holds                         the legal holds that stand, as the trail has them
  facts/<first seq>.json        what a closed file holds, by event type; never trusted for a deletion
  twins/<first>-<end>.parquet   lines once more, as columns, to be asked quickly; never trusted over the lines
  gaps/<pid>-<random>           how many events a recorder could not record, until that stands in the trail
  erasing                       an erasure that is under way, or was cut off: what is to go
  definitions/                  what each server's tools look like
  anchors/<name>.json           what an anchor has taken, and what is wrong with it
  witnessed/<name>              the newest checkpoint that a witness cosigned
  cursors/                      how far each sink has been shipped to, and what it refused
  alerts/                       how far rules have looked, what they count, and how far each channel has been told
  quarantine/                   bytes that were no whole line when the trail was repaired
  retired/<origin>/             an earlier trail that was set aside
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

DIRECTORY_SUFFIX: Final = ".d"
COMPRESSED_SUFFIX: Final = ".zst"
SEGMENT_DIGITS: Final = 20

_SEGMENT = re.compile(r"([0-9]{20})\.jsonl(\.zst)?")


STAGED: Final = ".restoring"
"""Where a restore makes its copy, in `retired/`."""


class Layout:
    """The paths of one trail, from that of its active file."""

    def __init__(self, path: Path) -> None:
        self.active = path
        self.directory = path.with_name(path.name + DIRECTORY_SUFFIX)
        self.origin = self.directory / "origin"
        self.place = self.directory / "place"
        self.checkpoint = self.directory / "checkpoint"
        self.tiles = self.directory / "tile"
        self.key = self.directory / "key"
        self.vkey = self.directory / "key.vkey"
        self.rotations = self.directory / "keys"
        self.hmac_key = self.directory / "hmac.key"
        self.segments = self.directory / "segments"
        self.lock = self.directory / "lock"
        self.socket = self.directory / "writer.sock"
        self.state = self.directory / "state"
        self.suspect = self.directory / "suspect"
        self.reserve = self.directory / "reserve"
        self.disk = self.directory / "disk"
        self.erasing = self.directory / "erasing"
        self.next = self.directory / "next.jsonl"
        self.holds = self.directory / "holds"
        self.facts = self.directory / "facts"
        self.twins = self.directory / "twins"
        self.gaps = self.directory / "gaps"
        self.definitions = self.directory / "definitions"
        self.anchors = self.directory / "anchors"
        self.witnessed = self.directory / "witnessed"
        self.cursors = self.directory / "cursors"
        self.alerts = self.directory / "alerts"
        self.quarantine = self.directory / "quarantine"
        self.retired = self.directory / "retired"

    def for_alerts(self) -> Layout:
        """Return the same, with what the shipper keeps of sinks where alerts' channels have it."""
        found = Layout(self.active)
        found.cursors = self.alerts
        return found

    @property
    def behind_service(self) -> bool:
        """Whether this stands for a service's socket: where its trail is, its clients do not know."""
        return self.socket == self.active

    def segment(self, first_seq: int) -> Path:
        """Return the closed file that begins with `first_seq`."""
        return self.segments / f"{first_seq:0{SEGMENT_DIGITS}d}.jsonl"

    def link(self, number: int, *, compressed: bool = False) -> Path:
        """Return the link to the `number`-th newest segment, counted from 1 as RotatingFileHandler does."""
        suffix = COMPRESSED_SUFFIX if compressed else ""
        return self.active.with_name(f"{self.active.name}.{number}{suffix}")


def segment_first_seq(name: str) -> int | None:
    """Return the first seq of a segment file from its name, or None when it is not one."""
    match = _SEGMENT.fullmatch(name)
    return int(match[1]) if match else None


def is_compressed(name: str) -> bool:
    """Tell whether a segment's name is that of a compressed one."""
    return name.endswith(COMPRESSED_SUFFIX)
