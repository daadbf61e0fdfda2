"""`AuditASGI` in front of small apps: what goes by is not changed by a byte, and what is recorded is what happened."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import importlib.util
import itertools
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

import indelible
from indelible.asgi import AuditASGI
from indelible.capture import http_sessions
from indelible.capture.frames import SCAN_BYTES
from indelible.opening import open_trail
from indelible.recorder import Recorder
from tests.effort import examples
from tests.recording import full_disk

JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
STREAM = {
    "type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]
}  # fmt: skip
Handler = Callable[[Any, Any, Any], Awaitable[None]]


def call(rpc_id: Any, name: str = "pay", mark: str | None = None, **arguments: Any) -> dict[str, Any]:
    params: dict[str, Any] = {"name": name, "arguments": arguments}
    if mark:
        params["_meta"] = {"request_id": mark}
    return {"jsonrpc": "2.0", "id": rpc_id, "method": "tools/call", "params": params}


def result(rpc_id: Any, **more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": rpc_id, "result": {"content": [], **more}}


def bytes_of(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


class Client:
    """One request, piece by piece; after `gone_after` messages of the response the client is not there any more."""

    def __init__(self, pieces: list[bytes], gone_after: int | None = None) -> None:
        self._pieces = pieces
        self._gone_after = gone_after
        self._changed = asyncio.Event()
        self.sent: list[dict[str, Any]] = []
        self.leave = asyncio.Event()
        if gone_after == 0:
            self.leave.set()

    async def receive(self) -> dict[str, Any]:
        if self._pieces:
            body = self._pieces.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(self._pieces)}
        await self.leave.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        if len(self.sent) == self._gone_after or self.complete:
            self.leave.set()

    @property
    def complete(self) -> bool:
        return bool(self.sent) and self.sent[-1]["type"].endswith("body") and not self.sent[-1].get("more_body")

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])


def scope(method: str = "POST", path: str = "/mcp", query: bytes = b"", **headers: str) -> dict[str, Any]:
    named = {**(JSON if method == "POST" else {"accept": "text/event-stream"}), **headers}
    return {
        "type": "http", "method": method, "path": path, "query_string": query, "client": ("10.0.0.5", 1234),
        "headers": [(key.replace("_", "-").encode(), value.encode()) for key, value in named.items()],
    }  # fmt: skip


async def ask(app: Any, body: Any, about: dict[str, Any] | None = None, **more: Any) -> Client:
    pieces = body if isinstance(body, list) and body and isinstance(body[0], bytes) else [bytes_of(body)]
    client = Client(list(pieces), **more)
    await app(about or scope(), client.receive, client.send)
    return client


async def whole(receive: Any) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


def answering(
    pieces: list[bytes], status: int = 200, kind: str = "application/json", read: bool = True, **headers: str
) -> Handler:
    async def app(_: Any, receive: Any, send: Any) -> None:
        if read:
            await whole(receive)
        named = {"content-type": kind, **headers}
        shown = [(key.replace("_", "-").encode(), value.encode()) for key, value in named.items()]
        await send({"type": "http.response.start", "status": status, "headers": shown})
        for number, piece in enumerate(pieces, 1):
            await send({"type": "http.response.body", "body": piece, "more_body": number < len(pieces)})

    return app


def event(value: Any, more: str = "") -> bytes:
    return f"{more}event: message\r\ndata: {json.dumps(value)}\r\n\r\n".encode()


def operations(path: Path, event_type: str = "mcp_operation") -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [line for line in lines if line["event_type"] == event_type]


def kinds(path: Path) -> list[tuple[str, Any]]:
    return [(line["outcome"]["kind"], line["outcome"].get("error_code")) for line in operations(path)]


def run(path: Path, work: Callable[[Recorder], Awaitable[Any]], **about: Any) -> Any:
    async def main() -> Any:
        with open_trail(path, **about) as recorder:
            return await work(recorder)

    return asyncio.run(main())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - a file has no event to wait for
            await asyncio.sleep(0.01)


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def pieces_of(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(place % (len(data) + 1) for place in at)})
    return [data[start:end] for start, end in itertools.pairwise(places)] or [b""]


ANSWERS: dict[str, tuple[bytes, dict[str, Any], list[tuple[str, Any]]]] = {
    "json": (bytes_of(result(7)), {}, [("completed", None)]),
    "json error": (bytes_of({"jsonrpc": "2.0", "id": 7, "error": {"code": -32050, "message": "é"}}), {},
                   [("protocol_error", -32050)]),
    "gzip": (gzip.compress(bytes_of(result(7, isError=True))), {"content_encoding": "gzip"}, [("tool_error", None)]),
    "zstd": (zstandard.compress(bytes_of(result(7, isError=True))), {"content_encoding": "zstd"},
             [("tool_error", None)]),
    "br": (b"\x8b\x01\x80", {"content_encoding": "br"}, [("completed", None)]),
    "no json": (b"<html>", {"kind": "text/html"}, [("protocol_error", None)]),
    "nothing": (b"", {}, [("protocol_error", None)]),
    "events": (
        b"\xef\xbb\xbf: ping\r\n\r\n" + event({"jsonrpc": "2.0", "method": "notifications/progress"})
        + event(result(7, isError=True), "id: 4\r\n") + b": end\n\n",
        {"kind": "text/event-stream; charset=utf-8"}, [("tool_error", None)],
    ),
    "events with cr": (b"data: " + bytes_of(result(7)) + b"\r\r", {"kind": "text/event-stream"}, [("completed", None)]),
    "events that end": (b"data: {}\n\ndata: " + bytes_of(result(8)), {"kind": "text/event-stream"},
                        [("protocol_error", None)]),
    "a server error": (b"Internal Server Error", {"status": 500, "kind": "text/plain"}, [("protocol_error", None)]),
    "an id that is null": (
        bytes_of({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no"}}), {"status": 400},
        [("protocol_error", -32600)],
    ),
    "a gateway": (b"", {"status": 502}, [("backend_unavailable", None)]),
}  # fmt: skip


def test_any_pieces_go_by_unchanged_and_leave_the_same_event(trail: Path) -> None:
    marks = itertools.count()
    with open_trail(trail) as recorder:

        @settings(deadline=None, max_examples=examples(150))
        @given(
            st.sampled_from(sorted(ANSWERS)),
            st.lists(st.integers(0, 2000), max_size=8),
            st.lists(st.integers(0, 2000), max_size=8),
        )
        def passes(answer: str, asked_at: list[int], answered_at: list[int]) -> None:
            asyncio.run(_passes(recorder, trail, str(next(marks)), answer, asked_at, answered_at))

        passes()
    assert len(operations(trail)) == next(marks)


def of(path: Path, mark: str, event_type: str = "mcp_operation") -> list[dict[str, Any]]:
    found = path.read_bytes().splitlines()[-4:]
    events = [json.loads(line) for line in found]
    return [
        line for line in events if line["event_type"] == event_type and line["request"]["request_id"] == mark
    ]


async def _passes(
    recorder: Recorder, path: Path, mark: str, answer: str, asked_at: list[int], answered_at: list[int]
) -> None:
    data, about, expected = ANSWERS[answer]
    request = bytes_of(call(7, mark=mark, a="é"))
    received: list[dict[str, Any]] = []
    on_record: list[int] = []

    async def app(about_it: Any, receive: Any, send: Any) -> None:
        async def tapped() -> Any:
            message = await receive()
            received.append(message)
            on_record.append(len(of(path, mark, "mcp_operation_started")))
            return message

        await answering(pieces_of(data, answered_at), **about)(about_it, tapped, send)

    client = await ask(AuditASGI(app, recorder), pieces_of(request, asked_at))
    assert client.body == data
    assert client.status == about.get("status", 200)
    assert len(client.sent) == 1 + len(pieces_of(data, answered_at))
    assert b"".join(message["body"] for message in received if message["type"] == "http.request") == request
    assert on_record == [0] * (len(pieces_of(request, asked_at)) - 1) + [1]
    [done] = of(path, mark)
    assert [(done["outcome"]["kind"], done["outcome"].get("error_code"))] == expected
    assert done["source"]["client_ip"] == "10.0.0.5"
    assert done["source"]["caller_type"] == "anonymous"


def test_an_outcome_is_on_record_before_its_last_piece_goes_out(trail: Path) -> None:
    seen: list[tuple[int, int]] = []

    async def work(recorder: Recorder) -> None:
        for kind, data in (("application/json", bytes_of(result(1))), ("text/event-stream", event(result(1)))):
            before = len(operations(trail))
            for pieces in ([data], [data[:9], data[9:]]):
                client = Client([bytes_of(call(1))])
                send = client.send

                async def looking(message: Any, send: Any = send) -> None:
                    seen.append((len(operations(trail)), len(message.get("body", b""))))
                    await send(message)

                app = AuditASGI(answering([*pieces, b""], kind=kind), recorder)
                await app(scope(), client.receive, looking)
            assert len(operations(trail)) == before + 2

    run(trail, work)
    whole_event, in_two = seen[-7:-4], seen[-4:]
    assert [count for count, _ in whole_event] == [2, 3, 3]
    assert [count for count, _ in in_two] == [3, 3, 4, 4]


@pytest.mark.parametrize("durability", ["process", "disk"])
@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
def test_what_cannot_be_recorded_is_refused_or_withheld(kind: str, durability: str, trail: Path) -> None:
    made: list[bytes] = []
    data = bytes_of(result(2, secret="s3")) if kind == "application/json" else event(result(2, secret="s3"))

    async def work(recorder: Recorder) -> None:
        async def app(_: Any, receive: Any, send: Any) -> None:
            made.append(await whole(receive))
            with full_disk():
                await inner(_, receive, send)

        inner = answering([b": ping\n\n" * (kind != "application/json") + data], kind=kind, read=False)
        audited = AuditASGI(app, recorder)
        with full_disk():
            refused = await ask(audited, call(1, mark="refused"))
        error = json.loads(refused.body)
        assert (refused.status, error["id"], error["error"]["code"]) == (200, 1, -32603)
        assert error["error"]["message"].startswith("refused: ")
        assert made == []
        withheld = await ask(audited, call(2, mark="withheld"))
        assert len(made) == 1
        assert b"s3" not in withheld.body
        text = withheld.body if kind == "application/json" else withheld.body.split(b"data: ")[1]
        error = json.loads(text)
        assert (error["id"], error["error"]["code"], "withheld" in error["error"]["message"]) == (
            2,
            -32603,
            True,
        )
        assert withheld.body.startswith(b": ping" if kind != "application/json" else b"{")
        length = dict(withheld.sent[0]["headers"]).get(b"content-length")
        assert length is None or int(length) == len(withheld.body)

    run(trail, work, on_failure="deny", durability=durability)
    refused, withheld = operations(trail)
    for denied, mark in ((refused, "refused"), (withheld, "withheld")):
        assert denied["request"]["request_id"] == mark
        assert (denied["outcome"]["kind"], denied["outcome"]["error_type"]) == ("denied", "audit_unavailable")
    assert "answer_withheld" not in refused.get("metadata", {})
    assert withheld["metadata"]["answer_withheld"] is True
    assert indelible.verify(trail).ok


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
def test_of_an_answer_that_is_partly_out_the_end_is_withheld(kind: str, trail: Path) -> None:
    data = bytes_of(result(2)) if kind == "application/json" else event(result(2))

    async def work(recorder: Recorder) -> Client:
        async def app(_: Any, receive: Any, send: Any) -> None:
            await whole(receive)
            with full_disk():
                await answering([data[:-3], data[-3:], b""], kind=kind, read=False)(_, receive, send)

        return await ask(AuditASGI(app, recorder), call(2))

    client = run(trail, work, on_failure="deny")
    assert client.body == data[:-3]
    assert kinds(trail) == [("denied", None)]


def test_under_allow_it_goes_on_and_the_gap_is_counted(trail: Path) -> None:
    async def work(recorder: Recorder) -> None:
        app = AuditASGI(answering([bytes_of(result(1))]), recorder)
        with full_disk():
            client = await ask(app, call(1))
        assert client.body == bytes_of(result(1))
        await ask(app, call(1))

    run(trail, work)
    [gap] = operations(trail, "audit_gap")
    assert gap["metadata"]["lost"] == 2
    assert kinds(trail) == [("completed", None)]


def test_a_batch_is_as_many_calls(trail: Path) -> None:
    answers = [result(1), {"jsonrpc": "2.0", "id": 3, "error": {"code": -32601, "message": "no"}}]

    async def work(recorder: Recorder) -> None:
        app = AuditASGI(answering([bytes_of(answers)]), recorder)
        notification = {"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "sly"}}
        await ask(app, [call(1), call(2), call(3), notification, {"jsonrpc": "2.0", "id": 4, "method": "ping"}])

    run(trail, work)
    found = sorted((line["request"].get("rpc_id", ""), line["outcome"]["kind"]) for line in operations(trail))
    assert found == [
        ("", "protocol_error"),
        ("1", "completed"),
        ("2", "protocol_error"),
        ("3", "protocol_error"),
    ]


def test_who_goes_away_while_an_answer_is_owed(trail: Path) -> None:
    async def work(recorder: Recorder) -> None:
        async def looks(_: Any, receive: Any, send: Any) -> None:
            await whole(receive)
            await send(
                {
                    "type": "http.response.start",
                    "status": 200,
                    "headers": [(b"content-type", b"text/event-stream")],
                }
            )
            assert (await receive())["type"] == "http.disconnect"

        await ask(AuditASGI(looks, recorder), call(1, mark="looks"), gone_after=1)
        # an app that answers in one body may never look: it answers into the void
        app = AuditASGI(answering([bytes_of(result(1))]), recorder)
        client = await ask(app, call(1, mark="never-looks"), gone_after=0)
        assert client.body == bytes_of(result(1))
        # to be told so after a complete answer means nothing
        late = Client([bytes_of(call(1, mark="late"))])

        async def looks_late(_: Any, receive: Any, send: Any) -> None:
            await answering([event(result(1)), b""], kind="text/event-stream")(_, receive, send)
            assert (await receive())["type"] == "http.disconnect"

        await AuditASGI(looks_late, recorder)(scope(), late.receive, late.send)

        async def hangs(_: Any, receive: Any, send: Any) -> None:
            await whole(receive)
            await asyncio.sleep(3600)

        task = asyncio.ensure_future(ask(AuditASGI(hangs, recorder), call(1, mark="stopped")))
        await until(lambda: of(trail, "stopped", "mcp_operation_started"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        async def fails(_: Any, receive: Any, send: Any) -> None:
            await whole(receive)
            raise KeyError("x")

        with pytest.raises(KeyError):
            await ask(AuditASGI(fails, recorder), call(1, mark="fails"))

    run(trail, work)
    found = {line["request"]["request_id"]: line["outcome"] for line in operations(trail)}
    assert {mark: outcome["kind"] for mark, outcome in found.items()} == {
        "looks": "cancelled", "never-looks": "cancelled", "late": "completed", "stopped": "cancelled",
        "fails": "protocol_error",
    }  # fmt: skip
    assert found["fails"]["error_type"] == "KeyError"


class RequestResponseCycle(Client):
    """uvicorn's class of that name notes by itself that its client has gone."""

    disconnected = False
    asked = 0

    async def receive(self) -> dict[str, Any]:
        self.asked += 1
        return await super().receive()


