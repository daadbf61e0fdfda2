"""Our sinks pass the suite that other people's sinks are judged by; and the suite finds what breaks its rules."""

from __future__ import annotations

import os
import resource
import select
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from indelible.registry import make_sink
from indelible.sink_settings import SinkSettings
from indelible.sink_settings.files import FileSettings
from indelible.sink_settings.syslog import SyslogSettings
from indelible.sinks.base import Delivery, Shipment, Sink, SinkUnavailable
from indelible.sinks.checks import CHECKS
from indelible.sinks.stream import StreamSink
from indelible.testing import Destination, MemorySink, check_sink
from tests.unit.sinks.receivers import Receiver, by_lines, octet_counted

pytestmark = pytest.mark.slow

ALL = tuple(CHECKS)
UNBROKEN = ("in order", "opened and closed", "stopped before")


class Memory(Destination):
    def __init__(self) -> None:
        self.made: list[MemorySink] = []

    def make(self, timeout: float) -> MemorySink:
        self.made.append(MemorySink(timeout))
        self.made[-1].refuses = lambda shipment: "it is the one" if shipment.record == self.unfit() else ""
        self.made[-1].room = 0 if self.__dict__.get("away") else None
        return self.made[-1]

    def received(self) -> Sequence[bytes]:
        return [record for sink in self.made for record in sink.records]

    def take_away(self) -> None:
        self.away = True
        for sink in self.made:
            sink.room = 0

    def bring_back(self) -> None:
        self.away = False
        for sink in self.made:
            sink.room = None

    def hang(self) -> None:
        self.made[-1].hangs = True

    def unfit(self) -> bytes:
        return b"the one"


class File(Destination):
    def __init__(self, folder: Path) -> None:
        self.path = folder / "out" / "records.log"
        self.limit = resource.getrlimit(resource.RLIMIT_FSIZE)

    def make(self, timeout: float) -> Sink:
        return make_sink(
            SinkSettings(
                type="file",
                name="f",
                own=FileSettings(path=str(self.path), max_size=200_000, backup_count=9),
                timeout=timeout,
            )
        )

    def received(self) -> Sequence[bytes]:
        files = [self.path.with_name(f"{self.path.name}.{number}") for number in range(9, 0, -1)]
        data = b"".join(file.read_bytes() for file in [*files, self.path] if file.exists())
        assert not data or data.endswith(b"\n")
        return data.split(b"\n")[:-1]

    def take_away(self) -> None:
        """No byte more may be written to any file of this process."""
        size = self.path.stat().st_size if self.path.exists() else 0
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, self.limit[1]))

    def bring_back(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.limit)

    def unfit(self) -> bytes:
        return b"two\nlines"

    def close(self) -> None:
        self.bring_back()


class Pipe(Destination):
    """A pipe with a reader that can stop."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        self.data = bytearray()
        self.reads = threading.Event()
        self.reads.set()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        while not self.over.is_set():
            if self.reads.wait(0.1) and select.select([self.read], [], [], 0.1)[0]:
                self.data += os.read(self.read, 65_536)

    def make(self, timeout: float) -> Sink:
        return StreamSink(SinkSettings(type="stderr", name="s", timeout=timeout), self.write)

    def received(self) -> Sequence[bytes]:
        return bytes(self.data).split(b"\n")[:-1]

    def hang(self) -> None:
        self.reads.clear()

    def unfit(self) -> bytes:
        return b"two\nlines"

    def close(self) -> None:
        self.over.set()
        self.thread.join(60)
        os.close(self.read)
        os.close(self.write)


class SocketStream(Pipe):
    """What systemd gives a service as its standard output."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        super().__init__()
        os.dup2(self.ours.fileno(), self.read)
        os.dup2(self.theirs.fileno(), self.write)

    def close(self) -> None:
        super().close()
        self.ours.close()
        self.theirs.close()


class Tcp(Destination):
    def __init__(self, framing: str = "octet") -> None:
        self.framing = framing
        self.receiver = Receiver(framing=by_lines if framing == "lf" else octet_counted)

    def make(self, timeout: float) -> Sink:
        return make_sink(
            SinkSettings(
                type="syslog",
                name="s",
                own=SyslogSettings(
                    address=self.receiver.address,
                    protocol="tcp",
                    framing="lf" if self.framing == "lf" else "octet",
                ),
                timeout=timeout,
            )
        )

    def received(self) -> Sequence[bytes]:
        return self.receiver.messages

    def take_away(self) -> None:
        self.receiver.stop()

    def bring_back(self) -> None:
        self.receiver.start()

    def hang(self) -> None:
        self.receiver.reads.clear()

    def unfit(self) -> bytes:
        return b"two\nlines" if self.framing == "lf" else b""

    def close(self) -> None:
        self.receiver.stop()


