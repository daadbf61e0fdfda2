"""``indelible alerts --once`` and ``--follow``, and the test of a channel."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import click

from indelible import __version__, events
from indelible.alerting import words
from indelible.alerting.channels.notice import TEST
from indelible.alerting.channels.parts import format_of, sink_of
from indelible.alerting.facts import moment
from indelible.alerting.looking import trail_options
from indelible.alerting.watch import Watch, current_watch
from indelible.cli.common import Where, note, print_json
from indelible.cli.ordering import opening_settings
from indelible.cli.text import counted, one_line
from indelible.errors import ConfigError, TrailError
from indelible.formats.record import Record
from indelible.shipper.route import sealed
from indelible.sinks.base import Shipment, SinkUnavailable
from indelible.trail import durable
from indelible.trail.entry import stamp
from indelible.trail.upkeep.manage import manage
from indelible.values import parse_duration

if TYPE_CHECKING:
    from indelible.alert_settings import AlertSettings, ChannelSettings
    from indelible.alerting.words import Alert
    from indelible.trail.layout import Layout
    from indelible.trail.upkeep.orders import RecordAlert

LOOK_S: Final = 0.1
SEALED_S: Final = 10.0
"""How long an alert that was recorded may take until it is sealed, and can be sent."""


def _watch(layout: Layout, where: Where, settings: AlertSettings, told: Callable[[Alert], None]) -> Watch:
    audit = where.settings.audit
    opening = opening_settings(where, layout.active)

    def record(order: RecordAlert) -> bool:
        manage(layout.active, opening, order)
        return True

    try:
        return Watch(layout, settings, audit, durable.access_for(audit.group), __version__, record, told)
    except TrailError as exc:
        if current_watch(layout) is None:
            raise
        raise TrailError(f"{exc}; 'indelible tail --events alert' shows what that one finds") from exc


def _shown(alert: Alert, origin: str, layout: Layout) -> dict[str, Any]:
    """Return what is on record of an alert."""
    return {"at": moment(alert.at), **words.as_metadata(alert, origin, trail_options(layout))}


def _line(alert: Alert) -> str:
    state = "resolved" if alert.state == words.RESOLVED else alert.severity
    return one_line(f"{moment(alert.at)}  {state:<8}  {alert.rule}: {words.sentence(alert)}")


def once(layout: Layout, where: Where, settings: AlertSettings, timeout: str, *, as_json: bool) -> int:
    """Look at what is new, have it recorded and the channels told; 1 when something fired."""
    try:
        patience = parse_duration(timeout)
    except ValueError as exc:
        raise ConfigError(f"--timeout: {exc}") from None
    found: list[Alert] = []
    watch = _watch(layout, where, settings, found.append)
    began = watch.looking
    try:
        try:
            watch.once()
        except OSError as exc:
            raise TrailError(f"{exc.filename or layout.active}: {exc.strerror or exc}") from exc
        watch.shipper.start([channel.sink for channel in settings.channels])
        left = _deliver(layout, watch, patience, recorded=bool(found))
    finally:
        watch.close()
    origin = sealed(layout)
    if as_json:
        name = "" if origin is None else origin.origin
        print_json(
            {
                "trail": str(layout.active),
                "fired": began.fired,
                "alerts": [_shown(alert, name, layout) for alert in found],
                "unreadable": began.unreadable,
                "missed": began.missed,
                "not_told": left,
            }
        )
    else:
        for alert in found:
            click.echo(_line(alert))
        click.echo(f"{counted(began.fired, 'alert')}, at event {began.next_seq or 0}")
    if left:
        raise TrailError(f"not everything is told to {', '.join(left)}; the next run tells it")
    return int(began.fired > 0)


def _deliver(layout: Layout, watch: Watch, patience: float, *, recorded: bool) -> list[str]:
    """Wait until the channels were told what was recorded; return those that were not."""
    lanes = watch.shipper.lanes
    if not lanes:
        return []
    began = time.monotonic()
    goal = sealed(layout)
    seen = goal.size if goal is not None else 0
    while recorded and time.monotonic() - began < SEALED_S:  # what was recorded just now is sealed soon
        now = sealed(layout)
        if now is not None and now.size > seen:
            goal = now
            break
        time.sleep(LOOK_S)
    while goal is not None and time.monotonic() - began < patience:
        if all(lane.has(goal) for lane in lanes):
            return []
        time.sleep(LOOK_S)
    return [] if goal is None else [lane.name for lane in lanes if not lane.has(goal)]


def follow(layout: Layout, where: Where, settings: AlertSettings, *, as_json: bool) -> int:
    """Look until told to end, and print each alert."""
    import sys

    def told(alert: Alert) -> None:
        if as_json:
            now = sealed(layout)
            print_json(_shown(alert, "" if now is None else now.origin, layout))
        else:
            click.echo(_line(alert))
        sys.stdout.flush()

    from indelible.cli.shipping import Signals

    watch = _watch(layout, where, settings, told)
    signals = Signals()
    note(
        f"{counted(len(settings.rules), 'rule')} and {counted(len(settings.channels), 'channel')}: looking",
        "INFO",
    )
    try:
        watch.start()
        signals.until_told_to_end()
    finally:
        watch.close()
    return 0


# --- a test ---------------------------------------------------------------------------------------------------


def send_test(channel: ChannelSettings, severity: str) -> int:
    """Send a test message; return how long it took, in milliseconds. Raises TrailError when it was not taken."""
    sink = sink_of(channel.sink)
    began = time.monotonic()
    try:
        sink.open()
        states = [words.FIRING, words.RESOLVED] if channel.type == "pagerduty" else [words.FIRING]
        identity = events.new_id()
        for state in states:
            shipment = _test_shipment(channel, severity, state, identity)
            delivery = sink.send([shipment])
            if delivery.refused:
                raise TrailError(
                    f"{channel.name} ({channel.sink.target}): refuses it: {delivery.refused[0][1]}"
                )
            if not delivery.taken:
                raise TrailError(
                    f"{channel.name} ({channel.sink.target}): it took nothing, and does not say why"
                )
    except SinkUnavailable as exc:
        raise TrailError(f"{channel.name}: {exc}") from exc
    finally:
        sink.close()
        sink.stop()
    return round(1000 * (time.monotonic() - began))


def _test_shipment(channel: ChannelSettings, severity: str, state: str, identity: str) -> Shipment:
    alert = {
        "rule": TEST,
        "state": state,
        "severity": severity,
        "summary": f"a test of the channel {channel.name}, from process {os.getpid()}: nothing has happened",
        "dedup_key": f"test-{identity}",
        "since": events.now(),
        "once": True,
    }
    event = events.Event(
        timestamp=events.now(), event_type="alert", event_id=events.new_id(), metadata={"alert": alert}
    )
    line = stamp(0, events.now(), events.encode_body(event))
    record = format_of(channel.sink, __version__).render(Record(line, "indelible/test"))
    return Shipment(record, 0, event.event_id, origin="indelible/test", line=line)
