"""The way of an event, on one screen: redact → append; and what happens when it cannot be appended.

`record` returns when the event is in the trail, as safe as the trail's durability says. When it cannot be written:

- ``deny``: `record` raises TrailUnavailable; the capture refuses the call and hands it to `refuse`, which records the
  refusal as soon as writing works again.
- ``allow``: `record` returns; the event is lost, and the exact number of those that were is recorded in an `audit_gap`
  before anything else, as soon as writing works again.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from indelible import configfile, events
from indelible.definitions import DefinitionStore, Tool
from indelible.errors import NotInTime, TrailError, TrailUnavailable
from indelible.events import Event
from indelible.redact import Redactor
from indelible.trail import durable
from indelible.trail.commit import Item
from indelible.trail.gap import Gap
from indelible.trail.gapdead import report_the_dead
from indelible.trail.reentry import stands_on_a_call_of_ours
from indelible.trail.sharing.shared import SharedWriter
from indelible.trail.sharing.sidetrails import Sweeper
from indelible.trail.sharing.through import ServiceWriter
from indelible.trail.start import keys

if TYPE_CHECKING:
    from asyncio import Future
    from types import TracebackType
    from typing import Unpack

    from indelible.config import OnFailure, Settings
    from indelible.events import Caller, Kind, Source, Target
    from indelible.operation import About, Operation
    from indelible.redact.ordinary import Told
    from indelible.shipper.companion import Companion
    from indelible.shipper.echo import Echo
    from indelible.sink_settings import SinkSettings
    from indelible.trail.batching import Batchers

log = logging.getLogger("indelible")


class Recorder:
    """Records events into one trail. Safe to use from any thread; a context manager."""

    def __init__(
        self, writer: SharedWriter | None, settings: Settings, caller: Caller, on_failure: OnFailure
    ) -> None:
        """Without a trail (`audit.enabled: false`) everything is accepted and nothing kept."""
        self.settings = settings
        self.caller = caller
        self.on_failure = on_failure
        self.notice: str | None = None
        """One line for the operator when something is not as they asked, such as the trail's path."""
        self._writer = writer
        self._sweeper: Sweeper | None = None
        self._companion: Companion | None = None
        self._echo: Echo | None = None
        self._batchers: Batchers | None = None
        self._records = writer is not None
        """Whether there is a trail at all, open or closed."""
        identity = writer.recorder if writer else events.RecorderId(id="disabled")
        if writer is None:
            self._gap = Gap()
            key, key_id = keys.derive_digest_key(b"\0" * keys.HMAC_SECRET_BYTES, identity.id)
            token_key = b""
        else:
            access = durable.access_for(settings.audit.group)
            self._gap = Gap(
                writer.layout,
                access,
                identity.id,
                timeout=settings.audit.write_timeout,
            )
            writer.tell_late(self._gap.late)
            (key, key_id), token_key = writer.digest_key, writer.token_key
        self._redactor = Redactor(
            settings.redaction,
            hmac_key=key,
            hmac_key_id=key_id,
            record_args=settings.audit.record_args,
            record_results=settings.audit.record_results,
            recorder=identity,
            token_key=token_key,
        )
        self.definitions = DefinitionStore(self._definitions())

    @property
    def enabled(self) -> bool:
        """Tell whether anything is recorded at all."""
        return self._writer is not None

    def _definitions(self) -> Path | None:
        """Where it is kept what servers' tools look like: beside the trail, or with this user if that is another's."""
        if self._writer is None:
            return None
        if isinstance(self._writer, ServiceWriter):
            return configfile.state_home() / "indelible" / "definitions"
        return self._writer.layout.definitions

    @property
    def path(self) -> Path | None:
        """The trail's active file; None when that is a service's."""
        if self._writer is None or isinstance(self._writer, ServiceWriter):
            return None
        return self._writer.layout.active

    def shares(self, other: Recorder) -> bool:
        """Tell whether two recorders add to one trail: it may have been opened twice, here and by its name."""
        if other is self:
            return True
        mine, theirs = self._writer, other._writer
        if mine is None or theirs is None:
            return False
        return mine.layout.active.absolute() == theirs.layout.active.absolute()

    @property
    def closed(self) -> bool:
        """Tell whether it was closed: nothing is recorded any more."""
        return self._records and self._writer is None

    @property
    def waits(self) -> bool:
        """Tell whether `record` waits for a disk or for another process: an event loop takes `arecord` then."""
        writer = self._writer
        return writer is not None and writer.waits

    def record(self, event: Event) -> None:
        """Record one event; see the module for what happens when that cannot be done."""
        writer = self._writer
        if writer is None:
            return self._unrecorded(event)
        body = self._redactor.redact(event)
        try:
            if self._gap.open:
                self._gap.catch_up(writer)
            if event.event_type == "mcp_operation":
                request = event.request
                writer.append(body, "", (request.intent or "") if request is not None else "")
            else:
                writer.append(body, *_intent_of(event))
        except TrailUnavailable as exc:
            if self.on_failure == "deny":
                self._doubt(exc, event)
                raise
            self._gap.lose(exc, event.timestamp, body)

    def record_intent(self, call: Told) -> bool:
        """Record a call's intent, and note its id there, without an event of its own; see `record_outcome`."""
        writer = self._writer
        if writer is None or self._gap.open:
            return False
        event_id = events.new_id()
        body = self._redactor.started(call, event_id)
        if body is None:
            return False
        call.intent = event_id
        try:
            writer.append(body, event_id, "")
        except TrailUnavailable as exc:
            if self.on_failure == "deny":
                raise
            self._gap.lose(exc, call.timestamp, body)
        return True

    def record_outcome(self, call: Told, kind: Kind, latency_ms: float, result: Any) -> bool:
        """Record a call's outcome without an event of its own, which most need not; False: it does, nothing is done.

        See `record` for what happens when it cannot be recorded.
        """
        writer = self._writer
        if writer is None or self._gap.open:
            return False
        event_id = call.outcome_id = events.new_id()
        body = self._redactor.concluded(call, event_id, kind, latency_ms, result)
        if body is None:
            return False
        try:
            writer.append(body, "", call.intent or "")
        except TrailUnavailable as exc:
            if self.on_failure == "deny":
                if isinstance(exc, NotInTime):
                    self._gap.doubt(event_id)
                raise
            self._gap.lose(exc, call.timestamp, body)
        return True

    async def arecord(self, event: Event) -> None:
        """Like `record`; at `disk` durability other tasks run while the disk is waited for."""
        writer = self._writer
        if writer is None or not writer.waits:
            self.record(event)
            return
        item = Item(self._redactor.redact(event), *_intent_of(event))
        if self._batchers is None:  # asyncio takes memory and time of those who never use it
            from indelible.trail.batching import Batchers

            self._batchers = Batchers(writer)
        batcher = self._batchers.here()
        future: Future[None] | None = None
        try:
            if self._gap.open and not batcher.hung:  # else the loop would wait, in vain
                self._gap.catch_up(writer)
            future = batcher.add(item)
            await future
        except TrailUnavailable as exc:
            if self.on_failure == "deny":
                self._doubt(exc, event)
                raise
            self._gap.lose(exc, event.timestamp, item.body)
        except BaseException:
            if future is not None:
                batcher.forsake(future, partial(self._unheard, event, item))
            raise

    def _unheard(self, event: Event, item: Item, exc: TrailUnavailable) -> None:
        """An event is not recorded, or not in time, and its task was cancelled: nobody else can say so, or owe it."""
        if self.on_failure == "allow":
            self._gap.lose(exc, event.timestamp, item.body)
        elif event.event_type != "mcp_operation_started":  # a call whose intent this is was not made
            self._doubt(exc, event)
            self._gap.refuse(item, event.timestamp)

    def _doubt(self, exc: TrailUnavailable, event: Event) -> None:
        """Note that an event may come yet: an outcome, or what is nobody's call. See `refuse`."""
        if isinstance(exc, NotInTime) and event.event_type != "mcp_operation_started":
            self._gap.doubt(event.event_id)

    def prepare(self, args: Any, target: Target | None, source: Source | None) -> Any:
        """Redact the arguments of a call once for all of its events, at a time that delays nobody.

        What is returned stands for `args` in events with the very same `target`.
        """
        return args if self._writer is None else self._redactor.prepare(args, target, source)

    def refuse(self, event: Event) -> None:
        """Remember a call that was refused because it could not be recorded, until it can be.

        `event` is its outcome: kind ``denied``, `error_type` ``audit_unavailable``. It has the `event_id` of the
        outcome that could not be recorded, if there was one: when that was only late, and comes, nothing is owed.
        """
        if not self._records:
            return
        self._gap.refuse(Item(self._redactor.redact(event), *_intent_of(event)), event.timestamp)

    def lost(self, why: str) -> None:
        """Count an event that never came to be, by a fault of ours: it is lost like one that could not be written."""
        if self._records:
            self._gap.lose(TrailUnavailable(why), events.now(), b"")

    def record_or_owe(self, event: Event) -> None:
        """Record what is nobody's call, such as a definition that changed: when that cannot be done now, it is owed.

        There is nothing to refuse, so this does not raise TrailUnavailable, under ``deny`` either.
        """
        try:
            self.record(event)
        except TrailUnavailable:
            self.refuse(event)

    def operation(
        self, method: str, name: str | None = None, *, args: Any = None, **about: Unpack[About]
    ) -> Operation:
        """Return a context manager that makes exactly one `mcp_operation` of what happens in it.

        See `indelible.operation.About` for `about`; anything else is a TypeError.
        """
        from indelible.operation import Operation

        return Operation(self, method, name, args=args, **about)

    def learn(self, backend: str, tools: Sequence[Tool]) -> None:
        """Take in what a server's tools look like: their marks hold from now on, and after a restart too."""
        for tool in tools:
            self._redactor.learn(backend, tool.name, tool.marks, tool.results)
        self.definitions.save(backend, tools)

    def recall(self, backend: str) -> dict[str, Tool]:
        """Return what is known of a server's tools from earlier, by name, and let their marks hold."""
        known = self.definitions.load(backend)
        for tool in known.values():
            self._redactor.learn(backend, tool.name, tool.marks, tool.results)
        return known

    def text(self, text: str) -> str:
        """Return a text with secrets and personal data taken out, for a line of our own on stderr."""
        return self._redactor.text(text)

    def word(self, key: str, text: str) -> str:
        """Return what may be kept of a text that stands under `key` in a tool's definition."""
        return self._redactor.word(key, text)

    def sweep(self) -> None:
        """Look after trails beside this one whose recorders died, in the background."""
        if self._writer is not None and not isinstance(self._writer, ServiceWriter):
            path = Path(str(self.settings.audit.path))
            self._sweeper = Sweeper(path, self.settings.audit)

    def ship(self) -> None:
        """See to it that the trail is shipped and watched while this process holds it, where that is configured."""
        wanted = self.settings.audit.sinks or self.settings.alerts is not None
        if wanted and isinstance(self._writer, SharedWriter):
            from indelible._version import __version__
            from indelible.shipper.companion import companion_of

            writer = self._writer
            self._companion = companion_of(
                self.settings, writer.layout, __version__, lambda: writer.holder is not None
            )

    def keep_for_sinks(self) -> None:
        """Let sinks begin with this trail's first event, whenever it is shipped: nobody ships a side trail by himself.

        Another process ships to the same destinations just now, and some of these take one sender only.
        """
        if self.settings.audit.sinks and isinstance(self._writer, SharedWriter):
            from indelible.shipper.place import begin

            with contextlib.suppress(OSError, TrailError):  # whoever ships says what is wrong
                begin(
                    self._writer.layout,
                    self.settings.audit.sinks,
                    durable.access_for(self.settings.audit.group),
                )

    def reload_sinks(self) -> None:
        """Have the shipper read the configuration again. May be called by a signal's handler."""
        if self._companion is not None:
            self._companion.reload()

    def echo(self, sink: SinkSettings | None) -> None:
        """Write what is recorded from now on to standard error, too, when the environment asks for that."""
        if sink is not None and sink.type == "stderr" and self._writer is not None:
            from indelible.shipper import echo

            self._echo = echo.begin(self._writer.layout, sink, self._writer.recorder)

    def report_the_dead(self) -> None:
        """Record how much other recorders of this trail lost that are gone."""
        if self._writer is not None:
            report_the_dead(self._writer.layout, self._writer, holds=self._writer.holder is not None)

    def _unrecorded(self, event: Event) -> None:
        """There is no trail: it is switched off, which is no error, or closed, which is."""
        if not self.closed:
            return
        closed = TrailUnavailable("the trail is closed")
        if self.on_failure == "deny":
            raise closed
        log.error("an event was not recorded: the trail is closed")
        self._gap.lose(closed, event.timestamp, b"")  # the next recorder says so

    def close(self) -> None:
        """Record what is owed, write and seal everything, then `audit_stopped`. May be called twice.

        On top of a call that it interrupted (in a signal's handler) it returns at once: see `SharedWriter.close`.
        """
        if stands_on_a_call_of_ours():
            threading.Thread(target=self._close, name="indelible-close", daemon=False).start()
        else:
            self._close()

    def _close(self) -> None:
        self.report_the_dead()
        writer, self._writer = self._writer, None
        atexit.unregister(self.close)
        if self._sweeper is not None:
            self._sweeper.stop()
        if writer is not None:
            if self._gap.open:
                writer.try_again()
                with contextlib.suppress(TrailUnavailable):
                    self._gap.catch_up(writer, last=True)
            writer.close()
            self._gap.close()  # what is owed still is the next recorder's to say
        companion, self._companion = self._companion, None
        if companion is not None:
            companion.close()  # after the last line was sealed: it is to be shipped, too
        export, self._echo = self._echo, None
        if export is not None:
            export.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _intent_of(event: Event) -> tuple[str, str]:
    """Return the intent that an event opens, and the one that it closes; empty for none."""
    if event.event_type == "mcp_operation":
        request = event.request
        return "", (request.intent or "") if request is not None else ""
    if event.event_type == "mcp_operation_started":
        return event.event_id, ""
    return "", ""
