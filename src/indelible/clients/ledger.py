"""What `indelible install` has put into which file: the ledger by which `indelible uninstall` gives it back.

One file for each changed configuration, ``<state>/indelible/installed/<SHA-256 of its path>.json``, 0600. It is written
before the configuration is, so that no server is ever wrapped that the ledger does not know; what it names and is not
there (a crash in between) is nothing to give back. Who changes a configuration or the ledger holds ``lock``.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from indelible.clients.servers import Record
from indelible.configfile import state_home
from indelible.errors import ClientConfigError
from indelible.trail import durable

MAX_BYTES: Final = 16 << 20
VERSION: Final = 1


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One install: the backup it made, and the SHA-256 of the file before and after."""

    backup: str
    at: str
    before: str
    after: str


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """All that was put into one file and not taken out again."""

    version: int = VERSION
    client: str
    file: str
    records: tuple[Record, ...] = ()
    steps: tuple[Step, ...] = ()


def digest(data: bytes) -> str:
    """Return the SHA-256 of a file's content, hex."""
    return hashlib.sha256(data).hexdigest()


def _directory() -> Path:
    return state_home() / "indelible" / "installed"


def _path(file: Path) -> Path:
    return _directory() / f"{digest(os.fsencode(file))}.json"


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Wait until nobody else changes a configuration, and keep others from it. Raises OSError."""
    durable.make_directory(_directory(), durable.Access())
    fd = os.open(_directory() / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def read(file: Path) -> Ledger | None:
    """Return what was put into a file; None when nothing was. Raises ClientConfigError, OSError."""
    path = _path(file)
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    try:
        if len(raw) > MAX_BYTES:
            raise msgspec.DecodeError("too long")
        found = msgspec.json.decode(raw, type=Ledger)
    except msgspec.DecodeError as exc:
        msg = (
            f"{path}: is not what install wrote ({exc}); move it away, and take 'indelible wrap' out with --all"
        )
        raise ClientConfigError(msg) from exc
    if found.version > VERSION:
        msg = f"{path}: is of a newer Indelible; use that one"
        raise ClientConfigError(msg)
    return found


def write(file: Path, ledger: Ledger | None) -> None:
    """Keep what was put into a file; None: nothing any more. Raises OSError."""
    path = _path(file)
    if ledger is not None:
        durable.replace_file(path, msgspec.json.encode(ledger), durable.Access())
        return
    durable.sweep(path)
    if path.exists():
        path.unlink()
        durable.sync_directory(path.parent)
