"""Lines that are held elsewhere, gathered into files that SQL can ask, for as long as it does.

The rules that live here:

- SQL asks for columns of a line. A record in other words has only what its format has room for: it was left out and
  counted, as for a filter that it cannot answer (`Readback`), and never taken for one that does not match.
- What is gathered was chosen by the filters already, each event is there once, and each trail has a file of its own, in
  the order of seqs. The files are their owner's alone, and nothing of them is left behind.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from indelible.query.filters import Filter
from indelible.query.readback import Readback
from indelible.trail.layout import Layout

HELD_BYTES: Final = 16 << 20
"""So many are held in memory before they are written."""


@contextlib.contextmanager
def gathered(back: Readback) -> Iterator[list[Path]]:
    """Give the files of the lines that are found, of each trail one; `back` is asked for nothing but lines.

    Raises OSError when there is no room for them.
    """
    with tempfile.TemporaryDirectory(prefix="indelible-") as folder:
        files = _Files(Path(folder))
        for hit in back.all():
            files.add(hit.origin, hit.line)
        files.write()
        yield files.paths


def chosen_already(wanted: Filter) -> Filter:
    """Return filters for what is gathered: times are left out, since no clock keeps order in what others hold."""
    return msgspec.structs.replace(wanted, since=None, until=None)


class _Files:
    """A file of lines for each trail, beside which its name lies."""

    def __init__(self, folder: Path) -> None:
        self.paths: list[Path] = []
        self._folder = folder
        self._of: dict[str, Path] = {}
        self._held: dict[Path, list[bytes]] = {}
        self._size = 0

    def add(self, origin: str, line: bytes) -> None:
        path = self._of.get(origin)
        if path is None:
            path = self._of[origin] = self._made(origin)
        self._held.setdefault(path, []).append(line)
        self._size += len(line)
        if self._size > HELD_BYTES:
            self.write()

    def write(self) -> None:
        """Write what is held in memory."""
        for path, lines in self._held.items():
            with path.open("ab") as file:
                file.writelines(line + b"\n" for line in lines)
        self._held, self._size = {}, 0

    def _made(self, origin: str) -> Path:
        path = self._folder / f"{len(self.paths)}.jsonl"
        self.paths.append(path)
        if origin:
            layout = Layout(path)
            layout.origin.parent.mkdir()
            layout.origin.write_text(f"{origin}\n", encoding="utf-8", errors="replace")
        return path
