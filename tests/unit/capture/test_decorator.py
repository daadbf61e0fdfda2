"""`@audited`: one event of each call of a function of any kind, whatever became of it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import gc
import io
import json
import logging
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import Any
from unittest import mock
from unittest.mock import MagicMock

import pytest

import indelible
from indelible.capture.calling import Audited, Incoming, Peer, inside
from indelible.capture.outcomes import Verdict
from indelible.errors import ConfigError, TrailUnavailable
from indelible.recorder import Recorder
from indelible.trail.active import ActiveFile
from tests.recording import full_disk


def events(path: Path, *types: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [event for event in found if event["event_type"] in (types or ("mcp_operation",))]


def kinds(path: Path) -> list[str]:
    return [event["outcome"]["kind"] for event in events(path)]


def seen() -> str:
    known = indelible.current_request_id()
    assert known is not None
    return known


# --- every kind of function -----------------------------------------------------------------------------------


def test_functions_of_every_kind_leave_one_event_with_their_arguments(trail: Recorder, path: Path) -> None:
    audited = indelible.audited(trail=trail, backend="shop")

    class Shop:
        @audited
        def method(self, a: int, /, b: int = 2, *rest: int, c: int, **more: int) -> str:
            return seen()

        @audited
        @classmethod
        def of_class(cls, a: int) -> str:
            return seen()

        @classmethod
        @audited
        def of_class_too(cls, a: int) -> str:
            return seen()

        @audited
        @staticmethod
        def static(a: int) -> str:
            return seen()

        @audited
        async def later(self, a: int) -> str:
            await asyncio.sleep(0)
            return seen()

        def __call__(self, a: int) -> str:
            return seen()

    shop = Shop()
    ids = [
        shop.method(1, 2, 3, c=4, d=5),
        Shop.of_class(1),
        shop.of_class_too(1),
        shop.static(1),
        asyncio.run(shop.later(a=1)),
        audited(functools.partial(shop.__class__.__call__, shop))(1),
        audited(shop)(a=1),
        audited(lambda a: seen())(1),
        asyncio.run(audited(lambda: shop.later(1))()),
    ]
    found = events(path)
    nested = found.pop(-2)
    assert [event["request"]["request_id"] for event in found[:-1]] == ids[:-1]
    assert [event["request"].get("args") for event in found] == [
        {"a": 1, "b": 2, "rest": [3], "c": 4, "more": {"d": 5}},
        *[{"a": 1}] * 2,
        *[{"a": 1}] * 5,
        {},
    ]
    names = [event["target"]["capability_name"] for event in found]
    assert names == [
        "method",
        "of_class",
        "of_class_too",
        "static",
        "later",
        "__call__",
        "Shop",
        *["<lambda>"] * 2,
    ]
    assert {event["target"]["backend"] for event in found} == {"shop"}
    assert {event["source"]["caller"] for event in found} == {"library"}
    assert nested["metadata"]["within"] == found[-1]["request"]["request_id"]
    assert nested["request"]["request_id"] == ids[-1]
    assert indelible.current_request_id() is None


def test_the_stand_in_is_of_the_same_kind_and_looks_the_same() -> None:
    def plain(a: int, *, b: str = "x") -> None:
        """Say so."""

    async def coroutine() -> None: ...

    def generator() -> Iterator[int]:
        yield 1

    async def stream() -> AsyncIterator[int]:
        yield 1

    import inspect

    for fn in (plain, coroutine, generator, stream):
        made = indelible.audited(fn)
        for ask in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction):
            assert ask(made) == ask(fn)
        assert (made.__name__, made.__doc__, inspect.signature(made)) == (
            fn.__name__,
            fn.__doc__,
            inspect.signature(fn),
        )


@pytest.mark.parametrize("what", [int, 7, "f"])
def test_what_is_no_function_is_refused(what: Any) -> None:
    with pytest.raises(ConfigError, match="takes a function"):
        indelible.audited()(what)
    with pytest.raises(ConfigError, match="bound or none"):
        indelible.audited(args="all")  # type: ignore[call-overload]


# --- every outcome -------------------------------------------------------------------------------------------------


class RefusedError(Exception):
    """The tool's own."""


