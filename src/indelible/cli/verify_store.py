"""``indelible verify s3://…``: whether what an object store holds is what trails have sealed, with or without them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from indelible.cli.common import print_json
from indelible.cli.progress import byte_bar
from indelible.cli.text import counted, one_line
from indelible.cli.verify import print_findings, print_not_checked, verdict
from indelible.cli.verify_from import missing_text
from indelible.errors import NotProven
from indelible.query.held import HeldCheck
from indelible.query.sources.s3 import S3Source
from indelible.query.store.check import AS_SEALED, AS_STORED, BatchCheck
from indelible.query.store.erasures import erased_in, still_stored
from indelible.trail.checking.verify import KEY_NOT_PINNED
from indelible.trail.layout import Layout
from indelible.trail.proofs.stored import own_key, rotations_of

if TYPE_CHECKING:
    from indelible.query.sources.base import Block, Source
    from indelible.trail.findings import VerifyResult
    from indelible.trail.proofs.checkpoint import Verifier
    from indelible.trail.proofs.rotation import Rotation

NO_END: Final = (
    "whether batches were cut off at the end: what came after the last one that is here leaves no trace; "
    "compare with the trail, or with a checkpoint kept elsewhere"
)
KEY_OF_THE_STORE: Final = (
    "key not pinned: the one that the newest manifest names was believed; --vkey takes one kept elsewhere"
)
STILL_STORED: Final = (
    "whether {count} lines should still be here that were erased in the trail: a store keeps what it holds until its "
    "retention is over"
)


def check(
    sources: Sequence[Source],
    paths: Sequence[Path],
    keys: Sequence[Verifier],
    *,
    complete: bool,
    as_json: bool,
) -> int:
    """Check stores by themselves, and against the trails at `paths`, if any; files and topics against these."""
    stores: list[BatchCheck] = []
    pinned, rotations = _known(paths, keys)
    name = sources[0].name if len(sources) == 1 else f"{len(sources)} sources"
    with contextlib.ExitStack() as stack:
        held = stack.enter_context(HeldCheck(paths, keys, name, complete=complete)) if paths else None
        progress = stack.enter_context(byte_bar(sum(source.size() for source in sources), "verifying"))
        each = _each(held, progress)
        for source in sources:
            if isinstance(source, S3Source):
                store = BatchCheck(source.name, pinned, rotations, complete=complete, whole=source.is_whole)
                stores.append(store)
                for chain in source.chains():
                    store.chain(chain, each)
                store.finish(source.others)
                source.files = store.result.files
            else:
                for block in source.blocks():
                    each(block)
        result = _together(stores, None if held is None else held.finish(sources), name)
    if not keys:
        result.not_checked.insert(0, KEY_NOT_PINNED if paths else KEY_OF_THE_STORE)
    still = sum(still_stored(store.chains, erased_in(paths)) for store in stores) if paths else 0
    if still:
        result.not_checked.append(STILL_STORED.format(count=still))
    result.not_checked.append(NO_END)
    if as_json:
        print_json({**result.as_dict(), **_about(sources, stores, held)})
    else:
        _print(name, result, stores, held)
    return 0 if result.ok else 1


def _known(paths: Sequence[Path], keys: Sequence[Verifier]) -> tuple[Sequence[Verifier], Sequence[Rotation]]:
    """Return the keys by which batches are judged, and how those of the trails that are here were handed over."""
    layouts = [Layout(path.absolute()) for path in paths]
    rotations = [rotation for layout in layouts for rotation in rotations_of(layout)]
    if keys:
        return keys, rotations
    own = []
    for layout in layouts:
        with contextlib.suppress(NotProven):
            own.append(own_key(layout))
    return own, rotations


def _each(held: HeldCheck | None, progress: Callable[[int], None] | None) -> Callable[[Block], None]:
    def each(block: Block) -> None:
        if held is not None:
            held.block(block)
        if progress is not None:
            progress(block.size)

    return each


def _together(stores: Sequence[BatchCheck], held: VerifyResult | None, name: str) -> VerifyResult:
    """Return one result of all."""
    results = [store.result for store in stores]
    if held is None and len(results) == 1:
        return results[0]
    total = held or type(results[0])(name)
    for one in results:
        for finding in one.findings:
            total.add(finding)
        total.omitted += one.omitted
        total.not_checked += [text for text in one.not_checked if text not in total.not_checked]
        if held is None:
            total.events += one.events
            total.files += one.files
            total.erased += one.erased
    return total


def _about(sources: Sequence[Source], stores: Sequence[BatchCheck], held: HeldCheck | None) -> dict[str, Any]:
    chains = [chain.as_dict() for store in stores for chain in store.chains]
    counts: dict[str, int] = {}
    for store in stores:
        for word, count in store.counts.items():
            counts[word] = counts.get(word, 0) + count
    about: dict[str, Any] = {
        "from": [source.name for source in sources],
        "records": sum(store.records for store in stores),
        "counts": counts,
        "repeated": sum(store.repeated for store in stores),
        "batches": chains,
    }
    if held is not None:
        about |= {
            "records": held.read,
            "counts": dict(held.counts),
            "repeated": held.repeated,
            "origins": held.origins(),
        }
    return about


# --- for people -----------------------------------------------------------------------------------------------------


def _print(name: str, result: VerifyResult, stores: Sequence[BatchCheck], held: HeldCheck | None) -> None:
    records = sum(store.records for store in stores)
    sealed = sum(store.counts[AS_SEALED] for store in stores)
    stored = sum(store.counts[AS_STORED] for store in stores)
    if held is not None:
        records, sealed, stored = held.read, held.counts[AS_SEALED], 0
    total = f"{sealed} of {records}" if sealed != records else f"{sealed}"
    told = [f"{total} {'record is' if records == 1 else 'records are'} as sealed"]
    chains = [chain for store in stores for chain in store.chains if chain.batches]
    if chains:
        batches, trails = sum(chain.batches for chain in chains), len({chain.origin for chain in chains})
        told[0] += f", of {counted(trails, 'trail')} in {batches} {'batch' if batches == 1 else 'batches'}"
    repeated = held.repeated if held is not None else sum(store.repeated for store in stores)
    extras = ((stored, AS_STORED), (repeated, "repeated"), (result.erased, "erased"))
    told += [f"{count} {word}" for count, word in extras if count]
    click.echo(f"{one_line(name)}: {verdict(ok=result.ok)}: {', '.join(told)}")
    for chain in chains:
        click.echo(f"  {one_line(_of_one(chain.as_dict()))}")
    print_findings(result)
    print_not_checked(result)


def _of_one(one: dict[str, Any]) -> str:
    said = f"{one['origin']}: {one['batches']} {'batch' if one['batches'] == 1 else 'batches'}"
    if one["records"]:
        said += f", {one['records']} of seq {one['first']} to {one['last']}"
    if one["missing"]:
        said += missing_text(one)
    if one["size"] is not None:
        said += f"; checkpoint over {one['size']} events, key {one['vkey']}"
    return said
