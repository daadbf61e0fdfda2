"""``indelible verify``: check trails against their signed checkpoints, and what was kept elsewhere against trails."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from indelible.cli.common import From, Where, find_trails, from_options, print_json, where_options
from indelible.cli.progress import progress_bar
from indelible.cli.text import counted, one_line
from indelible.trail import findings as words
from indelible.trail.checking.check import load_vkey, verify_trail
from indelible.trail.checking.previous import LOST_END
from indelible.trail.findings import Finding
from indelible.trail.layout import Layout
from indelible.trail.reader import read_small

if TYPE_CHECKING:
    from indelible.trail.findings import Previous, VerifyResult
    from indelible.trail.proofs.checkpoint import Verifier
    from indelible.trail.proofs.kept import Quorum

SHOWN_FINDINGS: Final = 20
"""A person reads so many; `--json` has them all."""

TWINS: Final = (
    "twins, from which questions are answered: 'indelible twins --check' compares them with these lines"
)

EPILOG: Final = """\b
Examples:
  indelible verify                       the configured trail, and those beside it
  indelible verify --trail /var/log/indelible
  indelible verify --vkey trail.vkey     against a key that was kept elsewhere; with several
                                         trails, each against its own: repeat --vkey
  indelible verify --checkpoint kept     and against checkpoints that were kept elsewhere: one,
                                         many in a file, or a syslog's lines; may be repeated
  indelible verify --witness w1.vkey --witness w2.vkey --witnesses 1
                                         was the trail cosigned by at least one of these witnesses?
  indelible verify --line found.jsonl    are these lines in the trail?
  indelible verify --from /var/log/siem  is all that is held there, in any format, as it was sealed?
  indelible verify s3://audit/prod --vkey trail.vkey
                                         is all that a bucket holds? No trail has to be here
  indelible verify --proof mail.tlog-proof --line mail.json --vkey trail.vkey
                                         with nothing else at hand; with --witness, too
  indelible verify --json | jq .findings

Exit code 0: nothing is wrong with what could be checked (--line: every line is in the
trail; --from: every record is as it was sealed); 1: there are findings; 2: wrong usage, or a
FILE cannot be read; 3: there is no trail, or it cannot be read. `indelible keygen --show`
prints the key to keep.
"""


class _Found(NamedTuple):
    """What somebody has found, that is not a trail."""

    line: str | None
    sources: From
    complete: bool
    proof: str | None

    @property
    def anything(self) -> bool:
        """Whether there is any of it."""
        return bool(self.sources.names or self.complete or self.line is not None or self.proof is not None)


def _found_options(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options that name such; the command gets them as one, `found`."""

    def command(
        line: str | None,
        sources: From,
        complete: bool,  # noqa: FBT001 - click's signature
        proof: str | None,
        places: tuple[str, ...],
        **others: Any,
    ) -> int:
        for place in places:
            if not place.startswith("s3://"):
                raise click.UsageError(
                    f"{place!r}: a trail is named with --trail, records that are held elsewhere with --from; "
                    "only s3://BUCKET/PREFIX stands by itself"
                )
        names = (*places, *sources.names)
        return function(found=_Found(line, From(names, sources.sink), complete, proof), **others)

    made: Callable[..., int] = functools.wraps(function)(command)
    for option in (
        click.argument("places", metavar="[s3://BUCKET/PREFIX]...", nargs=-1),
        click.option(
            "--proof",
            metavar="FILE",
            help="Check a proof, of the one line in --line; needs --vkey, and no trail.",
        ),
        click.option(
            "--complete", is_flag=True, help="With --from: from the first to the last none may be missing."
        ),
        from_options(
            "Check all records that are held here: a file, a directory, - for standard input, kafka://HOST:PORT/TOPIC, "
            "s3://BUCKET/PREFIX."
        ),
        click.option(
            "--line", metavar="FILE", help="Look up lines that were found elsewhere; - is standard input."
        ),
    ):
        made = option(made)
    return made


