"""Which legal holds stand, as a trail's lines say: see `holds`. Nothing is changed.

The rule that lives here: only a word of the trail's own (see `ownwords`) changes a hold or ends it. One that somebody
else's line places stands too, if it can be released: what is kept for nothing does no harm. The next look places it in
the trail's own words.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from indelible.trail import files
from indelible.trail.entry import parse_line
from indelible.trail.layout import Layout
from indelible.trail.proofs.stored import words_beside
from indelible.trail.upkeep import facts, holding
from indelible.trail.upkeep.holding import Hold

if TYPE_CHECKING:
    from indelible.trail.files import TrailFile
    from indelible.trail.proofs.ownwords import OwnWords

_KINDS: Final = (b'"hold_placed"', b'"hold_released"')


MAX_EARLIER: Final = 8
"""So many trails that were set aside, one after the other, are asked for their holds."""


class Standing(msgspec.Struct, frozen=True):
    """What the file `holds` says."""

    holds: list[Hold]
    files: dict[str, int] = {}
    """How many closed files each of them kept from deletion at the last look."""


_decode_cache: Final = msgspec.json.Decoder(Standing).decode


class Found(NamedTuple):
    """What a trail says of holds."""

    standing: dict[str, Hold]
    released: dict[str, str]
    """Those that the newest file releases: see `HoldBook.released`."""
    carried: list[Hold]
    """Those of them that an earlier trail has placed, and this one has not."""


def read_standing(layout: Layout, own: OwnWords | None = None, depth: int = 0) -> Found:
    """Return the holds that stand, by id. Raises OSError, TrailCorrupt.

    `own` tells the trail's own words: no other line releases a hold, or changes one. Without it, the key that lies
    beside the trail does. A hold that another line places stands: what is kept for nothing does no harm.
    """
    own = own or words_beside(layout)
    ids, said = _in_newest(layout, own)
    placed = said.placed
    if ids is None:
        ids, said = _replay(layout, own)
        placed = said.placed
    missing = [one for one in ids if one not in placed]
    if missing:
        placed |= _cached(layout, missing, own)
    if any(one not in placed for one in missing):
        placed |= _replay(layout, own)[1].placed
    earlier = _earlier(layout, depth)
    if _is_first(layout):
        ids += [one for one in earlier if one not in ids and one not in placed and one not in said.released]
    carried = [earlier[one] for one in ids if one not in placed and one in earlier]
    known = {*ids, *placed, *said.released}
    more = [hold for one, hold in said.unsigned.items() if one not in known and holding.is_one(hold)]
    carried += more[: max(0, holding.MAX_HOLDS - len(ids))]
    placed |= {hold.id: hold for hold in carried}
    ids = list(dict.fromkeys([*ids, *(hold.id for hold in carried)]))
    # One whose event nobody finds any more holds everything: what it was about is not known.
    standing = {one: placed.get(one, Hold(id=one, since="0", until="~")) for one in ids}
    return Found(standing, said.released, carried)


def _is_first(layout: Layout) -> bool:
    """Tell whether the trail's newest file is its first."""
    newest = next(files.newest_first(layout), None)
    return newest is not None and newest.first_seq == 0


def _earlier(layout: Layout, depth: int) -> dict[str, Hold]:
    """Return the holds of the trail in whose place this one began; also what only its file `holds` says.

    Its end is lost, and with it perhaps what placed one.
    """
    first = next((file for file in files.oldest_first(layout) if file.first_seq == 0), None)
    if first is None or depth >= MAX_EARLIER:
        return {}
    entry = parse_line(files.first_line(first)) or {}
    metadata = entry.get("metadata")
    previous = metadata.get("previous") if isinstance(metadata, dict) else None
    found: dict[str, Hold] = {}
    if isinstance(previous, dict):
        for about in (
            previous.get("replaced"),
            previous,
        ):  # a restore may have set a trail aside that stood there
            found |= _of_earlier(layout, about, depth)
    return found


