"""A disk at its worst: what may be on it when the power goes, from the system calls that came before.

`Disk` follows a trace (strace -xx) call by call. Of a file is certain what it held when it was last synced (fdatasync,
fsync); of what was written since, each page may be there or not, whatever was written before or after it, and the
length may have grown without the data (zeros). Of a directory is certain what it held when it was last synced; each
change since may be there or not. A rename is one change (a journal's transaction); to sync either of its directories
settles it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.faults.tracing import Call

PAGE = 4096

Choice = Callable[[], bool]
"""Asked of each change, whether it is there after the crash."""

_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass
class Change:
    """A write to a page, or a cut: `data` at `offset`, or the length `offset` when there are no data."""

    offset: int
    data: bytes | None


@dataclass
class File:
    """A file (or a symbolic link): what is certain, and what came since."""

    synced: bytes = b""
    since: list[Change] = field(default_factory=list)
    size: int = 0
    target: str | None = None

    def write(self, offset: int, data: bytes) -> None:
        self.size = max(self.size, offset + len(data))
        while data:
            part = PAGE - offset % PAGE
            self.since.append(Change(offset, data[:part]))
            offset, data = offset + part, data[part:]

    def truncate(self, size: int) -> None:
        self.size = size
        self.since.append(Change(size, None))

    def sync(self) -> None:
        self.synced = self.content(everything)
        self.since = []

    def content(self, chosen: Choice) -> bytes:
        """Return the content when of what came since that is there which is chosen."""
        data = bytearray(self.synced)
        for change in self.since:
            if not chosen():
                continue
            if change.data is None:
                del data[change.offset :]
                data.extend(bytes(max(0, change.offset - len(data))))
            else:
                data.extend(bytes(max(0, change.offset - len(data))))
                data[change.offset : change.offset + len(change.data)] = change.data
        if chosen() and len(data) < self.size:
            data.extend(bytes(self.size - len(data)))
        return bytes(data)


@dataclass
class Entry:
    """A change of directories: names that went, and names that came (with their file; None for a directory)."""

    gone: list[str]
    came: list[tuple[str, File | None]]

    @property
    def directories(self) -> set[str]:
        return {name.rpartition("/")[0] for name in (*self.gone, *(name for name, _ in self.came))}

    def apply(self, names: dict[str, File | None]) -> None:
        for name in self.gone:
            names.pop(name, None)
        names.update(self.came)


def draw(seed: str, probability: float) -> Choice:
    """Return a choice by which each change is there with this probability."""
    numbers = random.Random(seed)
    return lambda: numbers.random() < probability


def everything() -> bool:
    """Choose all changes."""
    return True


@dataclass
class _Open:
    path: str
    file: File | None
    appends: bool
    position: int = 0


class Disk:
    """Follows calls, and makes the directories that a crash may leave."""

    def __init__(self, root: Path) -> None:
        """Everything under `root` counts; it is empty, and there for certain."""
        self.root = str(root)
        self._certain: dict[str, File | None] = {self.root: None}
        self._names: dict[str, File | None] = {self.root: None}
        self._since: list[Entry] = []
        self._open: dict[int, _Open] = {}

    def follow(self, call: Call) -> bool:
        """Take in a call; tell whether it changed what a crash may leave."""
        if call.result is None or call.result < 0:
            return False
        take = getattr(self, f"_{call.name}", None)
        if take is None:
            return False
        strings = [bytes.fromhex(text.replace("\\x", "")) for text in _STRING.findall(call.args)]
        return bool(take(call, strings))

    # --- calls; each tells whether it changed something ---

    def _path(self, call: Call, name: bytes) -> str:
        """Return the absolute path of a name; it may be relative to a directory's descriptor (unlinkat)."""
        text = name.decode()
        if text.startswith("/"):
            return text
        return f"{self._open[call.descriptor].path}/{text}" if call.descriptor >= 0 else text

    def _openat(self, call: Call, strings: list[bytes]) -> bool:
        path, result = self._path(call, strings[0]), call.result or 0
        if not path.startswith(self.root):
            self._open.pop(result, None)
            return False
        changed = False
        if path not in self._names:
            self._change(Entry([], [(path, File())]))
            changed = True
        file = self._names[path]
        self._open[result] = _Open(path, file, "O_APPEND" in call.args)
        if file is not None and "O_TRUNC" in call.args:
            file.truncate(0)
            changed = True
        return changed

    def _close(self, call: Call, _: list[bytes]) -> bool:
        self._open.pop(call.descriptor, None)
        return False

    def _write(self, call: Call, strings: list[bytes]) -> bool:
        opened = self._open.get(call.descriptor)
        if opened is None or opened.file is None:
            return False
        at = opened.file.size if opened.appends else opened.position
        data = strings[0][: call.result]
        opened.file.write(at, data)
        opened.position = at + len(data)
        return True

    def _pwrite64(self, call: Call, strings: list[bytes]) -> bool:
        opened = self._open.get(call.descriptor)
        if opened is None or opened.file is None:
            return False
        opened.file.write(int(call.args.rpartition(", ")[2]), strings[0][: call.result])
        return True

    def _ftruncate(self, call: Call, _: list[bytes]) -> bool:
        opened = self._open.get(call.descriptor)
        if opened is None or opened.file is None:
            return False
        opened.file.truncate(int(call.args.rpartition(", ")[2]))
        return True

    def _fdatasync(self, call: Call, _: list[bytes]) -> bool:
        opened = self._open.get(call.descriptor)
        if opened is None:
            return False
        if opened.file is not None:
            opened.file.sync()
        else:
            kept = []
            for entry in self._since:
                if opened.path in entry.directories:
                    entry.apply(self._certain)
                else:
                    kept.append(entry)
            self._since = kept
        return True

    _fsync = _fdatasync

    def _rename(self, call: Call, strings: list[bytes]) -> bool:
        old, new = (self._path(call, name) for name in strings)
        return self._change(Entry([old], [(new, self._names[old])]))

    def _link(self, call: Call, strings: list[bytes]) -> bool:
        old, new = (self._path(call, name) for name in strings)
        return self._change(Entry([], [(new, self._names[old])]))

    def _symlink(self, call: Call, strings: list[bytes]) -> bool:
        return self._change(Entry([], [(self._path(call, strings[1]), File(target=strings[0].decode()))]))

    def _unlink(self, call: Call, strings: list[bytes]) -> bool:
        return self._change(Entry([self._path(call, strings[0])], []))

    _unlinkat = _rmdir = _unlink

    def _mkdir(self, call: Call, strings: list[bytes]) -> bool:
        return self._change(Entry([], [(self._path(call, strings[0]), None)]))

    def _change(self, entry: Entry) -> bool:
        entry.apply(self._names)
        self._since.append(entry)
        return True

    # --- a crash ---

    def leave(self, chosen: Choice, place: Path) -> None:
        """Make what the disk holds after a crash, in an empty directory `place` that stands for the root."""
        names = dict(self._certain)
        for entry in self._since:
            if chosen():
                entry.apply(names)
        for name, file in sorted(names.items()):
            path = place / name[len(self.root) + 1 :] if name != self.root else place
            if name != self.root and not path.parent.is_dir():
                continue  # its directory is not there
            if file is None:
                path.mkdir(mode=0o700, exist_ok=True)
            elif file.target is not None:
                path.symlink_to(file.target)
            else:
                path.write_bytes(file.content(chosen))
                path.chmod(0o600)

    @property
    def uncertain(self) -> int:
        """How many changes may be there or not."""
        files = {id(file): file for file in self._names.values() if file is not None}
        return len(self._since) + sum(len(file.since) for file in files.values())

    def read(self, path: str) -> bytes:
        """Return what the running system sees in a file."""
        file = self._names[path]
        assert file is not None
        return file.content(everything)