@click.command("verify", epilog=EPILOG)
@click.option(
    "--vkey",
    "vkeys",
    metavar="VKEY|FILE",
    multiple=True,
    help="The trail's public key, from a place that you trust; of several trails, one for each.",
)
@click.option(
    "--checkpoint",
    "checkpoints",
    metavar="FILE",
    multiple=True,
    help="Compare the trail with checkpoints that were kept elsewhere, too; - is standard input.",
)
@click.option(
    "--witness",
    "witnesses",
    metavar="VKEY|FILE",
    multiple=True,
    help="A witness that must have cosigned those, the proof, or else the ones that are kept beside the trail.",
)
@click.option("--witnesses", "needed", metavar="N", type=click.IntRange(1), help="So many of them are enough.")
@_found_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@where_options
def command(
    where: Where,
    vkeys: tuple[str, ...],
    checkpoints: tuple[str, ...],
    witnesses: tuple[str, ...],
    needed: int | None,
    found: _Found,
    as_json: bool,  # noqa: FBT001 - click's signature
) -> int:
    """Check every line, tile and checkpoint; say exactly where something does not agree."""
    from indelible.cli import verify_kept

    alone = "--checkpoint" if checkpoints else "--witness" if witnesses and found.proof is None else None
    if alone is not None and found.anything:
        raise click.UsageError(
            f"{alone} checks a whole trail: not together with --line, --from or --proof; run 'indelible verify "
            f"{alone} …' beside it: both together say that what is held is of the history that was kept"
        )
    kept = verify_kept.asked(checkpoints, witnesses, needed)
    keys = [load_vkey(vkey) for vkey in vkeys]  # before anything is read
    if len(keys) > 1 and (kept is not None or found.line is not None or found.proof is not None):
        raise click.UsageError(
            "several --vkey: only to check whole trails, or --from, against nothing but themselves"
        )
    if found.anything:
        return _check_found(where, found, keys, kept.quorum if kept else None, as_json=as_json)
    paths = find_trails(where)
    results = verify_all(paths, keys)
    if kept is not None:
        verify_kept.compare(results, kept, keys[0] if keys else None)
    for path, result in zip(paths, results, strict=True):
        if _has_twins(path):
            result.not_checked.append(TWINS)
    if as_json:
        print_json(results[0].as_dict() if len(results) == 1 else combine(results))
    else:
        for result in results:
            print_result(result)
    return 0 if all(result.ok for result in results) else 1


def _has_twins(path: Path) -> bool:
    """Tell whether questions about a trail, or those that it follows, may be answered from twins."""
    from indelible.trail import twins
    from indelible.trail.reader import with_earlier

    return any(twins.names(Layout(one)) for one in with_earlier([path]))


def _check_found(
    where: Where, found: _Found, keys: list[Verifier], quorum: Quorum | None, *, as_json: bool
) -> int:
    """Check what somebody has found, and not a whole trail."""
    verifier = keys[0] if keys else None
    if found.sources.names:
        if found.line is not None or found.proof is not None:
            raise click.UsageError("--from checks records by themselves: not together with --line or --proof")
        return _check_sources(where, found, keys, as_json=as_json)
    if found.complete:
        raise click.UsageError("--complete says what --from must hold: name that, too")
    from indelible.cli import verify_found

    if found.proof is None:
        return verify_found.check_lines(find_trails(where), found.line or "", verifier, as_json=as_json)
    if verifier is None:
        raise click.UsageError("--proof needs --vkey: nothing else says whose checkpoint it may be")
    if where != Where():
        raise click.UsageError("--proof reads no trail and no configuration")
    return verify_found.check_proof(found.proof, found.line, verifier, quorum, as_json=as_json)


def _check_sources(where: Where, found: _Found, keys: list[Verifier], *, as_json: bool) -> int:
    """Check records that are held elsewhere: those of a bucket without a trail, unless one is named."""
    sources = found.sources.open(where)
    if not any(name.startswith("s3://") for name in found.sources.names):
        from indelible.cli import verify_from

        return verify_from.check(sources, find_trails(where), keys, complete=found.complete, as_json=as_json)
    from indelible.cli import verify_store

    names_trail = where.trail is not None or (where != Where() and found.sources.sink is None)
    alone = not names_trail and all(name.startswith("s3://") for name in found.sources.names)
    paths = [] if alone else find_trails(where)
    return verify_store.check(sources, paths, keys, complete=found.complete, as_json=as_json)


def verify_all(paths: list[Path], keys: list[Verifier]) -> list[VerifyResult]:
    """Verify trails, each against its own key of those given; a trail without one has a finding. Raises TrailError."""
    results = []
    with progress_bar(paths, "verifying", earlier=True) as progress:
        for path in paths:
            origin = _origin(path)
            key = next((one for one in keys if one.name == origin), None)
            if key is None and keys and (len(paths) == len(keys) == 1 or origin is None):
                key = keys[0]
            result = verify_trail(path, None if key is None else key.vkey(), progress)
            if keys and key is None:
                result.add(_not_given(path, result, keys))
            results.append(result)
    here = {result.origin for result in results}
    for key in keys if len(keys) > 1 else []:
        if key.name not in here:
            detail = "a --vkey is of a trail that is not here"
            results[0].add(Finding(words.KEY_MISMATCH, None, expected=f"a trail of {key.name}", detail=detail))
    return results


