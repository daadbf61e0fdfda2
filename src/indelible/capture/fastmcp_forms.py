"""What FastMCP's objects say of a call: who makes it, what it asks for, what it is answered with.

No framework is imported. FastMCP hands its middleware validated models and results of its own; the wire's form is
made of them here.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

from indelible import context as current_call
from indelible.capture import meta, methods, peers
from indelible.capture.calling import Incoming, OpenCall, Peer, Wire
from indelible.capture.frames import bounded
from indelible.capture.incoming import dumped, rpc_id_of
from indelible.capture.proxies import Trusted
from indelible.events import Caller


def open_here() -> OpenCall | None:
    """Return the call that this code runs in, as long as it has no outcome."""
    call = current_call.current.get()
    return call if isinstance(call, OpenCall) and not call.closed else None


def inherited(wire: Wire | None) -> str | None:
    """Return the request id of the call that this one is a hop of.

    That is one of another server, by a proxy in the same process; or this very request, as another trail has it.
    """
    call = open_here()
    return None if call is None or wire is None else call.request_id


def wire_of(request: Any) -> Wire | None:
    """Return the request on the wire that a call is; None for one directly from Python."""
    rpc_id = getattr(request, "request_id", None)
    return None if rpc_id is None else peers.wire_of(request.request, request.session, rpc_id)


def incoming_of(context: Any, wire: Wire | None, within: current_call.Named | None) -> Incoming:
    """Return the call as FastMCP has it: its parameters are validated already."""
    about, message = context.fastmcp_context, context.message
    method: str = context.method
    how = methods.describe(method)
    incoming = Incoming(method=method, name=_name_of(how, message), wire=wire)
    if how.args == "arguments":
        incoming.args = getattr(message, "arguments", None)
    else:
        incoming.args = dumped(message)
    here = within or (current_call.here() if wire is None else None)
    if here is not None:
        incoming.metadata = {"within": here.request_id}
    if within is not None or wire is None:
        return incoming
    request = about.request_context
    raw = getattr(request, "_srctx", request)  # FastMCP 4 makes a string of the id
    incoming.rpc_id = rpc_id_of(raw.request_id)
    fields, over_http = _fields(request), request.request
    if fields or over_http is not None:
        ids = peers.correlation_of(fields, over_http)
        incoming.request_id, incoming.trace_id, incoming.span_id = ids
    incoming.request_id = incoming.request_id or inherited(wire)
    state = getattr(message, "request_state", None)
    incoming.request_state = state if isinstance(state, str) else None
    incoming.answers_input = getattr(message, "input_responses", None) is not None
    return incoming


def name_of(method: str, message: Any) -> str | None:
    """Return the name of what is called: a tool's or prompt's, a resource's URI."""
    return _name_of(methods.describe(method), message)


def _name_of(how: methods.Method, message: Any) -> str | None:
    if how.name is None:
        return None
    value = message.get(how.name) if peers.is_mapping(message) else getattr(message, how.name, None)
    if how.name == "ref":
        value = getattr(value, "name", None) or getattr(value, "uri", None)
    return None if value is None else bounded(str(value))


def _fields(request: Any) -> Mapping[str, Any] | None:
    """Return a request's ``_meta``: a mapping, or a model that takes any field."""
    fields = getattr(request, "meta", None)
    if fields is None:
        return None
    fields = dumped(fields)
    return fields if isinstance(fields, Mapping) else None


def peer_of(about: Any, trusted: Trusted, piped: peers.LastPeer) -> Peer:
    """Return who calls, of FastMCP's `Context`. Its `session_id` may be made up for one request, and is not asked."""
    request = about.request_context
    if request is None:
        return _LIBRARY
    params, fields = getattr(request.session, "client_params", None), _fields(request)
    version, transport = getattr(request, "protocol_version", None), getattr(about, "transport", None)
    said = (version, transport, fields.get(meta.CLIENT_INFO) if fields else None)
    known = piped.get(params, said) if request.request is None else None
    if known is not None:
        return known
    client = peers.client_of(fields, params)
    asked = getattr(params, "protocol_version", None) or getattr(params, "protocolVersion", None)
    version = meta.short(version or asked)
    if request.request is None:
        caller: Caller = "stdio" if transport == "stdio" else "library"
        return piped.put(params, said, peers.local_peer(caller, client=client, protocol_version=version))
    return peers.peer_in_session(
        request.request, request.session, trusted, client=client, protocol_version=version
    )


_LIBRARY: Final = peers.local_peer("library")


# --- what it is answered with ---


def wire_form(result: Any, context: Any) -> Any:
    """Return a result as FastMCP will send it, as near as can be had here; None when it has no such form."""
    try:
        asked = getattr(result, "input_required", None)
        if asked is not None:
            return dumped(asked)
        match context.method:
            case "tools/call" if hasattr(result, "to_mcp_result"):
                return _of_tool(result.to_mcp_result())
            case "resources/read" if hasattr(result, "to_mcp_result"):
                return dumped(result.to_mcp_result(context.message.uri))
            case "prompts/get" if hasattr(result, "to_mcp_prompt_result"):
                return dumped(result.to_mcp_prompt_result())
        return dumped(result)
    except Exception:  # noqa: BLE001 - FastMCP will meet it as well, and says so to the client
        return None


def _of_tool(result: Any) -> Any:
    if not isinstance(result, list | tuple):
        return dumped(result)
    blocks, structured = result if isinstance(result, tuple) else (result, None)
    form: dict[str, Any] = {"content": [dumped(block) for block in blocks], "isError": False}
    if structured is not None:
        form["structuredContent"] = structured
    return form


def listed(tools: Any) -> Iterable[object]:
    """Return FastMCP's tools in their wire form; what has none is left out."""
    for tool in tools if isinstance(tools, list | tuple) else ():
        with contextlib.suppress(Exception):
            yield dumped(tool.to_mcp_tool())


# --- what a server has ---


async def own_component(server: Any, question: str, name: str | None) -> Any:
    """Return the component with this name that is in the server's own memory, whoever may call it; None for none.

    `question` is the method that a provider is asked with. The server's transforms are gone through as FastMCP does:
    a name may be another one further in. Raises what they do.
    """

    async def ask(inner: str | None, *, version: Any = None) -> Any:
        for provider in getattr(server, "providers", ()):
            if type(provider).__name__ == "LocalProvider":
                component = await getattr(provider, question)(inner, version)
                if component is not None:
                    return component
        return None

    chain: Any = ask
    for transform in getattr(server, "transforms", ()):
        chain = functools.partial(getattr(transform, question), call_next=chain)
    return await chain(name, version=None)


async def admits(component: Any) -> bool:
    """Tell whether a component's own authorization lets the caller of now have it. Raises what its code does.

    One that is not found may be disabled for everybody, or have been called and raised that itself.
    """
    if getattr(component, "auth", None) is None:
        return True
    asked = getattr(sys.modules.get("fastmcp.server.server"), "_component_auth_allows", None)  # private
    return asked is not None and bool(await asked(component))
