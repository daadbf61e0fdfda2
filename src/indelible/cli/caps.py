"""What a query may use of this process, where DuckDB's own limits end.

Its memory limit does not count what one function makes in one go, and such a function cannot be interrupted either. So
the process gets a limit of its own (RLIMIT_DATA, which Linux keeps to; macOS only in part), and ends when DuckDB goes
on long after its time. Only DuckDB's time counts: a pager that somebody reads in may take as long as it likes.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from indelible.errors import ConfigError
from indelible.query.engine.connection import GRACE, MEMORY_MB, SECONDS, Caps
from indelible.values import parse_duration

F = TypeVar("F", bound=Callable[..., Any])

OWN_MB: Final = 512
"""What the process may take besides: results, the reader's buffers, and what an allocator holds and does not use."""

MB: Final = 1 << 20

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


@contextlib.contextmanager
def bounded(caps: Caps) -> Iterator[None]:
    """Hold the process to a query's memory."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = _data_bytes() + (caps.memory_mb + OWN_MB) * MB
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int:
    """Return what counts for the limit already; on a system that does not say, a guess that is large enough."""
    try:
        for line in Path("/proc/self/status").read_text("ascii", "replace").splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 1 << 30


def _end(seconds: float) -> None:
    print(  # noqa: T201 - nothing else runs any more
        f"the query went on long after its {seconds:g} s and could not be interrupted, so this process ended",
        file=sys.stderr, flush=True,
    )  # fmt: skip
    os._exit(3)
