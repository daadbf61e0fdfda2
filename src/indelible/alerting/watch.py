"""Rules and channels beside a trail, live: a thread that looks, and the shipper of the channels.

The rules that live here. Nothing of this is done on a call's thread, nor on one that ships: a rule that fails, or a
channel that hangs, holds up neither. One process watches a trail, held by the lock of `alerts/`. What goes wrong is
said once while it lasts, tried again with pauses, and stands in `status`.
"""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from indelible.alerting import probes
from indelible.alerting.channels.parts import parts
from indelible.alerting.looking import Looking
from indelible.errors import FOREIGN, IndelibleError, TrailError
from indelible.shipper import pace
from indelible.shipper.place import begin
from indelible.shipper.shipper import Shipper, current_shipper
from indelible.trail.notice import Notice

if TYPE_CHECKING:
    from indelible.alert_settings import AlertSettings, RuleSettings
    from indelible.alerting.looking import Recorded
    from indelible.alerting.words import Alert
    from indelible.config import AuditSettings
    from indelible.shipper.route import Sealed
    from indelible.trail.durable import Access
    from indelible.trail.layout import Layout
    from indelible.trail.start.holder import Holder

log = logging.getLogger("indelible")

POLL_S: Final = 0.5
"""How often it is looked for a new checkpoint; the trail makes two a second at the most."""

END_S: Final = 5.0
"""How long the end waits for a look that is under way."""


def current_watch(layout: Layout) -> Holder | None:
    """Return who watches a trail, or None when nobody does."""
    return current_shipper(layout.for_alerts())


def logged(alert: Alert) -> None:
    """Say an alert in the log."""
    from indelible.alerting.words import sentence

    log.warning("alert %s (%s): %s", alert.rule, alert.severity, sentence(alert))


class Watch:
    """Watches one trail, from `start` until `close`."""

    def __init__(
        self, layout: Layout, settings: AlertSettings, audit: AuditSettings, access: Access, version: str,
        record: Recorded, told: Callable[[Alert], None] = logged,
    ) -> None:  # fmt: skip
        """Take the watch over. Raises TrailError when another process has it; ConfigError for a wrong expression."""
        self._layout = layout
        self._settings = settings
        self._audit = audit
        self.looking = Looking(layout, settings, access, record, told)
        try:
            self.shipper = Shipper(layout.for_alerts(), access, parts(version, settings.channels))
        except TrailError as exc:
            said = str(exc).replace("is being shipped by", "its alerts are watched by")
            raise TrailError(said) from exc
        self._begin(access)
        self._stopping = threading.Event()
        self._is_loaded = False
        self._failures = 0
        self._notice = Notice(good="alerts: rules look at the trail again")
        self._error: str | None = None
        self._thread: threading.Thread | None = None

    def _begin(self, access: Access) -> None:
        """Let channels that begin now be told what rules find from now on. Raises TrailError."""
        try:
            begin(self._layout.for_alerts(), [one.sink for one in self._settings.channels], access)
        except (OSError, TrailError) as exc:
            self.shipper.close()
            raise TrailError(_said(exc)) from exc

    def start(self) -> None:
        """Begin: rules on a thread, each channel on one of its own."""
        self.shipper.start([channel.sink for channel in self._settings.channels])
        self._thread = threading.Thread(target=self._run, name="indelible-alerts", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End: what is under way is finished, and the place kept."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(END_S)
        self.shipper.close()

    def has(self, goal: Sealed) -> bool:
        """Tell whether rules have looked at everything up to a point, and channels were told."""
        at = self.looking.next_seq
        return at is not None and at >= goal.size and all(lane.has(goal) for lane in self.shipper.lanes)

    # --- once -------------------------------------------------------------------------------------------------

    def once(self) -> None:
        """Look at everything that is sealed now, and at what is no event; have what is found recorded.

        Raises IndelibleError, OSError.
        """
        if not self._load():
            return
        while self.looking.step():
            pass
        self.looking.tick()
        self._probe()
        if not self.looking.deliver():
            raise TrailError(f"{self._layout.active}: alerts cannot be recorded now; the next look gives them")
        self.looking.save(at_once=True)
        self.looking.show(os.getpid(), None, at_once=True)
        self.looking.let_go()

    # --- the thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._stopping.wait(self._look())
        finally:
            self._end()

    def _look(self) -> float:
        """Do the next thing; return how long to wait before the one after it."""
        try:
            busy = self._load() and self._step()
        except (OSError, IndelibleError) as exc:
            return self._failed(_said(exc))
        except FOREIGN as exc:  # a fault of ours costs the alerts, and is tried again
            log.exception("the rules cannot look")
            return self._failed(f"internal error: {type(exc).__name__}")
        self._failures, self._error = 0, None
        self._notice.well()
        self.looking.show(os.getpid(), None)
        return 0.0 if busy else POLL_S

    def _step(self) -> bool:
        busy = self.looking.step()
        if not busy:
            self.looking.tick()
            self._probe()
        if not self.looking.deliver():
            raise TrailError("alerts cannot be recorded: nobody holds the trail now")
        self.looking.save()
        return busy

    def _load(self) -> bool:
        if not self._is_loaded:
            self._is_loaded = self.looking.load()
        return self._is_loaded

    def _failed(self, why: str) -> float:
        self._failures += 1
        self._notice.bad(f"alerts: {why}")
        self._error = why
        self.looking.let_go()
        self.looking.show(os.getpid(), why)
        return pace.pause(self._failures, random.random())  # noqa: S311 - spreads, hides nothing

    def _end(self) -> None:
        try:
            if self._is_loaded:
                self.looking.save(at_once=True)
        except OSError as exc:
            log.warning("alerts: the place cannot be kept: %s", _said(exc))
        self.looking.let_go()
        self.looking.show(0, self._error, at_once=True)

    # --- what is no event -------------------------------------------------------------------------------------

    def _probe(self) -> None:
        """Look at what is due, by when it was looked at last, in this run or an earlier one."""
        for rule in self._settings.rules:
            look = PROBES.get(rule.name)
            if look is None or self.looking.is_learning:
                continue
            if self.looking.is_due(rule.name, rule.every):
                try:
                    look(self, rule)
                except (OSError, TrailError) as exc:
                    log.warning(
                        "alerts: %s cannot be looked at, which is tried again: %s", rule.name, _said(exc)
                    )

    def probe_sinks(self, rule: RuleSettings) -> None:
        """See how the sinks are."""
        for found in probes.sinks(self._layout, self._audit, rule):
            self.looking.probed(rule.name, found.about, found.trouble, found.numbers)

    def probe_trail(self, rule: RuleSettings) -> None:
        """See whether a part of the trail verifies."""
        found, kept = probes.trail(self._layout, rule, self.looking.probes.get(rule.name))
        if kept is not None:
            self.looking.keep(rule.name, kept)
        self.looking.probed(rule.name, found.about, found.trouble, found.numbers)


PROBES: Final[dict[str, Callable[[Watch, Any], None]]] = {
    "sink_behind": Watch.probe_sinks,
    "verification": Watch.probe_trail,
}
"""Rule → what looks for it."""


def _said(exc: Exception) -> str:
    if isinstance(exc, OSError):
        where = f"{exc.filename}: " if exc.filename is not None else ""
        return f"{where}{exc.strerror or exc}"
    return str(exc)
