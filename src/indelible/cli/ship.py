"""``indelible ship``: take the trail to where people look."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from indelible.cli.common import Where, main_trail, note, print_json, where_options
from indelible.cli.text import counted, one_line
from indelible.errors import ConfigError, IndelibleError, TrailError
from indelible.values import parse_duration

if TYPE_CHECKING:
    from indelible.shipper.lane import Lane
    from indelible.shipper.route import Sealed
    from indelible.shipper.shipper import Shipper
    from indelible.sink_settings import SinkSettings
    from indelible.trail.layout import Layout

EPILOG: Final = """\b
Examples:
  indelible ship                                  ship what is sealed, and what comes, until told to stop
  indelible ship --once                           ship what is sealed now, and end
  indelible ship --once --sink siem --timeout 5m
  indelible ship --from 2026-11-20 --sink siem    ship everything since then again
  indelible ship --replay-dead-letters            send what was refused for good once more

Where audit.sinks names sinks, wrap, record and the library start this by themselves; audit.ship
says otherwise. One process ships a trail: with --from and --replay-dead-letters the one at work is
asked to do it. SIGTERM and Ctrl-C finish what is under way, and each sink goes on from there the
next time; SIGHUP reads the configuration again.

Exit code 0: done, or told to end; 2: wrong usage or configuration; 3: a sink stayed unavailable,
or another process ships the trail.
"""

LOOK_S: Final = 0.2
"""How often it is looked how the sinks are."""

DRAIN_S: Final = 5.0
"""How long a shipper goes on after the recorder that started it, at the most."""

INTERRUPTED: Final = 130


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
    from indelible.cli.logged import name_log_lines
    from indelible.trail.layout import Layout
    from indelible.trail.reader import is_there

    name_log_lines()
    path = main_trail(where)
    sinks = _chosen(where, names)
    patience = _patience(timeout)
    if begin is not None and len(names) != 1:
        raise ConfigError("--from: say for which sink: --sink NAME")
    if not is_there(path):
        raise TrailError(f"{path}: there is no trail here; whoever records makes one")
    layout = Layout(path)
    if (begin is not None or replay) and _hand_over(layout, where, sinks, begin, replay=replay):
        return 0
    run = _Run(layout, where, names, patience, attached=attached)
    code = run.once(sinks) if once else run.follow(sinks)
    if as_json:
        print_json(run.result(code))
    elif once:
        run.print()
    return code


def _chosen(where: Where, names: Sequence[str]) -> tuple[SinkSettings, ...]:
    """Return the sinks that are meant. Raises ConfigError."""
    from indelible import configfile
    from indelible.shipper.names import check_names
    from indelible.values import nearest, shown

    settings = configfile.with_export(where.settings, configfile.compliance())
    sinks = settings.audit.sinks
    if not sinks:
        raise ConfigError("audit.sinks: the configuration names no sink to ship to")
    known = {sink.name: sink for sink in sinks}
    for name in names:
        if name not in known:
            raise ConfigError(f"--sink: the configuration has no sink {shown(name)}{nearest(name, known)}")
    chosen = tuple(sink for sink in sinks if not names or sink.name in names)
    check_names(chosen)
    return chosen


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
    note(f"{holder} ships this trail, and was asked to do it")
    return True


def _where_to_begin(layout: Layout, begin: str) -> tuple[str, int]:
    """Return the trail's origin and the seq that ``--from`` means. Raises ConfigError, TrailError."""
    from indelible.query.filters import Filter, parse_time
    from indelible.query.search import Corrupt, TrailSearch
    from indelible.shipper.route import sealed

    now = sealed(layout)
    if now is None:
        raise TrailError(f"{layout.active}: nothing of it is sealed yet")
    if begin.isascii() and begin.isdigit():
        seq = int(begin)
    else:
        try:
            since = parse_time(begin, datetime.now(UTC))
        except ValueError as exc:
            raise ConfigError(f"--from: {exc}, or a seq") from None
        with TrailSearch(layout.active, Filter(events=None, since=since), Corrupt()) as search:
            seq = next((hit.row.seq for hit in search.all()), now.size)
    if seq > now.size:
        raise ConfigError(f"--from: {seq}: the trail has {now.size} sealed events")
    return now.origin, seq


# --- running -----------------------------------------------------------------------------------------------