def _of_earlier(layout: Layout, about: object, depth: int) -> dict[str, Hold]:
    moved_to = about.get("moved_to") if isinstance(about, dict) else None
    if not isinstance(moved_to, str) or ".." in Path(moved_to).parts:
        return {}
    place = layout.active.parent / moved_to
    there = Layout(place if place.name == layout.active.name else place / layout.active.name)
    cache = read_cache(there.holds)
    said = {hold.id: hold for hold in cache.holds} if cache is not None else {}
    return said | read_standing(there, depth=depth + 1).standing


class _Said:
    """What lines say of holds, by id."""

    def __init__(self) -> None:
        self.placed: dict[str, Hold] = {}
        self.released: dict[str, str] = {}
        self.unsigned: dict[str, Hold] = {}
        """Those that somebody else's lines place."""


def _in_newest(layout: Layout, own: OwnWords) -> tuple[list[str] | None, _Said]:
    """Return which holds stand, as the newest file has it; None when no first line of the trail's own says."""
    said = _Said()
    newest, ids = first_line(layout, own)
    if newest is not None and ids is not None:
        _follow(newest, ids, said, own)
    return ids, said


def first_line(layout: Layout, own: OwnWords) -> tuple[TrailFile | None, list[str] | None]:
    """Return the newest file and the holds that its first line names; None when no word of the trail's own does."""
    newest = next(files.newest_first(layout), None)
    if newest is None:
        return None, []
    first = parse_line(files.first_line(newest))
    return newest, holding.standing_in(first) if first is not None and own.has(first) else None


def _follow(file: TrailFile, ids: list[str], said: _Said, own: OwnWords) -> None:
    """Take in what a file says of holds: `ids` are those that stand."""
    for block in facts.whole_lines(file):
        if not any(kind in block for kind in _KINDS):
            continue
        for line in block.splitlines():
            event = parse_line(line) if any(kind in line for kind in _KINDS) else None
            if event is not None:
                _take(event, ids, said, own)


def _take(event: dict[str, Any], ids: list[str], said: _Said, own: OwnWords) -> None:
    hold, over = holding.placed_in(event), holding.released_in(event)
    if (hold is not None or over is not None) and not own.has(event):
        if hold is not None:
            said.unsigned.setdefault(hold.id, hold)
    elif hold is not None:
        said.placed[hold.id] = hold
        if hold.id not in ids:
            ids.append(hold.id)
    elif over is not None:
        said.released[over[0]] = over[1]
        if over[0] in ids:
            ids.remove(over[0])


def _replay(layout: Layout, own: OwnWords) -> tuple[list[str], _Said]:
    """Read all that the trail says of holds, from its oldest file on; return the ids of those that stand, too."""
    ids: list[str] = []
    said = _Said()
    for file in files.oldest_first(layout):
        _follow(file, ids, said, own)
    return ids, said


def _cached(layout: Layout, wanted: list[str], own: OwnWords) -> dict[str, Hold]:
    """Return what the file `holds` says of these, as far as the trail says the same."""
    cache = read_cache(layout.holds)
    said = {hold.id: hold for hold in cache.holds} if cache is not None else {}
    asked = [said[one] for one in wanted if one in said]
    found = _Said()
    for hold in asked:
        for file in _files_about(layout, hold.placed_at):
            _follow(file, [], found, own)
            if hold.id in found.placed:
                break
    return found.placed


def _files_about(layout: Layout, time: str | None) -> list[TrailFile]:
    """Return the file that was the active one at a time, and the one after it."""
    before: list[TrailFile] = []
    for file in files.newest_first(layout):
        first = parse_line(files.first_line(file)) or {}
        before = [file, *before[:1]]
        if time is not None and str(first.get("recorded_at")) <= time:
            return before
    return before


def read_cache(path: Path) -> Standing | None:
    """Return what the file `holds` says; None when there is none that can be read."""
    try:
        if os.stat(path).st_size > holding.MAX_HOLDS * 8192:  # noqa: PTH116 - its size only
            return None
        found: Standing = _decode_cache(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found
