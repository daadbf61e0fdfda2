"""argus-mcp, a gateway, wired as its own start-up does it: ``python -m bench.peers.argus``, in its environment.

Its configuration is a file with one stdio backend. Its start-up (`_attach_to_mcp_server`) puts the audit middleware
inside the one that turns exceptions into answers. For the cost, the server behind it is one that answers at once, in
the same thread, and bare is the same chain without `AuditMiddleware`.
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

from bench import called
from bench.peers import common

CONFIG = """\
version: "1"
incoming_auth: {{type: {auth}}}
backends:
  shop: {{type: stdio, command: {python}, args: [{backend}, {arrived}]}}
"""
BACKEND = Path(__file__).with_name("backend.py")


def own(module: str) -> Any:
    """Return a module of the peer's, which only its environment has."""
    return importlib.import_module(f"argus_mcp.{module}")


class Instant:
    """Stands for the connection to a server that answers at once, and for who hands it out."""

    def __init__(self) -> None:
        types: Any = importlib.import_module("mcp.types")
        self._result = types.CallToolResult(content=[types.TextContent(type="text", text=called.TEXT)])

    def get_session(self, name: str) -> Instant:
        return self

    async def call_tool(self, name: str, arguments: Any) -> Any:
        return self._result


async def running(directory: Path, auth: str) -> tuple[Any, Any]:
    """Return a gateway and its service, started."""
    config = directory / f"{auth.split(',', maxsplit=1)[0]}.yaml"
    words = {"python": sys.executable, "backend": BACKEND, "arrived": directory / "arrived", "auth": auth}
    config.write_text(CONFIG.format(**words))
    service = own("runtime.service").ArgusService()
    await service.start(str(config))
    server = importlib.import_module("mcp.server").Server("argus")
    own("server.handlers").register_handlers(server)
    await own("server.lifespan")._attach_to_mcp_server(server, service)
    return server, service


async def beside(directory: Path, auth: str) -> tuple[common.Wire, Any]:
    """Return a client of another gateway with the same log, and its service."""
    server, service = await running(directory, auth)
    server.audit_logger.close()  # it would write each event once more: they share one logger
    client = common.Wire(server)
    await client.greet()
    return client, service


async def recorded(directory: Path, server: Any) -> dict[str, list[Any]]:
    """Return what it recorded of each cause."""
    client = common.Wire(server)
    await client.greet()
    guarded, guarding = await beside(directory, "local, token: a-token-of-its-own")
    doomed, serving = await beside(directory, "anonymous")
    tools = {"returned": "answer", "flag": "flag", "wire": "wire", "unknown": "no_such_tool"}
    causes: dict[str, common.Happens] = {
        cause: functools.partial(client.said, tool) for cause, tool in tools.items()
    }
    causes["invalid"] = functools.partial(client.said, "answer", {**common.ARGUMENTS, "count": "many"})
    causes["denied"] = functools.partial(guarded.said, "answer")
    causes["cancelled"] = functools.partial(client.cancelled, "hang", directory / "arrived")
    causes["died"] = functools.partial(doomed.said, "die")
    log = directory / "logs" / "audit.jsonl"
    found = await common.witnessed(lambda: common.lines(log), functools.partial(client.said, "marker"), causes)
    for service in (guarding, serving):
        await service.stop()
    server.audit_logger.close()
    return found


async def measured(service: Any) -> common.Costs:
    """Return what its audit adds."""
    middleware = own("bridge.middleware")
    ways = {}
    for way in ("bare", "audited"):
        server = importlib.import_module("mcp.server").Server("argus")
        own("server.handlers").register_handlers(server)
        server.registry = service.registry
        chain = [middleware.RecoveryMiddleware()]
        if way == "audited":
            chain.append(middleware.AuditMiddleware(audit_logger=own("audit").AuditLogger()))
        routing = middleware.RoutingMiddleware(service.registry, Instant())
        server.middleware_chain = middleware.build_chain(chain, routing)
        client = common.Wire(server)
        await client.greet()
        assert called.TEXT in str(await client.said("answer"))
        ways[way] = client.preparing("answer")
    return await common.costs(ways, {"any tool": ("bare", "audited")})


async def work(directory: Path) -> None:
    server, service = await running(directory, "anonymous")
    found = await recorded(directory, server)
    figures = await measured(service)
    await service.stop()
    said = {cause: [event["outcome"]["status"] for event in events] for cause, events in found.items()}
    common.tell("argus-mcp", "argus-mcp", said, common.password_in(list(found.values())), figures)


def main() -> int:
    """Tell of it."""
    logging.disable(logging.INFO)
    with called.somewhere() as directory:
        os.chdir(directory)  # its log stands in ./logs, whatever is configured
        asyncio.run(work(directory))
    return 0


if __name__ == "__main__":
    sys.exit(main())
