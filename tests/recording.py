"""What tests that record have in common: an event as a recorder sends it, a full disk, a wait for a condition."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import msgspec

from indelible.events import Event, Source, encode_body, new_id, now
from indelible.trail import writer as writer_module
from indelible.trail.active import ActiveFile
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


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no line of a trail that this process holds be written."""

    def fail(self: ActiveFile, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with mock.patch.object(ActiveFile, "put", fail), mock.patch.object(writer_module, "RETRY_S", 0.0):
        yield


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
