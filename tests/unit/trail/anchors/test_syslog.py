"""Anchors of type syslog: one record a checkpoint, over real sockets, and back again byte for byte."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.trail.anchors.syslog import SyslogAnchor, message
from indelible.trail.proofs.keptfiles import notes_in
from tests.unit.trail.anchors.handing import LOG, handing, settings

RECORD = re.compile(
    rb"<(\d+)>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z [!-~]+ indelible \d+ checkpoint "
    rb'\[indelible@32473 origin="indelible/[0-9a-f]{32}" size="(\d+)"\] [A-Za-z0-9+/]+=*'
)
WAIT_S = 30.0


def check(record: bytes, size: int, priority: int = 134) -> None:
    found = RECORD.fullmatch(record)
    assert found, record
    assert (int(found[1]), int(found[2])) == (priority, size)
    assert notes_in(record + b"\n") == ([LOG.note(size)], 0)
    assert len(record) < 2048, "what every receiver should take (RFC 5424, section 6.1)"


@given(st.text(max_size=300), st.integers(1, 700))
def test_a_record_is_one_line_whatever_the_machine_is_called(hostname: str, size: int) -> None:
    record = message(handing(size), "audit", hostname, 4711, "2026-11-21T06:46:33.680131Z")
    check(record, size, 13 * 8 + 6)
    assert record.isascii()
    assert b"\n" not in record


def receive(sock: socket.socket) -> bytes:
    parts = []
    while part := sock.recv(65_536):
        parts.append(part)
    return b"".join(parts)


def served(listener: socket.socket, answer: Callable[[socket.socket], None]) -> threading.Thread:
    def run() -> None:
        sock, _ = listener.accept()
        sock.settimeout(WAIT_S)
        with sock:
            answer(sock)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_udp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(WAIT_S)
        SyslogAnchor(settings(type="syslog", address=f"udp://127.0.0.1:{sock.getsockname()[1]}")).hand(
            handing(9)
        )
        check(sock.recv(65_536), 9)


@pytest.mark.parametrize("depth", [1, 60])
def test_a_local_socket_at_a_path_of_any_length(tmp_path: Path, depth: int) -> None:
    path = tmp_path.joinpath(*["dir"] * depth, "log")
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        short = tmp_path / "log"
        sock.bind(str(short))
        sock.settimeout(WAIT_S)
        if short != path:
            short.rename(path)
        SyslogAnchor(settings(type="syslog", address=f"unix:{path}", facility="authpriv")).hand(handing(9))
        check(sock.recv(65_536), 9, 10 * 8 + 6)


def test_tcp_counts_octets() -> None:
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = served(listener, lambda sock: got.append(receive(sock)))
        SyslogAnchor(settings(type="syslog", address=f"tcp://127.0.0.1:{listener.getsockname()[1]}")).hand(
            handing(9)
        )
        thread.join()
    length, _, record = got[0].partition(b" ")
    assert int(length) == len(record)
    check(record, 9)


def test_nobody_there_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for address in (f"tcp://127.0.0.1:{port}", f"tls://127.0.0.1:{port}", "unix:/nowhere/log"):
        with pytest.raises(OSError, match=r"refused|No such file"):
            SyslogAnchor(settings(type="syslog", address=address)).hand(handing(9))


def test_a_receiver_that_neither_reads_nor_closes_does_not_hold_it() -> None:
    done = threading.Event()

    def hold(_: socket.socket) -> None:
        done.wait(WAIT_S)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = served(listener, hold)
        anchor = settings(
            type="syslog", address=f"tcp://127.0.0.1:{listener.getsockname()[1]}", timeout="300ms"
        )
        SyslogAnchor(anchor).hand(handing(9))
        done.set()
        thread.join()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make a certificate for localhost, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    return cert, key


def test_tls(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    got: list[bytes] = []

    def answer(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as secure:
            got.append(receive(secure))

    with socket.create_server(("localhost", 0), family=socket.AF_INET) as listener:
        thread = served(listener, answer)
        address = f"tls://localhost:{listener.getsockname()[1]}"
        SyslogAnchor(settings(type="syslog", address=address, ca_file=str(cert))).hand(handing(9))
        thread.join()
    check(got[0].partition(b" ")[2], 9)


@pytest.mark.parametrize("why", ["unknown authority", "another name"])
def test_who_it_is_is_always_checked(certificate: tuple[Path, Path], why: str) -> None:
    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    got: list[bytes] = []

    def answer(sock: socket.socket) -> None:
        try:
            with context.wrap_socket(sock, server_side=True) as secure:
                got.append(receive(secure))
        except (ssl.SSLError, OSError):
            pass

    host = "localhost" if why == "unknown authority" else "127.0.0.1"
    keys = {} if why == "unknown authority" else {"ca_file": str(cert)}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = served(listener, answer)
        address = f"tls://{host}:{listener.getsockname()[1]}"
        with pytest.raises(ssl.SSLError):
            SyslogAnchor(settings(type="syslog", address=address, **keys)).hand(handing(9))
        thread.join()
    assert b"".join(got) == b""
