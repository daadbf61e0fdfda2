"""Give an order to whoever holds a trail: this process, when nobody does, or the one that answers at `writer.sock`.

What may not move:

- An order is given again, to the next holder or to this process, when the connection ends before its answer came: it
  may have been carried out or not, and orders stand being carried out twice (see `orders`).
- Whoever only gives an order deletes nothing else: while this process holds the trail, nothing is due by age or count,
  since the settings here may not be those of the trail's writers.
- Who is interrupted while it waits (Ctrl-C) leaves no half order: one that was not begun is dropped, one that was begun
  is finished by whoever holds the trail.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import orjson

from indelible.config import KEEP_ALL
from indelible.errors import ConfigError, IndelibleError, NotProven, TrailError, TrailLocked, WireError
from indelible.trail.layout import Layout
from indelible.trail.reader import is_there
from indelible.trail.sharing import wire
from indelible.trail.sharing.link import GREETING_S, READ_BYTES
from indelible.trail.sharing.shared import SharedWriter
from indelible.trail.sharing.sockets import connect, credentials
from indelible.trail.upkeep import orders
from indelible.trail.upkeep.orders import Asker, Order

if TYPE_CHECKING:
    from indelible.config import AuditSettings
    from indelible.trail.writer import Writer

ATTEMPTS: Final = 8
"""So many holders may be gone before one of them answers."""

Waiting = Callable[[int], None]
"""Called with the pid of the process that carries the order out, before it is waited for."""


def manage(path: Path, audit: AuditSettings, order: Order, waiting: Waiting | None = None) -> dict[str, Any]:
    """Have an order carried out on the trail at `path`, and return what came of it (JSON).

    Raises TrailError when there is no trail, or the order could not be carried out; ConfigError (exit code 2) and
    NotProven (1) as whoever carried it out did; TrailLocked when the holder does not answer.
    """
    if not is_there(path):
        msg = f"{path}: there is no trail here"
        raise TrailError(msg)
    layout = Layout(path)
    for _ in range(ATTEMPTS):
        result = through_holder(layout, order, waiting)
        if result is None:
            result = _here(path, audit, order, waiting)
        if result is not None:
            return result
    msg = f"{path}: {ATTEMPTS} processes that held the trail are gone, and none has answered; try again"
    raise TrailError(msg)


# --- here ------------------------------------------------------------------------------------------------------------


def _here(path: Path, audit: AuditSettings, order: Order, waiting: Waiting | None) -> dict[str, Any] | None:
    """Open the trail as any writer does, and carry the order out; None when somebody else was faster."""
    idle = msgspec.structs.replace(audit, retention=KEEP_ALL, compress_rotated=False)
    shared = SharedWriter(path, idle, "cli")
    try:
        if waiting is not None and shared.holder is not None:
            waiting(os.getpid())
        return None if shared.holder is None else execute(shared.holder, order)
    finally:
        shared.close()  # and finishes what was begun


def execute(writer: Writer, order: Order) -> dict[str, Any]:
    """Carry an order out in the process that holds the trail. Raises IndelibleError."""
    answered = threading.Event()
    results: list[dict[str, Any] | IndelibleError] = []

    def answer(result: dict[str, Any] | IndelibleError) -> None:
        results.append(result)
        answered.set()

    task = writer.housekeeper.execute(order, Asker(os.getuid(), os.getpid()), answer)
    try:
        answered.wait()
    except BaseException:
        writer.housekeeper.withdraw(task)
        raise
    (result,) = results
    if isinstance(result, IndelibleError):
        raise result
    return result


# --- through another process -----------------------------------------------------------------------------------------


def through_holder(layout: Layout, order: Order, waiting: Waiting | None = None) -> dict[str, Any] | None:
    """Give an order to the process that holds the trail; None when there is none, or it is gone.

    Raises as `manage` does.
    """
    try:
        sock = connect(layout.socket, GREETING_S)
    except PermissionError as exc:
        msg = f"{layout.socket}: answers only to the user who writes the trail: be that user, or root"
        raise TrailLocked(msg) from exc
    except OSError:  # nobody listens
        return None
    pid = 0
    with sock:
        try:
            pid = credentials(sock)[0]
            _check_knows(sock, layout, order, pid)
            sock.settimeout(None)
            sock.sendall(wire.pack(wire.Order(orders.encode(order))))
            if waiting is not None:
                waiting(pid)
            answer = _answer(sock)
        except TimeoutError as exc:
            msg = f"{layout.active}: process {pid} holds the trail and does not answer: is it stopped?"
            raise TrailLocked(msg) from exc
        except ConnectionError:
            return None
        except (ValueError, WireError) as exc:
            msg = f"{layout.socket}: process {pid} gives an answer that is none: {exc}"
            raise TrailError(msg) from exc
    return _result(answer)


def _check_knows(sock: socket.socket, layout: Layout, order: Order, pid: int) -> None:
    """Ask the holder which orders it takes. Raises TrailLocked when this is none of them."""
    sock.sendall(wire.pack(wire.Ask()))
    state = _answer(sock)
    if not isinstance(state, wire.HolderState):  # it says good-bye
        raise ConnectionResetError
    if orders.name(order) not in state.orders:
        msg = (
            f"{layout.active}: process {pid} holds the trail and is of a version that does not know "
            f"'{orders.name(order)}': end it, or upgrade it and start it again"
        )
        raise TrailLocked(msg)


def _answer(sock: socket.socket) -> wire.ToRecorder:
    """Wait for one message. Raises OSError (the other end is gone), ValueError or WireError (it is no message)."""
    messages = wire.Messages(orders.MAX_RESULT_BYTES + wire.MAX_MESSAGE)
    while data := sock.recv(READ_BYTES):
        if whole := messages.feed(data):
            message: wire.ToRecorder = wire.decode_to_recorder(whole[0])
            return message
    raise ConnectionResetError


_BY_CODE: Final[dict[int, type[IndelibleError]]] = {1: NotProven, 2: ConfigError}
"""What an answer's code raises here; TrailError for any other."""


def _result(answer: wire.ToRecorder) -> dict[str, Any] | None:
    if isinstance(answer, wire.Done):
        result: dict[str, Any] = orjson.loads(bytes(answer.result))
        return result
    if isinstance(answer, wire.Refused):
        raise _BY_CODE.get(answer.code, TrailError)(answer.error)
    if isinstance(answer, wire.Bye):  # it ends, and has not begun
        return None
    msg = f"expected what came of the order, found {type(answer).__name__}"
    raise TrailError(msg)