def _origin(path: Path) -> str | None:
    """Return the name that a trail gives itself: which key it must be signed by, if any of those given."""
    with contextlib.suppress(OSError):
        data = read_small(Layout(path.absolute()).origin)
        return None if data is None else data.decode("utf-8", "replace").removesuffix("\n")
    return None


def _not_given(path: Path, result: VerifyResult, keys: list[Verifier]) -> Finding:
    """Say that a trail was judged by the key beside it, though keys were given: anybody may have made it."""
    found = ", ".join(key.name for key in keys)
    detail = "no --vkey is this trail's: give one for each trail, or name one trail with --trail FILE"
    where = str(Layout(path.absolute()).vkey)
    return Finding(words.KEY_MISMATCH, where, None, None, f"a key of {result.origin}", found, detail)


def combine(results: list[VerifyResult]) -> dict[str, Any]:
    """Return several trails' results in the form of one; `trails` has each by itself."""
    parts = [result.as_dict() for result in results]
    total: dict[str, Any] = {
        "ok": all(part["ok"] for part in parts),
        "events": sum(part["events"] for part in parts),
        "files": sum(part["files"] for part in parts),
        "checkpoint": None,
        "findings": [finding for part in parts for finding in part["findings"]],
        "not_checked": sorted({text for part in parts for text in part["not_checked"]}),
    }
    return {**total, "trails": parts}


# --- for people -----------------------------------------------------------------------------------------


def print_result(result: VerifyResult) -> None:
    """Print a result for people: the verdict first, then each finding, then what was not checked."""
    size = "none" if result.size is None else f"{result.size} events"
    summary = f"{result.events} events, {counted(result.files, 'file')}, checkpoint over {size}"
    extras = [
        f"{count} {word}" for count, word in ((result.erased, "erased"), (result.pruned, "pruned")) if count
    ]
    click.echo(f"{one_line(result.trail)}: {verdict(ok=result.ok)}: {', '.join([summary, *extras])}")
    for kept in result.kept:
        if kept.ok:
            several = f"{kept.count} checkpoints, the newest over " if kept.count > 1 else ""
            said = f"{kept.file}, {several}{kept.size} events of {kept.origin}: all still there"
            click.echo(f"  kept checkpoint{'s' * (kept.count > 1)}: {one_line(said)}")
    print_keys(result)
    print_findings(result)
    for earlier in result.previous:
        click.echo(f"  previous trail: {one_line(_describe(earlier))}")
    print_not_checked(result)


def print_keys(result: VerifyResult) -> None:
    """Print who vouches for a checkpoint: witnesses, and keys after the pinned one."""
    for one in result.witnesses or ():
        click.echo(f"  witnessed: {one_line(f'{one.size} events at {one.time} by {one.witness}')}")
    for key in result.keys[1:]:
        signed = "has signed this checkpoint" if key.signed else "has not signed this checkpoint"
        click.echo(
            f"  accepted key: {one_line(key.vkey)}: from {key.size} events on, named by a rotation; {signed}"
        )


def verdict(*, ok: bool) -> str:
    """Return the one word that people look for."""
    return click.style("ok", fg="green", bold=True) if ok else click.style("NOT OK", fg="red", bold=True)


def print_findings(result: VerifyResult) -> None:
    """Print the first findings, and how many more there are."""
    for finding in result.findings[:SHOWN_FINDINGS]:
        click.echo(f"  {click.style('finding', fg='red')}: {one_line(str(finding))}")
    more = len(result.findings) - SHOWN_FINDINGS + result.omitted
    if more > 0:
        click.echo(f"  and {more} more findings (--json lists the first {len(result.findings)})")


def print_not_checked(result: VerifyResult) -> None:
    """Print what the answer does not cover."""
    for text in result.not_checked:
        click.echo(f"  {click.style('not checked', fg='yellow')}: {one_line(text)}")


def _describe(earlier: Previous) -> str:
    left = f"{earlier.end} of {earlier.size} events were left"
    if earlier.end == earlier.size:
        left = f"{earlier.size} events"
    why = [earlier.why] if earlier.why != LOST_END else []
    what = f"{earlier.origin}: {', '.join([*why, left])}"
    if earlier.ok is None:
        return f"{what}; it is not there"
    return f"{what}, {'as they were sealed' if earlier.ok else 'not as they were sealed'}: {earlier.trail}"
