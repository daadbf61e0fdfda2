"""The shipper beside a recorder: started and watched by the process that holds the trail, and never in its way.

The rules that live here. Nothing of this is done on a call's thread. Only the holder of a trail starts a shipper, so
that there is one however many write. A shipper process is known by the pipe on its standard input, and by nothing else:
when the recorder is gone, however it ended, the pipe is at its end; the shipper then takes what is sealed to the sinks
for a few seconds more, and ends. Nobody waits for that. When the next holder's shipper finds the lock taken, it waits.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from indelible import configfile
from indelible.compliance import OUTPUT
from indelible.errors import ConfigError, IndelibleError, TrailError
from indelible.registry import make_sink
from indelible.shipper.names import check_names, parts
from indelible.shipper.place import begin
from indelible.shipper.reloading import OnRecord, change
from indelible.shipper.route import sealed
from indelible.shipper.shipper import Shipper, current_shipper
from indelible.sinks.base import SinkUnavailable
from indelible.trail import durable
from indelible.trail.shipping import state

if TYPE_CHECKING:
    import subprocess

    from indelible.config import Settings
    from indelible.sink_settings import SinkSettings
    from indelible.trail.durable import Access
    from indelible.trail.layout import Layout

log = logging.getLogger("indelible")

LOOK_S: Final = 1.0
"""How often it is looked whether the shipper lives, and whether this process holds the trail."""

FIRST_RETRY_S: Final = 1.0
MAX_RETRY_S: Final = 60.0
WELL_S: Final = 60.0
"""A shipper that lived so long begins its pauses anew."""

HEED_S: Final = 5.0
"""So long after its start a process that does not hold the trail looks whether whoever does writes its export, too."""

DRAIN_S: Final = 2.0
"""How long the end of a recorder waits for a shipper that is a thread of it, when its sinks are well."""


def check(settings: Settings, export: SinkSettings | None = None) -> None:
    """Raise ConfigError, one line, when a recording process cannot ship as its settings, or its environment, say."""
    if export is not None and export.type == "file":
        _check_output(export)
    audit = settings.audit
    check_names(audit.sinks)
    if audit.ship == "thread" and looks(settings):
        raise ConfigError(
            "alerts: rules look in the process that ships, so that none of them can hold up a call, and 'audit.ship: "
            "thread' wants none; take 'ship: process', or 'ship: off' and run 'indelible ship' by hand, which does both"
        )
    for sink in audit.sinks if audit.ship != "off" else ():
        if sink.type == "stdout":
            raise ConfigError(
                f"audit.sinks: {sink.name}: the standard output of a process that records is not for events; take "
                "'stderr' or a file, or set 'ship: off' and run 'indelible ship' by hand"
            )


def _check_output(sink: SinkSettings) -> None:
    """Raise ConfigError, one line, when the file that the environment names cannot be written."""
    made = make_sink(sink)
    try:
        made.open()
    except (
        SinkUnavailable
    ) as exc:  # another process writes it, which may be our own shipper; or its disk is full
        if not Path(sink.target).parent.is_dir():
            raise ConfigError(f"{OUTPUT}: {exc}") from exc
    except ConfigError as exc:
        raise ConfigError(f"{OUTPUT}: {exc}") from exc
    finally:
        made.close()


def companion_of(
    settings: Settings, layout: Layout, version: str, holds: Callable[[], bool]
) -> Companion | None:
    """Return what ships beside a recorder, or None when nothing is to be. `holds` tells whether it holds the trail."""
    audit = settings.audit
    if audit.ship == "off":
        _leave_export(layout, durable.access_for(audit.group))
        return None
    if not (audit.sinks or looks(settings)):
        return None
    with contextlib.suppress(OSError, TrailError):  # the shipper says what is wrong
        begin(layout, audit.sinks, durable.access_for(audit.group))
    alone = audit.ship == "process" and settings.source is not None and bool(sys.executable)
    if looks(settings) and not alone:
        log.error(
            "alerts: no process can be started here that looks by the rules; run 'indelible ship' by hand"
        )
    shipper = _Process(settings, layout) if alone else _Threads(settings, layout, version)
    return Companion(shipper, holds, _heed_export(layout))


def _heed_export(layout: Layout) -> Callable[[], None] | None:
    """Return what says, once, that whoever holds the trail does not write the file that this process is to write."""
    export = configfile.compliance()
    if export is None or export.type != "file":
        return None
    name, target, due = export.name, export.target, [time.monotonic() + HEED_S]

    def look() -> None:
        if not due or time.monotonic() < due[0]:
            return
        holder = current_shipper(layout)
        if holder is None or not state.is_shipped_by(state.read(layout, name), holder.pid):
            due.clear()
            log.warning(
                "%s: whoever holds the trail does not write %s: set the variables for every process that writes it",
                OUTPUT, target,
            )  # fmt: skip

    return look


def _leave_export(layout: Layout, access: Access) -> None:
    """Let the file that the environment asks for begin now, where somebody else is to ship; say so if nobody does."""
    export = configfile.compliance()
    if export is None or export.type != "file":
        return
    with contextlib.suppress(OSError, TrailError):  # whoever ships says what is wrong
        begin(layout, [export], access)
    if current_shipper(layout) is None:
        log.warning("%s: 'audit.ship' is off: 'indelible ship', with the same variables, writes it", OUTPUT)


def looks(settings: Settings) -> bool:
    """Tell whether rules are to look at the trail: the process that ships does that, too."""
    return settings.alerts is not None and settings.alerts.enabled


class Companion:
    """Sees to it that a trail is shipped while this process holds it, until `close`."""

    def __init__(
        self,
        shipper: _Process | _Threads,
        holds: Callable[[], bool],
        heed: Callable[[], None] | None = None,
    ) -> None:
        """`heed` looks what others do while this process does not hold the trail."""
        self._shipper = shipper
        self._holds = holds
        self._heed = heed
        self._end = threading.Event()
        self._due = 0.0
        self._pause = FIRST_RETRY_S
        self._said = ""
        """What was said last: a cause is not repeated while it lasts."""
        self._thread = threading.Thread(target=self._watch, name="indelible-companion", daemon=True)
        self._thread.start()

    def reload(self) -> None:
        """Have the configuration read again, soon. May be called by a signal's handler."""
        self._shipper.reload()

    def close(self) -> None:
        """Let go of the shipper; one that is a process goes on for a moment by itself."""
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        try:
            while not self._end.is_set():
                try:
                    self._look()
                except Exception:  # a fault of ours costs the shipping, and is tried again
                    log.exception("the shipper cannot be looked after")
                self._end.wait(LOOK_S)
        finally:
            self._shipper.end()

    def _look(self) -> None:
        now = time.monotonic()
        if self._heed is not None and not self._holds():
            self._heed()
        if self._shipper.runs:
            self._shipper.look()
            if now - self._shipper.began > WELL_S:
                self._pause, self._said = FIRST_RETRY_S, ""
            return
        why = self._shipper.how_it_ended()
        if why is not None:
            self._failed(now, f"the shipper ended ({why}); it is started again")
        if now >= self._due and self._holds():
            try:
                self._shipper.start()
            except (OSError, TrailError) as exc:
                self._failed(now, f"nothing is shipped, which is tried again: {exc}")

    def _failed(self, now: float, about: str) -> None:
        self._due = now + self._pause
        self._pause = min(MAX_RETRY_S, 2 * self._pause)
        if about != self._said:
            self._said = about
            log.error("%s", about)


