"""A raw stdio server that says back whatever it is told, in every place where a server can say something."""

import json
import os
import sys
from typing import Any


def send(message: object) -> None:
    data = json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"  # type: ignore[dict-item]
    while data:
        data = data[os.write(1, data) :]


def said(message: dict[str, Any]) -> str:
    return json.dumps(message.get("params", {}))


def answer(message: dict[str, Any]) -> None:
    rpc_id, method, text = message["id"], message["method"], said(message)
    name = str(message.get("params", {}).get("name", ""))
    if method == "initialize":
        info = {"name": f"parrot {text}", "version": text}
        send(
            {"id": rpc_id, "result": {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": info}}
        )
    elif method == "tools/list":
        schema = {"type": "object", "properties": {"pin": {"type": "string", "sensitive": True}}}
        send({"id": rpc_id, "result": {"tools": [{"name": "fails", "inputSchema": schema}]}})
    elif name.startswith("fails"):
        send({"method": "notifications/message", "params": {"level": "info", "data": text}})
        send({"id": rpc_id, "result": {"isError": True, "content": [{"type": "text", "text": text}]}})
    elif name.startswith("errs"):
        send({"id": rpc_id, "error": {"code": -32602, "message": f"no: {text}", "data": {"of": text}}})
    else:
        send({"id": rpc_id, "result": {"content": [{"type": "text", "text": text}], "isError": False}})


for line in sys.stdin.buffer:
    try:
        received = json.loads(line)
    except ValueError:
        os.write(1, line)  # garbage comes back as garbage
        continue
    if "id" in received and "method" in received:
        answer(received)
