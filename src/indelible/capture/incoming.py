"""What a capture inside a server knows when a call begins: the request, and who sent it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from indelible.events import AuthMethod, Caller, CallerType, Effects, Source

if TYPE_CHECKING:
    from indelible.capture.calls import Call


class Outside:
    """A request of a transport that a capture in front of the server has seen; its calls are recorded there.

    A capture within the server finds it by `KEY` in the request's ASGI scope, and joins.
    """

    KEY: Final = "indelible.request"

    def goes_into(self, recorder: Any) -> bool:
        """Tell whether they are recorded into the trail of this `recorder`."""
        raise NotImplementedError

    def open_call(self, rpc_id: str) -> object | None:
        """Return the call with this id, as a text, that the request made, also when its outcome is known."""
        raise NotImplementedError


Wire = tuple[object, str]
"""One request on the wire: its `Outside`, connection or session, compared by ``is``, and its rpc id as a string.

A string, since frameworks disagree about the id's type; the object itself, since an ``id()`` is used again.
"""


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls, and over what; hashable, so that its source is made once. The fields are `events.Source`'s."""

    caller: Caller
    session_id: str | None = None
    client: str | None = None
    """``name/version``."""
    client_ip: str | None = None
    user_id: str | None = None
    caller_type: CallerType | None = None
    roles: tuple[str, ...] | None = None
    tenant: str | None = None
    auth_method: AuthMethod | None = None
    auth_key_id: str | None = None
    issuer: str | None = None
    on_behalf_of: tuple[str, ...] | None = None
    protocol_version: str | None = None
    """Stands in the target."""

    def source(self) -> Source:
        """Return it as a part of an event."""
        return Source(
            caller=self.caller,
            session_id=self.session_id,
            client_ip=self.client_ip,
            client=self.client,
            user_id=self.user_id,
            caller_type=self.caller_type,
            roles=list(self.roles) if self.roles else None,
            tenant=self.tenant,
            auth_method=self.auth_method,
            auth_key_id=self.auth_key_id,
            issuer=self.issuer,
            on_behalf_of=list(self.on_behalf_of) if self.on_behalf_of else None,
        )

    @property
    def who(self) -> str:
        """What tells this caller from others, as far as anything does."""
        return self.user_id or self.session_id or self.client_ip or ""


class Incoming(msgspec.Struct, kw_only=True, gc=False):
    """One request, as a capture saw it."""

    method: str
    name: str | None = None
    """The tool's or prompt's name, the resource's URI, what a completion is for."""
    args: Any = None
    """A JSON value or `msgspec.Raw`; read before `begin` returns, and never changed."""
    rpc_id: bytes | None = None
    """As JSON text; None when there is none."""
    wire: Wire | None = None
    """None for a call that came over no wire, directly from Python."""
    request_id: str | None = None
    """The caller's own, already found good (`meta.correlation`)."""
    trace_id: str | None = None
    span_id: str | None = None
    request_state: str | None = None
    """Of a retry (2026-07-28)."""
    answers_input: bool = False
    """It carries answers to what an earlier round asked for."""
    input_responses: Any = None
    """These, as they came."""
    continues: str | None = None
    """The request id of the call that it goes on with, when the capture itself knows."""
    metadata: dict[str, Any] | None = None
    effects: Effects | None = None
    """What the capture itself knows of them; None: the method or the tool's definition says."""


class Handled(msgspec.Struct, frozen=True):
    """A call of a server whose messages are all that is seen, as the code that carries it out has it."""

    call: Call
    peer: Peer
    recorder: Any
    by: object
    """The connection that it came over."""

    @property
    def request_id(self) -> str:
        """Correlates everything of this call."""
        return self.call.named()

    @property
    def closed(self) -> bool:
        """Tell whether its outcome is known."""
        return bool(self.call.outcome_id)


def rpc_id_of(value: Any) -> bytes:
    """Return a request's id as JSON text; of one that JSON-RPC does not know, the string that it shows itself as."""
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, msgspec.MsgspecError, RecursionError):
        return msgspec.json.encode(str(value))


def dumped(value: Any) -> Any:
    """Return a framework's object in its wire form; what is no model is that already. Raises what the model does.

    It does not warn of what it holds in place of what it should hold: that would stand on stderr.
    """
    dump = getattr(value, "model_dump", None)
    return value if dump is None else dump(by_alias=True, mode="json", exclude_none=True, warnings=False)


def as_sent(value: Any) -> Any:
    """Return the same; None when it has none: the framework will meet that as well, and say so."""
    if type(value) is dict:
        return value
    try:
        return dumped(value)
    except Exception:  # noqa: BLE001 - somebody else's model
        return None
