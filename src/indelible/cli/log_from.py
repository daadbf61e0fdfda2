"""``indelible log --from``: list what is held elsewhere, in whatever format it stands there."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from indelible.cli.common import From, Where, note
from indelible.cli.progress import byte_bar
from indelible.cli.rendering import Chosen, make_printer
from indelible.cli.text import about_seqs, counted
from indelible.query.filters import Filter
from indelible.query.gathered import chosen_already, gathered
from indelible.query.readback import Readback
from indelible.query.sources.base import Source

if TYPE_CHECKING:
    from indelible.cli.asking import Question

SHOWN_UNREAD: Final = 5
"""So many of the places that could not be read are named."""


def refuse_others(where: Where, sources: From, *, follow: bool) -> None:
    """Raise UsageError for options that are about a trail."""
    if follow:
        raise click.UsageError("--from reads what is there: not together with --follow")
    if where.trail is not None or (where != Where() and sources.sink is None):
        raise click.UsageError(
            "--from reads no trail and no configuration: leave out -c, --profile and --trail"
        )


def show(sources: Sequence[Source], wanted: Filter, limit: int, chosen: Chosen | None) -> int:
    """Print what is asked for; what was left out, and why, is said on stderr."""
    with byte_bar(sum(source.size() for source in sources), "reading") as progress:
        back = Readback(sources, wanted, progress)
        hits = back.newest(limit) if limit else back.all()
        printer = make_printer(chosen, wanted)
        found = printer.print(hits)
    sys.stdout.flush()
    printer.report()
    report(back, sources)
    if not found and sys.stderr.isatty():
        click.secho("no event matches", dim=True, err=True)
    return 0


def ask(
    sources: Sequence[Source], wanted: Filter, limit: int | None, chosen: Chosen | None, question: Question,
    *, as_json: bool,
) -> int:  # fmt: skip
    """Print the answer to a question; what was left out, and why, is said on stderr. Raises ConfigError, TrailError."""
    from indelible.cli import asking

    with contextlib.ExitStack() as stack:
        if question.needs_sql:
            asking.check(question)
        progress = stack.enter_context(byte_bar(sum(source.size() for source in sources), "reading"))
        back = Readback(sources, wanted, progress, of_lines=question.asked_of_lines)
        if question.needs_sql:
            paths = stack.enter_context(gathered(back))
            asking.answer(paths, chosen_already(wanted), limit, chosen, question.of_gathered(), as_json=as_json)
        else:
            asking.print_count(sum(1 for _ in back.all()), as_json=as_json)
    report(back, sources)
    return 0


def report(back: Readback, sources: Sequence[Source]) -> None:
    """Say on stderr what was left out, and why."""
    _report(back)
    report_unread(sources)
    _report_stores(sources)


def _report(back: Readback) -> None:
    if back.repeated:
        note(f"{counted(back.repeated, 'repeated record')} left out")
    if back.contradicting:
        records = counted(back.contradicting, "record")
        note(
            f"{records} of a seq that another record has, too, with other words: 'indelible verify --from' says "
            "which is as it was sealed"
        )
    for (name, filters), count in sorted(back.unanswered.items()):
        options = " and ".join("--" + one.replace("_", "-") for one in filters)
        note(f"{counted(count, 'record')} left out, in '{name}', which does not say what {options} asks for")
    if back.exposed_only:
        names = ", ".join(f"'{name}'" for name in sorted(back.exposed_only))
        note(f"in {names} a name is the one that it is exposed under; no other one was compared")
    if back.unreadable:
        first = f", the first: {back.first_unreadable}"
        note(f"{counted(back.unreadable, 'line')} could not be read as a record{first}")
    for sentence in about_seqs(back.missing(), back.newer):
        note(sentence)


def _report_stores(sources: Sequence[Source]) -> None:
    """Say what a bucket has beside sealed batches."""
    for source in sources:
        unclaimed, others = getattr(source, "unclaimed", 0), getattr(source, "others", 0)
        if unclaimed:
            note(
                f"{source.name}: {counted(unclaimed, 'object')} without a manifest: what they hold was read, and "
                "'indelible verify' says whether it counts"
            )
        if others:
            note(f"{source.name}: {counted(others, 'object')} passed over that are no batches")


def report_unread(sources: Sequence[Source]) -> None:
    """Say on stderr which files, or parts of them, could not be read."""
    unread = [one for source in sources for one in source.unread]
    for one in unread[:SHOWN_UNREAD]:
        note(f"{one.where}: {one.why}")
    if len(unread) > SHOWN_UNREAD:
        note(f"and {len(unread) - SHOWN_UNREAD} more files that could not be read")
