"""A disk that fails or dies at a chosen operation.

Every call that changes the disk is counted. At the chosen one the machine dies (this and every later call raises
`Crash`, which nothing in the product catches), or the call fails: before it did anything, after it did its work (so
"failed" is not the same as "did not happen"), or for want of space, for some calls in a row.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal
from unittest import mock

from indelible.trail import files
from indelible.trail import writer as writer_module
from indelible.trail.commit import GroupCommit
from indelible.trail.layout import Layout
from indelible.trail.proofs import checkpoint, merkle
from indelible.trail.sealer import Sealer
from indelible.trail.upkeep.housekeeping import Housekeeper
from indelible.trail.writer import Writer

Mode = Literal["count", "crash", "crash-after", "error", "error-after", "no-space"]

CHANGING = (
    "write", "fdatasync", "fsync", "ftruncate", "rename", "link", "unlink", "mkdir", "open", "symlink", "replace",
)  # fmt: skip


class Crash(BaseException):
    """The machine is gone."""


class Disk:
    """Counts changing calls and spoils the chosen one."""

    def __init__(self, mode: Mode, at: int = -1, run: int = 12) -> None:
        self.mode = mode
        self.at = at
        self.run = run
        self.calls: list[str] = []
        self.armed = True

    def call(self, name: str, real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if not self.armed or (name == "open" and not args[1] & os.O_CREAT):
            return real(*args, **kwargs)
        index = len(self.calls)
        self.calls.append(name)
        if self.mode in ("crash", "crash-after") and index > self.at >= 0:
            raise Crash
        if index != self.at and not (self.mode == "no-space" and self.at <= index < self.at + self.run):
            return real(*args, **kwargs)
        if self.mode == "count":
            return real(*args, **kwargs)
        if name == "write" and self.mode != "error":
            args = (args[0], bytes(args[1])[: len(args[1]) // 2])  # half of it arrives
        if self.mode in ("crash-after", "error-after") or (name == "write" and self.mode == "no-space"):
            done = real(*args, **kwargs)
            if name == "open" and self.mode == "error-after":
                os.close(done)
        if self.mode in ("crash", "crash-after"):
            raise Crash
        code = errno.ENOSPC if self.mode == "no-space" else errno.EIO
        raise OSError(code, os.strerror(code))


@contextmanager
def faulty(disk: Disk) -> Iterator[Disk]:
    """Put `disk` between Python and the operating system."""

    def spoiled(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: disk.call(name, real, *args, **kwargs)

    with ExitStack() as patches:
        for name in CHANGING:
            patches.enter_context(mock.patch.object(os, name, spoiled(name, getattr(os, name))))
        yield disk


@contextmanager
def without_threads(*, look_after: bool = True) -> Iterator[None]:
    """Checkpoints are made where the scenario says, and closed files looked after at once: runs repeat exactly.

    Without `look_after` they are looked after where the scenario says.
    """

    def sealed(self: Housekeeper) -> None:
        if look_after:
            self._run()

    with (
        mock.patch.object(Sealer, "start"),
        mock.patch.object(GroupCommit, "_is_served", return_value=False),
        mock.patch.object(Housekeeper, "sealed", sealed),
        mock.patch.object(writer_module, "RETRY_S", 0.0),
    ):
        yield


def operations_of(act: Callable[[Writer], object], writer: Callable[[], Writer]) -> list[str]:
    """Return the calls that change the disk while `act` is done with a writer, when nothing goes wrong."""
    with without_threads(look_after=False), faulty(Disk("count")) as disk:
        disk.armed = False
        made = writer()
        disk.armed = True
        act(made)
        disk.armed = False
        made.close()
    return disk.calls


def die(directory: Path) -> None:
    """Do what the kernel does for a dead process: its locks and descriptors are gone."""
    for writer in list(writer_module._writers):
        writer.abandon()
    for entry in list(Path("/proc/self/fd").iterdir()):
        with suppress(OSError):
            if entry.readlink().is_relative_to(directory):
                os.close(int(entry.name))


def read_all(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for file in reversed(list(files.newest_first(Layout(path)))):
        with files.open_file(file) as stream:
            for line in stream:
                entry = json.loads(line)
                assert entry["seq"] == len(found), f"{file.path.name}: seqs are not dense"
                found.append({**entry, "leaf": merkle.leaf_hash(line[:-1])})
    return found


def assert_sealed(path: Path, found: list[dict[str, Any]]) -> None:
    """The checkpoint covers every line, and its root is that of the lines (computed here, from the lines alone)."""
    layout = Layout(path)
    verifier = checkpoint.parse_vkey(layout.vkey.read_text())
    signed = checkpoint.parse(checkpoint.open_note(layout.checkpoint.read_bytes(), [verifier]))
    tree = merkle.TileTree()
    tree.extend(entry["leaf"] for entry in found)
    assert (signed.size, signed.root) == (len(found), tree.root())
