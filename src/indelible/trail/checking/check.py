"""`verify` on a disk: where its bytes come from, and when a look has to be taken again.

A writer at work may delete a file, or erase lines, while they are being verified; it records and seals that first,
but past the checkpoint that was read at the start. So when something is missing and the checkpoint has moved on
meanwhile, the whole look is taken again, from the newer checkpoint: until nothing is missing, or only what was missing
before, since of that the newer checkpoint would say so.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Final

from indelible.errors import ConfigError, NoteError, TrailError
from indelible.trail import findings as words
from indelible.trail.checking import previous
from indelible.trail.checking.previous import Said
from indelible.trail.checking.verify import verify
from indelible.trail.checking.walk import Block
from indelible.trail.findings import VerifyResult
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import Verifier, parse_vkey
from indelible.trail.proofs.stored import StoredFiles, name_stranger
from indelible.trail.reader import Lines, Snapshot, TrailFile, names_in, read_small, reading
from indelible.trail.start.holder import current_holder

MAX_LOOKS: Final = 5
PATIENCE_S: Final = 10.0
"""So many looks, and so long, before files that go faster than they are read count as missing."""

FIRST_CHECKPOINT_S: Final = 2.0
"""Twice what a writer promises."""

Progress = Callable[[int], None]
"""Called with the number of bytes of lines that were read since the last call."""


def verify_trail(path: str | Path, vkey: str | None = None, progress: Progress | None = None) -> VerifyResult:
    """Check the trail whose active file is `path` against its checkpoint.

    `vkey` is the trail's public key from somewhere else (``indelible keygen --show`` prints it), as text or the path
    of a file that holds it. Raises TrailError when there is no trail to read, ConfigError when `vkey` is no key.
    """
    verifier = None if vkey is None else load_vkey(vkey)
    layout = Layout(Path(path).absolute())
    with reading(layout.active):
        _await_first_checkpoint(layout)
        result = _look(layout, verifier, progress)
        previous.follow(layout, result, lambda earlier, said: _look(earlier, None, progress, said))
    return result


def verify_alone(
    path: Path, verifier: Verifier | None, progress: Progress | None, source: MakeSource
) -> VerifyResult:
    """Check one trail as `verify_trail` does, but none that it follows, and let `source` see what was read.

    It is made anew for each look; the last one is what the result is about. Raises TrailError when there is no trail.
    """
    layout = Layout(path.absolute())
    with reading(layout.active):
        _await_first_checkpoint(layout)
        return _look(layout, verifier, progress, source=source)


def _look(
    layout: Layout,
    verifier: Verifier | None,
    progress: Progress | None,
    erased: Said | None = None,
    source: MakeSource | None = None,
) -> VerifyResult:
    """Check one trail, again when a writer at work deleted what was looked for."""
    make = source or DiskSource
    patience = time.monotonic() + PATIENCE_S
    look, gone_before = 0, set[object]()
    while True:
        look += 1
        last = look >= MAX_LOOKS and time.monotonic() >= patience
        before = read_small(layout.checkpoint)
        try:
            with Snapshot(layout) as snapshot:
                result = verify(make(snapshot, before, progress), verifier, erased)
        except FileNotFoundError as exc:
            if last or not layout.directory.is_dir():
                msg = f"{layout.active}: there is no trail here"
                raise TrailError(msg) from exc
            continue
        except OSError as exc:
            msg = f"{exc.filename or layout.active}: cannot be read: {exc.strerror}"
            raise TrailError(msg) from exc
        late = [finding for finding in result.findings if finding.problem in words.MAY_BE_LATE]
        gone: set[object] = {(finding.problem, finding.file, finding.seq) for finding in late}
        if last or gone <= gone_before or read_small(layout.checkpoint) == before:
            break
        gone_before = gone
    for finding in result.findings:
        name_stranger(finding)
    if not result.files and result.size is None:
        msg = f"{layout.active}: there is no trail here, only its directory"
        raise TrailError(msg)
    return result


def _await_first_checkpoint(layout: Layout) -> None:
    """A trail that a writer began this second has no checkpoint yet: give it the time in which it promises one."""
    end = time.monotonic() + FIRST_CHECKPOINT_S
    while not layout.checkpoint.exists() and current_holder(layout.lock) is not None and time.monotonic() < end:
        time.sleep(0.05)


def load_vkey(text: str) -> Verifier:
    """Parse a vkey, or the file that holds one.

    Raises ConfigError, which repeats neither a file's content nor a text that names no file: people give the private
    key by mistake.
    """
    try:
        return parse_vkey(text)
    except NoteError:
        pass
    try:
        data = read_small(Path(text)) if os.path.lexists(text) else None
    except ValueError:  # a NUL
        data = None
    except OSError as exc:
        msg = f"--vkey: {text}: cannot be read: {exc.strerror}"
        raise ConfigError(msg) from None
    if data is None:
        msg = "--vkey: neither a public key (name+id+key), as 'indelible keygen --show' prints, nor a file with one"
        raise ConfigError(msg)
    try:
        return parse_vkey(data.decode("utf-8", "replace"))
    except NoteError:
        msg = f"--vkey: {text}: holds no public key (name+id+key), as 'indelible keygen --show' prints"
        raise ConfigError(msg) from None


class DiskLines:
    """A `LineFile` on disk."""

    def __init__(self, file: TrailFile, progress: Progress | None) -> None:
        self.name = str(file.path)
        self.first_seq = file.named_seq
        self._file = file
        self._progress = progress
        self._rest = b""

    def blocks(self) -> Generator[Block, None, None]:
        """See `indelible.trail.checking.verify.LineFile`."""
        with self._file.open() as stream:
            self.name = str(self._file.path)
            lines, told = Lines(stream), 0
            for some, raw in lines:
                yield Block(some, raw)
                if self._progress is not None:
                    self._progress(len(raw) - told)
                    told = len(lines.rest)  # which the next block begins with
            self._rest = lines.rest

    def rest(self) -> bytes:
        """See `indelible.trail.checking.verify.LineFile`."""
        return self._rest


class DiskSource(StoredFiles):
    """A `Source` on disk: a snapshot of the files, and the checkpoint that was read before it."""

    def __init__(self, snapshot: Snapshot, checkpoint: bytes | None, progress: Progress | None) -> None:
        super().__init__(snapshot.layout, checkpoint)
        self._snapshot = snapshot
        self._progress = progress
        self.trail = str(self._layout.active)

    def strangers(self) -> list[tuple[str, str]]:
        """See `indelible.trail.checking.verify.Source`."""
        return [(str(path), why) for path, why in self._snapshot.strangers]

    def links(self) -> list[tuple[str, str, str]]:
        """See `indelible.trail.checking.verify.Source`."""
        return [(str(path), expected, found) for path, expected, found in self._snapshot.astray_links()]

    def notes(self) -> list[str]:
        """See `indelible.trail.checking.verify.Source`."""
        said = []
        kept = names_in(self._layout.quarantine)
        if kept:
            said.append(
                f"{self._layout.quarantine}: {len(kept)} pieces that were no whole lines when a writer started"
            )
        if self._layout.next.exists():
            said.append(f"{self._layout.next}: lines that are being written again after a failed sync")
        lagging = self._snapshot.lagging_links()
        if lagging and current_holder(self._layout.lock) is None:
            said.append(
                f"{lagging[0]}: does not link to the closed file that it should; the next writer sets it right"
            )
        return said

    def files(self) -> Iterator[DiskLines]:
        """See `indelible.trail.checking.verify.Source`. A segment that a writer deleted meanwhile is left out."""
        for file in self._snapshot.files:
            try:
                file.open().close()
            except FileNotFoundError:
                continue
            yield self.lines_of(file)

    def lines_of(self, file: TrailFile) -> DiskLines:
        """Return a file's lines."""
        return DiskLines(file, self._progress)


MakeSource = Callable[[Snapshot, bytes | None, Progress | None], DiskSource]
"""Makes what one look at a trail reads: from its files, its checkpoint, and who is told how far it is."""