ENDS: list[tuple[Callable[[], Any], str, str | None]] = [
    (lambda: 7, "completed", None),
    (lambda: {"isError": True, "content": [{"type": "text", "text": "no"}]}, "tool_error", None),
    (lambda: _raise(RefusedError("no")), "tool_error", "RefusedError"),
    (lambda: _raise(TimeoutError("late")), "timed_out", "TimeoutError"),
    (lambda: _raise(asyncio.CancelledError()), "cancelled", "CancelledError"),
    (lambda: _raise(KeyboardInterrupt()), "cancelled", "KeyboardInterrupt"),
    (lambda: _raise(SystemExit(3)), "tool_error", "SystemExit"),
]


def _raise(exc: BaseException) -> Any:
    raise exc


@pytest.mark.parametrize(("end", "kind", "error_type"), ENDS)
@pytest.mark.parametrize("how", ["plain", "coroutine", "generator", "stream"])
def test_every_end(
    trail: Recorder, path: Path, how: str, end: Callable[[], Any], kind: str, error_type: str | None
) -> None:
    def plain() -> Any:
        return end()

    async def coroutine() -> Any:
        await asyncio.sleep(0)
        return end()

    def generator() -> Generator[int, None, Any]:
        yield 1
        return end()

    async def stream() -> AsyncIterator[int]:
        yield 1
        end()

    async def consumed() -> None:
        async for _ in indelible.audited(trail=trail)(stream)():
            pass

    run: Callable[[], Any] = {
        "plain": indelible.audited(trail=trail)(plain),
        "coroutine": lambda: asyncio.run(indelible.audited(trail=trail)(coroutine)()),
        "generator": lambda: list(indelible.audited(trail=trail)(generator)()),
        "stream": lambda: asyncio.run(consumed()),
    }[how]
    try:
        run()
    except BaseException as exc:  # noqa: BLE001 - goes on as it was
        assert type(exc).__name__ == error_type  # noqa: PT017
    else:
        assert error_type is None
    [event] = events(path)
    if how == "stream" and error_type is None:
        kind = "completed"
    assert (event["outcome"]["kind"], event["outcome"].get("error_type")) == (kind, error_type)
    [intent] = events(path, "mcp_operation_started")
    assert event["request"]["intent"] == intent["event_id"]
    if how in ("generator", "stream"):
        assert event["metadata"]["items"] == 1


@pytest.mark.parametrize(("end", "kind", "error_type"), ENDS[:-2])
def test_a_future_is_the_end_of_its_call(
    trail: Recorder, path: Path, end: Callable[[], Any], kind: str, error_type: str | None
) -> None:
    """What returns one has begun something; how that ends is what became of the call."""

    async def asked() -> None:
        gate = asyncio.Event()

        async def work() -> Any:
            await gate.wait()
            return end()

        made = indelible.audited(trail=trail)(lambda: asyncio.ensure_future(work()))()
        assert asyncio.isfuture(made)
        await asyncio.sleep(0)
        assert events(path) == []
        gate.set()
        await asyncio.wait([made])

    asyncio.run(asked())
    ready: concurrent.futures.Future[Any] = concurrent.futures.Future()
    assert indelible.audited(trail=trail)(lambda: ready)() is ready
    try:
        ready.set_result(end())
    except asyncio.CancelledError:
        ready.cancel()
    except Exception as exc:  # noqa: BLE001
        ready.set_exception(exc)
    both = events(path)
    assert [event["outcome"]["kind"] for event in both] == [kind, kind]
    if kind != "cancelled":
        assert [event["outcome"].get("error_type") for event in both] == [error_type] * 2


def test_what_only_looks_like_a_future_is_a_result(trail: Recorder, path: Path) -> None:
    made = MagicMock()
    assert indelible.audited(trail=trail)(lambda: made)() is made
    assert [event["outcome"]["kind"] for event in events(path)] == ["completed"]


def test_arguments_that_python_refuses_never_reached_the_function(trail: Recorder, path: Path) -> None:
    @indelible.audited(trail=trail)
    def strict(a: int) -> None:
        raise TypeError("mine")

    with pytest.raises(TypeError, match="unexpected"):
        strict(b=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="mine"):
        strict(1)
    assert kinds(path) == ["protocol_error", "tool_error"]
    assert events(path)[0]["outcome"]["error_code"] == -32602


