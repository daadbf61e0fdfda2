"""``indelible tail``: follow trails as they grow."""

from __future__ import annotations

import heapq
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from indelible.cli.common import Trails, Where, lines_option, note, where_options
from indelible.cli.filtering import filter_options, make_filter
from indelible.cli.log import report_corrupt
from indelible.cli.rendering import Chosen, chosen_format, format_option, make_printer
from indelible.query.filters import Filter
from indelible.query.follow import POLL_S, Follower
from indelible.query.search import Corrupt, Hit, recorded_at
from indelible.trail.reader import is_there

if TYPE_CHECKING:
    from indelible.query.engine.sieve import Sieve

DEFAULT_LIMIT: Final = 10
LOOK_FOR_TRAILS_S: Final = 1.0
"""How often to look for trails that further recorders made."""

BEGIN: Final = "Begin with the last N; 0 is none. Default 10."

EPILOG: Final = """\b
Examples:
  indelible tail                          the last 10 calls, then new ones
  indelible tail -n 0 --status error      new failures only
  indelible tail --events all --json      every event, as stored
  indelible tail --format mxcp | grep '"policy_decision":"deny"'

Ctrl-C ends it, with exit code 0. A trail that is not there yet is waited for.
"""


@click.command("tail", epilog=EPILOG)
@filter_options
@click.option("-n", "--limit", type=click.IntRange(min=0), default=DEFAULT_LIMIT, metavar="N", help=BEGIN)
@lines_option
@format_option
@where_options
def command(
    where: Where,
    limit: int,
    as_json: bool,  # noqa: FBT001 - click's signature
    format_name: str | None,
    **filters: Any,
) -> int:
    """Show new events as they are appended, through rotation."""
    wanted = make_filter(**filters)
    chosen = chosen_format(format_name, as_json=as_json)
    trails = Trails(where)
    if not any(is_there(path) for path in trails.paths()):
        note(f"{trails.path}: waiting for a trail")
    return follow_trails(trails, wanted, limit, chosen, all_at_zero=False)


def follow_trails(
    trails: Trails, wanted: Filter, limit: int, chosen: Chosen | None, *, all_at_zero: bool = True,
    sieve: Sieve | None = None,
) -> int:  # fmt: skip
    """Print the newest `limit` matches and every new one until interrupted; of these only what a sieve lets through.

    A limit of 0 begins with all matches, or with none unless `all_at_zero`.
    """
    session = _Session(trails, wanted, chosen, sieve)
    try:
        session.begin(limit, none=not (limit or all_at_zero))
        while True:
            time.sleep(POLL_S)
            session.look()
    except KeyboardInterrupt:
        return 0
    finally:
        session.report()


class _Session:
    def __init__(self, trails: Trails, wanted: Filter, chosen: Chosen | None, sieve: Sieve | None) -> None:
        self._sieve = sieve
        self.corrupt = Corrupt()
        self._trails = trails
        self._wanted = wanted
        self._followers: dict[Path, Follower] = {}
        self._looked = 0.0
        self._printer = make_printer(chosen, wanted, steady=True)

    def begin(self, limit: int, *, none: bool) -> None:
        """Show where the trails stand."""
        if self._sieve is not None and not none:
            hits = self._stored(self._sieve, limit)
        else:
            hits = [follower.start(1 if none else limit) for follower in self._new_followers()]
        merged = list(heapq.merge(*hits, key=recorded_at))
        self._print([] if none else merged[-limit:])

    def _stored(self, sieve: Sieve, limit: int) -> list[list[Hit]]:
        """Return of each trail what there is and the sieve lets through; what comes after it is for `look`."""
        found, unread = [], []
        for follower in self._new_followers():
            follower.start(1)
            hits, corrupt = sieve.stored(follower.layout.active, self._wanted, limit)
            found.append([hit for hit in hits if hit.row.seq < follower.next_seq])
            unread.append(corrupt)
        self.corrupt.forget()  # what a follower could not read is among it
        for corrupt in unread:
            self.corrupt.take(corrupt)
        return found

    def look(self) -> None:
        """Show what is new."""
        if time.monotonic() - self._looked >= LOOK_FOR_TRAILS_S:
            self._new_followers()  # all of a trail that appeared is new
        hits = [follower.poll() for follower in self._followers.values()]
        found = list(heapq.merge(*hits, key=recorded_at))
        self._print(self._sieve.passing(found) if self._sieve is not None and found else found)
        for path, follower in self._followers.items():
            if follower.missed:
                note(f"{path}: {follower.missed} events were deleted by rotation before they could be shown")
                follower.missed = 0

    def _new_followers(self) -> Iterable[Follower]:
        self._looked = time.monotonic()
        fresh = {
            path: Follower(path, self._wanted, self.corrupt)
            for path in self._trails.paths()
            if path not in self._followers
        }
        self._followers.update(fresh)
        return fresh.values()

    def _print(self, hits: list[Hit]) -> None:
        if hits:
            self._printer.print(hits)
            sys.stdout.flush()

    def report(self) -> None:
        """Say what was not shown, and why."""
        self._printer.report()
        report_corrupt(self.corrupt)
