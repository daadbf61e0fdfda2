"""A server behind `AuditASGI`, as a process: ``python -m tests.integration.asgi.server TRAIL`` prints its port."""

from __future__ import annotations

import asyncio
import socket
import sys

import uvicorn

import indelible
from tests.integration.asgi.connecting import audited

if __name__ == "__main__":
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    app = audited("mcpserver", indelible.open_trail(sys.argv[1]))
    asyncio.run(uvicorn.Server(uvicorn.Config(app, log_level="critical")).serve([listening]))