@pytest.mark.parametrize(("disconnected", "kind"), [(False, "completed"), (True, "cancelled")])
def test_uvicorn_is_taken_at_its_word(
    trail: Path, disconnected: bool, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RequestResponseCycle, "__module__", "uvicorn.protocols.http.httptools_impl")

    async def work(recorder: Recorder) -> None:
        cycle = RequestResponseCycle([bytes_of(call(1))])
        cycle.disconnected = disconnected
        await AuditASGI(answering([bytes_of(result(1))]), recorder)(scope(), cycle.receive, cycle.send)
        assert cycle.asked == 1
        assert cycle.body == bytes_of(result(1))

    run(trail, work)
    assert [found for found, _ in kinds(trail)] == [kind]


@pytest.mark.parametrize("name", ["h11_impl", "httptools_impl"])
def test_uvicorn_still_keeps_that_word(name: str) -> None:
    spec = importlib.util.find_spec(f"uvicorn.protocols.http.{name}")
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text()
    for line in ("class RequestResponseCycle", "self.disconnected = False", "self.cycle.disconnected = True"):
        assert line in source


def test_a_large_answer_streams_and_memory_stays(trail: Path) -> None:
    import tracemalloc

    head, tail = (
        b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"',
        b'"}],"isError":true}}',
    )
    chunk = b"x" * SCAN_BYTES
    seen = []

    async def work(recorder: Recorder) -> None:
        for kind, before, after in (("application/json", b"", b""), ("text/event-stream", b"data: ", b"\n\n")):
            pieces = [before + head, *[chunk] * 600, tail + after]
            size = 0

            async def counting(message: Any) -> None:
                nonlocal size
                size += len(message.get("body", b""))

            client = Client([bytes_of(call(1))])
            app = AuditASGI(answering(pieces, kind=kind), recorder)
            await app(scope(), client.receive, counting)
            seen.append(size - len(before + head + tail + after))

    tracemalloc.start()
    try:
        run(trail, work)
        assert tracemalloc.get_traced_memory()[1] < 40_000_000
    finally:
        tracemalloc.stop()
    assert seen == [600 * SCAN_BYTES] * 2
    assert kinds(trail) == [("tool_error", None)] * 2
    assert [line["metadata"]["unparsed"] for line in operations(trail)] == ["too large"] * 2


