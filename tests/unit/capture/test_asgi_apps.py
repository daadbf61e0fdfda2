"""`AuditASGI` in front of apps that use the interface, or guard it, each in a way of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from indelible.asgi import AuditASGI
from indelible.recorder import Recorder
from tests.recording import full_disk
from tests.unit.capture.test_asgi import (
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
