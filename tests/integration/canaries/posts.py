"""`AuditASGI` in front of an app that says what it is told: each canary in all of a request, and of its response.

The app's part of an exchange stands in the scope, under ``"say"``: how it answers, and with what.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

from indelible.asgi import AuditASGI
from indelible.recorder import Recorder
from tests.canaries import CLASSES, Canary
from tests.integration.wrap.test_canaries import frame, notification, places

Frame = dict[str, Any]
HOWS = ("json", "stream", "error", "failed", "html", "raises", "refused", "unknown", "session", "old")
BOTH = b"application/json, text/event-stream"
HEADERS = (
    "authorization", "proxy-authorization", "cookie", "x-api-key", "user-agent", "referer", "origin", "traceparent",
    "tracestate", "baggage", "mcp-protocol-version", "mcp-session-id", "mcp-method", "mcp-name", "last-event-id",
    "x-forwarded-for", "forwarded", "x-real-ip", "x-request-id",
)  # fmt: skip
REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{8,128}")


def flat(text: str) -> str:
    """Return a text as it can stand in one line of a header."""
    return text.replace("\n", " ")


def headers_of(canary: Canary) -> list[tuple[bytes, bytes]]:
    """Return every header that says something of who asks, and one that nobody knows, with the canary in each."""
    text = flat(canary.value).encode()
    given = [(name.encode(), text) for name in HEADERS if name != "x-request-id"]
    said = [(b"content-type", b"application/json"), (b"accept", BOTH), (b"x-canary", text)]
    return [*said, *given, (b"x-request-id", request_id_of(canary).encode())]


def request_id_of(canary: Canary) -> str:
    """Return what a caller could give as a request id: a word that gives itself away, where the canary has one."""
    words = [word for word in canary.value.split() if REQUEST_ID.fullmatch(word)]
    return max(words, key=len) if canary.name.split()[-1] in TELLING and words else flat(canary.value)


TELLING = frozenset({
    "email", "card_visa", "card_amex", "ssn", "github", "github_fine_grained", "gitlab", "openai", "anthropic", "slack",
    "aws_key_id", "google", "google_oauth", "stripe", "stripe_webhook", "npm", "pypi", "hugging_face", "jwt",
    "url_userinfo",
})  # fmt: skip
"""Classes whose secret is known by its form, with nothing before it."""


def scope_of(method: str, canary: Canary, how: str) -> dict[str, Any]:
    """Return a connection with the canary in its path, query, headers and accepted credential."""
    text = canary.value
    claims = {"iss": text, "jti": text, "client_id": text}
    token = SimpleNamespace(token=text, client_id="c1", scopes=["read"], claims=claims, subject="u1")
    return {
        "type": "http", "method": method, "path": f"/mcp/{text}", "raw_path": quote(f"/mcp/{text}").encode(),
        "query_string": f"note={quote(text)}&token={quote(text)}&{quote(text)}".encode(), "headers": headers_of(canary),
        "client": ("10.0.0.5", 1234), "user": SimpleNamespace(access_token=token), "say": (how, text),
    }  # fmt: skip


async def exchange(app: Any, scope: dict[str, Any], body: bytes = b"") -> list[dict[str, Any]]:
    """Send one request, in two pieces; return the messages of the response."""
    pieces = [body[: len(body) // 2], body[len(body) // 2 :]]
    done = asyncio.Event()
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if pieces:
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}
        await done.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            done.set()

    with contextlib.suppress(LookupError):
        await app(scope, receive, send)
    return sent


# --- the server ---


def event(value: Frame, text: str) -> bytes:
    """Return an event with the canary wherever the format has room for one."""
    line = flat(text)
    return f": {line}\nid: {line}\nevent: message\nx {line}: {line}\ndata: {json.dumps(value)}\n\n".encode()


def result_of(rpc_id: Any, text: str, **more: Any) -> Frame:
    content = [{"type": "text", "text": text}, {"type": "resource_link", "uri": text, "name": text}]
    told = {"content": content, "structuredContent": {text: [text]}, "_meta": {"x": text}, **more}
    return {"jsonrpc": "2.0", "id": rpc_id, "result": told}


def bodies(how: str, rpc_id: Any, text: str) -> Iterator[bytes]:
    """Yield the pieces of an answer."""
    if how == "stream":
        schema = {"type": "object", "properties": {"note": {"type": "string", "description": text}}}
        yield event(notification("notifications/progress", progressToken=text, message=text), text)
        yield event(frame("q1", "elicitation/create", message=text, requestedSchema=schema), text)
        message = {"role": "user", "content": {"type": "text", "text": text}}
        yield event(frame("q2", "sampling/createMessage", messages=[message], systemPrompt=text), text)
        yield event(result_of(rpc_id, text), text)
    elif how in ("error", "unknown"):
        error = {"code": -32050, "message": text, "data": {"of": text}}
        wrong = {"jsonrpc": "2.0", "id": rpc_id if how == "error" else text, "error": error}
        yield json.dumps(wrong).encode()
    elif how in ("html", "refused"):
        yield f"<html><p>{text}</p></html>".encode()
    else:
        yield json.dumps(result_of(rpc_id, text, isError=how == "failed")).encode()


async def server(scope: Any, receive: Any, send: Any) -> None:
    """Answer as the scope says."""
    how, text = scope["say"]
    line = flat(text).encode()
    headers = [(b"mcp-session-id", line), (b"set-cookie", line), (b"www-authenticate", b"Bearer x=" + line)]
    status = {"html": 500, "refused": 401, "accepted": 202}.get(how, 200)
    kind = {"stream": b"text/event-stream", "html": b"text/html"}.get(how, b"application/json")
    start = {"type": "http.response.start", "status": status, "headers": [*headers, (b"content-type", kind)]}
    body = b""
    while how != "refused":
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    if how == "raises":
        raise LookupError(text)
    await send(start)
    rpc_id = json.loads(body)["id"] if body[:1] == b"{" and how != "accepted" else None
    for piece in () if how == "accepted" else bodies(how, rpc_id, text):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


class Old:
    """The server's side of the transport of 2024-11-05: one stream, and answers on it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.out: asyncio.Queue[bytes] = asyncio.Queue()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "GET":
            await send({"type": "http.response.start", "status": 200, "headers": STREAM})
            endpoint = f"event: endpoint\ndata: /messages?session_id={quote(self.text)}\n\n".encode()
            await send({"type": "http.response.body", "body": endpoint, "more_body": True})
            while piece := await self.out.get():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        body = (await receive())["body"] + (await receive())["body"]
        await send({"type": "http.response.start", "status": 202, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        for piece in bodies("stream", json.loads(body)["id"], self.text):
            self.out.put_nowait(piece)
        self.out.put_nowait(b"")


STREAM = [(b"content-type", b"text/event-stream")]


# --- the client ---


async def over_old(door: AuditASGI, canary: Canary, body: bytes) -> None:
    """Make one call over the old transport."""
    door.app = server_side = Old(canary.value)
    opened, posted = scope_of("GET", canary, "old"), scope_of("POST", canary, "old")
    for scope in (opened, posted):
        scope["headers"] = [each for each in scope["headers"] if each[0] != b"mcp-session-id"]
    posted["query_string"] = f"session_id={quote(canary.value)}".encode()
    stream = asyncio.ensure_future(exchange(door, opened))
    await asyncio.sleep(0)
    await exchange(door, posted, body)
    await stream
    assert server_side.out.empty()


async def in_session(door: AuditASGI, canary: Canary, body: bytes) -> None:
    """Open a session whose id and whose client's name are canaries; call in it, answer its server, and end it."""
    text = canary.value
    info = {"name": text, "title": text, "version": text}
    hello = frame("hello", "initialize", protocolVersion=text, capabilities={}, clientInfo=info)
    await exchange(door, scope_of("POST", canary, "json"), json.dumps(hello).encode())
    await exchange(door, scope_of("POST", canary, "stream"), body)
    for rpc_id, said in (("q1", {"action": "accept", "content": {"note": text}}), ("q2", {"content": text})):
        reply = {"jsonrpc": "2.0", "id": rpc_id, "result": said}
        await exchange(door, scope_of("POST", canary, "accepted"), json.dumps(reply).encode())
    await exchange(door, scope_of("DELETE", canary, "accepted"))


async def drive(door: AuditASGI, secrets: list[Canary]) -> int:
    for number, canary in enumerate(secrets):
        seed, kind = divmod(number, len(CLASSES))
        asked = [each for each in places(canary) if "id" in each]
        body = json.dumps(asked[(seed + kind) % len(asked)]).encode()
        how = HOWS[(seed + kind // len(asked)) % len(HOWS)]
        door.app = server
        await exchange(door, scope_of("POST", canary, "html"), f"garbage {canary.value!r}".encode())
        if how == "old":
            await over_old(door, canary, body)
        elif how == "session":
            await in_session(door, canary, body)
        else:
            await exchange(door, scope_of("POST", canary, how), body)
    return len(secrets)


def posted(recorder: Recorder, secrets: list[Canary]) -> int:
    """Send every canary through one `AuditASGI`; return how many calls there were, and refusals."""
    door = AuditASGI(server, recorder, backend="canary", path="/mcp", rejections_per_second=len(secrets))
    return asyncio.run(drive(door, secrets))