def test_a_second_header_of_a_name_hides_nothing(trail: Path) -> None:
    """Frameworks take the first: another session, or no coding, must not be all that is seen here."""

    async def work(recorder: Recorder) -> None:
        about = scope(content_encoding="gzip", mcp_session_id="s1")
        about["headers"] += [(b"content-encoding", b"identity"), (b"Mcp-Session-Id", b"s2")]
        await ask(
            AuditASGI(answering([bytes_of(result(1))]), recorder), gzip.compress(bytes_of(call(1, "rm"))), about
        )

    run(trail, work)
    [line] = operations(trail)
    assert (line["target"]["capability_name"], line["source"]["session_id"]) == ("rm", "s1")
    assert (line["outcome"]["kind"], line.get("metadata")) == ("completed", None)


@pytest.mark.parametrize("raises", [True, False])
def test_a_call_that_an_app_ends_without_reading_it_is_on_record(raises: bool, trail: Path) -> None:
    async def broken(_: Any, receive: Any, __: Any) -> None:
        await receive()
        if raises:
            raise KeyError("middleware")

    async def work(recorder: Recorder) -> None:
        data = bytes_of(call(1, "pay"))
        with contextlib.suppress(KeyError):
            await ask(AuditASGI(broken, recorder), [data[:20], data[20:]])

    run(trail, work)
    [line] = operations(trail)
    assert (line["target"]["capability_name"], line["outcome"]["kind"]) == ("pay", "protocol_error")
    assert line["outcome"].get("error_type") == ("KeyError" if raises else None)


