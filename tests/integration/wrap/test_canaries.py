"""Secrets and personal data of every class, wherever a caller or a server can put something: none is found after.

The trail's whole directory, everything on `wrap`'s stderr, and what `log` and `status` print are searched, as they
stand, unescaped, and decoded from base64.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.canaries import Canary, arguments, canaries, found
from tests.integration.wrap.harness import INDELIBLE, Client, events, isolated, request

PARROT = str(Path(__file__).with_name("parrot.py"))
Wrap = Callable[..., Client]
Frame = dict[str, Any]


def notification(method: str, **params: Any) -> Frame:
    return {"jsonrpc": "2.0", "method": method, "params": params}


def frame(rpc_id: Any, method: str, **params: Any) -> Frame:
    return {"jsonrpc": "2.0", "id": rpc_id, "method": method, "params": params}


def places(canary: Canary) -> Iterator[Frame]:
    """Yield frames that hold a canary wherever a caller can put one."""
    text = canary.value
    meta = {
        "progressToken": text,
        "traceparent": text,
        "request_id": text,
        "io.modelcontextprotocol/clientInfo": {"name": text, "version": text},
        "io.modelcontextprotocol/protocolVersion": text,
        text: text,
    }
    for name in ("tells", "fails", "errs"):
        yield frame(f"{name} {canary.name}", "tools/call", name=name, arguments={"note": text})
    yield frame(f"deep {canary.name}", "tools/call", name="fails", arguments={"a": [{"b": {"c": [1, [text]]}}]})
    yield frame(f"key {canary.name}", "tools/call", name="fails", arguments={text: {text: 1}})
    yield frame(
        f"long {canary.name}", "tools/call", name="fails", arguments={"x": "a " * 240 + text + " z" * 300}
    )
    yield frame(f"meta {canary.name}", "tools/call", name="errs", arguments={}, _meta=meta)
    yield frame(f"name {canary.name}", "tools/call", name=f"fails {text}", arguments={})
    yield frame(text, "tools/call", name="fails", arguments={})
    yield frame(f"uri {canary.name}", "resources/read", uri=f"file:///srv/{text}", name="errs")
    yield frame(f"query {canary.name}", "resources/read", uri=f"https://example.com/x?q={text}#{text}")
    yield frame(f"prompt {canary.name}", "prompts/get", name="greet", arguments={"about": text})
    yield frame(f"method {canary.name}", f"vendor/{text}", name="errs")
    yield frame(f"complete {canary.name}", "completion/complete", ref={"type": text}, argument={"value": text})
    yield notification("notifications/cancelled", requestId=f"prompt {canary.name}", reason=text)
    yield notification("notifications/progress", progressToken=text, message=text)


def plant(client: Client, seed: int) -> tuple[int, list[tuple[str, tuple[str, ...]]]]:
    """Send everything; return the number of calls and what must not be found."""
    secrets = [(canary.name, canary.fragments) for canary in canaries(seed)]
    by_key, fragments = arguments(seed)
    secrets.append(("sensitive keys", fragments))
    first = next(iter(canaries(seed)))
    hello = {"name": first.value, "version": first.value}
    client.ask(request(0, "initialize", protocolVersion=first.value, capabilities={}, clientInfo=hello))
    client.ask(request(1, "tools/list"))
    frames = [frame(2, "tools/call", name="fails", arguments=by_key)]
    frames.append(frame(3, "tools/call", name="fails", arguments={"pin": "marked-in-the-schema-4711"}))
    secrets.append(("schema mark", ("marked-in-the-schema-4711",)))
    frames += [place for canary in canaries(seed) for place in places(canary)]
    for place in frames:
        client.send(json.dumps(place).encode() + b"\n")
        if "id" in place:
            while b'"id"' not in (line := client.line()) or b'"method"' in line:
                assert line
    client.send(*(f"garbage {canary.value!r}\n".encode() for canary in canaries(seed)))
    return sum("id" in place for place in frames), secrets


def contents(directory: Path) -> Iterator[tuple[Path, bytes]]:
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            if path.suffix == ".zst":
                data = zstandard.ZstdDecompressor().stream_reader(data).read()
            yield path, data


@pytest.mark.parametrize("seed", range(3))
def test_no_canary_is_found_anywhere(seed: int, wrap: Wrap, trail: Path, tmp_path: Path) -> None:
    client = wrap(sys.executable, PARROT)
    calls, secrets = plant(client, seed)
    assert client.finish() == 0
    assert len(events(trail, "mcp_operation")) == calls
    assert len(secrets) > 25

    shown = b""
    for command in (["log", "-n", "0"], ["log", "-n", "0", "--json", "--events", "all"], ["status"]):
        done = subprocess.run(
            [*INDELIBLE, *command, "--trail", str(trail)],
            capture_output=True,
            check=True,
            env={"PATH": "", **isolated(tmp_path)},
            timeout=60,
        )
        shown += done.stdout + done.stderr
    everything = [*contents(trail.parent), (Path("stderr"), client.stderr().encode()), (Path("shown"), shown)]
    owner = {fragment: name for name, fragments in secrets for fragment in fragments}
    leaks = [
        f"{owner[leaked]}: {leaked} in {path.name}"
        for path, data in everything
        for leaked in found(tuple(owner), data)
    ]
    assert leaks == []
