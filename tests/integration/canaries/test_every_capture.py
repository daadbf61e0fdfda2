"""A thousand secrets of every class through each capture, wherever a caller or a server can put one: none is left.

The trail's whole directory (compressed files unpacked), stderr, and what Indelible logs at DEBUG are searched: as they
stand, unescaped from JSON and URLs, and decoded from base64 and hex.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import indelible
from tests.canaries import CLASSES, Canary, canaries, leaked
from tests.environments import old_python
from tests.integration.canaries import calls, posts
from tests.integration.sdk import wires
from tests.integration.wrap.harness import INDELIBLE, isolated
from tests.integration.wrap.test_canaries import contents, frame, places

SERVER = str(Path(__file__).with_name("server.py"))
README = Path(__file__).parents[3] / "README.md"
SAID = re.compile(r"of ([0-9,]+) secrets planted by the tests, of ([0-9]+) classes, none was left")
SEEDS = range(24)
LISTED = 1_000
"""The seed of what the servers say of their tools."""
ATTACHED = {
    "wrap": (*INDELIBLE, "wrap", "--trail", "{trail}", "--", sys.executable, SERVER, "lowlevel", "-"),
    "sdk2": (sys.executable, SERVER, "lowlevel", "{trail}"),
    "mcpserver": (sys.executable, SERVER, "high", "{trail}"),
    "sdk1": ("{old}", SERVER, "lowlevel", "{trail}"),
    "fastmcp4": (sys.executable, SERVER, "fastmcp", "{trail}"),
    "fastmcp3": ("{old}", SERVER, "fastmcp", "{trail}"),
    "sdk1 fastmcp": ("{old}", SERVER, "high", "{trail}"),
}
FROM_PYTHON = {"operation()": calls.operations, "audited": calls.audited, "asgi": posts.posted}
CAPTURES = (*ATTACHED, *FROM_PYTHON)
SEEN = {
    "operation()": {"completed", "tool_error"},
    "audited": {"completed", "tool_error"},
    "asgi": {"completed", "tool_error", "protocol_error", "unauthenticated", "elicitation", "sampling"},
}
"""So that no place for a canary goes untried."""
REFUSED = {
    "sdk2": ("meta ",),
    "mcpserver": ("meta ",),
    "fastmcp4": ("meta ",),
    "fastmcp3": ("method ", "complete "),
}
"""Blanks: what of each is answered before anybody is asked. The SDK 2.x does so with what names another era than its
connection's; of methods of vendors and completions, FastMCP 3 asks no middleware (`indelible.attach` sees them)."""
Frame = dict[str, Any]


def planted() -> list[Canary]:
    """Return fresh canaries of every class, each with a name of its own."""
    return [canary._replace(name=f"{seed} {canary.name}") for seed in SEEDS for canary in canaries(seed)]


def all_places(canary: Canary) -> list[list[Frame]]:
    """Return what can be sent that holds a canary: frames that go together."""
    text, name = canary.value, canary.name
    more = [
        frame(f"{tool} {name}", "tools/call", name=tool, arguments={"note": text})
        for tool in ("raises", "reports", "asks")
    ]
    return [[one] for one in (*places(canary), *more)]


class Client(wires.Stdio):
    """Answers what the server asks with what it was asked, and a canary of its own."""

    def take(self, message: Frame) -> None:
        super().take(message)
        if "id" in message and "method" in message:
            text = json.dumps(message["params"])
            said: Frame = {"role": "assistant", "content": {"type": "text", "text": text}, "model": text}
            if message["method"] == "elicitation/create":
                said = {"action": "accept", "content": {"note": text}}
            answer = {"jsonrpc": "2.0", "id": message["id"], "result": said}
            self.replies.append(asyncio.ensure_future(self.send(answer)))

    replies: list[asyncio.Future[None]]


