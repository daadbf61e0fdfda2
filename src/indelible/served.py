"""A trail as a service: held by one process, written by recorders of other users, who cannot rewrite it.

What an event goes through here: the hub takes it in by the service's door, `redact.again` decodes and redacts it anew,
the writer stamps and seals it. What may not move: only what came out of that is written, and the process answers for
the trail (`check`) only after it has really written to its disk.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from indelible import configfile
from indelible.errors import TrailError, TrailUnavailable
from indelible.redact.again import Again, Rules
from indelible.redact.patterns import custom as check_patterns
from indelible.trail.durable import datasync, write_all
from indelible.trail.sharing import processes, wire
from indelible.trail.sharing.doors import Service
from indelible.trail.sharing.hub import Hub
from indelible.trail.sharing.quotas import Quotas
from indelible.trail.sharing.recent import recent_ids
from indelible.trail.start.holder import ENDING, HOLDING
from indelible.trail.start.intents import recorder_of
from indelible.trail.start.opening import Intent, open_writer

if TYPE_CHECKING:
    import socket

    from indelible.config import Settings
    from indelible.events import RecorderId
    from indelible.shipper.companion import Companion
    from indelible.shipper.echo import Echo
    from indelible.sink_settings import SinkSettings
    from indelible.trail.layout import Layout
    from indelible.trail.sharing.doors import Checker

RECORDER: Final = "record"
"""What the service itself is called in the trail."""

PROBE_BYTES: Final = 4096
"""Written and synced to see whether the disk takes anything."""

LOOK_S: Final = 0.05


class Served:
    """A trail that is held for others, from its making until `close`."""

    def __init__(self, settings: Settings) -> None:
        """Open the trail. Raises ConfigError, TrailLocked (naming who writes it) or TrailError."""
        check_patterns(settings.redaction.patterns)  # before anything is made on disk
        audit, limits = settings.audit, settings.record
        export = configfile.compliance()
        settings = configfile.with_export(settings, export)
        self._rules = Rules(
            settings.redaction, record_args=audit.record_args, record_results=audit.record_results
        )
        self._quotas = Quotas(
            connections=limits.max_connections,
            events_per_second=limits.max_events_per_second,
            bytes_per_second=limits.max_rate,
            outstanding=limits.max_outstanding,
            overtime=limits.max_overtime / 100,
        )
        _check_sinks(settings, export)
        self._opened = open_writer(Path(str(audit.path)), audit, RECORDER, lives=_is_other, listens=True)
        self._writer = self._opened.writer
        self._hub: Hub | None = None
        self._echo: Echo | None = None
        if export is not None and export.type == "stderr":
            from indelible.shipper.echo import Echo

            self._echo = Echo(self._writer.layout, export, None)
        self._closing = threading.Lock()
        self._companion = _companion(settings, self._writer.layout)

    def listen(self, listener: socket.socket) -> None:
        """Let in whoever may connect to `listener`. Raises OSError."""
        recent = functools.partial(
            recent_ids, self._writer.layout, self._writer.size, wire.REMEMBERED, by_user=True
        )
        own = functools.partial(recent_ids, self._writer.layout, self._writer.size, wire.REMEMBERED)
        door = Service(listener, self._quotas, self._check_for)
        hub = Hub(self._opened, lambda: [*recent(), *own()], door)
        hub.start()
        self._hub = hub
        self._writer.say(HOLDING)

    def _check_for(self, recorder: RecorderId, key: tuple[bytes, str], token_key: bytes) -> Checker:
        return Again(self._rules, recorder, key, token_key)

    @property
    def lost(self) -> bool:
        """Whether this process can write the trail no more: it has to end, and another one to begin."""
        return self._writer.lost or (self._hub is not None and not self._hub.is_alive)

    def reload_sinks(self) -> bool:
        """Have the shipper read the configuration again; tell whether there is one."""
        if self._companion is None:
            return False
        self._companion.reload()
        return True

    def check(self, limit_s: float) -> None:
        """Make sure that the trail can be written just now: its lock, its disk, and the thread that takes events in.

        Raises TrailError or OSError when it cannot, or not within `limit_s`; a disk that hangs is waited for.
        """
        self._writer.ensure_hold()
        self._probe()
        if self._writer.failing:
            self._writer.seal()
        if self._writer.failing:
            msg = "the trail's last write has failed"
            raise TrailUnavailable(msg)
        hub = self._hub
        if hub is None:
            return
        turns, deadline = hub.turns, time.monotonic() + limit_s
        hub.look_around()
        while hub.turns == turns:
            if time.monotonic() >= deadline or not hub.is_alive:
                msg = "the thread that takes events in does not move"
                raise TrailError(msg)
            time.sleep(LOOK_S)

    def _probe(self) -> None:
        """Write a little beside the trail, and take it away; what a crash leaves of it, the next time takes away."""
        path = self._writer.layout.directory / "probe"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path, flags, 0o600)
        try:
            path.unlink()
            write_all(fd, bytes(PROBE_BYTES))
            datasync(fd)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Take in what has come, acknowledge it, seal everything, and give the trail back. May be called twice."""
        with self._closing:
            hub, self._hub = self._hub, None
            self._writer.say(ENDING)
            if hub is not None:
                hub.close()
            others = hub.open_calls if hub is not None else frozenset()
            self._writer.close(still_open=others)
            companion, self._companion = self._companion, None
            if companion is not None:
                companion.close()
            export, self._echo = self._echo, None
            if export is not None:
                export.close()


def _check_sinks(settings: Settings, export: SinkSettings | None) -> None:
    """Raise ConfigError for sinks that this process cannot ship to."""
    if settings.audit.sinks or settings.alerts is not None:
        from indelible.shipper.companion import check

        check(settings, export)


def _companion(settings: Settings, layout: Layout) -> Companion | None:
    """Return what ships and watches the trail while it is held here; None when nothing is to."""
    if not settings.audit.sinks and settings.alerts is None:
        return None
    from indelible._version import __version__
    from indelible.shipper.companion import companion_of

    return companion_of(settings, layout, __version__, lambda: True)


def _is_other(intent: Intent) -> bool:
    """Tell whether an open call is a living process's: it will come back to this service."""
    recorder = recorder_of(intent)
    return recorder is not None and recorder[1] != os.getpid() and processes.runs(recorder[1])
