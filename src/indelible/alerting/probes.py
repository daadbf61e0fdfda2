"""What rules look at that is no event: whether sinks keep up, and whether the trail verifies.

The rules that live here. A look costs a bounded part of the trail: `lines` of it, those that came since the last one
first, then on from the oldest, so that all of it is gone through in turns. A doubt is no finding: it is `verify`, over
the whole trail, that says what is wrong; only what it confirms is told. What cannot be read just now is tried again at
the next look.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from indelible.errors import NotProven, TrailCorrupt
from indelible.shipper import route
from indelible.shipper.feed import Feed
from indelible.trail.proofs.elsewhere import leaf_of
from indelible.trail.proofs.merkle import verify_consistency
from indelible.trail.proofs.prove import TileMissing, consistency_proof
from indelible.trail.proofs.stored import MAX_LOOKS, open_sealed
from indelible.trail.proofs.subset import proven_subset
from indelible.values import age_text

if TYPE_CHECKING:
    from indelible.alert_settings import RuleSettings
    from indelible.config import AuditSettings
    from indelible.trail.layout import Layout
    from indelible.trail.proofs.stored import Sealed

BATCH: Final = 4_000
BATCH_BYTES: Final = 1 << 21


class Found(NamedTuple):
    """What a look at one thing has found."""

    about: str
    """Which thing, in words that stay."""
    trouble: str
    """Empty when it is well."""
    numbers: dict[str, int | float]


# --- sinks ----------------------------------------------------------------------------------------------------


def sinks(layout: Layout, audit: AuditSettings, rule: RuleSettings) -> list[Found]:
    """Return how each configured sink is."""
    from indelible.query.sinks import sink_states

    states = sink_states(layout, audit)["sinks"] or []
    return [_sink(state, rule) for state in states if state["configured"]]


def _sink(state: dict[str, Any], rule: RuleSettings) -> Found:
    behind, age = state["behind"] or 0, state["behind_s"] or 0.0
    said = []
    if behind > rule.over:
        said.append(f"{behind} events behind")
    if behind and age > rule.age:
        said.append(f"the first of them waits since {age_text(round(age))}")
    if state["dead_letters"]:
        said.append(f"dead letters, {state['dead_letters']} of them")
    trouble = f"sink {state['sink']} is not up to date: {', '.join(said)}" if said else ""
    if trouble and state["error"]:
        trouble += f"; {state['error']}"
    numbers = {"behind": behind, "behind_s": round(age, 3), "dead_letters": state["dead_letters"]}
    return Found(f"sink {state['sink']}", trouble, numbers)


# --- the trail ------------------------------------------------------------------------------------------------


class Checked(NamedTuple):
    """How far looks at the proofs have got, as it is kept."""

    origin: str
    size: int
    """Of the checkpoint that was seen last."""
    root: str
    """Of it, in hexadecimal."""
    old: int
    """The seq at which the turn through older lines goes on."""


def trail(layout: Layout, rule: RuleSettings, kept: Any) -> tuple[Found, list[Any] | None]:
    """Return whether what was looked at verifies, and what is to be kept. Raises OSError, TrailError.

    `kept` is what was kept of the last look, None before the first.
    """
    before = _checked(kept)
    try:
        checked, looked, doubt = _look(layout, rule.lines, before)
    except (NotProven, TrailCorrupt) as exc:
        return Found("verification", _confirmed(layout, str(exc)), {"lines": 0}), None
    trouble = _confirmed(layout, doubt) if doubt else ""
    # What was found wrong is looked at again the next time: it is over when it verifies.
    return Found("verification", trouble, {"lines": looked}), None if trouble else list(checked)


def _checked(kept: Any) -> Checked | None:
    with contextlib.suppress(TypeError, ValueError):
        origin, size, root, old = kept
        return Checked(str(origin), int(size), str(root), int(old))
    return None


def _look(layout: Layout, lines: int, before: Checked | None) -> tuple[Checked, int, str]:
    sealed = open_sealed(layout.active)
    size, root, origin = sealed.checkpoint.size, sealed.checkpoint.root, sealed.checkpoint.origin
    if before is not None and before.origin != origin:  # a trail that follows the one before
        before = None
    doubt = "" if before is None else _continues(sealed, before)
    first = route.begins(layout)
    fresh = first if before is None else before.size
    end, looked = min(size, fresh + lines), 0
    if not doubt:
        looked, doubt = _lines(layout, fresh, end)
    old = first if before is None or not first <= before.old < fresh else before.old
    until = min(fresh, old + lines - looked)
    if not doubt and until > old:
        more, doubt = _lines(layout, old, until)
        looked += more
    following = size if end == size else end
    seen = Checked(origin, following, root.hex() if end == size else "", until if until < fresh else first)
    return seen, looked, doubt


def _continues(sealed: Sealed, before: Checked) -> str:
    """Return what is to be doubted: whether the checkpoint goes on from the one that was seen last."""
    size, root = sealed.checkpoint.size, sealed.checkpoint.root
    if size < before.size:
        return f"the checkpoint covers {size} events, and covered {before.size} before"
    if not before.root or not before.size:
        return ""
    try:
        proof = [] if size == before.size else consistency_proof(sealed.tiles, before.size)
    except TileMissing as exc:
        return str(exc)
    if verify_consistency(before.size, size, bytes.fromhex(before.root), root, proof):
        return ""
    return f"the checkpoint over {size} events does not go on from the one over {before.size}"


def _lines(layout: Layout, first: int, end: int) -> tuple[int, str]:
    """Return how many lines were looked at, and what is to be doubted of them."""
    looked = 0
    with contextlib.closing(Feed(layout)) as feed:
        while first < end:
            piece = feed.read(first, end, BATCH, BATCH_BYTES)
            if piece.next <= first:
                break
            if any(gap.damaged for gap in piece.gaps):
                return looked, f"lines from event {piece.gaps[0].first} on are no events"
            if piece.lines and not _are_proven(layout, piece.lines):
                return (
                    looked,
                    f"events {piece.lines[0][0]} to {piece.lines[-1][0]} do not lead to the checkpoint",
                )
            looked += len(piece.lines)
            first = piece.next
    return looked, ""


def _are_proven(layout: Layout, lines: list[tuple[int, bytes]]) -> bool:
    leaves = [(seq, leaf_of(line)[0]) for seq, line in lines]
    looks = range(MAX_LOOKS)  # a writer at work may clear a partial tile away that an older checkpoint needs
    return any(proven_subset(open_sealed(layout.active).tiles, leaves) is not None for _ in looks)


def _confirmed(layout: Layout, doubt: str) -> str:
    """Return what the whole verification says; empty when it finds nothing."""
    from indelible.trail.checking.check import verify_trail

    result = verify_trail(layout.active)
    if result.ok:
        return ""
    count = len(result.findings) + result.omitted
    more = f", and {count - 1} more findings" if count > 1 else ""
    said = f" ({result.findings[0].problem}{more})" if result.findings else ""
    return f"the trail does not verify: {doubt}{said}; 'indelible verify' says more"
