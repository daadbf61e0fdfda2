"""How tasks end, as answers about them say it; and the tasks of traffic that is only looked at. Pure.

The rules of `tasks` hold here too, for captures that see lines and have no server of their own: the execution of a call
that was answered with a task begins in the step of that answer, and ends in the step of the answer that tells its end.

Sources: MCP 2025-11-25, "Tasks"; SEP-2663 (``io.modelcontextprotocol/tasks``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from indelible.capture import meta
from indelible.capture.calls import Call, Exchange
from indelible.capture.frames import ABSENT, Message, bounded
from indelible.capture.outcomes import Verdict, judge_error, judge_result
from indelible.events import Kind, format_time

MAX_TASKS: Final = 10_000
"""Tasks of one server that are waited for; the end of the oldest is given up."""

CANCEL: Final = "tasks/cancel"
ASKING: Final = frozenset({"tasks/get", "tasks/result", CANCEL})
"""Requests whose answers may tell a task's end."""

TOO_MANY: Final = f"more than {MAX_TASKS} tasks were under way: no end was waited for"


def end_of(method: str, params: object, result: object) -> tuple[str, Verdict] | None:
    """Return a task's id and what became of it, when an answer says that it has ended; never raises.

    `result` is that of ``tasks/get`` or ``tasks/cancel``, or of ``tasks/result``, which is the call's own.
    """
    if not isinstance(result, Mapping):
        return None
    if method == "tasks/result":
        task = params.get("taskId") if isinstance(params, Mapping) else None
        return (task, judge_result(result)) if isinstance(task, str) else None
    task, why = result.get("taskId"), result.get("statusMessage")
    if not isinstance(task, str):
        return None
    said = bounded(why) if isinstance(why, str) else None
    match result.get("status"):
        case "completed":
            inner = result.get("result")
            return task, judge_result(inner) if isinstance(inner, Mapping) else Verdict("completed")
        case "failed":
            return task, _failed(result.get("error"), said)
        case "cancelled":
            return task, Verdict("cancelled", error=said)
    return None


def _failed(error: Any, said: str | None) -> Verdict:
    """Judge a task that failed: SEP-2663 has the JSON-RPC error in the answer, 2025-11-25 only says that it did."""
    if isinstance(error, Mapping):
        return judge_error(error.get("code"), error.get("message"))
    return Verdict("tool_error", error=said)


def accepted(verdict: Verdict) -> str | None:
    """Return the task that a call was answered with."""
    return verdict.metadata.get("task") if verdict.metadata and verdict.kind == "completed" else None


class Asking(Exchange, eq=False):
    """A request about a task that waits for its answer."""

    task: Any = None


def asking(rpc_id: bytes, method: str, text: bytes) -> Exchange:
    """Return what waits for the answer to a request that is no call; `text` is the JSON that holds it."""
    if method not in ASKING:
        return Exchange(rpc_id, method)
    return Asking(rpc_id, method, meta.mapping(meta.raw_params(text) or ABSENT).get("taskId"))


def told_by(asked: Exchange, message: Message) -> tuple[str, Verdict] | None:
    """Return whose end, and which, the answer to a request tells."""
    if asked.method not in ASKING or message.result is ABSENT:
        return None
    task = asked.task if isinstance(asked, Asking) else None
    return end_of(asked.method, {"taskId": task}, meta.mapping(message.result))


class Executions:
    """The tasks of one server that are under way."""

    def __init__(self) -> None:
        """Know of none."""
        self._open: dict[str, Call] = {}

    def begin(self, call: Call, verdict: Verdict, now: int, mono: int) -> Call | None:
        """Return the execution of a call that was answered with a task; None for any other."""
        task = accepted(verdict)
        if task is None or task in self._open:
            return None
        made = Call(b"null", call.method, call.name, call.source, call.target, format_time(now), mono)
        made.has_id, made.continues = False, call.named()
        made.trace_id, made.span_id = call.trace_id, call.span_id
        made.add_metadata({"task": task})
        self._open[task] = made
        return made

    def surplus(self) -> Call | None:
        """Return the oldest when there are more than the limit: its end is waited for no more."""
        return self._open.pop(next(iter(self._open))) if len(self._open) > MAX_TASKS else None

    def end(self, asked: Exchange, message: Message) -> tuple[Call, Verdict] | None:
        """Return the execution whose end an answer tells, and what became of it."""
        told = told_by(asked, message) if self._open else None
        ended = None if told is None else self._open.pop(told[0], None)
        return None if told is None or ended is None else (ended, told[1])

    def drain(self, kind: Kind, why: str) -> list[tuple[Call, Verdict]]:
        """Return all of them, and wait for none: their server died with them, or nobody will hear of their ends."""
        kind = kind if kind == "backend_unavailable" else "interrupted"
        ended = [(call, Verdict(kind, error=why)) for call in self._open.values()]
        self._open.clear()
        return ended
