"""An ASGI app that has its answers ready, in each form in which MCP servers answer, and what is in front of it."""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from bench import alone

INFO: Final = {"name": "bench", "version": "1"}
SESSION: Final = (b"mcp-session-id", b"6e0ea5ae2f4c4d0f")
STATELESS: Final = "2026-07-28"
FORMS: Final = ("asgi alone", "asgi stream alone", "asgi stateless alone")
"""JSON in one body, as an event of a stream, and in one body without a session, whose requests say who sends them."""

Message = dict[str, Any]
Header = tuple[bytes, bytes]


class Posted:
    """POSTs to such an app, one after the other."""

    def __init__(
        self, form: str, within: Callable[[Any], Any], arguments: Mapping[str, Any], listed: Any
    ) -> None:
        """`within` returns what stands in front of the app that it is given; `listed` is of ``tools/list``."""
        self._app = within(self._answer)
        self._form, self._arguments, self._listed = form, dict(arguments), listed
        self._number = 0
        self._sent: list[Message] = []

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        for message in scope["answers"]:
            await send(message)

    def _post(self, method: str, params: Message, result: Message) -> tuple[Message, alone.Cycle]:
        self._number += 1
        stateless = self._form == "asgi stateless alone"
        if stateless:
            said = {"protocolVersion": STATELESS, "clientInfo": INFO, "clientCapabilities": {}}
            about = {f"io.modelcontextprotocol/{key}": value for key, value in said.items()}
            params, result = {**params, "_meta": about}, {**result, "resultType": "complete"}
        frame = {"jsonrpc": "2.0", "id": self._number}
        body, answer = (
            json.dumps({**frame, **more}, separators=(",", ":")).encode()
            for more in ({"method": method, "params": params}, {"result": result})
        )
        named: list[Header] = [] if stateless else [SESSION]
        version = STATELESS if stateless else alone.PROTOCOL
        asking = [
            (b"host", b"127.0.0.1:8000"),
            (b"content-type", b"application/json"),
            (b"accept", b"application/json, text/event-stream"),
            (b"mcp-protocol-version", version.encode()),
            *named,
        ]
        if stateless:
            asking += [(b"mcp-method", method.encode()), (b"mcp-name", str(params.get("name")).encode())]
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/mcp",
            "query_string": b"",
            "headers": asking,
            "client": ("127.0.0.1", 50000),
            "answers": self._answers(answer, named),
        }
        return scope, alone.Cycle(body)

    def _answers(self, answer: bytes, headers: list[Header]) -> tuple[Message, ...]:
        streams = self._form == "asgi stream alone"
        kind = b"text/event-stream" if streams else b"application/json"
        length = () if streams else ((b"content-length", b"%d" % len(answer)),)
        headers = [(b"content-type", kind), *length, *headers]
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        if not streams:
            return start, {"type": "http.response.body", "body": answer, "more_body": False}
        event = b"event: message\r\ndata: %b\r\n\r\n" % answer
        return (
            start,
            {"type": "http.response.body", "body": event, "more_body": True},
            {"type": "http.response.body", "body": b"", "more_body": False},
        )

    async def _take(self, message: Message) -> None:
        self._sent.append(message)

    async def _send_all(self, posts: list[tuple[Message, alone.Cycle]]) -> None:
        for scope, cycle in posts:
            await self._app(scope, cycle.receive, self._take)

    async def prepare(self, tool: str, calls: int) -> Callable[[], Awaitable[None]]:
        """Return a turn of so many calls, whose requests are made already."""
        params = {"name": tool, "arguments": self._arguments}
        posts = [self._post("tools/call", params, alone.ANSWER) for _ in range(calls)]
        self._sent.clear()
        return functools.partial(self._send_all, posts)

    async def check(self, tool: str) -> None:
        """Open a session, ask for the tools, and look at the answer to a call."""
        hello = {"protocolVersion": alone.PROTOCOL, "capabilities": {}, "clientInfo": INFO}
        server = {"protocolVersion": alone.PROTOCOL, "capabilities": {}, "serverInfo": INFO}
        opening = [] if self._form == "asgi stateless alone" else [self._post("initialize", hello, server)]
        call = {"name": tool, "arguments": self._arguments}
        asked = [
            self._post("tools/list", {}, {"tools": self._listed}),
            self._post("tools/call", call, alone.ANSWER),
        ]
        await self._send_all([*opening, *asked])
        assert alone.TEXT.encode() in b"".join(message.get("body", b"") for message in self._sent[-2:])

    async def close(self) -> None:
        """Nothing runs."""
