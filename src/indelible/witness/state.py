"""What a witness has cosigned: a directory with the newest cosigned checkpoint of each log.

    <SHA-256 of the origin, hex>/checkpoint     as `GET <origin hash>/checkpoint` serves it
    lock                                        held while a witness runs here

A file is replaced in one step and synced before anybody gets the cosignature in it. So a crash leaves the old one (the
log got no answer and asks again) or the new one (the log asks again and is told its size). A file that cannot be read,
that this witness's key has not cosigned, or that went back while the witness runs, stops it from signing: to begin
anew would be to forget.
"""

from __future__ import annotations

import fcntl
import os
import re
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from indelible.errors import ConfigError, NoteError, TrailError
from indelible.trail import durable
from indelible.trail.durable import Access
from indelible.trail.proofs.checkpoint import Checkpoint, parse, split_note
from indelible.trail.proofs.cosignature import cosignatures
from indelible.trail.reader import names_in, read_small

if TYPE_CHECKING:
    from indelible.trail.proofs.cosignature import WitnessKey

FILE: Final = "checkpoint"
_HASH = re.compile("[0-9a-f]{64}")
_ACCESS: Final = Access()


def origin_hash(origin: str) -> str:
    """Return the name under which a log's checkpoint is kept and served (C2SP tlog-witness, "Monitor Retrieval")."""
    return sha256(origin.encode()).hexdigest()


class StateDirectory:
    """The state of one witness, from its making until `close`. Who reads and then writes holds a lock of its own."""

    def __init__(self, path: Path, key: WitnessKey) -> None:
        """Open it, or make it. Raises ConfigError (not ours, or in use), TrailError (what could not be done)."""
        self.path = path
        self._key = key
        self._sizes: dict[str, int] = {}
        """What was found at the start, or kept since, by the name of its place."""
        try:
            durable.make_directory(path, _ACCESS)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as exc:
            msg = f"{exc.filename or path}: cannot keep the witness's state: {exc.strerror}"
            raise TrailError(msg) from exc
        try:
            self._take()
        except BaseException:
            os.close(self._lock)
            raise

    def _take(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            msg = f"{self.path}: another witness runs with this state; two of them would sign what one must not"
            raise TrailError(msg) from exc
        for name in names_in(self.path):
            if _HASH.fullmatch(name):
                found = self._read(
                    name
                )  # what cannot be read stops the witness now, not at the first submission
                self._sizes[name] = 0 if found is None else found.size

    def latest(self, origin: str) -> Checkpoint | None:
        """Return the newest checkpoint that was cosigned of a log. Raises TrailError or ConfigError: it is damaged."""
        name = origin_hash(origin)
        found = self._read(name, origin)
        if (0 if found is None else found.size) < self._sizes.get(name, 0):
            msg = (
                f"{self.path / name / FILE}: went back from {self._sizes[name]} events, or is gone; put it back"
            )
            raise TrailError(msg)
        return found

    def serve(self, name: str) -> bytes | None:
        """Return the newest cosigned checkpoint of the log whose origin has this hash, as it is kept."""
        return read_small(self.path / name / FILE) if _HASH.fullmatch(name) else None

    def keep(self, checkpoint: Checkpoint, note: bytes) -> None:
        """Keep a cosigned checkpoint; on the disk when it returns. Raises OSError: the old one or the new is kept."""
        name = origin_hash(checkpoint.origin)
        durable.make_directory(self.path / name, _ACCESS)
        durable.replace_file(self.path / name / FILE, note, _ACCESS)
        self._sizes[name] = checkpoint.size

    def close(self) -> None:
        """Let go of the directory."""
        os.close(self._lock)

    def _read(self, name: str, origin: str | None = None) -> Checkpoint | None:
        path = self.path / name / FILE
        try:
            note = read_small(path)
            if note is None:
                if os.path.lexists(path):
                    raise NoteError("no plain file")
                return None
            checkpoint = parse(split_note(note)[0])
            if not cosignatures(note, [self._key]):
                msg = f"{path}: not cosigned by {self._key.name}+{self._key.key_id.hex()}; another witness's state"
                raise ConfigError(msg)
        except OSError as exc:
            msg = f"{path}: cannot be read: {exc.strerror}"
            raise TrailError(msg) from exc
        except NoteError as exc:
            msg = f"{path}: the witness's state is damaged: {exc}; put it back from a backup that is not older"
            raise TrailError(msg) from exc
        if origin_hash(checkpoint.origin) != name or origin not in (None, checkpoint.origin):
            msg = f"{path}: holds a checkpoint of another log, {checkpoint.origin[:80]!r}"
            raise TrailError(msg)
        return checkpoint
