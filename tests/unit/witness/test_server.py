"""A witness over HTTP: hostile clients get a status and one line, or nothing; the next one is served."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from indelible.trail.proofs.submission import MAX_SUBMISSION_BYTES, SIZE_TYPE
from indelible.witness import server as server_module
from indelible.witness.state import origin_hash
from tests.trails import ORIGIN
from tests.witnesses import get, history, post, serving, witness_server

LOG = history(10)
WAIT_S = 30.0


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with witness_server(tmp_path / "state") as server, serving(server) as listening:
        yield listening


def connect(address: str) -> socket.socket:
    host, _, port = address.partition(":")
    return socket.create_connection((host, int(port)), WAIT_S)


def raw(address: str, data: bytes) -> bytes:
    """Send bytes, say that no more come, and return all that is answered."""
    with connect(address) as sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has heard enough
        parts = []
        try:
            while part := sock.recv(65_536):
                parts.append(part)
        except ConnectionResetError:
            pass
        return b"".join(parts)


def test_submissions_and_the_newest_checkpoint(address: str) -> None:
    assert post(address, LOG.submission(0, 5).data()).status == 200
    conflict = post(address, LOG.submission(0, 6).data())
    assert conflict == (409, SIZE_TYPE, b"5\n")
    served = get(address, f"/{origin_hash(ORIGIN)}/checkpoint")
    assert served.status == 200
    assert served.body.startswith(LOG.note(5))


def test_a_connection_is_kept(address: str) -> None:
    body = LOG.submission(0, 5).data()
    request = b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    answers = raw(address, request + request)
    assert answers.count(b"HTTP/1.1 200") == 1
    assert answers.count(b"HTTP/1.1 409") == 1


REQUESTS = {
    "nothing": (b"", b""),
    "garbage": (b"\x00\xff\x16\x03\x01 hello\r\n\r\n", b"400"),
    "another method": (b"DELETE / HTTP/1.1\r\nHost: x\r\n\r\n", b"501"),
    "another path": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", b"404"),
    "no length": (b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\n\r\n", b"411"),
    "chunks": (
        b"POST /add-checkpoint HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"411",
    ),
    "two lengths": (
        b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"411",
    ),
    "a length below zero": (b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
    "a length of words": (b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 0x10\r\n\r\n", b"400"),
    "a huge length": (b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
    "half a body": (b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 100\r\n\r\nold 0\n", b""),
    "a long line": (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
    "a long header": (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", b"431"),
    "many headers": (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"431"),
    "a path upwards": (b"GET /../../lock HTTP/1.1\r\n\r\n", b"404"),
    "a state's own files": (b"GET /lock/checkpoint HTTP/1.1\r\n\r\n", b"404"),
    "HTTP/0.9": (b"GET /\r\n", b""),
}


@pytest.mark.parametrize("what", REQUESTS)
def test_hostile_requests_are_answered_with_a_status_or_not_at_all(
    address: str, what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    request, status = REQUESTS[what]
    answer = raw(address, request)
    if status:
        head = answer.split(b" ")  # what is no HTTP/1 at all is answered without a head
        assert status in head[:2], answer
    assert b"Traceback" not in answer
    assert b"<html" not in answer.lower()
    assert post(address, LOG.submission(0, 5).data()).status == 200, "the next one is served"
    assert capfd.readouterr() == ("", "")


def test_a_body_may_be_so_large_and_no_larger(address: str) -> None:
    assert post(address, b"x" * MAX_SUBMISSION_BYTES).status == 400
    with connect(address) as sock:
        sock.sendall(
            b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
            % (MAX_SUBMISSION_BYTES + 1)
        )
        assert sock.recv(100).startswith(b"HTTP/1.1 413")


def test_a_client_that_drips_is_cut_off(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However it keeps each single wait short."""
    monkeypatch.setattr(server_module, "CONNECTION_S", 0.3)
    with connect(address) as sock:
        sock.sendall(b"POST /add-checkpoint HTTP/1.1\r\n")
        assert sock.recv(1) == b"", "it closes, though the request never ends"


def test_more_connections_than_may_be_are_closed_at_once(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_CONNECTIONS", 2)
    held = [connect(address) for _ in range(2)]
    try:
        for sock in held:  # served: an answer came
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert sock.recv(1000).startswith(b"HTTP/1.1 404")
        with connect(address) as third:
            assert third.recv(1) == b""
    finally:
        for sock in held:
            sock.close()
    for _ in range(1000):
        try:
            if post(address, LOG.submission(0, 5).data()).status == 200:
                break
        except (OSError, EOFError):  # their threads are just ending
            pass
        except Exception as exc:
            if type(exc).__name__ not in ("RemoteDisconnected", "BadStatusLine"):
                raise
    else:
        pytest.fail("nobody is served any more")


def test_the_log_has_one_line_a_submission_whatever_comes(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "indelible")
    assert post(address, LOG.submission(0, 5).data()).status == 200
    raw(address, b"GET /\x1b[31m\x07 HTTP/1.1\r\n\r\n")
    post(address, history(10, "evil", 2).submission(5, 8).data())
    texts = [record.getMessage() for record in caplog.records]
    assert any("cosigned 5 events" in text for text in texts)
    assert any(
        "422" in text and record.levelname == "WARNING"
        for text, record in zip(texts, caplog.records, strict=True)
    )
    assert all(char.isprintable() for text in texts for char in text)
