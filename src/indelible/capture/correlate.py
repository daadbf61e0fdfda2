"""MCP traffic to audit events, without I/O and without a clock: lines in, steps out.

The rules that may not move:

- every call makes exactly one ``mcp_operation``, whatever became of it, and in whatever order lines arrive;
- an intent precedes its outcome, and is in the step of the line that carries the call: the driver records a
  step's events *before* it forwards the line, so the intent is on record before the server sees the call, and
  the outcome before the client sees the answer;
- the lines themselves are never changed; what cannot be read is counted, not refused.

Which messages are calls stands in `methods`, how lines are read in `frames`, what an answer means in
`outcomes`. Times come from the driver: `now` is when the line was received, in ns since the epoch, `mono` the
same instant on the monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw

from indelible.capture import changes, frames, inputs, meta, methods, task_ends
from indelible.capture.calls import SMALL_FRAME, Call, Exchange, Peers, Round, Rounds, Session, Shape, Step
from indelible.capture.frames import ABSENT, DoubtfulMessage, Message, Parsed
from indelible.capture.meta import Meta
from indelible.capture.outcomes import Verdict, judge, judge_reply, notified, parting
from indelible.capture.outstanding import Outstanding
from indelible.capture.task_ends import Executions
from indelible.definitions import Tool, Word
from indelible.events import Event, Kind, Source, Target, format_time
from indelible.values import MEGABYTE

MAX_CALLS: Final = 65_536
"""Calls outstanding at once; the outcome of the oldest is then given up as ``interrupted``."""

MAX_OTHERS: Final = 4096
"""Other requests outstanding at once, each way; the oldest are forgotten."""

KEEP_ARGS: Final = 256 * 1024
"""Bytes of one call's arguments that are kept for its outcome; larger ones stand in its intent only."""

KEEP_ALL_ARGS: Final = 8 * MEGABYTE
"""The same for all outstanding calls together."""

Prepare = Callable[[Any, Target, Source], Any]
"""Given the arguments of a call with its target and source, returns what stands for them in its events."""

_PASS: Final = Step()


