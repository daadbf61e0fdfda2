"""Running a shipper: once, or until told to end; with its signals and what it has to report."""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from indelible import __version__, configfile, loglines
from indelible.cli.common import Where, note
from indelible.cli.priority import be_nice
from indelible.cli.text import counted, one_line
from indelible.cli.watching import Beside
from indelible.errors import ConfigError, IndelibleError, TrailError
from indelible.shipper.names import check_names, parts
from indelible.shipper.reloading import OnRecord, change
from indelible.shipper.route import sealed
from indelible.shipper.shipper import Shipper
from indelible.trail import durable
from indelible.trail.shipping import cursor, request, state
from indelible.values import nearest, shown

if TYPE_CHECKING:
    from indelible.shipper.lane import Lane
    from indelible.shipper.route import Sealed
    from indelible.sink_settings import SinkSettings
    from indelible.trail.layout import Layout

LOOK_S: Final = 0.2
"""How often it is looked how the sinks are."""

DRAIN_S: Final = 5.0
"""How long a shipper goes on after the recorder that started it, at the most."""

NICE: Final = 5
"""A shipper that a recorder has started leaves the processor to it: what it does can wait, a call cannot."""

INTERRUPTED: Final = 130

GC_THRESHOLD: Final = 50_000
"""Objects made before a young collection. A batch is some ten thousand records, which live as long as it does and make
no cycles: collecting every 700 (Python's default) goes through all of them again and again, and frees nothing."""


def chosen(where: Where, names: Sequence[str], *, may_be_none: bool = False) -> tuple[SinkSettings, ...]:
    """Return the sinks that are meant. Raises ConfigError, also when there is none, unless `may_be_none`."""
    settings = configfile.with_export(where.settings, configfile.compliance())
    sinks = settings.audit.sinks
    if not sinks:
        if may_be_none:
            return ()
        raise ConfigError("audit.sinks: the configuration names no sink to ship to")
    known = {sink.name: sink for sink in sinks}
    for name in names:
        if name not in known:
            raise ConfigError(f"--sink: the configuration has no sink {shown(name)}{nearest(name, known)}")
    found = tuple(sink for sink in sinks if not names or sink.name in names)
    check_names(found)
    return found


