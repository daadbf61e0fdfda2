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
from indelible.trail.keeping import ClassFacts, Facts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from indelible.trail.durable import Access
    from indelible.trail.files import TrailFile
    from indelible.trail.layout import Layout

_HEAD: Final = re.compile(
    rb'^\{"seq":[0-9]+,(?:"schema":[0-9]+,"recorded_at":"([0-9T:.Z-]{27})","timestamp":"([^"\\\n]*)",'
    rb'"event_type":"([a-z_]{1,40})"|"erased":)',
    re.MULTILINE,
)
"""How every line begins that a writer has written."""

UNKNOWN: Final = "unknown"
"""What is no event, whatever it is: as young as the file."""

_decode: Final = msgspec.json.Decoder(Facts).decode


class _Tally:
    def __init__(self) -> None:
        self.counts: dict[str, list[int]] = {}
        self.newest: dict[str, str] = {}
        self.since = ""

    def add(self, kind: str, size: int, recorded_at: str) -> None:
        count = self.counts.setdefault(kind, [0, 0])
        count[0] += 1
        count[1] += size
        self.newest[kind] = max(self.newest.get(kind, ""), recorded_at)


def read(file: TrailFile, last: int, ended: str) -> Facts:
    """Read a closed file whose last seq is `last` and whose successor began at `ended`.

    Raises OSError, TrailCorrupt.
    """
    tally, total = _Tally(), 0
    for block in whole_lines(file):
        total += len(block)
        _count(block, tally, ended)
    classes = {
        kind: ClassFacts(count, size, tally.newest[kind])
        for kind, (count, size) in sorted(tally.counts.items())
    }
    return Facts(file.first_seq, last, total, tally.since, classes)


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


def _count(block: bytes, tally: _Tally, ended: str) -> None:
    end = 0
    for found in _HEAD.finditer(block):
        start = found.start()
        if start > end:  # lines of another form
            _count_unknown(block[end:start], tally, ended)
        end = block.find(b"\n", found.end()) + 1 or len(block)
        recorded_at, timestamp, kind = found.groups()
        if kind is None:
            tally.add("erased", end - start, "")
            continue
        tally.add(kind.decode(), end - start, recorded_at.decode())
        received = timestamp.decode("utf-8", "replace")
        if not tally.since or received < tally.since:
            tally.since = received
    if end < len(block):
        _count_unknown(block[end:], tally, ended)


def _count_unknown(lines: bytes, tally: _Tally, ended: str) -> None:
    for line in lines.splitlines(keepends=True):
        tally.add(UNKNOWN, len(line), ended)
    tally.since = "0"  # nobody knows


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
            durable.make_directory(self._directory, self._access, durable=False)
            path = self._directory / f"{file.first_seq:020d}.json"
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
        (self._directory / f"{first_seq:020d}.json").unlink(missing_ok=True)

    def forget(self, first_seqs: set[int]) -> None:
        """Remove the sidecars of all files but those that begin with these seqs."""
        self._known = {key: facts for key, facts in self._known.items() if key[0] in first_seqs}
        self._fresh &= first_seqs
        keep = {f"{first:020d}.json" for first in first_seqs}
        with contextlib.suppress(FileNotFoundError):
            for path in self._directory.iterdir():
                if path.name not in keep:
                    path.unlink(missing_ok=True)