@pytest.mark.parametrize("megabytes", [2, 12])
def test_a_call_that_is_too_large_for_the_app_is_refused_and_on_record(megabytes: int, trail: Path) -> None:
    """An app stops reading at its limit, as the SDK does, and answers 413."""

    async def limited(_: Any, receive: Any, send: Any) -> None:
        size = 0
        while size < 1_000_000:
            size += len((await receive())["body"])
        await send({"type": "http.response.start", "status": 413, "headers": []})
        await send({"type": "http.response.body", "body": b"too large"})

    async def work(recorder: Recorder) -> None:
        data = bytes_of(call(1, "upload", mark="m", blob="x" * (megabytes << 20)))
        pieces = [data[at : at + 65_536] for at in range(0, len(data), 65_536)]
        client = await ask(AuditASGI(limited, recorder), pieces)
        assert (client.status, client.body) == (413, b"too large")

    run(trail, work)
    [line] = operations(trail)
    assert (line["target"]["capability_name"], line["outcome"]["kind"]) == ("upload", "protocol_error")
    assert line["outcome"]["error"] == "HTTP status 413"
    assert line.get("metadata") == (None if megabytes == 2 else {"unparsed": "too large"})


@pytest.mark.parametrize(("status", "kind"), [(401, "unauthenticated"), (403, "denied"), (429, "denied")])
def test_a_refusal_without_and_within_a_session(status: int, kind: str, trail: Path) -> None:
    page = b'{"error":"invalid_token","error_description":"Authentication required"}'
    refuses = answering([page], status=status, read=False)
    opens = answering([bytes_of(result(0, protocolVersion="2025-11-25"))], mcp_session_id="s1")
    initialize = {
        "jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": {"clientInfo": {"name": "c", "version": "1"}, "protocolVersion": "2025-06-18"},
    }  # fmt: skip

    async def work(recorder: Recorder) -> None:
        current: list[Handler] = [refuses]

        async def app(*about: Any) -> None:
            await current[0](*about)

        audited = AuditASGI(app, recorder)
        about = scope(authorization="Bearer s3cr3t-token", x_request_id="r-1")
        assert (await ask(audited, call(1, mark="before"), about)).body == page
        current[0] = opens
        await ask(audited, initialize)
        current[0] = refuses
        about = scope(authorization="Bearer s3cr3t-token", mcp_session_id="s1")
        client = await ask(
            audited, [bytes_of(call(1, mark="within"))[:20], bytes_of(call(1, mark="within"))[20:]], about
        )
        assert (client.status, client.body) == (status, page)
        current[0] = answering([bytes_of(result(1))])
        await ask(audited, call(1, mark="accepted"), scope(mcp_session_id="s1"))

    run(trail, work)
    assert b"s3cr3t" not in trail.read_bytes()
    rejected = operations(trail, "auth_rejected")
    if status == 429:
        assert rejected == []
        before = operations(trail)[0]
        assert (before["request"]["request_id"], before["outcome"]["kind"]) == ("before", "denied")
    else:
        [event_] = rejected
        assert event_["outcome"]["kind"] == kind
        assert event_["outcome"]["error"] == "invalid_token (Authentication required)"
        assert (event_["source"]["client_ip"], event_["request"]["request_id"]) == ("10.0.0.5", "r-1")
        assert event_["metadata"] == {"status": status}
    within, accepted = operations(trail)[-2:]
    assert (within["request"]["request_id"], within["outcome"]["kind"]) == ("within", kind)
    assert (accepted["request"]["request_id"], accepted["outcome"]["kind"]) == ("accepted", "completed")
    for line in (within, accepted):
        assert line["source"]["session_id"] == "s1"
        assert line["source"]["client"] == "c/1"
        assert line["target"]["protocol_version"] == "2025-11-25"


