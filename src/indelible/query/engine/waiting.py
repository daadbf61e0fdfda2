"""DuckDB at work, and Ctrl-C meanwhile.

DuckDB looks for signals between its tasks, where it does so at all, and one of them can last for minutes. So the main
thread, which alone is told of signals, does none of the work: it waits for a thread that does, and can be woken.

No thread that has to do with DuckDB is left when its work is done: one that lets go of a connection while the
interpreter ends takes the process down, with exit code 134.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

T = TypeVar("T")

AGAIN_S: Final = 0.05
"""An interruption that comes before the work has begun is lost on DuckDB: it is told again so often."""


def interruptible(connection: Any, work: Callable[[], T]) -> T:
    """Return what `work` returns, which is done by `connection`; what a signal's handler raises ends it.

    Raises what `work` raises. Called by another thread than the main one, it is done there.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    done: Future[T] = Future()

    def do() -> None:
        try:
            done.set_result(work())
        except BaseException as exc:  # noqa: BLE001 - it is raised where it was asked for
            done.set_exception(exc)

    worker = threading.Thread(target=do, name="indelible-query", daemon=True)
    worker.start()
    try:
        result = done.result()
    except BaseException:
        while worker.is_alive():
            connection.interrupt()
            worker.join(AGAIN_S)
        raise
    worker.join()
    return result