class _Run:
    """One shipping, from its first event to its last."""

    def __init__(
        self, layout: Layout, where: Where, names: Sequence[str], patience: float, *, attached: bool
    ) -> None:
        self._layout = layout
        self._where = where
        self._names = names
        self._patience = patience
        self._attached = attached
        self._signals = _Signals()
        self._lanes: list[Lane] = []

    def _shipper(self) -> Shipper:
        from indelible import __version__
        from indelible.shipper.names import parts
        from indelible.shipper.shipper import Shipper
        from indelible.trail import durable

        access = durable.access_for(self._where.settings.audit.group)
        return Shipper(self._layout, access, parts(__version__, stdout_is_taken=self._attached))

    def once(self, sinks: Sequence[SinkSettings]) -> int:
        """Ship what is sealed now. Raises TrailError when a sink stays unavailable."""
        from indelible.shipper.route import sealed

        shipper = self._shipper()
        try:
            goal = sealed(self._layout)
            if goal is None:
                return 0
            shipper.start(sinks, goal)
            self._lanes = shipper.lanes
            with _progress(shipper.lanes, goal) as show:
                while not all(lane.done.is_set() for lane in shipper.lanes):
                    show()
                    if self._signals.wait(LOOK_S) in (signal.SIGINT, signal.SIGTERM):
                        note("interrupted: each sink goes on from where it is the next time")
                        return INTERRUPTED
                    self._give_up(shipper, goal)
        finally:
            shipper.close()
        return 0

    def _give_up(self, shipper: Shipper, goal: Sealed) -> None:
        found = shipper.failing_for()
        if found is None or found[1] < self._patience:
            return
        lane = found[0]
        left = goal.size - (lane.next_seq or 0)
        raise TrailError(
            f"sink {lane.name} ({lane.settings.target}): {lane.standing.state.error}; gave up after "
            f"{self._patience:g} s, {counted(max(left, 0), 'event')} before the end; its place is kept"
        )

    def follow(self, sinks: Sequence[SinkSettings]) -> int:
        """Ship until told to end, or, when a recorder started this, until that one is gone and all was taken."""
        shipper = self._in_turn() if self._attached else self._shipper()
        if shipper is None:
            return 0
        try:
            shipper.start(sinks)
            self._lanes = shipper.lanes
            ends: float | None = None
            while True:
                number = self._signals.wait(
                    LOOK_S, sys.stdin.fileno() if self._attached and ends is None else None
                )
                if number in (signal.SIGINT, signal.SIGTERM):
                    return 0
                if number == signal.SIGHUP:
                    self._reload(shipper)
                if number == _GONE:
                    ends = time.monotonic() + DRAIN_S
                if ends is not None and (self._has_all(shipper) or time.monotonic() >= ends):
                    return 0
        finally:
            shipper.close()

    def _in_turn(self) -> Shipper | None:
        """Wait for an earlier recorder's shipper to end; None when it is time to end."""
        while True:
            try:
                return self._shipper()
            except TrailError:
                if self._signals.wait(LOOK_S, sys.stdin.fileno()) in (signal.SIGINT, signal.SIGTERM, _GONE):
                    return None

    def _has_all(self, shipper: Shipper) -> bool:
        """Tell whether every sink has everything that is sealed now."""
        from indelible.shipper.route import sealed

        now = sealed(self._layout)
        return now is None or all(lane.has(now) for lane in shipper.lanes)

    def _reload(self, shipper: Shipper) -> None:
        """Read the configuration again; one that is wrong keeps the sinks that there are."""
        fresh = Where(self._where.config, self._where.profile, self._where.trail)
        try:
            sinks = _chosen(fresh, self._names)
        except IndelibleError as exc:
            note(f"{exc}; shipping goes on as before")
            return
        self._where = fresh
        shipper.reload(sinks)
        self._lanes = shipper.lanes
        note(f"the configuration was read again: {counted(len(sinks), 'sink')}")

    def result(self, code: int) -> dict[str, Any]:
        """Return what was shipped, as JSON has it."""
        return {
            "trail": str(self._layout.active),
            "ok": code == 0,
            "sinks": [_about(lane) for lane in self._lanes],
        }

    def print(self) -> None:
        """Say what was shipped."""
        if not self._lanes:
            click.echo(one_line(f"{self._layout.active}: nothing is sealed yet"))
        for lane in self._lanes:
            about = _about(lane)
            said = [f"{counted(about['taken'], 'event')} taken"]
            said += [f"{about[key]} {key}" for key in ("refused", "lost") if about[key]]
            click.echo(
                one_line(f"{lane.name} ({lane.settings.target}): {', '.join(said)}; at event {about['next']}")
            )


def _about(lane: Lane) -> dict[str, Any]:
    state = lane.standing.state
    return {
        "sink": lane.name,
        "to": lane.settings.target,
        "next": lane.next_seq,
        "taken": state.taken - lane.before.taken,
        "refused": state.refused - lane.before.refused,
        "lost": state.lost - lane.before.lost,
        "error": state.error,
    }


def _progress(lanes: Sequence[Lane], goal: Sealed) -> Any:
    """Show on a terminal how far the slowest sink is."""
    from indelible.cli.progress import count_bar

    first = min((lane.next_seq or 0 for lane in lanes), default=0)
    return count_bar(
        max(0, goal.size - first),
        "shipping",
        lambda: min((lane.next_seq or 0 for lane in lanes), default=0) - first,
    )


_GONE: Final = 0
"""What `_Signals.wait` returns when the other end of standard input is gone."""


class _Signals:
    """SIGINT, SIGTERM and SIGHUP, one after the other, where a loop waits for them."""

    def __init__(self) -> None:
        self._out, self._into = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._came)

    def _came(self, number: int, _frame: object) -> None:
        try:
            os.write(self._into, bytes([number]))
        except BlockingIOError:  # it is full of this news already
            pass

    def wait(self, timeout: float, other: int | None = None) -> int | None:
        """Return the next signal, `_GONE` when `other` is at its end, or None when nothing came in time."""
        watched = [self._out] if other is None else [self._out, other]
        ready = select.select(watched, [], [], timeout)[0]
        if self._out in ready:
            return os.read(self._out, 1)[0]
        if ready and not os.read(ready[0], 4096):
            return _GONE
        return None
