"""`AuditASGI` in front of apps that use the interface, or guard it, each in a way of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.middleware.base import BaseHTTPMiddleware

from indelible.asgi import AuditASGI
from indelible.capture import http_sessions
from indelible.recorder import Recorder
from tests.recording import full_disk
from tests.unit.capture.test_asgi import (
    STREAM,
    Client,
    Handler,
    answering,
    ask,
    bytes_of,
    call,
    event,
    kinds,
    operations,
    result,
    run,
    scope,
    until,
    whole,
)

FORMS: dict[str, tuple[bytes, str]] = {
    "one body": (bytes_of(result(7, isError=True)), "application/json"),
    "a stream": (event(result(7, isError=True)), "text/event-stream"),
}


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("made", [bytearray, memoryview])
def test_any_bytes_like_object_is_a_body(made: Callable[[bytes], Any], form: str, trail: Path) -> None:
    data, kind = FORMS[form]

    async def work(recorder: Recorder) -> None:
        for pieces in ([data], [data, b""], [data[:9], data[9:]]):
            app = AuditASGI(answering([made(piece) for piece in pieces], kind=kind), recorder)
            client = Client([made(bytes_of(call(7)))])
            await app(scope(), client.receive, client.send)
            assert client.body == data

    run(trail, work)
    assert kinds(trail) == [("tool_error", None)] * 3
    assert operations(trail, "audit_gap") == []


def test_headers_that_can_be_read_once_go_out(trail: Path) -> None:
    async def app(_: Any, receive: Any, send: Any) -> None:
        await whole(receive)
        headers = (pair for pair in [(b"content-type", b"text/event-stream"), (b"x-own", b"1")])
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": event(result(7))})

    async def work(recorder: Recorder) -> None:
        client = await ask(AuditASGI(app, recorder), call(7))
        assert (b"x-own", b"1") in client.sent[0]["headers"]

    run(trail, work)
    assert kinds(trail) == [("completed", None)]


def early(form: str, seen: list[bytes]) -> Handler:
    """Return an app that answers before it has read what it is asked."""
    data, kind = FORMS[form]

    async def app(_: Any, receive: Any, send: Any) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind.encode())]}
        await send(start)
        seen.append(await whole(receive))
        await send({"type": "http.response.body", "body": data})

    return app


@pytest.mark.parametrize("form", FORMS)
def test_an_app_that_answers_before_it_has_read(form: str, trail: Path) -> None:
    async def work(recorder: Recorder) -> None:
        pieces = [bytes_of(call(7))[:20], bytes_of(call(7))[20:]]
        client = await ask(AuditASGI(early(form, []), recorder), pieces)
        assert client.body == FORMS[form][0]

    run(trail, work)
    assert kinds(trail) == [("tool_error", None)]


@pytest.mark.parametrize("form", FORMS)
def test_of_such_an_app_nothing_goes_out_unrecorded(form: str, trail: Path) -> None:
    seen: list[bytes] = []

    async def filling(about: Any, receive: Any, send: Any) -> None:
        async def reading() -> Any:
            message = await receive()
            full.__enter__()
            return message

        await early(form, [])(about, reading, send)

    async def work(recorder: Recorder) -> None:
        with full_disk():
            client = await ask(AuditASGI(early(form, seen), recorder), call(7))
        assert (client.body, seen) == (b"", [])
        client = await ask(AuditASGI(filling, recorder), call(7))
        full.__exit__(None, None, None)
        assert b"isError" not in client.body

    full = full_disk()
    run(trail, work, on_failure="deny")
    assert [line["outcome"]["error_type"] for line in operations(trail)] == ["audit_unavailable"] * 2


@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("gone", [True, False])
def test_the_client_is_looked_for_through_middleware(gone: bool, layers: int, trail: Path) -> None:
    async def passing(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    async def work(recorder: Recorder) -> None:
        app: Any = AuditASGI(answering([bytes_of(result(1))]), recorder)
        for _ in range(layers):
            app = BaseHTTPMiddleware(app, passing)
        await ask(app, call(1), gone_after=0 if gone else None)

    run(trail, work)
    assert kinds(trail) == [("cancelled" if gone else "completed", None)]


SAYS: dict[str, dict[str, Any]] = {
    "that a call is cancelled": {
        "jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5, "reason": "mine"}
    },
    "what the user has answered": {"jsonrpc": "2.0", "id": "q1", "result": {"action": "accept"}},
    "who the client is": {
        "jsonrpc": "2.0", "id": 9, "method": "initialize",
        "params": {"clientInfo": {"name": "mallory", "version": "1"}, "protocolVersion": "2024-11-05"},
    },
}  # fmt: skip
QUESTION = {"jsonrpc": "2.0", "id": "q1", "method": "elicitation/create", "params": {"message": "Sure?"}}


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_who_knows_a_sessions_id_says_nothing_of_it_when_refused(status: int, trail: Path) -> None:
    """By an app that reads a request before it looks at who sent it."""

    async def work(recorder: Recorder) -> None:
        refused = asyncio.Event()

        async def app(about: Any, receive: Any, send: Any) -> None:
            body = json.loads(await whole(receive))
            if b"authorization" not in dict(about["headers"]):
                await answering([b"{}"], status=status, read=False)(about, receive, send)
                return
            pieces = [event(QUESTION), event(result(body["id"]))]
            await send(
                {
                    "type": "http.response.start",
                    "status": 200,
                    "headers": [(b"content-type", b"text/event-stream")],
                }
            )
            await send({"type": "http.response.body", "body": pieces[0], "more_body": True})
            await refused.wait()
            await send({"type": "http.response.body", "body": pieces[1], "more_body": False})

        audited = AuditASGI(app, recorder)
        session = audited.session()
        audited.began(session, "s1")
        session.client = "ada/1"
        about = scope(mcp_session_id="s1", authorization="Bearer x")
        calling = asyncio.ensure_future(ask(audited, call(5), about))
        await until(lambda: operations(trail, "mcp_operation_started"))
        for said in SAYS.values():
            assert (await ask(audited, said, scope(mcp_session_id="s1"))).status == status
        refused.set()
        await calling
        await ask(audited, call(6), about)

    run(trail, work)
    assert kinds(trail) == [("completed", None)] * 2
    assert operations(trail, "elicitation") == []
    assert [line["source"]["client"] for line in operations(trail)] == ["ada/1"] * 2


@pytest.mark.parametrize(
    "answer", [b"", event({"jsonrpc": "2.0", "id": 5, "error": {"code": 0, "message": "no"}})]
)
def test_a_server_that_cancels_before_it_says_so(answer: bytes, trail: Path) -> None:
    async def work(recorder: Recorder) -> None:
        cancelled, over = asyncio.Event(), asyncio.Event()

        async def app(about: Any, receive: Any, send: Any) -> None:
            body = json.loads(await whole(receive))
            if body["method"] == "notifications/cancelled":
                cancelled.set()
                await over.wait()
                await answering([b""], status=202, read=False)(about, receive, send)
                return
            await cancelled.wait()
            await answering([answer], kind="text/event-stream", read=False)(about, receive, send)
            over.set()

        audited = AuditASGI(app, recorder)
        audited.began(audited.session(), "s1")
        calling = asyncio.ensure_future(ask(audited, call(5), scope(mcp_session_id="s1")))
        await until(lambda: operations(trail, "mcp_operation_started"))
        await ask(audited, SAYS["that a call is cancelled"], scope(mcp_session_id="s1"))
        await calling

    run(trail, work)
    assert kinds(trail) == [("cancelled", None)]
    assert operations(trail)[0]["outcome"]["error"] == "mine"


@pytest.mark.parametrize("first", ["the break", "the return"])
def test_a_client_that_has_come_back_is_waited_for(
    first: str, trail: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server may close a stream long before it answers, and the client then asks on another one."""
    monkeypatch.setattr(http_sessions, "RESUME_S", 0.01)

    async def work(recorder: Recorder) -> None:
        broken, back, answer = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def app(about: Any, receive: Any, send: Any) -> None:
            resumed = about["method"] == "GET"
            if not resumed:
                await whole(receive)
            await send(STREAM)
            await send({"type": "http.response.body", "body": b"id: 1\ndata:\n\n", "more_body": True})
            if resumed:
                back.set()
            await (answer if resumed else broken).wait()
            data = event(result(5)) if resumed and about["query_string"] else b""
            await send({"type": "http.response.body", "body": data, "more_body": False})

        audited = AuditASGI(app, recorder)
        audited.began(audited.session(), "s1")

        def resume(query: bytes) -> asyncio.Task[Client]:
            about = scope("GET", query=query, mcp_session_id="s1", last_event_id="1")
            return asyncio.ensure_future(ask(audited, b"", about))

        calling = asyncio.ensure_future(ask(audited, call(5), scope(mcp_session_id="s1")))
        await until(lambda: operations(trail, "mcp_operation_started"))
        if first == "the break":
            broken.set()
            await calling
        resuming = resume(b"last=1")
        await back.wait()
        broken.set()
        await calling
        known = audited.sessions.get("id s1")
        assert known is not None
        assert [waiting.timer for waiting in known.calls] == [None]
        answer.set()
        await resuming
        assert kinds(trail) == [("completed", None)]
        await ask(audited, call(6), scope(mcp_session_id="s1"))
        await resume(b"")  # which goes away with nothing
        await until(lambda: len(operations(trail)) == 2)

    run(trail, work)
    assert kinds(trail) == [("completed", None), ("cancelled", None)]
