"""Calls that became background tasks: carrying one out is an operation of its own, which continues the call.

The rules that live here:

- a call that was answered with a task is ``completed``: accepted. The *execution* of the task is another call, without
  a request of its own on any wire: it begins, with its intent, before the client hears of the task, and ends with what
  is first heard of its end: an answer to who asks about the task (`Tasks.heard`), or who follows the worker
  (`Tasks.ended`);
- its end is recorded before the answer that tells of it is released;
- a task whose end nobody hears of leaves its intent: when the process is gone, the next start says ``interrupted``.

Sources: MCP 2025-11-25, "Tasks"; SEP-2663 (``io.modelcontextprotocol/tasks``).
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Raw

from indelible.capture import meta, task_ends
from indelible.capture.calling import Audited, Incoming, OpenCall
from indelible.capture.outcomes import Verdict
from indelible.capture.task_ends import MAX_TASKS, TOO_MANY


class Tasks:
    """The tasks of one server that are under way."""

    def __init__(self, audited: Audited) -> None:
        """`audited` makes the events."""
        self._audited = audited
        self._open: dict[str, OpenCall] = {}
        self.follow: Callable[[str, OpenCall], None] | None = None
        """Told of each task that is accepted, by who can see how it ends without being asked."""

    @staticmethod
    def concerns(call: OpenCall, verdict: Verdict) -> bool:
        """Tell whether `answered` may have anything to do."""
        return verdict.metadata is not None or call.incoming.method == task_ends.CANCEL

    async def answered(self, call: OpenCall, verdict: Verdict) -> None:
        """Let the execution begin, when a call was answered with a task; or end, when it has cancelled one.

        Raises TrailUnavailable: the answer must be withheld.
        """
        if call.incoming.method == task_ends.CANCEL:
            result = verdict.result
            await self.heard(task_ends.CANCEL, None, meta.mapping(result) if type(result) is Raw else result)
        task = task_ends.accepted(verdict)
        if task is None or task in self._open:
            return
        asked = call.incoming
        incoming = Incoming(
            method=asked.method,
            name=asked.name,
            continues=call.request_id,
            trace_id=asked.trace_id,
            span_id=asked.span_id,
            metadata={"task": task},
            effects=asked.effects,
        )
        opened = await self._audited.abegin(incoming, call.peer)
        if call.target.original_name is not None:
            opened.learn(original_name=call.target.original_name)
        self._open[task] = opened
        if len(self._open) > MAX_TASKS:
            self.ended(next(iter(self._open)), Verdict("interrupted", error=TOO_MANY))
        if self.follow is not None:
            self.follow(task, opened)

    async def heard(self, method: str, params: object, result: object) -> None:
        """Take an answer about a task, in the wire's form: an end is recorded before it goes on.

        Raises TrailUnavailable: the answer must be withheld.
        """
        told = task_ends.end_of(method, params, result)
        opened = self.take(told[0]) if told is not None else None
        if told is not None and opened is not None:
            await opened.afinish(told[1])

    def take(self, task: str) -> OpenCall | None:
        """Return the execution of a task whose end is about to be recorded; None when that is known already."""
        return self._open.pop(task, None)

    def ended(self, task: str, verdict: Verdict) -> None:
        """Record how a task ended that nobody has asked about; never raises TrailUnavailable."""
        opened = self._open.pop(task, None)
        if opened is not None:
            opened.finish_unasked(verdict)