class Correlator:
    """One session between one client and one server. Not safe for threads: one driver feeds it."""

    def __init__(
        self,
        session: Session,
        tools: dict[str, Tool] | None = None,
        prepare: Prepare | None = None,
        word: Word | None = None,
        executions: Executions | None = None,
    ) -> None:
        """Start a session; `tools` is what is known of the server's tools from earlier, and is kept up to date.

        `prepare` may put something else in the place of arguments that more than one event will hold. `word` redacts
        what is kept of tools' definitions; without it only their digests are. `executions` are the tasks of a server
        that outlive its sessions; without them the session has its own, which end with it.
        """
        self._executions = executions or Executions()
        self._outlived = executions is not None
        self._session = session
        self._word = word
        self._prepare = prepare
        self._tools = {} if tools is None else tools
        self._peers = Peers(session)
        self._calls: Outstanding[Exchange] = Outstanding()
        self._asked: Outstanding[Exchange] = Outstanding()
        self._rounds = Rounds()
        self._open_calls = self._kept = 0
        self._gone: Kind | None = None
        self._gone_why = ""
        self.parting = False
        """The client sends no more, and its session ends: answers may still come, and it may read them."""
        self.asks_within: str | None = None
        """The request id of the call that the server's next line is sent from, when the driver knows."""
        self.answered = False
        """The server has given a good answer."""
        self.refused_start: str | None = None
        """The server's error to ``initialize``, until it gives a good answer."""
        self.counts: dict[str, int] = {}
        """Lines and answers that were passed on without being understood."""

    @property
    def outstanding(self) -> int:
        """How many calls wait for their answer."""
        return self._open_calls

    def caller(self, source: Source, protocol: str | None = None) -> None:
        """Take who calls from now on, as the transport knows it; the client's own name is added to it.

        `protocol` is the revision that it says, which counts as long as no message says one.
        """
        self._peers.note_source(source, protocol)

    def waiting(self, rpc_id: bytes) -> Call | None:
        """Return the call with this id that waits for its answer."""
        found = self._calls.newest(rpc_id)
        return found if isinstance(found, Call) else None

    # --- lines ---

    def from_client(self, frame: bytes, now: int, mono: int) -> Step:
        """Take one line from the client, with or without its LF."""
        message = frames.read(frame)
        step = None if message is None else self._again(message, frame, now, mono)
        return step or self._client(frames.parse_request(frame, message), frame, now, mono)

    def from_server(self, frame: bytes, now: int, mono: int) -> Step:
        """Take one line from the server, with or without its LF."""
        return self._server(frames.parse_answer(frame), frame, now, mono)

    def from_client_cut(self, head: bytes, tail: bytes, now: int, mono: int) -> Step:
        """Take a client's line of which only the ends were kept (`frames.SCAN_BYTES` each)."""
        return self._client(((frames.scan_ends(head, tail), b"{}"),), head, now, mono)

    def from_server_cut(self, head: bytes, tail: bytes, now: int, mono: int) -> Step:
        """Take a server's line of which only the ends were kept."""
        return self._server(((frames.scan_ends(head, tail), b"{}"),), head, now, mono)

    def _client(self, parsed: Parsed, frame: bytes, now: int, mono: int) -> Step:
        if not parsed:
            self._count_foreign("client_not_json", frame)
            return _PASS
        step: Step | None = None
        for message, text in parsed:
            if message.method is not UNSET:
                if message.id is not ABSENT or message.method in methods.CALLS:
                    step = step or Step()
                    self._request(step, message, text, now, mono)
                elif message.method == "notifications/cancelled":
                    step = step or Step()
                    self._cancel(step, self._calls, text, mono)
            elif message.result is not ABSENT or message.error is not ABSENT:
                step = step or Step()
                self._reply(step, message, text, mono)
            else:
                self._count("client_not_jsonrpc")
        return step or _PASS

    def _server(self, parsed: Parsed, frame: bytes, now: int, mono: int) -> Step:
        if not parsed:
            self._count_foreign("server_not_json", frame)
            return _PASS
        step: Step | None = None
        for message, text in parsed:
            if message.result is not ABSENT or message.error is not ABSENT:
                step = step or Step()
                self._answer(step, message, text, now, mono)
            elif message.method is UNSET:
                self._count("server_not_jsonrpc")
            elif message.id is not ABSENT:
                self._ask(message, text, now, mono)
            elif message.method == "notifications/cancelled":
                step = step or Step()
                self._cancel(step, self._asked, text, mono)
        return step or _PASS

    # --- the client's requests and the server's answers ---

    def _again(self, message: Message, frame: bytes, now: int, mono: int) -> Step | None:
        """Take a call that differs from an earlier one in its id and its arguments only: most do.

        None when it may be anything else. That no parser reads it differently was found out about the earlier one.
        """
        params = message.params
        if params is UNSET or params.arguments is ABSENT or params.meta is not ABSENT or self._gone is not None:
            return None
        shape = self._peers.shape(frames.outline_of(frame, message))
        if (
            shape is None
            or shape.name != params.name
            or shape.method != message.method
            or len(frame) > SMALL_FRAME
            or self._rounds.any
        ):
            return None
        call = Call(bytes(message.id), *shape, format_time(now), mono)
        call.args = params.arguments
        call.kept = memoryview(params.arguments).nbytes
        step = Step()
        self._open(step, call, mono)
        return step

    def _know_shape(self, message: Message, text: bytes, call: Call) -> None:
        """Remember a call that later ones may be like."""
        params = message.params
        if (
            type(message) is Message
            and params is not UNSET
            and params.arguments is not ABSENT
            and params.meta is ABSENT
            and params.request_state is UNSET
            and methods.describe(call.method).name == "name"
            and params.name is not UNSET
            and bytes(message.id).isdigit()
        ):
            shape = Shape(call.method, params.name, call.source, call.target)
            self._peers.know(frames.outline_of(text, message), shape)

    def _request(self, step: Step, message: Message, text: bytes, now: int, mono: int) -> None:
        method = str(message.method)
        has_id = message.id is not ABSENT
        carried = meta.read(message)
        if carried is not None:
            self._peers.note_request(carried)
        if not methods.is_call(method, has_id=has_id):
            if method == "initialize":
                self._peers.note_initialize(text)
            other = task_ends.asking(bytes(message.id), method, text)
            step.others.append(other)
            self._add_other(self._calls, other)
            return
        call, before = self._describe(message, text, carried, now, mono)
        if before is not None:
            said = meta.mapping(meta.raw_params(text) or ABSENT).get("inputResponses")
            step.events += inputs.answers(before, said, call.source, call.target, inputs.Moment(now, mono))
        call.has_id = has_id
        self._open(step, call, mono)
        self._know_shape(message, text, call)

    def _open(self, step: Step, call: Call, mono: int) -> None:
        """Let a call begin: what is recorded before it goes on, and what is remembered until its answer."""
        step.calls.append(call)
        large = call.kept > KEEP_ARGS or self._kept + call.kept > KEEP_ALL_ARGS
        if large or call.needs_intent(self._session.intent):
            if self._prepare is not None and call.args is not None and not large:
                call.args = self._prepare(call.args, call.target, call.source)
            step.events.append(call.start())
        if large:
            call.drop_args()
        self._kept += call.kept
        if not call.has_id:
            step.events.append(self._close(call, notified(), mono))
        elif self._gone is not None:
            step.events.append(self._close(call, Verdict(self._gone, error=self._gone_why), mono))
        else:
            self._calls.add(call)
            self._open_calls += 1
            if self._open_calls > MAX_CALLS:
                self._give_up(step, mono)

    def _describe(
        self, message: Message, text: bytes, carried: Meta | None, now: int, mono: int
    ) -> tuple[Call, Round | None]:
        method = str(message.method)
        how = methods.describe(method)
        params = message.params
        name: str | None = None
        args: Raw | None = None
        before = None
        if params is not UNSET:
            if how.name == "name":
                name = params.name if params.name is not UNSET else None
            elif how.name == "uri":
                name = params.uri if params.uri is not UNSET else None
            elif how.name == "ref":
                name = meta.completed_ref(text)
            if how.args == "arguments":
                args = params.arguments if params.arguments is not ABSENT else None
            elif how.args == "params":
                args = meta.raw_params(text)
            before = self._rounds.find(method, name, params, text)
        doubtful = message if isinstance(message, DoubtfulMessage) else None
        certain = doubtful is None or not doubtful.ambiguous
        target = self._peers.target(method, name, how, self._tools, certain=certain)
        call = Call(bytes(message.id), method, name, self._peers.source, target, format_time(now), mono)
        call.hold_args(args, text)
        call.continues = None if before is None else before.request_id
        if carried is not None:
            call.request_id, call.trace_id, call.span_id = meta.correlation(carried)
        if doubtful is not None:
            call.note(doubtful)
        return call, before

    def _answer(self, step: Step, message: Message, text: bytes, now: int, mono: int) -> None:
        found = self._calls.take(bytes(message.id))
        if found is None:
            self._count("unknown_answers")
            return
        if isinstance(found, Call):
            self._open_calls -= 1
            verdict = parting(judge(message, text)) if self.parting else judge(message, text)
            if verdict.kind == "input_required":
                self._rounds.open(found, verdict, mono)
            if isinstance(message, DoubtfulMessage):
                found.note(message)
            step.answers.append(found)
            step.events.append(self._close(found, verdict, mono))
            if verdict.metadata is not None:
                self._accept(step, found, verdict, now, mono)
        else:
            self._learn(step, found.method, message, now)
        self._hear(step, found, message, mono)
        if not self.answered:
            self._note_health(found, message)
        if text.find(b"serverInfo") >= 0:
            self._peers.note_result(message)

    def _accept(self, step: Step, call: Call, verdict: Verdict, now: int, mono: int) -> None:
        """Let the execution of a task begin, when a call was answered with one."""
        execution = self._executions.begin(call, verdict, now, mono)
        if execution is None:
            return
        step.begun.append(execution)
        if execution.needs_intent(self._session.intent):
            step.events.append(execution.start())
        given_up = self._executions.surplus()
        if given_up is not None:
            step.events.append(given_up.finish(Verdict("interrupted", error=task_ends.TOO_MANY), mono))

    def _hear(self, step: Step, asked: Exchange, message: Message, mono: int) -> None:
        """Take what an answer tells of a task's end."""
        ended = self._executions.end(asked, message)
        if ended is not None:
            call, verdict = ended
            step.ended.append((asked, call))
            step.events.append(call.finish(verdict, mono))

    def _note_health(self, found: Exchange, message: Message) -> None:
        if message.result is not ABSENT and (message.error is ABSENT or bytes(message.error) == b"null"):
            self.answered, self.refused_start = True, None
        elif found.method == "initialize":
            self.refused_start = judge(message, b"").error or "initialize was refused"

    def _learn(self, step: Step, method: str, message: Message, now: int) -> None:
        if method in ("initialize", "server/discover"):
            self._peers.note_result(message)
        if method != "tools/list" or message.result is ABSENT:
            return
        new, pairs = changes.learned(self._tools, meta.tools_of(message.result), self._word)
        if not new:
            return
        self._tools.update((tool.name, tool) for tool in new)
        self._peers.forget_targets()
        step.learned = tuple(self._tools.values())
        for old, tool in pairs:
            target = self._peers.target("tools/call", tool.name, methods.CALLS["tools/call"], self._tools)
            step.events.append(changes.changed(old, tool, self._peers.source, target, format_time(now)))

    def _cancel(self, step: Step, where: Outstanding[Exchange], text: bytes, mono: int) -> None:
        rpc_id, reason = meta.cancelled(text)
        found = where.take(rpc_id) if rpc_id is not None else None
        if isinstance(found, Call):
            if where is self._calls:
                self._open_calls -= 1
            step.events.append(self._close(found, Verdict("cancelled", error=reason), mono))

    def _give_up(self, step: Step, mono: int) -> None:
        why = f"more than {MAX_CALLS} calls were outstanding: no outcome was waited for"
        while self._open_calls > MAX_CALLS and (oldest := self._calls.oldest()) is not None:
            self._calls.remove(oldest)
            if isinstance(oldest, Call):
                self._open_calls -= 1
                step.events.append(self._close(oldest, Verdict("interrupted", error=why), mono))

    # --- the server's requests and the client's answers ---

    def _ask(self, message: Message, text: bytes, now: int, mono: int) -> None:
        method = str(message.method)
        if method not in methods.SERVER_CALLS:
            return
        how = methods.Method(method.partition("/")[0], None, "params", None)
        target = self._peers.target(method, None, how, {})
        asked = Call(bytes(message.id), method, None, self._peers.source, target, format_time(now), mono)
        asked.event_type = methods.SERVER_CALLS[method]
        asked.continues = self.asks_within
        if asked.continues is None and self._open_calls == 1:  # of several nobody can tell which one asks
            asked.continues = next(call.named() for call in self._calls if isinstance(call, Call))
        args = meta.raw_params(text)
        if args is not None and memoryview(args).nbytes <= KEEP_ARGS:
            asked.args = Raw(bytes(args))
        if isinstance(message, DoubtfulMessage):
            asked.note(message)
        self._add_other(self._asked, asked)

    def _reply(self, step: Step, message: Message, text: bytes, mono: int) -> None:
        found = self._asked.take(bytes(message.id))
        if isinstance(found, Call):
            step.events.append(found.finish(judge_reply(message, text), mono))

    # --- ends ---

    def end(self, kind: Kind, why: str, mono: int) -> list[Event]:
        """Close every call that waits, and from now on every new one at once: no answer will come.

        `kind` is ``cancelled`` when the client went, ``backend_unavailable`` when the server did.
        """
        if self._gone is None:
            self._gone, self._gone_why = kind, why
        events = []
        for where in (self._calls, self._asked):
            for waiting in where.drain():
                if isinstance(waiting, Call):
                    events.append(self._close(waiting, Verdict(kind, error=why), mono))
        self._open_calls = 0
        if not self._outlived:
            events += [call.finish(verdict, mono) for call, verdict in self._executions.drain(kind, why)]
        return events

    def forget(self, rpc_id: bytes) -> None:
        """Wait no longer for the answer to a request; nothing is recorded of its end."""
        found = self._calls.take(rpc_id)
        if isinstance(found, Call):
            self._open_calls -= 1
            self._kept -= found.kept

    def refuse(self, step: Step, recorded: Iterable[str], mono: int, why: str) -> tuple[bytes, list[Event]]:
        """Take back a line's calls because they could not be recorded; the line must not be forwarded.

        `recorded` holds the `event_id` of those of its events that were. Returns the line that answers the
        client, empty when nothing in it asked for an answer, and the outcomes to hand to the recorder.
        """
        done = set(recorded)
        mine = {call.outcome_id for call in step.calls} | {call.intent for call in step.calls}
        events = [event for event in step.events if event.event_id not in done and event.event_id not in mine]
        replies = []
        for call in step.calls:
            if self._calls.remove(call):
                self._open_calls -= 1
            if call.intent not in done:
                call.intent = None
            if call.outcome_id not in done:
                events.append(self._deny(call, why, mono))
            if call.has_id:
                replies.append(error_reply(call.rpc_id, f"refused: {why}"))
        for other in step.others:
            self._calls.remove(other)
            replies.append(error_reply(other.rpc_id, f"refused with the calls beside it: {why}"))
        return _line(replies), events

    def withhold(self, step: Step, recorded: Iterable[str], mono: int, why: str) -> tuple[bytes, list[Event]]:
        """Replace a line of answers because their outcomes could not be recorded.

        The calls have been carried out, but their results are not handed out; returned as by `refuse`.
        """
        done = set(recorded)
        events, replies = [], []
        for call in step.begun:
            if call.intent not in done:
                call.intent = None
        asked = [other.rpc_id for other, _ in step.ended if not isinstance(other, Call)]
        for call in (*step.answers, *(ended for _, ended in step.ended)):
            if call.outcome_id not in done:
                call.add_metadata({"answer_withheld": True})
                events.append(self._deny(call, why, mono))
        for rpc_id in (*(call.rpc_id for call in step.answers), *asked):
            replies.append(error_reply(rpc_id, f"carried out, but its result is withheld: {why}"))
        return _line(replies), events

    # --- small parts ---

    def _close(self, call: Call, verdict: Verdict, mono: int, event_id: str | None = None) -> Event:
        self._kept -= call.kept
        call.kept = 0
        return call.finish(verdict, mono, event_id=event_id)

    def _deny(self, call: Call, why: str, mono: int) -> Event:
        """Return the outcome that is owed: in the place of one that could not be recorded, if the call has one."""
        verdict = Verdict("denied", error=why, error_type="audit_unavailable")
        return self._close(call, verdict, mono, call.outcome_id or None)

    def _add_other(self, where: Outstanding[Exchange], other: Exchange) -> None:
        where.add(other)
        others = len(where) - (self._open_calls if where is self._calls else 0)
        if others > MAX_OTHERS:
            for waiting in where.drain():
                if where is self._calls and isinstance(waiting, Call):
                    where.add(waiting)
            self._count("forgotten_requests")

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def _count_foreign(self, what: str, frame: bytes) -> None:
        if frame.strip():  # an empty line is nobody's message
            self._count(what)


def error_reply(rpc_id: bytes, why: str) -> bytes:
    """Return a JSON-RPC 2.0 error (section 5.1) of our own, for a call that the server does not answer."""
    text = msgspec.json.encode(why)
    return b'{"jsonrpc":"2.0","id":%b,"error":{"code":-32603,"message":%b}}' % (rpc_id or b"null", text)


def _line(replies: list[bytes]) -> bytes:
    if not replies:
        return b""
    return (replies[0] if len(replies) == 1 else b"[" + b",".join(replies) + b"]") + b"\n"
