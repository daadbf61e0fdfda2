"""``indelible ship``: take the trail to where people look."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from indelible.cli.common import Where, main_trail, note, print_json, where_options
from indelible.errors import ConfigError, TrailError
from indelible.values import parse_duration

if TYPE_CHECKING:
    from indelible.sink_settings import SinkSettings
    from indelible.trail.layout import Layout
    from indelible.trail.start.holder import Holder

EPILOG: Final = """\b
Examples:
  indelible ship                                  ship what is sealed, and what comes, until told to stop
  indelible ship --once                           ship what is sealed now, and end
  indelible ship --once --sink siem --timeout 5m
  indelible ship --from 2026-11-20 --sink siem    ship everything since then again
  indelible ship --replay-dead-letters            send what was refused for good once more

Where audit.sinks names sinks, wrap, record and the library start this by themselves; audit.ship
says otherwise. With 'alerts' in the configuration the rules look in the same process. One process
ships a trail: with --from and --replay-dead-letters the one at work is
asked to do it, and --once waits until it has. SIGTERM and Ctrl-C finish what is under way, and each
sink goes on from there the next time; SIGHUP reads the configuration again.

Exit code 0: done, or told to end; 2: wrong usage or configuration; 3: a sink stayed unavailable,
or another process ships the trail.
"""

BEGIN_S: Final = 2.0
"""How long a shipper may take from its lock to the states of its sinks."""

LOOK_S: Final = 0.05

SEQ_DIGITS: Final = 20
"""No seq has more; what is longer is beyond any trail, whatever its first digits say."""


@click.command("ship", epilog=EPILOG)
@click.option("--once", is_flag=True, help="End when everything that is sealed now was taken.")
@click.option(
    "--timeout",
    default="60s",
    show_default=True,
    metavar="TIME",
    help="With --once: how long a sink may be unavailable.",
)
@click.option(
    "--sink", "names", multiple=True, metavar="NAME", help="Only this one of the sinks; may be repeated."
)
@click.option("--from", "begin", metavar="SEQ|TIME", help="Ship everything from there on again, to --sink.")
@click.option("--replay-dead-letters", "replay", is_flag=True, help="Send what was refused for good again.")
@click.option("--attached", is_flag=True, hidden=True)
@click.option("--json", "as_json", is_flag=True, help="Print what was shipped as one JSON object, at the end.")
@where_options
def command(
    where: Where,
    once: bool,  # noqa: FBT001 - click's signature
    timeout: str,
    names: tuple[str, ...],
    begin: str | None,
    replay: bool,  # noqa: FBT001
    attached: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> int:
    """Ship the trail's events to the sinks that the configuration names."""
    from indelible.cli.shipping import Run, chosen, few_collections
    from indelible.shipper.companion import looks
    from indelible.trail.layout import Layout
    from indelible.trail.reader import is_there

    path = main_trail(where)
    sinks = chosen(where, names, may_be_none=not once and not names and looks(where.settings))
    patience = _patience(timeout)
    if begin is not None and len(names) != 1:
        raise ConfigError("--from: say for which sink: --sink NAME")
    if not is_there(path):
        raise TrailError(f"{path}: there is no trail here; whoever records makes one")
    layout = Layout(path)
    handed_over = (begin is not None or replay) and _hand_over(layout, where, sinks, begin, replay=replay)
    run = Run(layout, where, names, patience, attached=attached)
    with few_collections():
        code = run.once(sinks) if once else 0 if handed_over else run.follow(sinks)
    if as_json:
        print_json(run.result(code), err=run.fills_stdout)
    elif once:
        run.print()
    return code


def _patience(timeout: str) -> float:
    try:
        return parse_duration(timeout)
    except ValueError as exc:
        raise ConfigError(f"--timeout: {exc}") from None


# --- requests ----------------------------------------------------------------------------------------------


def _hand_over(
    layout: Layout, where: Where, sinks: Sequence[SinkSettings], begin: str | None, *, replay: bool
) -> bool:
    """Leave word for whoever ships; tell whether another process is at it, which then does it."""
    from indelible.shipper.shipper import current_shipper
    from indelible.trail import durable
    from indelible.trail.shipping import request
    from indelible.trail.shipping.request import Request

    holder = current_shipper(layout)
    if holder is not None:
        _check_ships(layout, holder, sinks)
    access = durable.access_for(where.settings.audit.group)
    origin, seq = ("", None) if begin is None else _where_to_begin(layout, begin)
    for sink in sinks:
        asked = Request(origin=origin, begin=seq, letters=replay)
        try:
            request.put(layout, sink.name, asked, access)
        except OSError as exc:
            raise TrailError(f"{exc.filename or layout.cursors}: cannot ask for it: {exc.strerror}") from exc
    holder = current_shipper(layout)
    if holder is None:
        return False
    note(f"{holder} ships this trail, and was asked to do it", "INFO")
    return True


def _check_ships(layout: Layout, holder: Holder, sinks: Sequence[SinkSettings]) -> None:
    """Raise TrailError when whoever ships does not ship to one of these: it would never look at the request."""
    from indelible.trail.shipping import state

    began = time.monotonic()
    for sink in sinks:
        while not state.is_shipped_by(state.read(layout, sink.name), holder.pid):
            if time.monotonic() - began >= BEGIN_S:
                raise TrailError(
                    f"{layout.active}: is being shipped by {holder}, which does not ship to {sink.name}: end it, or "
                    "have it read its configuration again, if that names the sink by now (SIGHUP)"
                )
            time.sleep(LOOK_S)


def _where_to_begin(layout: Layout, begin: str) -> tuple[str, int]:
    """Return the trail's origin and the seq that ``--from`` means. Raises ConfigError, TrailError."""
    from indelible.query.filters import Filter, parse_time
    from indelible.query.search import Corrupt, TrailSearch
    from indelible.shipper.route import sealed

    now = sealed(layout)
    if now is None:
        raise TrailError(f"{layout.active}: nothing of it is sealed yet")
    if begin.isascii() and begin.isdigit():
        seq = int(begin[:SEQ_DIGITS])
    else:
        try:
            since = parse_time(begin, datetime.now(UTC))
        except ValueError as exc:
            raise ConfigError(f"--from: {exc}, or a seq") from None
        with TrailSearch(layout.active, Filter(events=None, since=since), Corrupt()) as search:
            seq = next((hit.row.seq for hit in search.all()), now.size)
    if seq > now.size:
        raise ConfigError(f"--from: {begin[:SEQ_DIGITS]}: the trail has {now.size} sealed events")
    return now.origin, seq
