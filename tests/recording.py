"""What tests of shared trails have in common: an event as a recorder sends it, and a wait for a condition."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import msgspec

from indelible.events import Event, Source, encode_body, new_id, now
from indelible.trail.sharing import wire
from indelible.trail.sharing.shared import SharedWriter

LIMIT_S = 60.0
"""No wait in these tests is longer; every one of them is for a condition."""


def event(**more: Any) -> Event:
    return Event(timestamp=now(), event_type="mcp_operation", event_id=new_id(), source=Source(), **more)


def body(writer: SharedWriter, event_id: str, **metadata: Any) -> bytes:
    made = event(metadata=metadata or None)
    return encode_body(
        msgspec.structs.replace(made, event_id=event_id, source=Source(recorder=writer.recorder))
    )


def next_message(sock: socket.socket, messages: wire.Messages, waiting: list[bytes]) -> bytes | None:
    """Return the next message of a holder, of those `waiting` or still to come; None at the end of the connection."""
    while not waiting:
        try:
            data = sock.recv(65536)
        except ConnectionResetError:
            return None
        if not data:
            return None
        waiting += messages.feed(data)
    return waiting.pop(0)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
