"""Who calls, and under which ids: from what frameworks of any kind hand to their handlers.

Nothing here imports a framework: a request is whatever has `headers`, `client` and `scope` as Starlette's has, a token
whatever has the fields of the SDK's `AccessToken`. A value of another type than expected is as good as absent, and
nothing raises.
"""

from __future__ import annotations

import functools
import hashlib
import re
import sys
from collections.abc import Mapping
from typing import Any, Final

from indelible.capture import meta, proxies
from indelible.capture.calling import Peer
from indelible.capture.incoming import Outside, Wire
from indelible.capture.wrapped import login
from indelible.events import AuthMethod, Caller, CallerType, new_id

MAX_ROLES: Final = 64
MAX_ACTORS: Final = 8
"""How far a chain of delegation (RFC 8693, section 4.1) is followed."""


def peer_of_request(
    request: Any,
    token: Any = None,
    *,
    session_id: str | None = None,
    client: str | None = None,
    protocol_version: str | None = None,
    trusted: proxies.Trusted = proxies.NOBODY,
    client_ip: str | None = None,
) -> Peer:
    """Return who sent an HTTP request; `token` is the accepted credential, when there was one.

    Without a token it is who the app's own authentication found (Starlette's, in ``scope["user"]``), else nobody known.
    The address is `client_ip`, else the socket's other end, or what `trusted` proxies say.
    The user is the token's subject, else the client that it was given to; roles are the claim of that name when it is a
    list of texts, else the scopes. Of the token itself only the first 8 hex digits of its SHA-256 are kept.
    """
    header = header_of(request, "mcp-session-id")
    about: dict[str, Any] = {
        "caller": "http",
        "session_id": header or session_id or _old_session_of(request),
        "client": client,
        "client_ip": client_ip or address_of(request, trusted),
        "protocol_version": protocol_version or header_of(request, "mcp-protocol-version"),
    }
    if token is not None:
        return Peer(**about, **principal_of(token))
    scope = _scope_of(request)
    known = principal_of_user(scope.get("user"), scope.get("auth"))
    return Peer(**about, **(known or {"caller_type": "anonymous", "auth_method": "none"}))


def peer_in_session(
    request: Any, session: Any, trusted: proxies.Trusted, *, client: str | None, protocol_version: str | None
) -> Peer:
    """Return who sent an HTTP request, of a session of the SDK's: its id is private there, and a header has it too."""
    known = getattr(getattr(session, "_connection", None), "session_id", None)
    return peer_of_request(
        request,
        token_of(request),
        session_id=meta.short(known),
        client=client,
        protocol_version=protocol_version,
        trusted=trusted,
    )


def principal_of(token: Any) -> dict[str, Any]:
    """Return the fields of a `Peer` that an accepted token gives."""
    claims = getattr(token, "claims", None)
    claims = claims if isinstance(claims, Mapping) else {}
    subject = meta.short(getattr(token, "subject", None)) or meta.short(claims.get("sub"))
    caller_type: CallerType | None = None if subject else "service"
    value = getattr(token, "token", None)
    auth_method: AuthMethod | None = None
    key_id = None
    if isinstance(value, str) and value:
        key_id = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        auth_method = "jwt" if value.count(".") == 2 else None
    return {
        "user_id": subject or meta.short(getattr(token, "client_id", None)),
        "caller_type": caller_type,
        "roles": _texts(claims.get("roles")) or _texts(getattr(token, "scopes", None)),
        "auth_method": auth_method,
        "auth_key_id": key_id,
        "issuer": meta.short(claims.get("iss")),
        "on_behalf_of": _actors(claims.get("act")),
    }


def principal_of_user(user: Any, auth: Any) -> dict[str, Any]:
    """Return the fields of a `Peer` that Starlette's authentication gives, whatever the credential was."""
    try:
        if not getattr(user, "is_authenticated", False):
            return {}
        named = meta.short(getattr(user, "display_name", None))
        identity = None if named else meta.short(user.identity)
    except Exception:  # noqa: BLE001 - a class of anybody's; Starlette's own raises for what it does not have
        return {}
    roles = _texts(getattr(auth, "scopes", None))
    return {"user_id": identity or named, "roles": roles, "caller_type": None, "auth_method": None}


def local_peer(caller: Caller, *, client: str | None = None, protocol_version: str | None = None) -> Peer:
    """Return who calls over stdio, where nobody authenticates: the operating system's login, as with `wrap`.

    A call of the same process (`caller` ``library``) is nobody's in particular.
    """
    if caller != "stdio":
        return Peer(caller=caller, client=client, protocol_version=protocol_version)
    return Peer(
        caller=caller,
        session_id=_stdio_session(),
        client=client,
        user_id=_login(),
        caller_type="human",
        auth_method="os",
        protocol_version=protocol_version,
    )