def test_ten_thousand_refusals_are_counted_exactly_and_few_are_recorded(trail: Path) -> None:
    total = 10_000

    async def work(recorder: Recorder) -> None:
        app = AuditASGI(answering([b""], status=401, read=False), recorder)
        for _ in range(total):
            await ask(app, call(1))

        async def lifespan(*_: Any) -> None:
            return

        app.app = lifespan
        await app({"type": "lifespan"}, None, None)  # type: ignore[arg-type]

    run(trail, work)
    events = operations(trail, "auth_rejected")
    assert sum(line["metadata"].get("count", 1) for line in events) == total
    assert len(events) < total / 10
    assert operations(trail) == []


def test_the_number_of_refusals_is_recorded_when_nobody_else_comes(trail: Path) -> None:
    async def work(recorder: Recorder) -> None:
        app = AuditASGI(answering([b""], status=401, read=False), recorder, rejections_per_second=2)
        for _ in range(5):
            await ask(app, call(1))
        await until(lambda: any("count" in line["metadata"] for line in operations(trail, "auth_rejected")))

    run(trail, work)
    events = operations(trail, "auth_rejected")
    assert sum(line["metadata"].get("count", 1) for line in events) == 5


def test_what_is_not_mcp_goes_by_untouched(trail: Path) -> None:
    seen = []

    async def app(about: Any, receive: Any, send: Any) -> None:
        seen.append((about, receive, send))
        if about["type"] == "http":
            await answering([b"a", b"b"], kind="text/plain", status=403)(about, receive, send)

    async def work(recorder: Recorder) -> None:
        audited = AuditASGI(app, recorder, path="/mcp")
        for kind in ("lifespan", "websocket"):
            about = {"type": kind}
            await audited(about, None, None)  # type: ignore[arg-type]
            assert seen[-1] == (about, None, None)
        for method, path in (
            ("HEAD", "/mcp"),
            ("OPTIONS", "/mcp"),
            ("POST", "/mcpx"),
            ("POST", "/"),
            ("PUT", "/mcp"),
        ):
            about = scope(method, path)
            client = await ask(audited, call(1), about)
            assert (seen[-1][0] is about, client.body) == (True, b"ab")
        anything = AuditASGI(app, recorder)
        for body in (b'{"id":1,"method":"card"}', b"x" * 100_000, b""):
            client = await ask(anything, body, scope(accept="*/*"))
            assert client.body == b"ab"
        stream = answering([b"data: 1\n\n", b"data: 2\n\n"], kind="text/event-stream")
        assert (
            await ask(AuditASGI(stream, recorder), b"", scope("GET", "/news"))
        ).body == b"data: 1\n\ndata: 2\n\n"
        under = {**scope(path="/app/mcp/"), "root_path": "/app"}
        await ask(
            AuditASGI(answering([bytes_of(result(1))]), recorder, path="mcp"), call(1, mark="under"), under
        )

    run(trail, work)
    assert [line["request"]["request_id"] for line in operations(trail)] == ["under"]
    assert operations(trail, "auth_rejected") == []


