"""The filter options that `log` and `tail` share, and the filter that they make."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar, get_args

import click

from indelible.cli.text import one_line
from indelible.errors import ConfigError
from indelible.events import CallerType, Decision, Kind, Status
from indelible.query.filters import Filter, did_you_mean, parse_event_types, parse_time

F = TypeVar("F", bound=Callable[..., Any])

VALUES: Final = (
    ("--tool", "Name of the tool, as exposed or as its server knows it."),
    ("--resource", "URI of the resource."),
    ("--prompt", "Name of the prompt."),
    ("--name", "Name of a tool, prompt or resource."),
    ("--type", "tool, resource, prompt, or another method's family."),
    ("--user", "User id of the caller."),
    ("--session", "Session id."),
    ("--backend", "Id of the MCP server."),
    ("--request-id", "Request id."),
)
CHOICES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("--status", get_args(Status)),
    ("--kind", get_args(Kind)),
    ("--policy", get_args(Decision)),
    ("--caller-type", get_args(CallerType)),
)

SINCE: Final = "Received at or after: 10s, 5m, 2h, 1d ago, a date, or RFC 3339."
UNTIL: Final = "Received before: the same forms."
EVENTS: Final = "Event types, separated by commas, or 'all'; calls alone without it."


def filter_options(function: F) -> F:
    """Add the filters. Each may be repeated: any of its values matches; between options all must."""
    options = [click.option(name, multiple=True, metavar="TEXT", help=text) for name, text in VALUES]
    options += [
        click.option(
            name, multiple=True, metavar="|".join(values) if len(values) < 5 else "KIND", help=_one_of(values)
        )
        for name, values in CHOICES
    ]
    options.append(click.option("--since", metavar="TIME", help=SINCE))
    options.append(click.option("--until", metavar="TIME", help=UNTIL))
    options.append(click.option("--events", multiple=True, metavar="TYPES", help=EVENTS))
    for option in reversed(options):
        function = option(function)
    return function


def _one_of(values: tuple[str, ...]) -> str:
    return "One of " + ", ".join(values) + "."


def make_filter(
    since: str | None, until: str | None, events: tuple[str, ...], **values: tuple[str, ...]
) -> Filter:
    """Return the filter that the options ask for. Raises ConfigError, one line, naming the option."""
    for option, known in CHOICES:
        for value in values[option[2:].replace("-", "_")]:
            if value not in known:
                msg = f"{option}: no such value {one_line(value, 60)!r}{did_you_mean(value, known)}"
                raise ConfigError(msg)
    now = datetime.now(UTC)
    return Filter(
        events=parse_event_types(events),
        since=_time("--since", since, now),
        until=_time("--until", until, now),
        **{name: frozenset(chosen) for name, chosen in values.items()},
    )


def _time(option: str, text: str | None, now: datetime) -> str | None:
    if text is None:
        return None
    try:
        return parse_time(text, now)
    except ValueError as exc:
        msg = f"{option}: {exc}, found {one_line(text, 60)!r}"
        raise ConfigError(msg) from None
