"""Earlier trails that lost their ends: what a successor's first line says of them, compared with what is there.

The rules that live here. A trail that is shorter than its checkpoint is set aside whole, and the first line of its
successor names its origin, size and root, and where it ended. That line is sealed, so it vouches for the earlier
trail: no key is needed. The loss itself is on record and no finding; that anything else is not as it was sealed, is.
Where an earlier trail lies follows from its origin: no path in a line is ever opened.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from indelible.errors import TrailError
from indelible.trail import findings as words
from indelible.trail.erased import Ranges
from indelible.trail.findings import Finding, Previous, VerifyResult
from indelible.trail.layout import Layout
from indelible.trail.reader import names_in

MAX_CHAIN: Final = 64
"""So many earlier trails are followed: a chain of more has another reason than lost ends."""

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
    named, seen = result.predecessor, {result.origin}
    while named is not None:
        about = _parse(named)
        if about is None or about.origin in seen or len(result.previous) == MAX_CHAIN:
            said.append("an earlier trail, which the first line names in no form that a writer gives it")
            break
        seen.add(about.origin)
        result.previous.append(about)
        earlier = _check(layout, about, result, look)
        if earlier is None:
            said.append(
                f"the earlier trail {about.origin}, {about.size} events: it is not where it was set aside"
            )
            break
        lost = about.size - about.end
        said.append(
            f"the content of {lost} events that the earlier trail {about.origin} had lost: {about.trail}"
        )
        named = earlier.predecessor
    said += _others(layout, result)
    result.not_checked[-1:-1] = said  # what can never be known stands last


def _parse(value: object) -> Previous | None:
    """Return what a line says of an earlier trail, or None for what no writer says."""
    if not isinstance(value, dict):
        return None
    origin, size, root, end = (value.get(key) for key in ("origin", "size", "root", "end"))
    if not isinstance(origin, str) or not isinstance(root, str) or not _ROOT.fullmatch(root):
        return None
    if type(size) is not int or type(end) is not int or not 0 <= end < size:
        return None
    prefix, _, name = origin.rpartition("/")
    if not _NAME.fullmatch(name) or (prefix and not _NAME.fullmatch(prefix)):
        return None
    return Previous(origin, size, root, end)


def _check(layout: Layout, about: Previous, result: VerifyResult, look: Look) -> VerifyResult | None:
    """Compare an earlier trail with what is said of it; None when it cannot be looked at."""
    place = _find(layout, about.origin)
    if place is None:
        return None
    try:
        earlier = look(place, result.erasures)
    except TrailError:
        return None
    about.trail = str(place.active)
    for origin, said in earlier.erasures.items():  # of what came before it
        result.erasures.setdefault(origin, {}).update(said)
    found = [finding for finding in earlier.findings if not _is_on_record(finding, about.end)]
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


def _find(layout: Layout, origin: str) -> Layout | None:
    """Return where an earlier trail was set aside: below this one, or beside it when that was set aside too."""
    name = origin.rpartition("/")[2]
    homes = [layout.retired]
    if layout.active.parent.parent.name == layout.retired.name:
        homes.append(layout.active.parent.parent)
    for home in homes:
        place = Layout(home / name / layout.active.name)
        if place.directory.is_dir():
            return place
    return None


def _is_on_record(finding: Finding, end: int) -> bool:
    """Tell whether a finding is the loss that the successor names."""
    return finding.problem in _AT_THE_END and (finding.seq is None or finding.seq >= end)


def _others(layout: Layout, result: VerifyResult) -> list[str]:
    """Say which trails were set aside here and not looked at."""
    looked_at = {previous.trail for previous in result.previous}
    names = sorted(names_in(layout.retired))
    places = [str(Path(layout.retired, name, layout.active.name)) for name in names]
    return [
        f"{place}: an earlier trail, set aside because its end was missing; verify it by itself"
        for place in places
        if place not in looked_at
    ]