def test_an_answer_that_comes_on_another_connection(trail: Path) -> None:
    """Resumed after a break: with an event id the client may come back, and the call waits for it."""
    started = answering([b"id: 1\ndata:\n\n"], kind="text/event-stream")
    opens = answering([bytes_of(result(0))], mcp_session_id="s1")
    progress = {"jsonrpc": "2.0", "method": "notifications/progress"}
    resumed = answering([event(progress), event(result(1))], kind="text/event-stream", read=False)

    async def work(recorder: Recorder) -> None:
        current: list[Handler] = [opens]

        async def app(*about: Any) -> None:
            await current[0](*about)

        audited = AuditASGI(app, recorder)
        await ask(audited, {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {}})
        current[0] = started
        await ask(audited, call(1, mark="resumed"), scope(mcp_session_id="s1"))
        await ask(audited, call(2, mark="left"), scope(mcp_session_id="s1"))
        assert operations(trail) == []
        current[0] = resumed
        for _ in range(2):  # a server may send what it has again
            await ask(audited, b"", scope("GET", mcp_session_id="s1", last_event_id="1"))
        assert kinds(trail) == [("completed", None)]
        current[0] = answering([b""], read=False)
        await ask(audited, b"", scope("DELETE", mcp_session_id="s1"))

    run(trail, work)
    assert kinds(trail) == [("completed", None), ("cancelled", None)]
    assert operations(trail)[1]["outcome"]["error"] == "the client ended the session"


