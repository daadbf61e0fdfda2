"""The filter options that `log` and `tail` share, and the filter that they make."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import click

from indelible.errors import ConfigError
from indelible.query.filters import (
    CHOICES,
    Filter,
    check_choices,
    check_given,
    check_interval,
    parse_event_types,
    parse_time,
)
from indelible.values import shown

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

SINCE: Final = "Received at or after: 10s, 5m, 2h, 1d ago, a date, or RFC 3339."
UNTIL: Final = "Received before: the same forms."
EVENTS: Final = "Event types, separated by commas, or 'all'; calls alone without it."


def filter_options(function: F) -> F:
    """Add the filters. Each may be repeated: any of its values matches; between options all must."""
    options = [click.option(name, multiple=True, metavar="TEXT", help=text) for name, text in VALUES]
    options += [
        click.option(
            _option(name),
            multiple=True,
            metavar="|".join(values) if len(values) < 5 else "KIND",
            help=_one_of(values),
        )
        for name, values in CHOICES.items()
    ]
    options.append(click.option("--since", metavar="TIME", help=SINCE))
    options.append(click.option("--until", metavar="TIME", help=UNTIL))
    options.append(click.option("--events", multiple=True, metavar="TYPES", help=EVENTS))
    for option in reversed(options):
        function = option(function)
    return function


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _one_of(values: tuple[str, ...]) -> str:
    return "One of " + ", ".join(values) + "."


def make_filter(
    since: str | None, until: str | None, events: tuple[str, ...], **values: tuple[str, ...]
) -> Filter:
    """Return the filter that the options ask for. Raises ConfigError, one line, naming the option."""
    for name, chosen in values.items():
        check_given(_option(name), chosen)
    for name, known in CHOICES.items():
        check_choices(_option(name), values[name], known)
    now = datetime.now(UTC)
    begin, end = _time("--since", since, now), _time("--until", until, now)
    check_interval(begin, end, (f"--since {since}", f"--until {until}"))
    return Filter(
        events=parse_event_types(events),
        since=begin,
        until=end,
        **{name: frozenset(chosen) for name, chosen in values.items()},
    )


def parse_since(text: str | None) -> str | None:
    """Return the trail's form of what ``--since`` says. Raises ConfigError, one line."""
    return _time("--since", text, datetime.now(UTC))


def parse_moment(option: str, text: str) -> str:
    """Return the trail's form of a time that an option names. Raises ConfigError, one line."""
    return str(_time(option, text, datetime.now(UTC)))


def _time(option: str, text: str | None, now: datetime) -> str | None:
    if text is None:
        return None
    try:
        return parse_time(text, now)
    except ValueError as exc:
        msg = f"{option}: {exc}, found {shown(text)}"
        raise ConfigError(msg) from None