def test_cancelled_from_outside(trail: Recorder, path: Path) -> None:
    @indelible.audited(trail=trail)
    async def waits() -> None:
        started.set()
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.ensure_future(waits())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    started = asyncio.Event()
    asyncio.run(main())
    assert kinds(path) == ["cancelled"]


def test_a_loop_that_ends_at_once_loses_no_outcome(trail: Recorder, path: Path) -> None:
    """What was cancelled by the end of the loop, inside `operation` and inside a function."""

    @indelible.audited(trail=trail)
    async def waits() -> None:
        await asyncio.Event().wait()

    async def operates() -> None:
        async with trail.operation("tools/call", "operates"):
            await asyncio.Event().wait()

    async def main() -> None:
        tasks = [asyncio.ensure_future(waits()), asyncio.ensure_future(operates())]
        await asyncio.sleep(0)
        assert len(tasks) == 2

    asyncio.run(main())
    assert kinds(path) == ["cancelled", "cancelled"]


# --- generators -----------------------------------------------------------------------------------------------------


def test_generators_pass_on_what_is_sent_thrown_and_returned(trail: Recorder, path: Path) -> None:
    @indelible.audited(trail=trail)
    def talk() -> Generator[Any, Any, str]:
        got = yield "first"
        try:
            yield got
        except KeyError:
            yield "caught"
        return "end"

    made = talk()
    assert events(path, "mcp_operation_started") == []  # nothing was asked for yet
    assert next(made) == "first"
    assert indelible.current_request_id() is None
    assert made.send("sent") == "sent"
    assert made.throw(KeyError("k")) == "caught"
    with pytest.raises(StopIteration) as stopped:
        next(made)
    assert stopped.value.value == "end"
    [event] = events(path)
    assert event["metadata"]["items"] == 3
    assert event["outcome"]["result_bytes"] == len('"end"')

    @indelible.audited(trail=trail)
    async def stream() -> AsyncGenerator[Any, Any]:
        got = yield "first"
        try:
            yield got
        except KeyError:
            yield seen()

    async def main() -> str:
        made = stream()
        assert await made.asend(None) == "first"
        assert indelible.current_request_id() is None
        assert await made.asend("sent") == "sent"
        inner = await made.athrow(KeyError("k"))
        with pytest.raises(StopAsyncIteration):
            await anext(made)
        return str(inner)

    assert asyncio.run(main()) == events(path)[-1]["request"]["request_id"]


def test_generators_that_are_left_are_closed_and_cancelled(trail: Recorder, path: Path) -> None:
    closed: list[str | None] = []
    finalised = asyncio.Event()

    @indelible.audited(trail=trail)
    def count() -> Iterator[int]:
        try:
            yield from range(10)
        finally:
            closed.append(indelible.current_request_id())

    @indelible.audited(trail=trail)
    async def stream() -> AsyncIterator[int]:
        try:
            for number in range(10):
                yield number
        finally:
            closed.append(indelible.current_request_id())
            finalised.set()

    async def main() -> None:
        async for number in stream():
            if number == 2:
                break  # finalised by the loop, in a context of its own
        await finalised.wait()

    for number in count():
        if number == 3:
            break
    gc.collect()
    asyncio.run(main())
    found = events(path)
    assert kinds(path) == ["cancelled", "cancelled"]
    assert [event["metadata"]["items"] for event in found] == [4, 3]
    assert [event["request"]["request_id"] for event in found] == closed
    assert {event["outcome"]["error"] for event in found} == {"closed before its end"}


def test_one_that_is_collected_on_top_of_an_append_does_not_wait_for_it(trail: Recorder, path: Path) -> None:
    @indelible.audited(trail=trail)
    def count() -> Iterator[int]:
        yield from range(10)

    def puts(self: ActiveFile, data: bytes) -> None:
        held.clear()  # as a collection in the middle of it does
        put(self, data)

    held, put = [count()], ActiveFile.put
    next(held[0])
    with mock.patch.object(ActiveFile, "put", puts), trail.operation("tools/call", "appended"):
        pass
    for thread in threading.enumerate():
        if thread.name == "indelible-audited":
            thread.join(30)
    assert sorted(kinds(path)) == ["cancelled", "completed"]


# --- one call, one event --------------------------------------------------------------------------------------------


