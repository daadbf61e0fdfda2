"""The views of ``indelible log`` that are no plain list: around a request, and as a timeline."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import msgspec

from indelible.cli.common import From
from indelible.cli.rendering import Chosen
from indelible.query.filters import Filter, check_given

REACH: Final = 5
"""Events on each side of a request's, when nothing is said."""

MAX_REACH: Final = 100_000
"""Those before are held in memory, a line each."""

ABOUT_TIMELINE: Final = (
    "Show what began when, for how long and at the same time as what; `--session ID` alone does so."
)


class View(NamedTuple):
    """Which view is asked for."""

    around: str | None
    before: int | None
    after: int | None
    timeline: bool | None
    """None where nothing is said."""

    def settled(self, limit: int | None, filters: dict[str, Any], *, listed: bool) -> View:
        """Return the same, with a timeline where one session is asked for and nothing besides.

        `listed` says that something asks for a list: to be followed, in another format, of records held elsewhere.
        """
        if self.timeline is not None or self.around is not None or listed or limit is not None:
            return self
        others = any(value for name, value in filters.items() if name != "session")
        return self._replace(timeline=len(filters["session"]) == 1 and not others)

    def check(self, limit: int | None, sources: From, *, follow: bool) -> None:
        """Raise ConfigError, UsageError for options that cannot go together."""
        if self.around is None:
            if self.before is not None or self.after is not None:
                raise click.UsageError("--before and --after go with --around REQUEST_ID")
        else:
            check_given("--around", [self.around])
            if limit is not None:
                raise click.UsageError("--around takes --before N and --after N, not -n")
            if self.timeline:
                raise click.UsageError("--around and --timeline are two views: say which")
        name = "--around" if self.around is not None else "--timeline" if self.timeline else None
        if name and (follow or sources.names):
            other = "--follow" if follow else "--from"
            raise click.UsageError(f"{name} shows what is in a trail: not together with {other}")

    def show(
        self,
        paths: list[Path],
        wanted: Filter,
        limit: int | None,
        chosen: Chosen | None,
        *,
        as_asked: bool,
        with_twins: bool = True,
    ) -> int | None:
        """Show the view that is asked for; None when it is the list.

        A timeline is of events of every type, unless they are `as_asked`, or in another system's words.
        """
        if self.around is not None:
            from indelible.cli import log_around

            reach = tuple(REACH if count is None else count for count in (self.before, self.after))
            return log_around.show(paths, wanted, self.around, (reach[0], reach[1]), chosen)
        if not self.timeline:
            return None
        from indelible.cli import log_timeline

        wanted = (
            wanted if as_asked or (chosen and chosen.format) else msgspec.structs.replace(wanted, events=None)
        )
        return log_timeline.show(paths, wanted, limit, chosen, with_twins=with_twins)


def view_options(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options that ask for a view; the function gets one `View` for them."""
    count = click.IntRange(min=0, max=MAX_REACH)

    @functools.wraps(function)
    def command(
        *args: Any,
        around: str | None,
        before: int | None,
        after: int | None,
        timeline: bool | None,
        **others: Any,
    ) -> int:
        return function(*args, view=View(around, before, after, timeline), **others)

    for option in (
        click.option("--timeline/--no-timeline", default=None, help=ABOUT_TIMELINE),
        click.option(
            "--after", type=count, metavar="N", help="With --around: so many events after it. Default 5."
        ),
        click.option(
            "--before", type=count, metavar="N", help="With --around: so many events before it. Default 5."
        ),
        click.option("--around", metavar="REQUEST_ID", help="What came just before and after that request."),
    ):
        command = option(command)
    return command
