"""``indelible verify --from``: whether what is held elsewhere is what the trails have sealed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from indelible.cli.common import print_json
from indelible.cli.progress import byte_bar
from indelible.cli.text import counted, one_line
from indelible.cli.verify import print_findings, print_not_checked, verdict
from indelible.query.held import AS_SEALED, HeldCheck
from indelible.trail.checking.verify import KEY_NOT_PINNED

if TYPE_CHECKING:
    from indelible.query.sources.base import Source
    from indelible.trail.proofs.checkpoint import Verifier

SHOWN_RANGES = 5
"""So many ranges of what is missing are named; `--json` has more."""


def check(
    sources: Sequence[Source], paths: list[Path], keys: Sequence[Verifier], *, complete: bool, as_json: bool
) -> int:
    """Check all records of these sources against their trails."""
    name = sources[0].name if len(sources) == 1 else f"{len(sources)} sources"
    with HeldCheck(paths, keys, name, complete=complete) as held:
        with byte_bar(sum(source.size() for source in sources), "verifying") as progress:
            for source in sources:
                for block in source.blocks():
                    held.block(block)
                    if progress is not None:
                        progress(block.size)
        result = held.finish(sources)
    if not keys:
        result.not_checked.insert(0, KEY_NOT_PINNED)
    if as_json:
        about: dict[str, Any] = {
            "from": [source.name for source in sources],
            "records": held.read,
            "counts": dict(held.counts),
            "repeated": held.repeated,
            "origins": held.origins(),
        }
        print_json({**result.as_dict(), **about})
    else:
        _print(name, held)
    return 0 if result.ok else 1


def _print(name: str, held: HeldCheck) -> None:
    result, origins = held.result, held.origins()
    sealed = held.counts[AS_SEALED]
    total = f"{sealed} of {held.read}" if sealed != held.read else f"{sealed}"
    summary = f"{total} {'record is' if held.read == 1 else 'records are'} as sealed"
    summary += f", of {counted(len(origins), 'trail')}" if origins else ""
    extras = [(held.repeated, "repeated"), (result.erased, "erased")]
    extras += [(count, word) for word, count in sorted(held.counts.items()) if word != AS_SEALED]
    told = [summary, *(f"{count} {word}" for count, word in extras if count)]
    click.echo(f"{one_line(name)}: {verdict(ok=result.ok)}: {', '.join(told)}")
    for one in origins:
        click.echo(f"  {one_line(_of_one(one))}")
    print_findings(result)
    print_not_checked(result)


def _of_one(one: dict[str, Any]) -> str:
    told = f"{one['origin']}: {one['records']} of seq {one['first']} to {one['last']}"
    if one["missing"]:
        told += missing_text(one)
    return f"{told}; {one['trail']}, checkpoint over {one['size']} events"


def missing_text(one: dict[str, Any]) -> str:
    """Return how many seqs of a trail are missing, and the first of them."""
    ranges = one["missing_ranges"]
    shown = [f"{a}" if a == b else f"{a} to {b}" for a, b in ranges[:SHOWN_RANGES]]
    return f", {one['missing']} missing: {', '.join(shown)}" + (", …" if len(ranges) > SHOWN_RANGES else "")