def test_who_does_not_come_back_in_time_has_gone(trail: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_sessions, "RESUME_S", 0.01)

    async def work(recorder: Recorder) -> None:
        audited = AuditASGI(answering([b"id: 1\ndata:\n\n"], kind="text/event-stream"), recorder)
        await ask(audited, call(1), scope(mcp_session_id="s1"))
        await until(lambda: operations(trail))

    run(trail, work)
    assert kinds(trail) == [("cancelled", None)]


def test_a_client_that_cancels(trail: Path) -> None:
    async def work(recorder: Recorder) -> None:
        let_go = asyncio.Event()

        async def app(about: Any, receive: Any, send: Any) -> None:
            body = json.loads(await whole(receive))
            if body["method"] == "notifications/cancelled":
                await answering([b""], status=202, read=False)(about, receive, send)
                assert kinds(trail) == [("cancelled", None)]
                let_go.set()
                return
            await let_go.wait()
            await answering([event(result(5))], kind="text/event-stream", read=False)(about, receive, send)

        audited = AuditASGI(app, recorder)
        audited.began(audited.session(), "s1")
        calling = asyncio.ensure_future(ask(audited, call(5), scope(mcp_session_id="s1")))
        await until(lambda: operations(trail, "mcp_operation_started"))
        cancel = {"requestId": 5, "reason": "no more"}
        await ask(
            audited,
            {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancel},
            scope(mcp_session_id="s1"),
        )
        assert (await calling).body == event(result(5))

    run(trail, work)
    assert kinds(trail) == [("cancelled", None)]
    assert operations(trail)[0]["outcome"]["error"] == "no more"


def test_what_a_server_asks_within_a_call_and_the_answer_in_another_request(trail: Path) -> None:
    question = {"jsonrpc": "2.0", "id": "q1", "method": "elicitation/create", "params": {"message": "Sure?"}}
    reply = {"jsonrpc": "2.0", "id": "q1", "result": {"action": "decline"}}

    async def work(recorder: Recorder) -> None:
        answered = asyncio.Event()

        async def app(about: Any, receive: Any, send: Any) -> None:
            body = json.loads(await whole(receive))
            if "result" in body:
                answered.set()
                await answering([b""], status=202, read=False)(about, receive, send)
                return
            await send(
                {
                    "type": "http.response.start",
                    "status": 200,
                    "headers": [(b"content-type", b"text/event-stream")],
                }
            )
            await send({"type": "http.response.body", "body": event(question), "more_body": True})
            await answered.wait()
            await send({"type": "http.response.body", "body": event(result(1)), "more_body": False})

        audited = AuditASGI(app, recorder)
        audited.began(audited.session(), "s1")
        calling = asyncio.ensure_future(ask(audited, call(1, mark="asks"), scope(mcp_session_id="s1")))
        await until(lambda: operations(trail, "mcp_operation_started"))
        await ask(audited, reply, scope(mcp_session_id="s1"))
        await calling

    run(trail, work)
    [asked] = operations(trail, "elicitation")
    assert asked["request"]["continues"] == "asks"
    assert asked["metadata"]["action"] == "decline"
    assert kinds(trail) == [("completed", None)]


