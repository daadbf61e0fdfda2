"""Who follows FastMCP 4's background tasks (``fastmcp[tasks]``): how one ends is recorded though nobody asks.

A docket worker carries a task out, in this process or, with Redis, in any other; no middleware is asked. So each task
is followed: the extension is asked about it as a client would ask, by the caller's own rights, ever more rarely, and at
once when the worker of this process has carried something out. What the extension says decides; it alone knows that
a finished run may only have asked for input.

What is used of the extension and of docket is looked for and not relied on: without it, a task's end is recorded
when the client asks about it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

from indelible.capture.calling import OpenCall
from indelible.capture.incoming import dumped
from indelible.capture.outcomes import INVALID_PARAMS, Verdict
from indelible.capture.task_ends import end_of
from indelible.capture.tasks import Tasks

log = logging.getLogger("indelible")

FIRST_S: Final = 0.02
"""Seconds until a task is asked about for the first time, and again after the worker has carried something out."""

AT_MOST_S: Final = 5.0
"""The longest that is waited between two questions: FastMCP's own default for clients."""

GROWTH: Final = 1.6
"""How much longer each wait is than the one before."""

STOPPED: Final = "the server stopped before the task's end was known"
FORGOTTEN: Final = "the task's end is not known any more"
_SLOT: Final = "indelible"


class Follower:
    """Follows the tasks of one server, each in an asyncio task of its own."""

    def __init__(self, fastmcp: Any, tasks: Tasks) -> None:
        """`fastmcp` is the server that was asked; `tasks` takes what is found out."""
        self._ref = weakref.ref(fastmcp)
        self._tasks = tasks
        self._running: dict[str, asyncio.Task[None]] = {}
        self._woken: dict[str, asyncio.Event] = {}

    def __call__(self, task: str, opened: OpenCall) -> None:
        """Follow a task, with the rights of who runs this: the caller."""
        docket = getattr(self._ref(), "_docket", None)
        if docket is None:
            return
        self._listen()
        self._woken[task] = asyncio.Event()
        self._running[task] = running = asyncio.ensure_future(self._follow(task, opened, docket))
        running.add_done_callback(lambda _: self._forget(task))

    def _forget(self, task: str) -> None:
        self._running.pop(task, None)
        self._woken.pop(task, None)

    def _listen(self) -> None:
        """Be woken by the worker of this process, after each run."""
        worker = getattr(self._ref(), "_worker", None)
        around = getattr(worker, "dependencies", None)
        if isinstance(around, dict) and _SLOT not in around:
            with contextlib.suppress(Exception):
                around[_SLOT] = _after_each_run(self._wake)

    def _wake(self, key: str) -> None:
        """Something has ended: ask about it. Its key has the task's id as a part (fastmcp_tasks, `keys`)."""
        for part in key.split(":"):
            woken = self._woken.get(part)
            if woken is not None:
                woken.set()

    async def _follow(self, task: str, opened: OpenCall, docket: Any) -> None:
        try:
            verdict = await self._end(task, opened, docket)
        except asyncio.CancelledError:  # the loop ends: nothing is awaited any more
            self._tasks.ended(task, Verdict("interrupted", error=STOPPED))
            raise
        except Exception as exc:  # noqa: BLE001 - theirs: the client may still ask
            log.warning("a background task is not followed: %s", type(exc).__name__)
            return
        if verdict is not None:
            self._tasks.ended(task, verdict)

    async def _end(self, task: str, opened: OpenCall, docket: Any) -> Verdict | None:
        """Return what became of a task; None when somebody else has recorded it."""
        woken, pause = self._woken[task], FIRST_S
        while not opened.closed:
            server = self._ref()
            if server is None or getattr(server, "_docket", None) is not docket:
                return Verdict("interrupted", error=STOPPED)
            woken.clear()
            verdict = await _asked(server, task)
            del server  # nobody is kept alive by a task that never ends
            if verdict is not None:
                return verdict
            await _wait(woken, pause)
            pause = FIRST_S if woken.is_set() else min(pause * GROWTH, AT_MOST_S)
        return None


async def _asked(server: Any, task: str) -> Verdict | None:
    """Ask the extension about a task; None when it is under way, or there is no answer now (Redis is away)."""
    from fastmcp_tasks.handlers import tasks_get

    try:
        told = end_of("tasks/get", None, dumped(await tasks_get(server, task)))
    except Exception as exc:  # noqa: BLE001
        if getattr(getattr(exc, "error", None), "code", None) == INVALID_PARAMS:
            return Verdict("interrupted", error=FORGOTTEN)
        return None
    return None if told is None else told[1]


async def _wait(woken: asyncio.Event, seconds: float) -> None:
    """Wait for an event; `asyncio.wait_for` may swallow a cancellation (cpython#86296, before 3.12)."""
    waiter = asyncio.ensure_future(woken.wait())
    try:
        await asyncio.wait([waiter], timeout=seconds)
    finally:
        waiter.cancel()


def _after_each_run(wake: Callable[[str], None]) -> Any:
    """Return a dependency of a docket worker: it is left when a run is over."""
    from docket.dependencies import Dependency, current_execution

    class AfterEachRun(Dependency):  # type: ignore[misc,type-arg,unused-ignore]
        async def __aenter__(self) -> None:
            return None

        async def __aexit__(
            self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
        ) -> None:
            with contextlib.suppress(Exception):
                wake(current_execution.get().key)

    return AfterEachRun()
