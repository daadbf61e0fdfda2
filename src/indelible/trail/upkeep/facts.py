"""What a closed file holds, by event type: read from the file, and remembered beside the trail.

`audit.jsonl.d/facts/<first seq>.json` saves the reading of every closed file at every look. It is a convenience: one
that is missing, or does not parse, is made anew; one that is wrong can only delay a deletion or make the file be read
in vain, since nothing is deleted before the file itself was read (see `pruning`). A crash can leave one whose file is
gone: the next look removes it.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Final

import msgspec

from indelible.trail import durable, files
from indelible.trail.entry import parse_line
from indelible.trail.upkeep.keeping import ClassFacts, Facts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from indelible.trail.durable import Access
    from indelible.trail.files import TrailFile
    from indelible.trail.layout import Layout

_HEAD: Final = re.compile(
    rb'\{"seq":[0-9]+,"schema":[0-9]+,"recorded_at":"([0-9T:.Z-]{27})","timestamp":"([^"\\]*)","event_type":"([a-z_]+)"'
)
"""How every line begins that we have written; others are parsed."""

UNKNOWN: Final = "unknown"
"""What is no event, whatever it is: as young as the file."""

_decode: Final = msgspec.json.Decoder(Facts).decode


class _Tally:
    def __init__(self) -> None:
        self.count: dict[bytes, int] = {}
        self.bytes: dict[bytes, int] = {}
        self.newest: dict[bytes, bytes] = {}
        self.since = b"~"
        """The earliest `timestamp`; this is after all of them."""

    def take(self, lines: list[bytes], ended: bytes) -> None:
        """Count lines, without their LF. This is done to every line before it is deleted: it has to be quick."""
        head, count, size, newest, since = _HEAD.match, self.count, self.bytes, self.newest, self.since
        for line in lines:
            found = head(line)
            recorded_at, timestamp, kind = found.groups() if found is not None else _parsed(line, ended)
            if kind in count:
                count[kind] += 1
                size[kind] += len(line) + 1
            else:
                count[kind], size[kind], newest[kind] = 1, len(line) + 1, recorded_at
            newest[kind] = max(newest[kind], recorded_at)
            since = min(since, timestamp)
        self.since = since


def _parsed(line: bytes, ended: bytes) -> tuple[bytes, bytes, bytes]:
    """Return `recorded_at`, `timestamp` and type of a line in another form; of what is no event, the safe side."""
    entry = parse_line(line)
    if entry is not None and "erased" in entry:
        return b"", b"~", b"erased"
    about = [entry.get(key) for key in ("recorded_at", "timestamp", "event_type")] if entry is not None else []
    if about and all(isinstance(text, str) for text in about):
        recorded_at, timestamp, kind = (str(text).encode("utf-8", "replace") for text in about)
        return recorded_at, timestamp, kind
    return ended, b"", UNKNOWN.encode()


def read(file: TrailFile, last: int, ended: str) -> Facts:
    """Read a closed file whose last seq is `last` and whose successor began at `ended`.

    Raises OSError, TrailCorrupt.
    """
    tally, total = _Tally(), 0
    for block in whole_lines(file):
        total += len(block)
        lines = block.split(b"\n")
        if not lines[-1]:
            lines.pop()
        tally.take(lines, ended.encode())
    classes = {
        kind.decode("utf-8", "replace"): ClassFacts(
            tally.count[kind], tally.bytes[kind], tally.newest[kind].decode("utf-8", "replace")
        )
        for kind in sorted(tally.count)
    }
    since = "" if tally.since == b"~" else tally.since.decode("utf-8", "replace")
    return Facts(file.first_seq, last, total, since, classes)


def whole_lines(file: TrailFile) -> Iterator[bytes]:
    """Yield a file's content in large pieces that end with a line. Raises OSError, TrailCorrupt."""
    rest = b""
    with files.open_file(file) as stream:
        while chunk := stream.read(files.CHUNK_BYTES):
            data = rest + chunk
            cut = data.rfind(b"\n") + 1
            rest = data[cut:]
            if cut:
                yield data[:cut]
    if rest:
        yield rest


class FactsStore:
    """The sidecars of one trail's closed files."""

    def __init__(self, layout: Layout, access: Access | None) -> None:
        """Without `access` nothing is written: a reader's."""
        self._directory = layout.facts
        self._access = access
        self._known: dict[tuple[int, int], Facts] = {}
        self._fresh: set[int] = set()

    def is_fresh(self, first: int) -> bool:
        """Tell whether what is known of a file was read from the file itself by this process."""
        return first in self._fresh

    def get(self, file: TrailFile, last: int, ended: str) -> Facts:
        """Return what is remembered of a file, or read it and remember that. Raises OSError, TrailCorrupt."""
        key = (file.first_seq, last)
        if key not in self._known:
            self._known[key] = self._load(*key) or self.learn(file, last, ended)
        return self._known[key]

    def learn(self, file: TrailFile, last: int, ended: str) -> Facts:
        """Read a file, whatever is remembered, and remember that. Raises OSError, TrailCorrupt."""
        facts = read(file, last, ended)
        self._known[(file.first_seq, last)] = facts
        self._fresh.add(file.first_seq)
        if self._access is not None:
            path = self._directory / f"{file.first_seq:020d}.json"
            with contextlib.suppress(OSError):  # on a full disk, which a deletion is to give room
                durable.make_directory(self._directory, self._access, durable=False)
                durable.replace_file(path, msgspec.json.encode(facts), self._access, durable=False)
        return facts

    def _load(self, first: int, last: int) -> Facts | None:
        try:
            facts: Facts = _decode((self._directory / f"{first:020d}.json").read_bytes())
        except (OSError, ValueError):
            return None
        return facts if (facts.first, facts.last) == (first, last) else None

    def drop(self, first_seq: int) -> None:
        """Forget one file, which has changed. Raises OSError."""
        self._known = {key: facts for key, facts in self._known.items() if key[0] != first_seq}
        self._fresh.discard(first_seq)
        with contextlib.suppress(FileNotFoundError):
            (self._directory / f"{first_seq:020d}.json").unlink()
            durable.sync_directory(self._directory)

    def forget(self, first_seqs: set[int]) -> None:
        """Remove the sidecars of all files but those that begin with these seqs."""
        self._known = {key: facts for key, facts in self._known.items() if key[0] in first_seqs}
        self._fresh &= first_seqs
        keep = {f"{first:020d}.json" for first in first_seqs}
        with contextlib.suppress(FileNotFoundError):
            for path in self._directory.iterdir():
                if path.name not in keep:
                    path.unlink(missing_ok=True)
