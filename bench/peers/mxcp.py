"""mxcp's server with Python endpoints, as its `run` starts it: ``python -m bench.peers.mxcp``, in its environment.

Its audit is the `finally` of every endpoint's body and cannot be had apart from it, so bare is the same server whose
profile says ``audit: {enabled: false}``. Its analytics are turned off: nothing here leaves the machine.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

import yaml

from bench import called
from bench.peers import common

TOOLS = ("answer", "marker", "raised", "late", "hang", "denied")
PYTHON = f"""\
import asyncio
from pathlib import Path

def answer(**kwargs): return {called.TEXT!r}
marker = denied = answer

def raised(**kwargs): raise KeyError("x")

async def late(**kwargs):
    async with asyncio.timeout(0.01):
        await asyncio.Event().wait()

async def hang(**kwargs):
    Path("arrived").touch()
    await asyncio.Event().wait()
"""
PARAMETERS = [
    {"name": name, "type": kind, "description": name, "default": default}
    for name, kind, default in (("path", "string", ""), ("query", "string", ""), ("count", "integer", 1))
]
PASSWORD = {"name": "password", "type": "string", "description": "a secret", "sensitive": True}
DENY = {"input": [{"condition": "true", "action": "deny", "reason": "not you"}]}


def site(directory: Path, *, audit: bool) -> Path:
    """Lay out a project as its documentation has it; return its directory."""
    for name in ("tools", "python", "audit", "data"):
        (directory / name).mkdir(parents=True)
    profile = {"audit": {"enabled": audit, "path": str(directory / "audit" / "log.jsonl")}}
    names = {"mxcp": 1, "project": "bench", "profile": "default"}
    (directory / "mxcp-site.yml").write_text(yaml.safe_dump({**names, "profiles": {"default": profile}}))
    (directory / "python" / "tools.py").write_text(PYTHON)
    for name in TOOLS:
        tool: dict[str, Any] = {"name": name, "description": name, "language": "python"}
        tool |= {"parameters": [PASSWORD, *PARAMETERS], "return": {"type": "string"}}
        tool |= {"source": {"file": "../python/tools.py"}} | ({"policies": DENY} if name == "denied" else {})
        (directory / "tools" / f"{name}.yml").write_text(yaml.safe_dump({"mxcp": 1, "tool": tool}))
    return directory


async def started(directory: Path) -> Any:
    """Return a server of that project, as far as its `run` goes before the transport."""
    os.chdir(directory)
    server = importlib.import_module("mxcp.server.interfaces.server.mcp").RAWMCP(directory, transport="stdio")
    server.transport_mode = "stdio"
    server.register_endpoints()
    await server._initialize_audit_logger()
    return server


def log(directory: Path) -> list[Any]:
    """Return what stands in its audit log: its file's name has the time in it."""
    return [line for path in sorted((directory / "audit").glob("log-*.jsonl")) for line in common.lines(path)]


async def recorded(directory: Path, client: common.Wire) -> dict[str, list[Any]]:
    """Return what it recorded of each cause."""
    tools = {
        "returned": "answer",
        "raised": "raised",
        "unknown": "no_such_tool",
        "denied": "denied",
        "late": "late",
    }
    causes: dict[str, common.Happens] = {
        cause: functools.partial(client.said, tool) for cause, tool in tools.items()
    }
    causes["invalid"] = functools.partial(client.said, "answer", {**common.ARGUMENTS, "count": "many"})
    causes["cancelled"] = functools.partial(client.cancelled, "hang", directory / "arrived")
    return await common.witnessed(lambda: log(directory), functools.partial(client.said, "marker"), causes)


async def work(directory: Path) -> None:
    config = directory / "config.yml"
    config.write_text(yaml.safe_dump({"mxcp": 1, "projects": {"bench": {"profiles": {"default": {}}}}}))
    os.environ |= {"MXCP_CONFIG": str(config), "MXCP_DISABLE_ANALYTICS": "1"}
    audited = await started(site(directory / "audited", audit=True))
    client = common.Wire(audited.mcp)
    await client.greet()
    found = await recorded(directory / "audited", client)
    bare = await started(site(directory / "bare", audit=False))
    other = common.Wire(bare.mcp)
    await other.greet()
    ways = {"bare": other.preparing("answer"), "audited": client.preparing("answer")}
    assert called.TEXT in str(await other.said("answer"))
    assert called.TEXT in str(await client.said("answer"))
    figures = await common.costs(ways, {"any tool": ("bare", "audited")}, calls=10, rounds=20)
    for server in (bare, audited):
        await server.shutdown()
    said = {cause: [event["operation_status"] for event in events] for cause, events in found.items()}
    common.tell("mxcp", "mxcp", said, common.password_in(list(found.values())), figures)


def main() -> int:
    """Tell of it."""
    logging.disable(logging.CRITICAL)
    with called.somewhere() as directory:
        asyncio.run(work(directory))
    return 0


if __name__ == "__main__":
    sys.exit(main())
