"""``indelible.attach(server)``: the audit of a server object, whatever it was built with.

A server is known by what it has, not by its class, so that no framework is imported.
"""

from __future__ import annotations

import functools
import logging
import sys
from pathlib import Path
from typing import Any

from indelible.capture.calling import Audited, Trail, recorder_of
from indelible.capture.outcomes import judge_exception
from indelible.capture.recorders import known_or_asked
from indelible.errors import ConfigError

log = logging.getLogger("indelible")


def attach(server: Any, trail: Trail = None, *, backend: str | None = None) -> None:
    """Record every call that a server gets from now on; a second time on the same server changes nothing.

    `server` is a `MCPServer` (2.x), `FastMCP` (1.x) or low-level `Server` (both) of the official SDK, or a `FastMCP` of
    the package of that name, 3 or 4. `trail` is an open recorder, a path, or None for the configured trail; `backend`
    is the server's name in the trail, by default its own.
    Raises ConfigError for anything that is no such server, and what opening a trail does.
    """
    inner = getattr(server, "_lowlevel_server", None)  # MCPServer
    if inner is None:
        inner = getattr(server, "_mcp_server", server)  # FastMCP, of whichever package
    name = backend or getattr(server, "name", None) or program()
    if isinstance(getattr(inner, "middleware", None), list) and hasattr(inner, "add_request_handler"):
        if server is not inner and hasattr(server, "add_middleware"):
            _add(server, inner, trail, backend)
            return
        middleware = _insert(inner, trail, str(name))
        if middleware is not None and server is not inner and hasattr(server, "call_tool"):
            _note_exceptions(server, middleware.audited)
        return
    if isinstance(getattr(inner, "request_handlers", None), dict) and callable(getattr(inner, "run", None)):
        _tap(inner, trail, str(name))
        return
    msg = f"attach takes a server of the official MCP SDK, and this is a {type(server).__qualname__}"
    if callable(server):
        msg += "; an ASGI app is audited by wrapping it: AuditASGI(app)"
    raise ConfigError(msg)


def audited(trail: Trail, backend: str, version: object = None) -> Audited:
    """Return the audit of a server."""
    return Audited(known_or_asked(trail), backend=backend, server_version=_known(version))


def _known(version: object) -> str | None:
    """Return what a server object says of its version, if that is one."""
    return version if isinstance(version, str) and version else None


def program() -> str:
    """Return a name for a server that does not say its own: that of the program."""
    path = Path(sys.argv[0] if sys.argv else "")
    return (path.parent.name if path.name == "__main__.py" else path.stem) or "server"


def _insert(server: Any, trail: Trail, name: str) -> Any:
    """Put our middleware before all that can refuse a call, but within a trace's span; None when it is there."""
    from indelible.capture.sdk2 import WireMiddleware

    chain = server.middleware
    if any(isinstance(each, WireMiddleware) for each in chain):
        return None
    middleware = WireMiddleware(audited(trail, name, getattr(server, "version", None)))
    traced = bool(chain) and type(chain[0]).__name__ == "OpenTelemetryMiddleware"
    chain.insert(1 if traced else 0, middleware)
    return middleware


def _add(server: Any, inner: Any, trail: Trail, backend: str | None) -> None:
    """Put FastMCP's kind of middleware before all others of a FastMCP 4, and the SDK's beneath it, once."""
    from indelible.capture.fastmcp_mw import AuditMiddleware
    from indelible.capture.sdk2 import WireMiddleware

    if not any(isinstance(each, WireMiddleware) for each in inner.middleware):
        middleware = AuditMiddleware(trail, backend=backend)
        middleware.attach(server)
        server.middleware.insert(0, middleware)


def _tap(server: Any, trail: Trail, name: str) -> None:
    """Put a tap into a server of SDK 1.x, once."""
    from indelible.capture.sdk1 import Tapped, tap

    if not hasattr(server.run, "indelible"):
        version = _known(getattr(server, "version", None))
        tap(server, Tapped(server, recorder_of(trail), backend=name, version=version))


def _note_exceptions(server: Any, audit: Audited) -> None:
    """Look at what tools raise before MCPServer puts a text in its place: every call goes through its `call_tool`."""
    from indelible import context
    from indelible.capture.calling import OpenCall

    original = server.call_tool

    @functools.wraps(original)
    async def call_tool(*args: Any, **kwargs: Any) -> Any:
        try:
            return await original(*args, **kwargs)
        except Exception as exc:
            call = context.current.get()
            name = args[0] if args else kwargs.get("name")
            mine = isinstance(call, OpenCall) and (call.audited is audit or call.from_outside)
            if isinstance(call, OpenCall) and mine and call.incoming.name == name:
                call.learn(verdict=judge_exception(exc, method="tools/call"))
            raise

    try:
        server.call_tool = call_tool
    except AttributeError:  # a class that takes no new attributes: the class of an exception stays unknown
        log.debug("the exceptions of a server's tools are not seen")