async def drive(command: tuple[str, ...], directory: Path, secrets: list[Canary]) -> list[str]:
    """Send every canary to one place, all classes to all places in turn; return the requests' ids."""
    env = {**os.environ, **isolated(directory), "INDELIBLE_CONFIG": str(directory / "config.yaml")}
    with (directory / "stderr").open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=-1, stdout=-1, stderr=stderr, env=env, cwd=wires.ROOT, limit=1 << 24
        )
    client = Client(process)
    client.replies = []
    try:
        info = {"name": secrets[0].value, "version": " ".join(one.value for one in secrets[1:9])}
        hello = {"protocolVersion": wires.LEGACY, "capabilities": {"sampling": {}, "elicitation": {}}}
        await client.send(frame("hello", "initialize", **hello, clientInfo=info))
        await client.answer("hello")
        await client.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        await client.send(frame("list", "tools/list"))
        await client.answer("list")
        sent: list[Any] = []
        for number, canary in enumerate(secrets):
            variants = all_places(canary)
            for one in variants[(number // len(CLASSES) + number) % len(variants)]:
                await client.send(one)
                sent += [one["id"]] if "id" in one else []
            if number % 20 == 0 and sent:
                await client.answer(sent[-1])
        for rpc_id in sent:
            await client.answer(rpc_id)
        await client.close()
        return [str(rpc_id) for rpc_id in sent]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("capture", CAPTURES)
def test_no_canary_is_left(
    capture: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    trail = tmp_path / "trail" / "audit.jsonl"
    trail.parent.mkdir()
    (tmp_path / "config.yaml").write_text("audit: {record_results: full}\nredaction: {unknown_schema: keep}\n")
    secrets = planted()
    caplog.set_level(logging.DEBUG, "indelible")
    if capture in ATTACHED:
        named = {"trail": str(trail), "old": str(old_python()) if "{old}" in ATTACHED[capture] else ""}
        command = (*(part.format(**named) for part in ATTACHED[capture]), str(LISTED))
        sent = asyncio.run(drive(command, tmp_path, secrets))
        requests = sum(not rpc_id.startswith(REFUSED.get(capture, ("\0",))) for rpc_id in sent)
        secrets += canaries(LISTED)
    else:
        with indelible.open_trail(trail, config=tmp_path / "config.yaml") as recorder:
            requests = FROM_PYTHON[capture](recorder, secrets)
    events = [json.loads(line) for line in trail.read_bytes().splitlines()]
    made = sum(line["event_type"] in ("mcp_operation", "auth_rejected") for line in events)
    assert made == requests
    ends = {line["outcome"]["kind"] for line in events if "outcome" in line}
    assert {line["event_type"] for line in events} | ends >= SEEN.get(capture, set())
    written = dict(contents(tmp_path))
    for marker in (b"[EMAIL]", b"[CARD]", b"[TOKEN]", b"[IBAN]", b"[PHONE]", b"[SSN]", b"[REDACTED]"):
        assert marker in written[trail], "nothing that was planted arrived"
    written[tmp_path / "log"] = "\n".join((caplog.text, *capfd.readouterr())).encode()
    found = {path.name: leaked(secrets, data) for path, data in written.items()}
    assert {name: leaks for name, leaks in found.items() if leaks} == {}
    assert len(secrets) >= 1_000
    with capfd.disabled():
        print(
            f"\n{capture}: of {len(secrets):,} secrets of {len(CLASSES)} classes none was left in {made:,} events"
        )


def test_the_readme_says_what_is_planted() -> None:
    [(count, classes)] = SAID.findall(" ".join(README.read_text().split()))
    each = len(planted())
    assert int(count.replace(",", "")) == each * len(CAPTURES) + len(CLASSES) * len(ATTACHED)
    assert int(classes) == len(CLASSES)


WAYS: dict[str, Callable[[bytes], bytes]] = {
    "as it stands": bytes,
    "hex": lambda text: text.hex().encode(),
    "json": lambda text: json.dumps("".join(f"\\u{byte:04x}" for byte in text)).encode(),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_search_finds_what_is_there(way: str) -> None:
    """A search that finds nothing anywhere would find nothing here."""
    secrets = planted()[:200:7]
    for canary in secrets:
        assert canary.name in " ".join(leaked(secrets, b'{"a": "' + WAYS[way](canary.value.encode()) + b'"}'))
