"""Whatever a client sends, a middleware reads it without raising: nothing has been validated before it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from indelible.capture import peers
from indelible.capture.calling import Peer
from indelible.capture.proxies import NOBODY, Trusted, networks
from indelible.capture.sdk2 import incoming_of, peer_of
from indelible.events import Event, encode_body, new_id, now

words = st.sampled_from(
    [
        "name", "uri", "ref", "arguments", "_meta", "requestState", "inputResponses", "request_id", "traceparent",
        "io.modelcontextprotocol/clientInfo", "version", "X-Request-ID", "x",
    ]
)  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)
METHODS = ["tools/call", "resources/read", "prompts/get", "completion/complete", "tasks/cancel", "vendor/x", ""]


@dataclass
class Address:
    host: Any = "127.0.0.1"


@dataclass
class Request:
    headers: Any
    scope: Any = field(default_factory=dict)
    client: Any = field(default_factory=Address)


@dataclass
class Context:
    method: str
    params: Any
    request_id: Any
    request: Any
    protocol_version: Any = "2025-11-25"
    session: object = field(default_factory=object)


@given(
    st.sampled_from(METHODS),
    values,
    st.integers() | st.text(max_size=10),
    st.none()
    | st.builds(Request, st.dictionaries(words | st.just("traceparent"), values, max_size=3) | values),
    st.sampled_from([NOBODY, Trusted(networks(["10.0.0.0/8", "::/0"]))]),
)
def test_any_message_is_read(method: str, params: Any, rpc_id: Any, request: Any, trusted: Trusted) -> None:
    try:
        json.dumps(rpc_id).encode()
    except UnicodeEncodeError:
        return  # no id of JSON
    ctx = Context(method, params, rpc_id, request)
    incoming, peer = incoming_of(ctx), peer_of(ctx, trusted)
    assert incoming.name is None or isinstance(incoming.name, str)
    assert incoming.request_state is None or isinstance(incoming.request_state, str)
    assert hash(peer) == hash(peer)
    event = Event(timestamp=now(), event_type="mcp_operation", event_id=new_id(), source=peer.source())
    assert encode_body(event)


@dataclass
class Token:
    token: Any = None
    client_id: Any = None
    scopes: Any = None
    subject: Any = None
    claims: Any = None


@given(st.builds(Token, values, values, values, values, values))
def test_any_token_gives_a_principal(token: Token) -> None:
    peer = Peer(caller="http", **peers.principal_of(token))
    assert peer.roles is None or all(isinstance(role, str) for role in peer.roles)
    assert isinstance(token.token, str) or peer.auth_key_id is None


def test_a_principal_is_who_the_token_is_about() -> None:
    claims = {"roles": ["a", "b"], "iss": "i", "act": {"sub": "one", "act": {"sub": "two"}}}
    about = peers.principal_of(Token("x.y.z", "app", ["s"], "ada", claims))
    assert about["user_id"] == "ada"
    assert about["roles"] == ("a", "b")
    assert about["on_behalf_of"] == ("one", "two")
    assert (about["caller_type"], about["auth_method"]) == (None, "jwt")
    service = peers.principal_of(Token("opaque", "app", ["s"]))
    assert (service["user_id"], service["caller_type"], service["roles"]) == ("app", "service", ("s",))


def test_a_chain_of_delegation_ends() -> None:
    act: dict[str, Any] = {"sub": "x"}
    act["act"] = act
    assert len(peers.principal_of(Token(claims={"act": act}))["on_behalf_of"]) == peers.MAX_ACTORS