@contextlib.contextmanager
def few_collections() -> Iterator[None]:
    """Have the collector look seldom while this is entered; see `GC_THRESHOLD`."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


class Run:
    """One shipping, from its first event to its last."""

    def __init__(
        self, layout: Layout, where: Where, names: Sequence[str], patience: float, *, attached: bool
    ) -> None:
        self._layout = layout
        self._where = where
        self._names = names
        self._patience = patience
        self._attached = attached
        self._signals = Signals()
        if attached:
            be_nice(NICE)
        self._lanes: list[Lane] = []
        self._interrupted = False
        self._on_record = OnRecord(layout, note)
        self._beside = Beside(layout, where, wanted=not names)
        self._said = f"{layout.active}: nothing is sealed yet"

    def _shipper(self) -> Shipper:
        access = durable.access_for(self._where.settings.audit.group)
        made = parts(__version__, stdout_is_taken=self._attached)
        return Shipper(self._layout, access, made, rests=self._attached)

    def once(self, sinks: Sequence[SinkSettings]) -> int:
        """Have what is sealed now shipped, here or by whoever is at it. Raises TrailError when a sink stays away."""
        goal = sealed(self._layout)
        if goal is None:
            return 0
        shipper = self._turn(sinks, goal)
        if shipper is None:
            return INTERRUPTED if self._interrupted else 0
        try:
            shipper.start(sinks, goal)
            self._lanes = shipper.lanes
            with _progress(shipper.lanes, goal) as show:
                while not all(lane.done.is_set() for lane in shipper.lanes):
                    show()
                    if self._told_to_end():
                        return INTERRUPTED
                    self._give_up(shipper, goal)
        finally:
            shipper.close()
        return 0

    def _told_to_end(self) -> bool:
        """Wait a moment; tell whether it is time to end."""
        if self._signals.wait(LOOK_S) in (signal.SIGINT, signal.SIGTERM):
            note("interrupted: each sink goes on from where it is the next time")
            self._interrupted = True
        return self._interrupted

    def _turn(self, sinks: Sequence[SinkSettings], goal: Sealed) -> Shipper | None:
        """Take the shipping over; None when the process that has it has shipped everything, or it is time to end."""
        began = time.monotonic()
        while True:
            try:
                return self._shipper()
            except TrailError as exc:
                left = [sink for sink in sinks if not _has(self._layout, sink, goal)]
                if not left or self._told_to_end():
                    self._said = "" if left else f"{exc}, and was shipped"
                    return None
                if time.monotonic() - began >= self._patience:
                    away = next((sink for sink in left if self._is_away(sink)), left[0])
                    why = state.read(self._layout, away.name).error or "it has not taken everything"
                    raise TrailError(f"{exc}; sink {away.name} ({away.target}): {why}") from None

    def _is_away(self, sink: SinkSettings) -> bool:
        return state.read(self._layout, sink.name).state == "unavailable"

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
                self._beside.look()
                number = self._signals.wait(
                    LOOK_S, sys.stdin.fileno() if self._attached and ends is None else None
                )
                if number in (signal.SIGINT, signal.SIGTERM):
                    return 0
                if number == signal.SIGHUP:
                    self._reload(shipper)
                if number == _GONE:
                    ends = time.monotonic() + DRAIN_S
                    shipper.hurry()
                    self._beside.hurry()
                if ends is not None and (self._has_all(shipper) or time.monotonic() >= ends):
                    return 0
        finally:
            self._beside.close()
            shipper.close()
            self._on_record.close()

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
        now = sealed(self._layout)
        return now is None or (all(lane.has(now) for lane in shipper.lanes) and self._beside.has(now))

    def _reload(self, shipper: Shipper) -> None:
        """Read the configuration again; one that is wrong keeps the sinks that there are."""
        fresh = Where(self._where.config, self._where.profile, self._where.trail)
        try:
            sinks = chosen(fresh, self._names, may_be_none=True)
            self._refuse_other_file(fresh)
        except IndelibleError as exc:
            note(f"{exc}; shipping goes on as before")
            return
        changed = change([lane.settings for lane in shipper.lanes], sinks)
        self._where = fresh
        shipper.reload(sinks)
        self._lanes = shipper.lanes
        self._beside.reload(fresh)
        note(f"the configuration was read again: {counted(len(sinks), 'sink')}", "INFO")
        if changed is not None:
            self._on_record.put(changed)

    def _refuse_other_file(self, fresh: Where) -> None:
        """Raise ConfigError when the file that was read is gone: who wants no sinks any more says so in it."""
        source = self._where.settings.source
        if source is not None and fresh.settings.source != source:
            raise ConfigError(f"{source}: the configuration is not there any more")

    def result(self, code: int) -> dict[str, Any]:
        """Return what was shipped, as JSON has it."""
        return {
            "trail": str(self._layout.active),
            "ok": code == 0,
            "sinks": [_about(lane) for lane in self._lanes],
        }

    @property
    def fills_stdout(self) -> bool:
        """Whether standard output has records: then nothing else may stand there."""
        return any(lane.settings.type == "stdout" for lane in self._lanes)

    def print(self) -> None:
        """Say what was shipped."""
        if not self._lanes and self._said:
            click.echo(one_line(self._said))
        for lane in self._lanes:
            about = _about(lane)
            said = [f"{counted(about['taken'], 'event')} taken"]
            said += [f"{about[key]} {key}" for key in ("refused", "lost") if about[key]]
            line = f"{lane.name} ({lane.settings.target}): {', '.join(said)}; at event {about['next']}"
            if self.fills_stdout and loglines.is_json():
                note(line, "INFO")
            else:
                click.echo(one_line(line), err=self.fills_stdout)


def _has(layout: Layout, sink: SinkSettings, goal: Sealed) -> bool:
    """Tell whether a sink that another process ships to has everything up to a point, and what else was asked for."""
    if request.read(layout, sink.name) is not None:
        return False
    at = cursor.read(layout, sink.name)
    return at is not None and at.origin == goal.origin and at.next >= goal.size


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
"""What `Signals.wait` returns when the other end of standard input is gone."""


class Signals:
    """SIGINT, SIGTERM and SIGHUP, one after the other, where a loop waits for them."""

    def __init__(self) -> None:
        self._out, self._into = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._came)
        # Who started us may have held it back until now.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})

    def _came(self, number: int, _frame: object) -> None:
        try:
            os.write(self._into, bytes([number]))
        except BlockingIOError:  # it is full of this news already
            pass

    def until_told_to_end(self) -> None:
        """Return at SIGINT or SIGTERM."""
        while self.wait(3600.0) not in (signal.SIGINT, signal.SIGTERM):
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
