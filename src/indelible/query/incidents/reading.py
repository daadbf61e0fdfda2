"""Incidents of trails, read from their files: first the signs, then the calls around those that are asked for.

The rules that live here:

- The signs are looked for at the speed of a search for their words: only lines with one are parsed. Then, for the
  incidents that are asked for, every line is read once from the beginning of the oldest baseline on, to a day after the
  newest of them. What was recorded before all that is skipped, file by file, and within a plain file by bisection.
- Lines that cannot be read are counted, in what is read line by line, and end nothing.
- Of a file that another one took the place of (`indelible.trail.switch`) what stands in the later one is the trail.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from indelible.errors import TrailCorrupt
from indelible.query.continuity import Span
from indelible.query.filters import Filter
from indelible.query.incidents.calls import shifted
from indelible.query.incidents.signs import PATTERN, Incident, Signs, grouped, line_before, newest
from indelible.query.incidents.windows import Baseline, Found, Gatherer, Window
from indelible.query.search import PROBE_LINES, Corrupt, TrailSearch
from indelible.trail.entry import line_recorded_at, line_seq
from indelible.trail.layout import Layout
from indelible.trail.reader import Lines, TrailFile, reading
from indelible.trail.start.holder import current_holder

Progress = Callable[[int], None]


class Asked(NamedTuple):
    """Which incidents are asked for, and what of each."""

    since: str | None = None
    until: str | None = None
    at: str | None = None
    """About this moment: the incidents around it, or it alone."""
    backend: str | None = None
    window_s: float = 300.0
    keep: int = 10
    """Calls that are shown of a list."""
    most: int | None = None
    """Incidents; the newest. None is all."""
    each: bool = False
    """Those of a crash loop one by one."""


class Analysis(NamedTuple):
    """What was found."""

    found: list[Found]
    more: bool
    """Whether there are incidents before those."""
    corrupt: Corrupt
    let_go: int
    unmeasured: int
    oldest: dict[str, str]
    """By trail, when the first line that is there was recorded."""


def analyse(
    paths: Sequence[Path], living: Iterable[Path], asked: Asked, progress: Progress | None = None
) -> Analysis:
    """Return the incidents of these trails that are asked for. Raises TrailError when one cannot be read.

    Only a trail of `living` can have a recorder that died without anybody having noticed it.
    """
    corrupt, alive = Corrupt(), set(living)
    files = [_Trail(path, corrupt, progress) for path in paths]
    try:
        most = None if asked.most is None else asked.most + 1
        groups = newest([one for file in files for one in _incidents(file, asked, most, alive)], most)
        more = most is not None and len(groups) == most
        groups = groups[1:] if more else groups
        if not groups and asked.at is not None:
            where = str(paths[0]) if len(paths) == 1 else ""
            groups = [Incident(kind="moment", at=asked.at, noticed="", trail=where)]
        windows = [Window(group, asked.window_s, asked.keep, asked.backend) for group in groups]
        baseline = Baseline(windows)
        let_go = sum(file.gather(windows, baseline) for file in files) if windows else 0
        oldest = {file.name: time for file in files if (time := file.oldest())}
    finally:
        for file in files:
            file.close()
    return Analysis(
        [Found(window, baseline) for window in windows], more, corrupt, let_go, baseline.unmeasured, oldest
    )


def _incidents(trail: _Trail, asked: Asked, most: int | None, alive: set[Path]) -> list[Incident]:
    since, until = asked.since, asked.until
    if asked.at is not None:
        since, until = shifted(asked.at, -asked.window_s), shifted(asked.at, asked.window_s) + "\0"

    def wanted(incident: Incident) -> bool:
        if asked.backend is not None and not _concerns(incident, asked.backend):
            return False
        ends = incident.noticed if incident.kind == "recorder" else incident.at
        return (since is None or (ends or incident.at) >= since) and (until is None or incident.at < until)

    found = (incident for incident in trail.signs(since, notice=trail.path in alive) if wanted(incident))
    if asked.each:
        return newest(list(found), most)
    return grouped(found, most)


def _concerns(incident: Incident, backend: str) -> bool:
    """Tell whether an incident is about a backend, or about none in particular."""
    if incident.kind == "recorder" and incident.recorder is not None:
        return any(call.backend == backend for call in incident.interrupted)
    return incident.backend in ("", backend)


class _Trail:
    """One trail at one moment."""

    def __init__(self, path: Path, corrupt: Corrupt, progress: Progress | None) -> None:
        self.path = path
        self.name = str(path)
        self._corrupt = corrupt
        self._progress = progress or (lambda _count: None)
        with reading(path):
            self._held = (
                current_holder(Layout(path).lock) is not None
            )  # before the files: one may end meanwhile
        self._search = TrailSearch(path, Filter(events=None), corrupt)

    def close(self) -> None:
        self._search.__exit__()

    def oldest(self) -> str:
        """Return when the oldest line that is there was recorded; empty where nobody knows."""
        for file in self._search.files:
            try:
                with file.open() as stream:
                    return line_recorded_at(stream.read(1 << 17).partition(b"\n")[0]) or ""
            except FileNotFoundError:
                continue
            except TrailCorrupt:
                return ""
        return ""

    def _first_seq(self) -> int:
        """Return the seq of the first line that is there; 0 where nobody knows."""
        for file in self._search.files:
            with contextlib.suppress(FileNotFoundError):
                return file.first_seq() or 0
        return 0

    # --- signs --------------------------------------------------------------------------------------------------

    def signs(self, since: str | None, *, notice: bool) -> Iterator[Incident]:
        """Yield the incidents of which there are signs since then, in the trail's order.

        With `notice` also the death of a recorder that nobody has noticed.
        """
        signs, has_sign = Signs(self.name), _matcher()
        before: bytes | None = None
        for block in self._blocks(since):
            lines = block.lines
            if has_sign(block.raw):
                for number, line in enumerate(lines):
                    if has_sign(line):
                        yield from signs.take(line, line_before(lines, number, before))
            before = line_before(lines, len(lines), before)
        yield from signs.end()
        if notice and not self._held and before is not None:
            yield from signs.gone(before)

    # --- calls --------------------------------------------------------------------------------------------------

    def gather(self, windows: Sequence[Window], baseline: Baseline) -> int:
        """Let windows and baseline take every line; return how many intents could not be followed."""
        gatherer = Gatherer(self.name, windows, baseline, self._first_seq())
        until = max(window.until for window in windows)
        take, span = gatherer.take, None
        for block in self._blocks(min(window.baseline_since for window in windows)):
            if span is None or span.order != block.order:
                span = self._span(block)
            if _is_late(block.lines, until):
                span.stop = block.offset
                break
            for index, line in enumerate(block.lines):
                found = take(line)
                span.take(found)
                if found is None:
                    self._add_corrupt(block, index)
        gatherer.end()
        return gatherer.let_go

    def _span(self, block: Block) -> Span:
        """Return what is to be told of the lines of another file, whose end is its own unless reading ends before."""
        span = self._search.span(block.order, block.offset)
        span.stop = None
        self._search.continuity.add(span)
        return span

    def _add_corrupt(self, block: Block, index: int) -> None:
        number = None if block.number is None else block.number + index
        offset = block.offset + sum(map(len, block.lines[:index])) + index
        self._corrupt.add(self.name, block.order, block.file, offset=offset, number=number)

    # --- lines --------------------------------------------------------------------------------------------------

    def _blocks(self, since: str | None) -> Iterator[Block]:
        """Yield all lines that may have been recorded since then, in lists."""
        files = self._search.files
        with reading(self.path):
            first, offset = self._search.start_at(since)
            for order in range(first, len(files)):
                yield from self._blocks_of(order, files[order], offset, self._search.end(order))
                offset = 0

    def _blocks_of(self, order: int, file: TrailFile, offset: int, end: int | None) -> Iterator[Block]:
        try:
            stream = file.open()
        except FileNotFoundError:  # deleted by the writer's retention since the files were listed
            return
        number = None if offset else 1
        with stream:
            stream.seek(offset) if offset else None
            found = Lines(stream)
            try:
                for lines, raw in found:
                    self._progress(len(raw))
                    yield Block(order, file, offset, number, *_within(lines, raw, end))
                    offset += sum(map(len, lines)) + len(lines)
                    number = None if number is None else number + len(lines)
            except TrailCorrupt:
                found.rest = b"damaged"
            if found.rest:
                yield Block(order, file, offset, number, *_within([found.rest], found.rest, end))


class Block(NamedTuple):
    """Lines of a file that stand one after the other."""

    order: int
    file: TrailFile
    offset: int
    number: int | None
    """Of the first, counted from 1; None where the file was not read from its start."""
    lines: list[bytes]
    raw: bytes
    """All of them, and whatever stands around them."""


def _within(lines: list[bytes], raw: bytes, end: int | None) -> tuple[list[bytes], bytes]:
    """Return lines without those that another file has taken the place of: whose seqs are at its first or above."""
    if end is None or ((newest := line_seq(lines[-1])) is not None and newest < end):
        return lines, raw
    return [line for line in lines if (seq := line_seq(line)) is None or seq < end], raw


def _is_late(lines: list[bytes], until: str) -> bool:
    """Tell whether lines were recorded after `until`; no single one decides that."""
    times = [time for line in lines[:PROBE_LINES] if (time := line_recorded_at(line)) is not None]
    return len(times) == PROBE_LINES and min(times) > until


def _matcher() -> Callable[[bytes], Any]:
    """Return what tells whether there is a sign in some bytes."""
    import re2

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    search: Callable[[bytes], Any] = re2.compile(PATTERN, options).search
    return search
