"""Give an order to a trail, whoever holds it, and show that it is waited for."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indelible.cli.common import Where, note
from indelible.cli.status import settings_for
from indelible.config import AuditSettings
from indelible.errors import ConfigError
from indelible.trail.upkeep.manage import manage

if TYPE_CHECKING:
    from indelible.trail.upkeep.manage import Waiting
    from indelible.trail.upkeep.orders import Order


def give(path: Path, audit: AuditSettings, order: Order, doing: str) -> dict[str, Any]:
    """Have an order carried out, and return what came of it; what it raises is `manage`'s.

    Ctrl-C leaves nothing half done, and a line says so.
    """
    try:
        with _waiting(doing) as waiting:
            return manage(path, audit, order, waiting)
    except KeyboardInterrupt:
        note("interrupted: what was begun is finished by whoever holds the trail; what was not is dropped")
        raise


@contextlib.contextmanager
def _waiting(doing: str) -> Iterator[Waiting | None]:
    """Show on a terminal who is at it."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    with Console(stderr=True).status(doing) as status:

        def show(pid: int) -> None:
            who = "" if pid == os.getpid() else f" (by process {pid}, which holds the trail)"
            status.update(f"{doing}{who}")

        yield show


def needed_settings(where: Where, path: Path) -> AuditSettings:
    """Return the settings of the trail at `path`, without which nothing may be deleted. Raises ConfigError."""
    audit = settings_for(where, path)
    if audit is None:
        msg = (
            f"{path}: no configuration here is about this trail, so what may be deleted is not known; name this "
            "one's with -c FILE"
        )
        raise ConfigError(msg)
    return audit


def opening_settings(where: Where, path: Path) -> AuditSettings:
    """Return the settings to open the trail at `path` with, if nobody holds it: an order deletes nothing by them."""
    return settings_for(where, path) or AuditSettings(path=str(path))
