"""The options of what a query may use."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from indelible.errors import ConfigError
from indelible.query.engine.bounds import bounded as bounded  # noqa: PLC0414 - beside the options that it keeps
from indelible.query.engine.connection import GRACE, MEMORY_MB, SECONDS, Caps
from indelible.values import parse_duration

F = TypeVar("F", bound=Callable[..., Any])

MIN_MB: Final = 64
"""With less nothing can be read at all."""


def caps_options(function: F) -> F:
    """Add ``--timeout`` and ``--memory``; the command gets them as texts."""
    memory = f"A query's memory in MB; {MEMORY_MB} without it."
    function = click.option("--memory", type=click.IntRange(min=MIN_MB), metavar="MB", help=memory)(function)
    timeout = f"A query's time, such as 5m; {SECONDS:g}s without it."
    return click.option("--timeout", metavar="TIME", help=timeout)(function)


def make_caps(timeout: str | None, memory: int | None) -> Caps:
    """Return what the options say. Raises ConfigError."""
    seconds = SECONDS
    if timeout is not None:
        try:
            seconds = parse_duration(timeout)
        except (ValueError, OverflowError):
            raise ConfigError(f"--timeout: expected a time such as 30s or 5m, found {timeout!r}") from None
        if not 0 < seconds <= threading.TIMEOUT_MAX - GRACE:
            raise ConfigError(f"--timeout: expected a time such as 30s or 5m, found {timeout!r}")
    return Caps(seconds, memory if memory is not None else MEMORY_MB, _end)


def _end(seconds: float) -> None:
    print(  # noqa: T201 - nothing else runs any more
        f"the query went on long after its {seconds:g} s and could not be interrupted, so this process ended",
        file=sys.stderr, flush=True,
    )  # fmt: skip
    os._exit(3)