class LastPeer:
    """Who sent the last message over a pipe, or in a session: the next one, too, as long as no more is said of him."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        """Know of none."""
        self._known: tuple[object, tuple[object, ...], Peer | None] = (None, (), None)

    def get(self, whose: object, said: tuple[object, ...]) -> Peer | None:
        """Return him when it is the very same object that he is known by, and all else that is `said` as it was."""
        known = self._known
        return known[2] if known[0] is whose and known[1] == said else None

    def put(self, whose: object, said: tuple[object, ...], peer: Peer) -> Peer:
        """Remember him, and return him."""
        self._known = (whose, said, peer)
        return peer


@functools.cache
def _stdio_session() -> str:
    """A process serves one session over its standard streams."""
    return new_id()


_login = functools.cache(login)


def token_of(request: Any) -> Any:
    """Return the accepted token of a request, or of the context; None when there is none."""
    return token_in(_scope_of(request))


def token_in(scope: Mapping[str, Any]) -> Any:
    """Return the same of a request's ASGI scope."""
    token = getattr(scope.get("user"), "access_token", None)
    if token is not None:
        return token
    module = sys.modules.get("mcp.server.auth.middleware.auth_context")  # not loaded: nobody can have set it
    try:
        return None if module is None else module.get_access_token()
    except Exception:  # noqa: BLE001 - somebody else's code, and no reason to fail a call
        return None


def client_of(fields: Mapping[str, Any] | None, params: Any) -> str | None:
    """Return ``name/version`` of the client: from a request's ``_meta`` (2026-07-28), else from ``initialize``."""
    if fields:
        named = meta.name_version(fields.get(meta.CLIENT_INFO))
        if named is not None:
            return named
    info = getattr(params, "client_info", None) or getattr(params, "clientInfo", None)
    if info is None:
        return None
    return meta.name_version({"name": getattr(info, "name", None), "version": getattr(info, "version", None)})


def is_mapping(value: object) -> bool:
    """Tell whether a value is a mapping. What comes from JSON is a dict; asking `Mapping` costs six times as much."""
    return type(value) is dict or isinstance(value, Mapping)


def meta_of(params: Any) -> Mapping[str, Any] | None:
    """Return the ``_meta`` of a request's parameters."""
    fields = params.get("_meta") if is_mapping(params) else None
    return None if fields is None or not is_mapping(fields) else fields


def correlation_of(fields: Mapping[str, Any] | None, request: Any) -> tuple[str | None, str | None, str | None]:
    """Return request id, trace id and span id of a call: ``_meta`` says it, else the request's headers."""
    request_id = trace_id = span_id = None
    if fields:
        request_id, trace_id, span_id = meta.correlation(meta.of_fields(fields))
    if request is not None and (request_id is None or trace_id is None):
        headers = {name: header_of(request, name) for name in ("x-request-id", "traceparent")}
        from_header = meta.correlation(meta.of_fields(headers))
        request_id = request_id or from_header[0]
        if trace_id is None:
            _, trace_id, span_id = from_header
    return request_id, trace_id, span_id


def wire_of(request: Any, session: Any, rpc_id: Any) -> Wire | None:
    """Return which request on the wire a message is; None for a notification.

    `request` is the HTTP request that it came in, None on other transports. Where a capture in front of the server has
    seen that, it is one of its calls.
    """
    if rpc_id is None:
        return None
    outside = None if request is None else outside_of(request)
    return (outside or session, str(rpc_id))


def outside_of(request: Any) -> Outside | None:
    """Return the request as a capture in front of the server has seen it; None when there is none."""
    outside = _scope_of(request).get(Outside.KEY)
    return outside if isinstance(outside, Outside) else None


def header_of(request: Any, name: str) -> str | None:
    """Return a header of a request, bounded; None when there is none."""
    headers = getattr(request, "headers", None)
    if not isinstance(headers, Mapping):
        return None
    return meta.short(headers.get(name))


_OLD_SESSION: Final = re.compile(r"(?:.*&)?session_id=([0-9a-f]{32})(?:&.*)?")


def _old_session_of(request: Any) -> str | None:
    """Return the session of a request of HTTP+SSE (2024-11-05), which the SDK names in the address of messages."""
    query = _scope_of(request).get("query_string")
    found = _OLD_SESSION.fullmatch(query.decode("latin-1")) if query and isinstance(query, bytes) else None
    return None if found is None else found[1]


def _scope_of(request: Any) -> Mapping[str, Any]:
    """Return the request's ASGI scope, or what it has of one."""
    scope = getattr(request, "scope", None)
    return scope if isinstance(scope, Mapping) else {}


def address_of(request: Any, trusted: proxies.Trusted = proxies.NOBODY) -> str | None:
    """Return the address of the socket's other end, or what `trusted` proxies say."""
    host = meta.short(getattr(getattr(request, "client", None), "host", None))
    scope = getattr(request, "scope", None)
    if not trusted.networks or not isinstance(scope, Mapping):
        return host
    return proxies.client_of(host, scope.get("headers") or (), trusted)


def _texts(value: object) -> tuple[str, ...] | None:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        return None
    return tuple(named for item in value[:MAX_ROLES] if (named := meta.short(item))) or None


def _actors(act: object) -> tuple[str, ...] | None:
    """Return who acts for the user, nearest first."""
    found: list[str] = []
    while isinstance(act, Mapping) and len(found) < MAX_ACTORS:
        named = meta.short(act.get("sub"))
        if named is not None:
            found.append(named)
        act = act.get("act")
    return tuple(found) or None
