"""One event: found for a role, told in words, proved."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from indelible.errors import ConfigError, NotProven, TrailError
from indelible.inquiry.answers import OVERHEAD, Shown, fitted, fitting, json_value, noted, shown_line, size_of
from indelible.inquiry.plain import LONG
from indelible.inquiry.roles import Role
from indelible.inquiry.tools import Explain, Which
from indelible.inquiry.words import in_words, redactions
from indelible.query.filters import Filter, parse_row
from indelible.query.find import lines_with
from indelible.query.search import Corrupt, TrailSearch
from indelible.trail.checking.check import load_vkey
from indelible.trail.entry import SEQ_PREFIX
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import Verifier
from indelible.trail.proofs.elsewhere import leaf_of
from indelible.trail.proofs.stored import open_sealed
from indelible.trail.proofs.stored import prove as prove_seq
from indelible.trail.reader import Lines, TrailFile, open_snapshot, origin_of

MAX_FOUND: Final = 20
"""Events that are found under one id before it is said that there are several."""


class Found(NamedTuple):
    """One event: its trail, its line as it stands there, and what the role sees of that."""

    path: Path
    origin: str
    seq: int
    line: bytes
    seen: bytes


def find(paths: Sequence[Path], role: Role, which: Which) -> Found:
    """Return the event that is meant. Raises NotProven: there is none for this role, or there are several."""
    if (which.seq is None) == (which.event_id is None):
        raise ConfigError("say which event: its seq, or its event_id")
    found: list[Found] = []
    for path in paths:
        origin = origin_of(Layout(path))
        if which.origin is not None and which.origin != origin:
            continue
        for line in _lines(path, which):
            row, seen = parse_row(line), role.seen(line)
            if row is not None and seen is not None and len(found) < MAX_FOUND:
                found.append(Found(path, origin, row.seq, line, seen))
    asked = f"seq {which.seq}" if which.seq is not None else f"event_id {str(which.event_id)[:80]!r}"
    if not found:
        raise NotProven(f"no event with {asked} is here, or none that the role {role.name!r} sees")
    if len(found) > 1:
        where = ", ".join(f"seq {one.seq} of {one.origin}" for one in found[:5])
        raise NotProven(f"several events have {asked}: {where}; say which by seq and origin")
    return found[0]


def _lines(path: Path, which: Which) -> Iterator[bytes]:
    if which.event_id is not None:
        damaged: list[str] = []
        for one in lines_with(path, which.event_id, damaged):
            yield one.line
        return
    with open_snapshot(path) as snapshot:
        for file in _likely(snapshot.files, which.seq or 0):
            yield from _with_seq(file, which.seq or 0)


def _likely(files: Sequence[TrailFile], seq: int) -> list[TrailFile]:
    """Return the one file that a seq belongs into; all of them when the files do not say."""
    begins = []
    for file in files:
        try:
            begins.append(file.first_seq())
        except FileNotFoundError:  # deleted by the writer's retention since the files were listed
            begins.append(None)
    chosen = [file for file, first in zip(files, begins, strict=True) if first is not None and first <= seq]
    return chosen[-1:] if None not in begins else list(files)


def _with_seq(file: TrailFile, seq: int) -> Iterator[bytes]:
    needle = SEQ_PREFIX + b"%d," % seq
    try:
        with file.open() as stream:
            for some, raw in Lines(stream):
                if needle in raw:
                    yield from (line for line in some if line.startswith(needle))
    except (FileNotFoundError, TrailError):  # deleted meanwhile, or damaged: what could be read was looked at
        return


# --- explain ------------------------------------------------------------------------------------------------


def explain(paths: Sequence[Path], role: Role, asked: Explain, room: int) -> tuple[Shown, str]:
    """Return everything that a role may know of one event."""
    found = find(paths, role, asked)
    event = fitted(shown_line(found.seen, found.origin, LONG) or {}, room // 3 + OVERHEAD)
    proof = _proof_state(found)
    told = [json_value(one, LONG) for one in (*in_words(event), proof["detail"])]
    words = fitting(told, room // 3)
    corrupt = Corrupt()
    before, after = _around(found, role, asked.around, corrupt)
    marks = redactions(event)
    left = room - size_of(event) - size_of(words) - size_of(marks) - OVERHEAD
    body = noted(
        event=event,
        in_words=words,
        redactions=marks,
        proof=proof,
        before=_last_fitting(before, left // 2),
        after=_last_fitting(after[::-1], left // 2)[::-1],
        unreadable_lines=corrupt.count,
        missing_lines=corrupt.missing().lines,
        newer_lines=corrupt.newer,
    )
    return body, " ".join(map(str, words[:2])).removesuffix(".")


def _last_fitting(events: list[Shown], room: int) -> list[Shown]:
    kept: list[Shown] = []
    for event in reversed(events):
        room -= size_of(event) + 1
        if room < 0:
            break
        kept.append(event)
    return kept[::-1]


def _around(found: Found, role: Role, count: int, corrupt: Corrupt) -> tuple[list[Shown], list[Shown]]:
    """Return what was recorded before and after an event: of its session, where it has one and the role sees it."""
    if not count:
        return [], []
    row = parse_row(found.line)
    session = row.source.session_id if row is not None else None
    same = frozenset({session}) if isinstance(session, str) and "session_id" not in role.hidden else frozenset()
    asked = Filter(events=None, session=same)
    wanted = role.narrowed(asked)
    if wanted is None:
        return [], []
    before: deque[Shown] = deque(maxlen=count)
    after: list[Shown] = []
    with TrailSearch(found.path, wanted, corrupt) as search:
        for hit in search.all():
            if hit.row.seq == found.seq or len(after) == count:
                continue
            seen = role.seen(hit.line)
            shown = None if seen is None else shown_line(seen, found.origin)
            if shown is not None:
                (before if hit.row.seq < found.seq else after).append(shown)
    return list(before), after


def _proof_state(found: Found) -> Shown:
    """Return whether the trail's tiles lead from this line to the signed checkpoint."""
    try:
        size = open_sealed(found.path).checkpoint.size
    except TrailError:
        size = None
    if size is not None and found.seq >= size:
        detail = (
            "The signed checkpoint does not cover it yet: it will within a second or so, while a recorder runs."
        )
        return {"state": "not covered yet", "detail": detail, "checkpoint_size": size}
    try:
        prove_seq(found.path, found.seq, None, leaf_of(found.line)[0])
    except (TrailError, ConfigError):
        detail = "The trail cannot prove it: the line, a tile or the checkpoint is not as it was sealed, or is missing."
        return {"state": "not proven", "detail": detail, "checkpoint_size": size}
    detail = (
        f"Proven: it is sealed under the trail's signed checkpoint over {size} events (with the key beside it)."
    )
    return {"state": "proven", "detail": detail, "checkpoint_size": size}