def test_the_tool_of_an_open_call_is_that_call(trail: Recorder, path: Path) -> None:
    """A capture calls the tool; what the tool calls again by the same name is a call of its own."""

    @indelible.audited(trail=trail)
    def look(depth: int) -> int:
        return look(depth - 1) if depth else 0

    @indelible.audited(trail=trail)
    async def later() -> str:
        return seen()

    @indelible.audited(trail=trail)
    def items() -> Iterator[int]:
        yield from range(3)

    server = Audited(trail, backend="shop")
    peer = Peer(caller="http", user_id="ada", session_id="s1", protocol_version="2025-11-25")
    for name, run in (
        ("look", lambda: look(1)),
        ("later", lambda: asyncio.run(later())),
        ("items", lambda: list(items())),
    ):
        opened = server.begin(Incoming(method="tools/call", name=name, wire=(server, "1")), peer)
        with inside(opened):
            run()
        opened.finish(Verdict("completed"))
    inner, *outer = events(path)
    assert [event["target"]["backend"] for event in outer] == ["shop"] * 3
    assert inner["request"]["args"] == {"depth": 0}
    assert inner["metadata"]["within"] == outer[0]["request"]["request_id"]
    assert inner["source"]["caller"] == "library"


def test_what_another_call_calls_is_of_the_same_caller(trail: Recorder, path: Path) -> None:
    @indelible.audited(trail=trail, effects="read_only", args="none")
    def helper(secret: str) -> None: ...

    server = Audited(trail, backend="shop")
    peer = Peer(caller="http", user_id="ada", session_id="s1")
    with inside(server.begin(Incoming(method="tools/call", name="tool"), peer)):
        helper("x")
    [event] = events(path)
    assert (event["source"]["user_id"], event["source"]["session_id"]) == ("ada", "s1")
    assert event["target"]["effects"] == "read_only"
    assert "args" not in event["request"]
    assert "intent" not in event["request"]


def test_what_cannot_be_recorded_is_not_called(trail: Recorder, path: Path) -> None:
    called: list[str] = []

    @indelible.audited(trail=trail)
    def writes() -> None:
        called.append("writes")

    @indelible.audited(trail=trail, effects="read_only")
    def reads() -> int:
        called.append("reads")
        return 7

    with full_disk():
        with pytest.raises(TrailUnavailable):
            writes()
        with pytest.raises(TrailUnavailable):
            reads()
        with pytest.raises(TrailUnavailable), trail.operation("tools/call", "entered"):
            called.append("never")
        with pytest.raises(TrailUnavailable), trail.operation("tools/call", "left", effects="read_only"):
            called.append("left")
    writes()
    assert called == ["reads", "left", "writes"]
    refused = [event for event in events(path) if event["outcome"]["kind"] == "denied"]
    assert {event["target"]["capability_name"]: event.get("metadata") for event in refused} == {
        "writes": None,
        "reads": {"answer_withheld": True},
        "entered": None,
        "left": {"answer_withheld": True},
    }


# --- the id --------------------------------------------------------------------------------------------------------


def test_an_operation_gives_its_id_to_what_runs_in_it_and_to_logs(trail: Recorder, path: Path) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(indelible.RequestIdFilter())
    handler.setFormatter(logging.Formatter("%(request_id)s %(message)s"))
    log = logging.getLogger("shop.orders")
    log.addHandler(handler)
    log.propagate = False

    async def main() -> None:
        async with trail.operation("tools/call", "later") as op:
            ids.append(op.request_id)
            await asyncio.to_thread(log.warning, "in a thread")

    ids: list[str] = []
    try:
        log.warning("outside")
        with trail.operation("tools/call", "now", request_id="r-1", rpc_id='"7"', original_name="then"):
            log.warning("inside")
            with trail.operation("tools/call", "inner") as inner:
                assert indelible.current_request_id() == inner.request_id
            assert indelible.current_request_id() == "r-1"
        asyncio.run(main())
        log.warning("after")
    finally:
        log.removeHandler(handler)
    assert stream.getvalue().splitlines() == ["- outside", "r-1 inside", f"{ids[0]} in a thread", "- after"]
    now = events(path)[1]
    assert (now["request"]["rpc_id"], now["target"]["original_name"]) == ('"7"', "then")
