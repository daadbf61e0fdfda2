"""A client of a service that does everything wrong, from a seed: what it says depends on nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from indelible.events import new_id, now
from indelible.trail.sharing import wire

NAME: Final = "hostile"
"""What it calls itself, where it says hello at all."""

_STALLED: Final = "import socket, sys, time; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);" + (
    "s.sendall(bytes.fromhex(sys.argv[2])); print('sent', flush=True); time.sleep(600)"
)


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def said(**message: Any) -> bytes:
    return framed(json.dumps(message).encode())


HELLO: Final = said(t="hello", v=1, recorder=NAME, pid=0, own=True)
"""Says that its events need not be parsed: nobody's word is taken for that here."""


class Hostile:
    """One attack after the other; `ways` are all of them."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.random = random.Random(seed)
        self.held: list[socket.socket] = []
        """Connections that are kept open, read by nobody."""
        self.stalled: list[subprocess.Popen[bytes]] = []
        """Processes that are stopped in the midst of a message."""
        self.ways: list[Callable[[], None]] = [
            self.random_bytes, self.lying_length, self.hello_twice, self.future_answers, self.split, self.never_reads,
            self.half_open, self.deep, self.twin_keys, self.bad_text, self.bad_numbers, self.forged, self.many_at_once,
            self.jumps, self.resends, self.mutated, self.many_hellos, self.asks, self.orders, self.stopped,
        ]  # fmt: skip

    def event(self, **more: Any) -> dict[str, Any]:
        return {
            "timestamp": now(),
            "event_type": "mcp_operation",
            "event_id": new_id(),
            "target": {"type": "tool", "method": "tools/call", "capability_name": "h"},
            "outcome": {"status": "success", "kind": "completed"},
            **more,
        }

    def put(self, number: int, body: Any, **more: Any) -> bytes:
        event_id = body.get("event_id", "") if isinstance(body, dict) else ""
        return said(t="put", n=number, **{"id": event_id, "body": body, **more})

    def send(self, *data: bytes, keep: bool = False, read: bool = True) -> None:
        """Connect and send; whatever the service does to the connection is right, as long as it lives."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(0.2)
        try:
            with contextlib.suppress(OSError):
                sock.connect(str(self.path))
                for piece in data:
                    sock.sendall(piece)
                if read:
                    sock.recv(1 << 16)
        finally:
            if keep and len(self.held) < 6:
                self.held.append(sock)
            else:
                sock.close()

    def raw(self, body: bytes, **more: Any) -> bytes:
        """A put whose body is these bytes, whatever they are."""
        head = json.dumps({"t": "put", "n": 1, "id": new_id(), **more}).encode()
        return framed(head[:-1] + b', "body": ' + body + b"}")

    # --- the ways -----------------------------------------------------------------------------------------

    def random_bytes(self) -> None:
        self.send(self.random.randbytes(self.random.choice((1, 3, 4, 5, 100, 70_000))))

    def lying_length(self) -> None:
        claimed = self.random.choice((0, 1, 5, wire.MAX_MESSAGE, wire.MAX_MESSAGE + 1, 2**31, 2**32 - 1))
        self.send(HELLO, claimed.to_bytes(4, "big") + self.put(1, self.event())[4:])

    def hello_twice(self) -> None:
        self.send(HELLO, HELLO, self.put(1, self.event()))

    def future_answers(self) -> None:
        answer: dict[str, Any] = self.random.choice(
            (
                {"t": "ack", "n": 10**9},
                {"t": "nack", "n": 1, "error": "x"},
                {"t": "welcome", "v": 1},
                {"t": "done"},
            )
        )
        self.send(HELLO, said(**answer), self.put(1, self.event()))

    def split(self) -> None:
        """Each byte on its own, or cut in two anywhere."""
        data = HELLO + self.put(1, self.event())
        at = self.random.randrange(1, len(data))
        pieces = [data[:at], data[at:]] if self.random.random() < 0.7 else [bytes([byte]) for byte in data]
        self.send(*pieces)

    def never_reads(self) -> None:
        """Fill the answers' buffer."""
        puts = b"".join(self.put(number, self.event(seq=number)) for number in range(1, 200))
        self.send(HELLO, puts, said(t="ask") * 2000, keep=True, read=False)

    def half_open(self) -> None:
        data = HELLO + self.put(1, self.event())
        self.send(data[: self.random.randrange(len(data))], keep=True, read=False)

    def deep(self) -> None:
        depth = self.random.choice((100, 500, 5000, 30_000))
        nested = b"[" * depth + b"]" * depth
        body = json.dumps(self.event()).encode()[:-1] + b', "metadata": {"a": ' + nested + b"}}"
        self.send(HELLO, self.raw(self.random.choice((nested, body))))

    def twin_keys(self) -> None:
        body = json.dumps(self.event()).encode()
        twin = self.random.choice(
            (
                b'"event_type": "audit_stopped"',
                b'"seq": 1',
                b'"event_id": "0"',
                b'"source": {"recorder": {"uid": 0}}',
            )
        )
        self.send(
            HELLO, self.raw(b"{" + twin + b", " + body[1:]), self.raw(body[:-1] + b", " + twin + b"}", n=2)
        )

    def bad_text(self) -> None:
        name = self.random.choice(
            (rb"\ud800", b"\xff\xfe", b"\xed\xa0\x80", rb"\u0000", b"\x00", "\u2028".encode())
        )
        body = json.dumps(self.event(target={"capability_name": "HERE"})).encode()
        hello = HELLO if self.random.random() < 0.7 else framed(HELLO[4:].replace(NAME.encode(), name))
        self.send(hello, self.raw(body.replace(b"HERE", name)))

    def bad_numbers(self) -> None:
        value = self.random.choice(
            (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-0", b"9" * 5000, b"1" * 19, b"0x1")
        )
        body = json.dumps(self.event(request={"args": {"a": 17171717}})).encode()
        late = json.dumps(
            self.event(outcome={"status": "error", "kind": "cancelled", "latency_ms": 17171717})
        ).encode()
        self.send(HELLO, self.raw(self.random.choice((body, late)).replace(b"17171717", value)))

    def forged(self) -> None:
        whose = {"id": self.random.choice((NAME, "honest", "record")), "uid": os.getuid(), "pid": os.getppid()}
        more: dict[str, Any] = self.random.choice(
            (
                {"source": {"recorder": whose}}, {"seq": 0}, {"schema": 1}, {"recorded_at": now()}, {"leaf": "0" * 64},
                {"erased": True}, {"event_type": "audit_stopped"}, {"event_type": "file_opened"},
                {"event_type": "audit_gap", "metadata": {"lost": 10**9}}, {"event_id": "../../x"}, {"event_id": 7},
                {"request": {"intent": new_id()}}, {"request": {"args_hmac": "0" * 64, "args_bytes": 1}},
            )
        )  # fmt: skip
        self.send(HELLO, self.put(1, self.event(**more)))

    def many_at_once(self) -> None:
        """More than the window, at once."""
        self.send(HELLO, b"".join(self.put(number, self.event()) for number in range(1, wire.WINDOW + 60)))

    def jumps(self) -> None:
        number = self.random.choice((0, 2, -1, 2**63, 2**70))
        self.send(HELLO, self.put(number, self.event()))

    def resends(self) -> None:
        again = self.event()
        self.send(
            HELLO,
            self.put(1, again),
            self.put(2, again, again=True),
            self.put(3, again, again=True, deaths=self.random.choice((1, 9, 2**62))),
        )

    def mutated(self) -> None:
        """A conversation that is right but for some bytes."""
        data = bytearray(HELLO + self.put(1, self.event(request={"args": {"a": [1, "b"]}})))
        for _ in range(self.random.randrange(1, 6)):
            data[self.random.randrange(len(data))] = self.random.randrange(256)
        self.send(bytes(data))

    def many_hellos(self) -> None:
        """So many connections as nobody may have."""
        socks = []
        for number in range(60):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(0.2)
            socks.append(sock)
            with contextlib.suppress(OSError):
                sock.connect(str(self.path))
                if number % 3:
                    sock.sendall(HELLO)
        for sock in socks:
            sock.close()

    def asks(self) -> None:
        self.send(said(t="ask") * 300, HELLO, said(t="ask"))

    def orders(self) -> None:
        self.send(HELLO, said(t="order", order={"order": "retain"}), self.put(1, self.event()))

    def stopped(self) -> None:
        """A process that is stopped with half of a message sent."""
        if len(self.stalled) >= 3:
            return
        data = (HELLO + self.put(1, self.event()))[:-20]
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", _STALLED, str(self.path), data.hex()], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        process.send_signal(signal.SIGSTOP)
        self.stalled.append(process)

    def close(self) -> None:
        for sock in self.held:
            sock.close()
        for process in self.stalled:
            process.kill()
            process.wait()
