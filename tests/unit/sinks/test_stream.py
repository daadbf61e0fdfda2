"""Records on the process's own streams: nothing blocks, nothing is torn that need not be, the stream stays as it is."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import resource
import select
import socket
import tty
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.errors import ConfigError
from indelible.registry import make_sink, sink_types
from indelible.sink_settings import SinkSettings
from indelible.sinks.base import Shipment, SinkUnavailable
from indelible.sinks.stream import PIECE, StreamSink
from indelible.trail import durable
from tests.effort import examples


def sink_on(fd: int, timeout: float = 60.0) -> StreamSink:
    return StreamSink(SinkSettings(type="stdout", name="s", timeout=timeout), fd)


def shipments(records: Sequence[bytes]) -> list[Shipment]:
    return [Shipment(record, number, "") for number, record in enumerate(records)]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    for fd in (read, write):
        with contextlib.suppress(OSError):
            os.close(fd)


def read_all(fd: int) -> bytes:
    """Return what there is to read just now."""
    data = b""
    while select.select([fd], [], [], 0)[0]:
        data += os.read(fd, 1 << 20)
    return data


def test_a_reader_that_is_gone_is_one_line(pipe: tuple[int, int]) -> None:
    read, write = pipe
    sink = sink_on(write)
    sink.open()
    os.close(read)
    with pytest.raises(SinkUnavailable, match=r"^stdout: nobody reads it any more$") as caught:
        sink.send(shipments([b"one"]))
    assert caught.value.delivery.taken == 0
    sink.close()


def test_a_stream_that_is_closed_is_a_mistake_of_whoever_started_us(pipe: tuple[int, int]) -> None:
    os.close(pipe[1])
    with pytest.raises(ConfigError, match=r"^stdout: Bad file descriptor; is it closed\?$"):
        sink_on(pipe[1]).open()


def test_the_stream_itself_stays_as_it_is(pipe: tuple[int, int]) -> None:
    """Other processes have it, too: it must not become one that does not block, and not be closed."""
    sink = sink_on(pipe[1])
    before = fcntl.fcntl(pipe[1], fcntl.F_GETFL)
    sink.open()
    sink.send(shipments([b"one"]))
    assert fcntl.fcntl(pipe[1], fcntl.F_GETFL) == before
    sink.close()
    assert os.write(pipe[1], b"two\n") == 4
    assert read_all(pipe[0]) == b"one\ntwo\n"


def ends(kind: str) -> tuple[int, int]:
    """Return a reading and a writing end."""
    if kind == "pipe":
        return os.pipe()
    if kind == "terminal":
        read, write = pty.openpty()
        tty.setraw(write)
        return read, write
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    return ours.detach(), theirs.detach()


@pytest.mark.parametrize("kind", ["pipe", "terminal", "socket"])
@settings(max_examples=examples(30))
@given(sizes=st.lists(st.integers(1, 12_000), min_size=1, max_size=60), gulp=st.integers(1, 90_000))
def test_what_times_out_is_gone_on_with_and_no_line_is_torn_or_missing(
    kind: str, sizes: list[int], gulp: int
) -> None:
    """The reader takes something only when the sink has given up: half a line may be there by then."""
    read, write = ends(kind)
    records = [(b"%d:" % number).ljust(size, b"x") for number, size in enumerate(sizes)]
    sink = sink_on(write, timeout=0.0)
    sink.open()
    left, data, said = shipments(records), b"", {"stdout: nobody has read it for 0 s"}
    try:
        while left:
            try:
                left = left[sink.send(left).taken :]
            except SinkUnavailable as exc:
                said.add(str(exc))
                left = left[exc.delivery.taken :]
                while select.select([read], [], [], 0)[0] and gulp:
                    data += os.read(read, gulp)
        while not data.endswith(b"\n") or select.select([read], [], [], 0)[0]:
            data += os.read(read, 1 << 20)
    finally:
        sink.close()
        os.close(read)
        os.close(write)
    assert data.split(b"\n") == [*records, b""]
    assert len(said) == 1


def test_what_others_write_to_the_same_pipe_stands_between_lines(pipe: tuple[int, int]) -> None:
    child = os.fork()
    if not child:
        with contextlib.suppress(BrokenPipeError):
            while True:
                os.write(pipe[1], b"somebody else\n")
    try:
        sink = sink_on(pipe[1], timeout=0.05)
        sink.open()
        data = b""
        for number in range(40):
            left = shipments([b"%d:" % number + b"x" * 1000] * 3)
            while left:
                try:
                    left = left[sink.send(left).taken :]
                except SinkUnavailable as exc:  # the other one has filled it
                    left = left[exc.delivery.taken :]
                data += os.read(pipe[0], 1 << 16)
        sink.close()
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    data += read_all(pipe[0])
    lines = data.split(b"\n")[:-1]
    own = [line for line in lines if line != b"somebody else"]
    assert own == [b"%d:" % number + b"x" * 1000 for number in range(40) for _ in range(3)]


def test_in_a_file_taken_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    path = tmp_path / "out"
    datasync = durable.datasync

    def note(fd: int) -> None:
        datasync(fd)
        synced.append(path.read_bytes())

    monkeypatch.setattr(durable, "datasync", note)
    with path.open("ab") as file:
        sink = sink_on(file.fileno())
        sink.open()
        assert sink.send(shipments([b"one", b"two"])).taken == 2
        assert synced == [b"one\ntwo\n"]
        sink.close()


def test_a_file_that_is_full_keeps_what_was_said_to_be_taken(tmp_path: Path) -> None:
    path = tmp_path / "out"
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    batch = shipments([b"%04d" % number + b"x" * 995 for number in range(50)])
    with path.open("ab") as file:
        sink = sink_on(file.fileno())
        sink.open()
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_500, limit[1]))
        try:
            with pytest.raises(SinkUnavailable, match="File too large") as caught:
                sink.send(batch)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        taken = caught.value.delivery.taken
        assert taken == 10
        assert sink.send(batch[taken:]).taken == 40
        sink.close()
    assert path.read_bytes() == b"".join(shipment.record + b"\n" for shipment in batch)


def test_a_piece_is_what_a_pipe_takes_whole() -> None:
    assert PIECE == select.PIPE_BUF
    assert PIECE >= 512  # POSIX


def test_types_are_found_by_name_and_stdout_is_refused_where_it_carries_mcp() -> None:
    assert {"file", "stdout", "stderr", "syslog"} <= set(sink_types())
    with pytest.raises(ConfigError, match="no sink of type 'fille'; did you mean 'file'"):
        make_sink(SinkSettings(type="fille", name="x"))
    with pytest.raises(ConfigError, match="cannot be where standard output carries MCP"):
        make_sink(SinkSettings(type="stdout", name="x"), stdout_is_taken=True)
    assert isinstance(make_sink(SinkSettings(type="stderr", name="x"), stdout_is_taken=True), StreamSink)