class Datagrams(Destination):
    """Over UDP, or over a local socket as /dev/log is one."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.messages: list[bytes] = []
        self.port = 0
        self.over = threading.Event()
        self.bring_back()

    def make(self, timeout: float) -> Sink:
        address = str(self.path) if self.path else f"127.0.0.1:{self.port}"
        return make_sink(
            SinkSettings(type="syslog", name="s", own=SyslogSettings(address=address), timeout=timeout)
        )

    def received(self) -> Sequence[bytes]:
        return self.messages

    def bring_back(self) -> None:
        family = socket.AF_UNIX if self.path else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.settimeout(0.05)
        self.socket.bind(str(self.path) if self.path else ("127.0.0.1", self.port))
        self.port = 0 if self.path else self.socket.getsockname()[1]
        self.over.clear()
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        while True:
            try:
                self.messages.append(self.socket.recv(70_000))
            except TimeoutError:  # what had come was read
                if self.over.is_set():
                    return

    def take_away(self) -> None:
        self.over.set()
        self.thread.join(60)
        self.socket.close()
        if self.path:
            self.path.unlink()

    def unfit(self) -> bytes:
        return b"x" * (10 << 20)

    def close(self) -> None:
        if not self.over.is_set():
            self.take_away()


def test_a_sink_in_memory() -> None:
    assert check_sink(Memory) == ALL


def test_a_file(tmp_path: Path) -> None:
    folders = iter(tmp_path / str(number) for number in range(99))
    passed = check_sink(lambda: File(next(folders)))
    assert set(ALL) - set(passed) == {"times out", "stopped"}  # a disk that hangs cannot be interrupted


@pytest.mark.parametrize("kind", [Pipe, SocketStream])
def test_a_stream(kind: type[Destination]) -> None:
    assert set(check_sink(kind)) == {*UNBROKEN, "refused", "times out", "stopped"}


@pytest.mark.parametrize("framing", ["octet", "lf"])
def test_syslog_over_tcp(framing: str) -> None:
    assert check_sink(lambda: Tcp(framing)) == ALL


def test_syslog_in_datagrams(tmp_path: Path) -> None:
    wanted = {*UNBROKEN, "absent at start", "away for a while", "refused"}
    assert set(check_sink(Datagrams)) == wanted
    assert set(check_sink(lambda: Datagrams(tmp_path / "log"))) == wanted


class Forgetful(MemorySink):
    def send(self, shipments: Sequence[Shipment]) -> Delivery:
        return Delivery(super().send(shipments[:-1]).taken + 1) if shipments else Delivery(0)


class Backwards(MemorySink):
    def send(self, shipments: Sequence[Shipment]) -> Delivery:
        return super().send(shipments[::-1])


class Boastful(MemorySink):
    """Says of what is refused that it is gone."""

    def send(self, shipments: Sequence[Shipment]) -> Delivery:
        return Delivery(super().send(shipments).taken)


class Raising(MemorySink):
    def open(self) -> None:
        if self.room is not None:
            raise ConnectionRefusedError


class Quoting(MemorySink):
    """Hands on what the destination answers, which quotes what it was sent."""

    def send(self, shipments: Sequence[Shipment]) -> Delivery:
        try:
            return super().send(shipments)
        except SinkUnavailable as exc:
            raise SinkUnavailable(f"400: cannot parse {shipments[0].record.decode()!r}", exc.delivery) from exc


class Stubborn(MemorySink):
    """Does not hear that it is to stop, and waits for ever."""

    def stop(self) -> None:
        pass


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Forgetful, "[0-9]+ are missing"),
        (Backwards, "in another order"),
        (Boastful, "refused: \\(\\), expected the index 1"),
        (Raising, "not SinkUnavailable"),
        (Quoting, "quotes a record"),
        (Stubborn, "did not raise SinkUnavailable|does not end after stop"),
    ],
)
def test_the_suite_finds_what_breaks_the_contract(
    kind: Callable[[float], MemorySink], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Memory):
        def make(self, timeout: float) -> MemorySink:
            made = super().make(timeout)
            broken = kind(timeout)
            broken.refuses, broken.room = made.refuses, made.room
            self.made[-1] = broken
            return broken

    monkeypatch.setattr("indelible.sinks.checks.PATIENCE_S", 2.0)
    with pytest.raises(AssertionError, match=said):
        check_sink(Broken)
