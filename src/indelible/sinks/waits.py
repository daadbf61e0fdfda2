"""Waiting that always ends: when something is ready, when its time is over, or when another thread says stop."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from indelible.sinks.base import SinkUnavailable
from indelible.trail import durable

T = TypeVar("T")

STOPPED = "it was stopped"


class Waits:
    """The one place in which a sink waits."""

    def __init__(self, timeout: float) -> None:
        """`timeout` in seconds, for one thing that is waited for."""
        self.timeout = timeout
        self.stopped = False
        self._end: float | None = None
        """When everything that is waited for now must be over."""
        self._bell: tuple[int, int] | None = None
        self._lock = threading.Lock()
        """Held while the descriptors are used by whoever stops, so that none is closed, and its number reused, then."""

    def stop(self) -> None:
        """End what is waited for, now and later. From any thread."""
        with self._lock:
            self.stopped = True
            if self._bell is not None:
                os.write(self._bell[1], b"\0")

    def close(self) -> None:
        """Give the descriptors back; they are made anew when they are needed."""
        with self._lock:
            for fd in self._bell or ():
                durable.close(fd)
            self._bell = None

    def check(self) -> None:
        """Raise SinkUnavailable when it was stopped."""
        if self.stopped:
            raise SinkUnavailable(STOPPED)

    def deadline(self) -> float:
        """Return when the time for something that begins now is over, on the monotonic clock."""
        due = time.monotonic() + self.timeout
        return due if self._end is None else min(due, self._end)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Have everything that is waited for meanwhile take no longer than the time-out, all in all."""
        self._end = time.monotonic() + self.timeout
        try:
            yield
        finally:
            self._end = None

    def ready(self, fd: int, events: int, deadline: float) -> int:
        """Wait for poll(2) events; return what came, 0 at the deadline. Raises SinkUnavailable when it is stopped."""
        poll = select.poll()
        poll.register(fd, events)
        poll.register(self._listen(), select.POLLIN)
        while True:
            self.check()
            left = deadline - time.monotonic()
            found = dict(poll.poll(max(0.0, left) * 1000))
            if fd in found:
                return found[fd]
            if left <= 0:
                return 0

    def pause(self, seconds: float) -> None:
        """Let so much time go by. Raises SinkUnavailable when it is stopped."""
        poll = select.poll()
        poll.register(self._listen(), select.POLLIN)
        poll.poll(seconds * 1000)
        self.check()

    def call(self, function: Callable[[], T]) -> T:
        """Return what a function returns that nobody can interrupt, and raise what it raises.

        It runs on a thread, which is left behind when it takes too long: TimeoutError. Raises SinkUnavailable when it
        is stopped.
        """
        done: list[Callable[[], T]] = []
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        thread = threading.Thread(
            target=_run, args=(function, done, theirs), name="indelible-sink", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            os.close(theirs)
            os.close(ours)
            raise SinkUnavailable("no thread can be started") from None
        try:
            if not self.ready(ours, select.POLLIN, self.deadline()):
                raise TimeoutError
        finally:
            os.close(ours)
        return done[0]()

    def _listen(self) -> int:
        with self._lock:
            if self._bell is None:
                self._bell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
                if self.stopped:
                    os.write(self._bell[1], b"\0")
            return self._bell[0]


def _run(function: Callable[[], T], done: list[Callable[[], T]], tell: int) -> None:
    try:
        result = function()
        done.append(lambda: result)
    except BaseException as exc:  # noqa: BLE001 - it is raised where it is waited for
        failure = exc

        def fail() -> T:
            raise failure

        done.append(fail)
    finally:
        os.close(tell)  # POLLHUP: whoever waits goes on
