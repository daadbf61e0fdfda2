"""What a query may use of this process, where DuckDB's own limits end.

Its memory limit does not count what one function makes in one go, and such a function cannot be interrupted either. So
the process gets a limit of its own (RLIMIT_DATA, which Linux keeps to; macOS only in part), and ends when DuckDB goes
on long after its time. Only DuckDB's time counts: a pager that somebody reads in may take as long as it likes.
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from indelible.query.engine.connection import Caps

OWN_MB: Final = 512
"""What the process may take besides: results, the reader's buffers, and what an allocator holds and does not use."""

MB: Final = 1 << 20

OTHERS: Final = 128
"""Descriptors of everything else in this process."""


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


def make_room(descriptors: int) -> None:
    """Let this process have so many more descriptors, as far as it may: many systems begin with 256 or 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OTHERS + descriptors
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def _data_bytes() -> int:
    """Return what counts for the limit already; on a system that does not say, a guess that is large enough."""
    try:
        for line in Path("/proc/self/status").read_text("ascii", "replace").splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 1 << 30
