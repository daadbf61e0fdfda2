"""``indelible alerts --replay``: what rules would have told."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from indelible.alerting import words
from indelible.alerting.facts import microseconds, moment
from indelible.alerting.looking import replay, rule_states
from indelible.cli import hints
from indelible.cli.common import note, print_json
from indelible.cli.progress import count_bar
from indelible.cli.text import counted, one_line
from indelible.errors import ConfigError, TrailError
from indelible.query.filters import parse_time
from indelible.shipper import route

if TYPE_CHECKING:
    from indelible.alert_settings import AlertSettings
    from indelible.alerting.looking import Replayed
    from indelible.alerting.words import Alert
    from indelible.trail.layout import Layout

PROBES: Final = ("sink_behind", "verification")
"""Rules that look at how things are now: of the past they know nothing."""


def run(layout: Layout, settings: AlertSettings, since: str, *, as_json: bool) -> int:
    """Print what rules would have told since a time."""
    try:
        begin = parse_time(since, datetime.now(UTC))
    except ValueError as exc:
        raise ConfigError(f"--since: {exc}") from None
    trail = route.sealed(layout)
    if trail is None:
        raise TrailError(f"{layout.active}: nothing of it is sealed yet")
    first = route.begins(layout)
    at = [first]
    with count_bar(max(0, trail.size - first), "replaying", lambda: at[0] - first) as show:

        def progress(seq: int) -> None:
            at[0] = seq
            show()

        try:
            found = replay(settings, trail, microseconds(begin) or 0, progress)
        except OSError as exc:
            raise TrailError(f"{exc.filename or layout.active}: cannot be read: {exc.strerror or exc}") from exc
    if as_json:
        print_json({"trail": str(layout.active), "since": begin, **_result(found, trail.origin)})
    else:
        _print(found, begin)
    return 0


def fired(alerts: list[Alert]) -> Counter[str]:
    """Return how often each rule would have fired."""
    return Counter(alert.rule for alert in alerts if alert.state == words.FIRING and not alert.times)


def _result(found: Replayed, origin: str) -> dict[str, Any]:
    engine, alerts, unreadable, missing = found
    count = fired(alerts)
    rules = [
        {
            "rule": state.rule,
            "fired": count[state.rule],
            "not_told": state.not_told,
            "failures": state.failures,
            "replayed": state.rule not in PROBES,
        }
        for state in rule_states(engine)
    ]
    options = hints.options()
    told = [{"at": moment(alert.at), **words.as_metadata(alert, origin, options)} for alert in alerts]
    return {
        "events": engine.events,
        "unreadable": unreadable,
        "missing": missing,
        "rules": rules,
        "alerts": told,
    }


def _print(found: Replayed, begin: str) -> None:
    engine, alerts, unreadable, missing = found
    for alert in alerts:
        state = "resolved" if alert.state == words.RESOLVED else alert.severity
        click.echo(one_line(f"{moment(alert.at)}  {state:<8}  {alert.rule}: {words.sentence(alert)}"))
        if alert.query is not None and alert.state == words.FIRING:
            click.echo(one_line(f"{'':29}{alert.query}{hints.options()}"))
            if alert.query_note:
                click.echo(f"{'':29}{alert.query_note}")
    if alerts:
        click.echo("")
    count = fired(alerts)
    click.echo(one_line(f"since {begin}, of {counted(engine.events, 'event')}:"))
    for one in rule_states(engine):
        said = (
            "looks at how things are now, and is not replayed"
            if one.rule in PROBES
            else _times(count[one.rule])
        )
        more = f", {one.not_told} more not told" if one.not_told else ""
        click.echo(f"  {one.rule:<22}{said}{more}")
        if one.failures:
            note(f"rule {one.rule}: {counted(one.failures, 'evaluation')} failed: {one.error}")
    if unreadable:
        note(f"{counted(unreadable, 'line')} could not be read, and counted for no rule")
    if missing:
        note(
            f"{counted(missing, 'line')} of the trail that should be there {'is' if missing == 1 else 'are'} not"
        )


_OFTEN: Final = {1: "once", 2: "twice"}


def _times(count: int) -> str:
    return "would not have fired" if not count else f"would have fired {_OFTEN.get(count, f'{count} times')}"