class _Process:
    """``indelible ship`` as a child."""

    def __init__(self, settings: Settings, layout: Layout) -> None:
        self._command = [
            sys.executable, "-P", "-m", "indelible", "ship", "--attached",
            "-c", str(settings.source), "--trail", str(layout.active),
        ]  # fmt: skip
        if settings.profile is not None:
            self._command += ["--profile", settings.profile]
        self._child: subprocess.Popen[bytes] | None = None
        self.began = 0.0
        kept = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _let_go(kept()))

    @property
    def runs(self) -> bool:
        """Whether it lives."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start it. Raises OSError."""
        import subprocess

        self.began = time.monotonic()
        # A child inherits what its parent's thread holds back: SIGHUP waits until it listens, and does not end it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        try:
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the recorder: what it seals last is to be shipped
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def how_it_ended(self) -> str | None:
        """Return how it ended, once; None when it has not been started since."""
        child, self._child = self._child, None
        if child is None:
            return None
        _close(child)
        code = child.returncode
        return f"exit code {code}" if code >= 0 else f"signal {-code}"

    def reload(self) -> None:
        """Have it read its configuration again; one that is not there just now does when it starts."""
        child = self._child
        if child is not None and child.returncode is None:
            with contextlib.suppress(OSError):
                child.send_signal(signal.SIGHUP)

    def look(self) -> None:
        """Do nothing: it looks after itself."""

    def end(self) -> None:
        """Let it end by itself; it is reaped when it does, or when this process ends."""
        child, self._child = self._child, None
        if child is not None:
            _close(child)
            threading.Thread(target=child.wait, name="indelible-companion-end", daemon=True).start()