# --- prove --------------------------------------------------------------------------------------------------


def prove(paths: Sequence[Path], role: Role, asked: Which, vkeys: Sequence[str]) -> tuple[Shown, str]:
    """Return the proof of one event that the role sees. Raises NotProven."""
    if role.hidden:  # `make_role` makes no such role
        raise ConfigError("prove does not go with hidden columns")
    found = find(paths, role, asked)
    leaf = leaf_of(found.line)[0]
    proof = prove_seq(found.path, found.seq, key_of(found.origin, vkeys), leaf)
    event = shown_line(found.seen, found.origin) or {}
    size = open_sealed(found.path).checkpoint.size
    body = noted(
        origin=found.origin, seq=found.seq, event_id=event.get("event_id"), leaf=leaf.hex(), checkpoint_size=size,
        proof=proof.data().decode(),
    )  # fmt: skip
    return body, f"The proof that seq {found.seq} is in the trail {found.origin}"


def key_of(origin: str, vkeys: Sequence[str], *, only: bool = False) -> Verifier | None:
    """Return the key that is pinned for a trail; with `only`, the one key there is, whoever's it is."""
    keys = [load_vkey(vkey) for vkey in vkeys]
    named = next((key for key in keys if key.name == origin), None)
    return keys[0] if named is None and only and len(keys) == 1 else named