BR = b"\x8b\x01\x80 only the server can read this"
BY_ANSWER: dict[str, tuple[list[bytes], dict[str, Any], tuple[str, Any]]] = {
    "an answer": ([bytes_of(result(9, isError=True))], {}, ("tool_error", None)),
    "an event": ([event(result("nine"))], {"kind": "text/event-stream"}, ("completed", None)),
    "accepted": ([b""], {"status": 202}, ("completed", None)),
    "refused": ([b'{"detail":"no br"}'], {"status": 415}, ("protocol_error", None)),
    "no JSON for the server either": (
        [bytes_of({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "Parse error"}})],
        {"status": 400}, ("protocol_error", -32700),
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", sorted(BY_ANSWER))
def test_a_request_that_only_the_server_can_read_is_a_call(how: str, trail: Path) -> None:
    pieces, about, expected = BY_ANSWER[how]
    named = scope(content_encoding="br", mcp_method="tools/call", mcp_name="pay", x_request_id="r-1")

    async def work(recorder: Recorder) -> None:
        app = AuditASGI(answering(pieces, **about), recorder)
        client = await ask(app, [BR], named)
        assert client.body == b"".join(pieces)
        await ask(AuditASGI(answering([b"{}"]), recorder), [BR], scope(content_encoding="br", accept="*/*"))

    run(trail, work)
    assert kinds(trail) == [expected]
    [found] = operations(trail)
    assert found["metadata"] == {"unparsed": "content-encoding br"}
    assert (found["target"]["method"], found["request"]["request_id"]) == ("tools/call", "r-1")
    assert found["target"]["effects"] == "unknown"
    assert found["target"]["capability_name"] == "pay"
    assert len(operations(trail, "mcp_operation_started")) == 1


def test_what_cannot_be_read_is_refused_and_withheld_too(trail: Path) -> None:
    seen: list[bytes] = []

    async def app(_: Any, receive: Any, send: Any) -> None:
        seen.append(await whole(receive))
        full.__enter__()
        await answering([bytes_of(result(9))], read=False)({}, receive, send)

    async def work(recorder: Recorder) -> None:
        named = scope(content_encoding="br", mcp_method="tools/call")
        with full_disk():
            client = await ask(AuditASGI(app, recorder), [BR], named)
        assert (client.status, seen) == (503, [])
        client = await ask(AuditASGI(app, recorder), [BR], named)
        full.__exit__(None, None, None)
        answer = json.loads(client.body)
        assert (answer["id"], "withheld" in answer["error"]["message"], seen) == (9, True, [BR])

    full = full_disk()
    run(trail, work, on_failure="deny")
    assert [line["outcome"]["error_type"] for line in operations(trail)] == ["audit_unavailable"] * 2


@pytest.mark.parametrize("form", ["one body", "a stream"])
def test_an_exchange_that_is_over_leaves_nothing_to_the_garbage_collector(trail: Path, form: str) -> None:
    streams = form == "a stream"
    answer = event(result(7)) if streams else bytes_of(result(7))
    app = answering([answer], kind="text/event-stream" if streams else "application/json")

    def left() -> int:
        ours = ("Seen", "HttpExchange", "OpenCall")
        return sum(type(each).__name__ in ours for each in gc.get_objects())

    async def work(recorder: Recorder) -> None:
        audited = AuditASGI(app, recorder)
        await ask(audited, call(7))
        gc.collect()
        before = left()
        gc.disable()
        try:
            for _ in range(5):
                await ask(audited, call(7))
            assert left() == before
        finally:
            gc.enable()

    run(trail, work)
    assert kinds(trail) == [("completed", None)] * 6


def test_a_batch_is_taken_in_its_order(trail: Path) -> None:
    gone = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7, "reason": "no"}}
    app = answering([bytes_of([result(8)])])

    async def work(recorder: Recorder) -> None:
        await ask(AuditASGI(app, recorder), [call(7), gone, call(8)])

    run(trail, work)
    assert [(line["request"]["rpc_id"], line["outcome"]["kind"]) for line in operations(trail)] == [
        ("7", "cancelled"),
        ("8", "completed"),
    ]