def _close(child: subprocess.Popen[bytes]) -> None:
    if child.stdin is not None:
        with contextlib.suppress(OSError):
            child.stdin.close()


def _let_go(process: _Process | None) -> None:
    """In a forked child: the pipe is the parent's, or its end would not be seen."""
    child: Any = None if process is None else process._child  # noqa: SLF001 - its own module
    if child is not None and child.stdin is not None:
        with contextlib.suppress(OSError):
            os.close(child.stdin.fileno())


class _Threads:
    """A shipper in this process."""

    def __init__(self, settings: Settings, layout: Layout, version: str) -> None:
        self._settings = settings
        self._layout = layout
        self._parts = parts(version, stdout_is_taken=True)
        self._shipper: Shipper | None = None
        self._is_told = False
        self._on_record = OnRecord(layout, log.error)
        self.began = 0.0

    @property
    def runs(self) -> bool:
        """Whether it was started."""
        return self._shipper is not None

    def start(self) -> None:
        """Start it. Raises TrailError when another process ships."""
        self.began = time.monotonic()
        audit = self._settings.audit
        self._shipper = Shipper(self._layout, durable.access_for(audit.group), self._parts, rests=True)
        self._shipper.start(audit.sinks)

    def how_it_ended(self) -> None:
        """Return None: threads end with their process."""

    def reload(self) -> None:
        """Have the sinks of the configuration read again at the next `look`: this may be a signal's handler."""
        self._is_told = True

    def look(self) -> None:
        """Do what `reload` asked for: go on with the sinks that there are now; wrong ones change nothing."""
        if not self._is_told or self._shipper is None:
            return
        self._is_told = False
        try:
            fresh = self._read()
        except IndelibleError as exc:
            log.warning("%s; shipping goes on as before", exc)
            return
        sinks = fresh.audit.sinks
        changed = change([lane.settings for lane in self._shipper.lanes], sinks)
        self._settings = fresh
        self._shipper.reload(sinks)
        log.info("the configuration was read again: %d sinks", len(sinks))
        if changed is not None:
            self._on_record.put(changed)

    def _read(self) -> Settings:
        """Read the configuration again. Raises ConfigError, one line."""
        source = self._settings.source
        if source is None:
            raise ConfigError("the sinks are from no configuration file, so that there is none to read again")
        profile, trail = self._settings.profile, str(self._layout.active)
        fresh = configfile.with_export(
            configfile.load(source, profile=profile, trail=trail), configfile.compliance()
        )
        check(fresh)
        return fresh

    def end(self) -> None:
        """Ship what was sealed last, as far as that is done at once, and end."""
        shipper, self._shipper = self._shipper, None
        if shipper is None:
            return
        shipper.hurry()
        deadline = time.monotonic() + DRAIN_S
        now = sealed(self._layout)
        while now is not None and time.monotonic() < deadline:
            if all(lane.has(now) or lane.standing.failing_since is not None for lane in shipper.lanes):
                break
            time.sleep(0.02)
        shipper.close()
        self._on_record.close()
