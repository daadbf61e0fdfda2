"""The ways in to a trail's holder: who is let in, as whom, and what of what he brings may become a line.

`Family` is `writer.sock`: processes of the trail's own user, who could write the files themselves. `Service` is a
socket for users who could not: nothing that they say is taken for granted.

What may not move, at a service's door:

- A recorder is (name, uid, pid); the name is its own choice, uid and pid are the kernel's word. Keys, resent events and
  open calls belong to all three or to the uid, never to the name alone.
- What stands in a line was decoded, redacted and encoded here. Which call an event opens or closes is read from the
  event, not from what stands around it.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from indelible.errors import EventError
from indelible.events import RecorderId
from indelible.trail.sharing import wire
from indelible.trail.sharing.quotas import Account, Accounts, Quotas
from indelible.trail.start import keys

if TYPE_CHECKING:
    import socket

    from indelible.trail.sharing.peer import Peer

SERVICE_READ_BYTES: Final = 64 * 1024
"""So much is read from one stranger before the next one's turn."""

LIFE: Final = secrets.token_hex(8)
"""This process, told from every other, whatever its pid."""


class Checked(Protocol):
    """An event that may be written."""

    @property
    def body(self) -> bytes: ...  # noqa: D102
    @property
    def event_id(self) -> str: ...  # noqa: D102
    @property
    def opens(self) -> str: ...  # noqa: D102
    @property
    def closes(self) -> str: ...  # noqa: D102


class Checker(Protocol):
    """Looks at one recorder's events; raises EventError for what is none."""

    def check(self, body: bytes) -> Checked: ...  # noqa: D102


MakeChecker = Callable[[RecorderId, tuple[bytes, str], bytes], Checker]


class Family:
    """`writer.sock`."""

    accounts: Accounts | None = None
    service = False

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener

    def account(self, _uid: int) -> Account | None:
        """Everybody here is the same user."""
        return None

    def admits(self, uid: int) -> bool:
        """Only the trail's own user, and root."""
        return uid in (os.getuid(), 0)

    def hears(self, message: wire.ToHolder) -> bool:
        """Whatever there is."""
        return True

    def refuses(self, peer: Peer, hello: wire.Hello) -> str | None:
        """Say why a recorder is not let in as who it says it is."""
        return f"the process is {peer.pid}, not {hello.pid}" if hello.pid != peer.pid else None

    def said_by(self, peer: Peer, hello: wire.Hello) -> bytes:
        """Return what stands in each event that this recorder has encoded by this package; empty when it does not."""
        return wire.said_by(hello.recorder, peer.uid, peer.pid) if hello.own else b""

    def key_for(self, peer: Peer, secret: bytes) -> tuple[bytes, str]:
        """Return the key of a recorder's digests, and its id."""
        return keys.derive_digest_key(secret, peer.recorder)

    def token_key_for(self, _peer: Peer, secret: bytes) -> bytes:
        """Return the key of a recorder's tokens: the trail's own."""
        return keys.derive_token_key(secret)

    def mark(self, _peer: Peer, event_id: str) -> str:
        """Return what an event is known by when it comes again."""
        return event_id

    def marks(self, _peer: Peer, puts: Iterable[wire.Put]) -> list[str]:
        """Return that of many."""
        return [put.id for put in puts]

    def check(self, peer: Peer, put: wire.Put) -> wire.Put | str:
        """Return an event as it may be written, or why it may not."""
        if peer.said and wire.looks_own(put, peer.said):
            return put
        return wire.check_body(put, peer.recorder, peer.uid, peer.pid) or put


class Service:
    """The socket of `indelible record`."""

    service = True

    def __init__(self, listener: socket.socket, quotas: Quotas, checker: MakeChecker) -> None:
        """Let in whoever may open the socket; `checker` makes what looks at a recorder's events."""
        self.listener = listener
        self.accounts = Accounts(quotas)
        self._checker = checker

    def account(self, uid: int) -> Account | None:
        """Return a user's account."""
        return self.accounts.of(uid, time.monotonic())

    def admits(self, _uid: int) -> bool:
        """The socket's mode has decided."""
        return True

    def hears(self, message: wire.ToHolder) -> bool:
        """What a recorder needs, and nothing by which the trail is managed."""
        return isinstance(message, wire.Hello | wire.Put | wire.Ask | wire.Bye)

    def refuses(self, _peer: Peer, hello: wire.Hello) -> str | None:
        """Say why a recorder is not let in. Its pid may be another one where it lives: the kernel's word counts."""
        return None if hello.recorder.isprintable() else "the recorder's name has control characters"

    def said_by(self, _peer: Peer, _hello: wire.Hello) -> bytes:
        """Take nobody's word for it."""
        return b""

    def key_for(self, peer: Peer, secret: bytes) -> tuple[bytes, str]:
        """Derive a key of its own for every user's recorders, whatever they call themselves.

        No name has a NUL here, and no recorder of the trail's own user can pass for one: it knows the secret anyway.
        """
        key = keys.derive_digest_key(secret, f"uid {peer.uid}\0{peer.recorder}")
        who = RecorderId(id=peer.recorder, uid=peer.uid, pid=peer.pid)
        peer.checker = self._checker(who, key, self.token_key_for(peer, secret))
        return key

    def token_key_for(self, peer: Peer, secret: bytes) -> bytes:
        """Return the key of a recorder's tokens: its user's."""
        return keys.derive_token_key(secret, f"uid {peer.uid}")

    def mark(self, peer: Peer, event_id: str) -> str:
        """Return what an event is known by: nobody can make another user's event look as if it had come already."""
        return f"{peer.uid} {event_id}"

    def marks(self, peer: Peer, puts: Iterable[wire.Put]) -> list[str]:
        """Return that of many."""
        return [self.mark(peer, put.id) for put in puts]

    def check(self, peer: Peer, put: wire.Put) -> wire.Put | str:
        """Return an event as it may be written, or why it may not."""
        if peer.checker is None:
            return "it did not say hello"
        try:
            checked = peer.checker.check(bytes(put.body))
        except EventError as exc:
            return str(exc)
        if checked.event_id != put.id:
            return "it was sent under another id"
        body = msgspec.Raw(checked.body)
        return msgspec.structs.replace(put, body=body, opens=checked.opens, closes=checked.closes)


Door = Family | Service
