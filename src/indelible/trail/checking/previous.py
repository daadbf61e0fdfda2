"""Earlier trails that were set aside: what a successor's first line says of them, compared with what is there.

The rules that live here. A trail that may not go on under its name (see `retire`) is set aside whole, and the first
line of its successor names its origin, size and root, where it ended, and why. That line is sealed, so it vouches for
the earlier trail: no key is needed. A lost end is on record and no finding; that anything else is not as it was sealed,
is.
Where an earlier trail lies follows from its origin: no path in a line is ever opened.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from indelible.errors import NoteError, TrailError
from indelible.trail import findings as words
from indelible.trail.erased import Ranges
from indelible.trail.findings import Finding, Previous, VerifyResult
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import parse, split_note
from indelible.trail.reader import names_in, read_small

MAX_CHAIN: Final = 64
"""So many earlier trails are followed: a chain of more has another reason than lost ends and restores."""

LOST_END: Final = "end missing"
_REASONS: Final = (LOST_END, "copied", "restored", "replaced", "key lost")
"""Why a trail was set aside; the first when the line does not say."""

EMPTY_ROOT: Final = sha256().hexdigest()
"""Of the empty tree (RFC 9162, section 2.1.1)."""

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_ROOT = re.compile(r"[0-9a-f]{64}")

_AT_THE_END: Final = frozenset(
    {
        words.TAIL_CUT, words.LINE_UNENDED, words.LINE_INSERTED, words.LINE_ALTERED, words.LINE_OR_TILE,
        words.LINE_MALFORMED, words.LINE_MISSING, words.LINE_DUPLICATED, words.LINE_MOVED,
    }
)  # fmt: skip
"""What a lost end looks like."""


Said = Mapping[str, Mapping[str, Ranges]]
"""What a trail's sealed events say was erased of earlier ones: by origin, then by the event's id."""

Look = Callable[[Layout, Said], VerifyResult]
"""Verifies an earlier trail."""


def follow(layout: Layout, result: VerifyResult, look: Look) -> None:
    """Check the trails that this one succeeds, and add to `result` what there is to say of them."""
    said: list[str] = []
    checked: list[tuple[Previous, VerifyResult]] = []
    waiting, seen = [result.predecessor], set[tuple[str, int]]()
    while waiting:
        named = waiting.pop(0)
        if named is None:
            continue
        about = _parse(named)
        if about is not None and (about.origin, about.size) in seen:
            continue  # two trails were replaced by one, and follow one themselves
        if about is None or about.origin == result.origin or len(result.previous) == MAX_CHAIN:
            said.append("an earlier trail, which the first line names in no form that a writer gives it")
            break
        seen.add((about.origin, about.size))
        result.previous.append(about)
        waiting.append(named.get("replaced"))
        if not about.size:
            said.append(_never_sealed(layout, about))
            continue
        earlier = _check(layout, about, result, look)
        if earlier is None:
            said.append(
                f"the earlier trail {about.origin}, {about.size} events: it is not where it was set aside"
            )
            continue
        checked.append((about, earlier))
        said += _left_out(about, earlier)
        waiting.append(earlier.predecessor)
    for about, earlier in checked:
        twins = [other for other in checked if other[0].origin == about.origin and other[1] is not earlier]
        _compare_erasures(about, earlier, twins, result, look)
    said += _others(layout, result)
    result.not_checked[-1:-1] = said  # what can never be known stands last


def _compare_erasures(
    about: Previous,
    earlier: VerifyResult,
    twins: list[tuple[Previous, VerifyResult]],
    result: VerifyResult,
    look: Look,
) -> None:
    """What one trail of an origin has on record as erased must be gone in every other, such as a backup of it."""
    known = {**result.erasures.get(about.origin, {}), **earlier.own_erasures}
    more = {key: ranges for other, twin in twins if other.ok for key, ranges in twin.own_erasures.items()}
    if about.trail is None or not more.keys() - known.keys():
        return
    again = look(Layout(Path(about.trail)), {about.origin: {**more, **known}})
    for finding in again.findings:
        if finding.problem == words.ERASED_BACK and finding not in earlier.findings:
            result.add(finding)
            about.ok = False


def _never_sealed(layout: Layout, about: Previous) -> str:
    """Say what there is to say of an earlier trail that nobody had signed a checkpoint of."""
    place = _find(layout, about)
    about.trail = None if place is None else str(place.active)
    where = about.trail or "it is not where it was set aside"
    return f"the earlier trail {about.origin}, which no checkpoint covered, so that nothing vouches for it: {where}"


def _left_out(about: Previous, earlier: VerifyResult) -> list[str]:
    """Say what nobody can know of an earlier trail."""
    said = []
    if about.end < about.size:
        lost = about.size - about.end
        said.append(
            f"the content of {lost} events that the earlier trail {about.origin} had lost: {about.trail}"
        )
    if earlier.unsealed:
        said.append(
            f"{earlier.unsealed} events after the last checkpoint of the earlier trail {about.origin}: form and order"
            " only"
        )
    return said


def _parse(value: object) -> Previous | None:
    """Return what a line says of an earlier trail, or None for what no writer says."""
    if not isinstance(value, dict):
        return None
    origin, size, root, end = (value.get(key) for key in ("origin", "size", "root", "end"))
    if not isinstance(origin, str) or not isinstance(root, str) or not _ROOT.fullmatch(root):
        return None
    why = value.get("why", LOST_END)
    if type(size) is not int or type(end) is not int or not 0 <= end <= size or why not in _REASONS:
        return None
    if why == LOST_END and end == size:
        return None
    if not size and root != EMPTY_ROOT:
        return None
    prefix, _, name = origin.rpartition("/")
    if not _NAME.fullmatch(name) or (prefix and not _NAME.fullmatch(prefix)):
        return None
    return Previous(origin, size, root, end, str(why))


def _check(layout: Layout, about: Previous, result: VerifyResult, look: Look) -> VerifyResult | None:
    """Compare an earlier trail with what is said of it; None when it cannot be looked at."""
    place = _find(layout, about)
    if place is None:
        return None
    try:
        earlier = look(place, result.erasures)
    except TrailError:
        return None
    about.trail = str(place.active)
    for origin, said in earlier.erasures.items():  # of what came before it
        result.erasures.setdefault(origin, {}).update(said)
    found = [finding for finding in earlier.findings if not _is_on_record(finding, about)]
    root = None if earlier.root is None else earlier.root.hex()
    if earlier.size is not None and (earlier.origin, earlier.size, root) != (
        about.origin,
        about.size,
        about.root,
    ):
        expected = f"{about.origin}, {about.size} events, root {about.root}"
        other = f"{earlier.origin}, {earlier.size} events, root {root}"
        detail = "it is not the trail that the first line of its successor names"
        where = str(place.checkpoint)
        found.insert(0, Finding(words.PREVIOUS_MISMATCH, where, None, None, expected, other, detail))
    for finding in found:
        result.add(finding)
    result.omitted += earlier.omitted
    about.ok = not found and not earlier.omitted
    return earlier


def _find(layout: Layout, about: Previous) -> Layout | None:
    """Return where an earlier trail was set aside: below this one, or beside it when that was set aside too.

    One origin may lie there more than once, after a restore: the one that is meant is told by its checkpoint.
    """
    name = about.origin.rpartition("/")[2]
    homes = [layout.retired]
    if layout.active.parent.parent.name == layout.retired.name:
        homes.append(layout.active.parent.parent)
    places = [Layout(home / name / layout.active.name) for home in homes]
    for home in homes:
        numbered = [other for other in names_in(home) if re.fullmatch(re.escape(name) + r"\.[0-9]+", other)]
        places += [Layout(home / other / layout.active.name) for other in sorted(numbered)]
    there = [place for place in places if place.directory.is_dir()]
    meant = [place for place in there if says(place) == (about.size, about.root)]
    return next(iter(meant or there), None)


def says(place: Layout) -> tuple[int, str] | None:
    """Return size and root of a trail's checkpoint, unchecked."""
    try:
        checkpoint = parse(split_note(read_small(place.checkpoint) or b"")[0])
    except (OSError, NoteError):
        return None
    return checkpoint.size, checkpoint.root.hex()


def _is_on_record(finding: Finding, about: Previous) -> bool:
    """Tell whether a finding is the loss that the successor names."""
    if about.end == about.size:
        return False
    return finding.problem in _AT_THE_END and (finding.seq is None or finding.seq >= about.end)


def _others(layout: Layout, result: VerifyResult) -> list[str]:
    """Say which trails were set aside here and not looked at."""
    looked_at = {previous.trail for previous in result.previous}
    names = sorted(name for name in names_in(layout.retired) if not name.startswith("."))
    places = [str(Path(layout.retired, name, layout.active.name)) for name in names]
    return [
        f"{place}: an earlier trail, which no first line names; verify it by itself"
        for place in places
        if place not in looked_at
    ]
