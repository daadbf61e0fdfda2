"""The server behind a gateway: MCP over stdio, without a framework, so that it runs in every peer's environment.

``python backend.py FILE``: `FILE` is made when a call of `hang` or `die` has arrived, so that whoever waits knows.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

SCHEMA = {
    "type": "object",
    "properties": {"password": {"type": "string"}, "count": {"type": "integer"}},
    "required": ["password"],
}
TOOLS = ("answer", "flag", "wire", "hang", "die", "denied", "marker")


def called(name: str, arrived: Path) -> dict[str, Any] | None:
    """Return what answers a call, or None for no answer at all."""
    match name:
        case "wire":
            return {"error": {"code": -32050, "message": "not now"}}
        case "hang":
            arrived.touch()
            return None
        case "die":
            os._exit(1)
        case _:
            content = [{"type": "text", "text": "the quick brown fox jumps over the lazy dog"}]
            return {"result": {"content": content, "isError": name == "flag"}}


def answered(message: dict[str, Any], arrived: Path) -> dict[str, Any] | None:
    """Return the answer to a message, without its envelope."""
    match message.get("method"):
        case "initialize":
            version = message["params"]["protocolVersion"]
            info = {"name": "backend", "version": "1"}
            return {"result": {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}}
        case "tools/list":
            return {"result": {"tools": [{"name": name, "inputSchema": SCHEMA} for name in TOOLS]}}
        case "tools/call":
            if not isinstance(message["params"]["arguments"].get("count", 1), int):
                return {"error": {"code": -32602, "message": "count must be an integer"}}
            return called(message["params"]["name"], arrived)
        case "ping":
            return {"result": {}}
        case _:
            return {"error": {"code": -32601, "message": "Method not found"}}


def main() -> None:
    """Serve until the input ends."""
    arrived = Path(sys.argv[1])
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message and "method" in message:
            answer = answered(message, arrived)
            if answer is not None:
                print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}), flush=True)


if __name__ == "__main__":
    main()
