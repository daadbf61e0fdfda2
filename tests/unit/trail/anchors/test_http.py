"""Anchors of type http: our own witness behind a real socket, and others that answer what they should not."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from indelible.errors import AnchorError
from indelible.trail.anchors import make_anchor
from indelible.trail.durable import Access
from indelible.trail.proofs.cosignature import Cosigner, cosignatures
from indelible.trail.proofs.submission import SIZE_TYPE, parse_submission
from tests.trails import SIGNER
from tests.unit.trail.anchors.handing import LOG, handing, settings
from tests.unit.trail.anchors.test_syslog import certificate  # noqa: F401 - a fixture
from tests.witnesses import COSIGNER, NAME, history, serving, witness_server

FORK = history(700, "evil", 300)
TEXT = LOG.checkpoint(9).text()


def anchor(url: str, **keys: Any) -> Any:
    return make_anchor(settings(type="http", url=url, vkey=COSIGNER.key.vkey(), **keys), Access())


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with witness_server(tmp_path / "state") as server, serving(server) as address:
        yield f"http://{address}"


def test_a_checkpoint_comes_back_cosigned(url: str) -> None:
    old = 0
    for size in (1, 300, 300, 700):
        note = anchor(url).hand(handing(size, old))
        assert note.startswith(LOG.note(size))
        assert list(cosignatures(note, [COSIGNER.key])) == [COSIGNER.key]
        old = size


@pytest.mark.parametrize("old", [0, 1, 299, 301, 500])
def test_a_lost_or_wrong_state_is_set_right_by_the_witness(url: str, old: int) -> None:
    anchor(url).hand(handing(300))
    assert anchor(url).hand(handing(500, old)).startswith(LOG.note(500))


def test_rollback_and_fork_are_said(url: str) -> None:
    anchor(url).hand(handing(400))
    with pytest.raises(AnchorError, match="400 events, the trail has 399: it was rolled back"):
        anchor(url).hand(handing(399, 0))
    with pytest.raises(AnchorError, match="rolled back"):
        anchor(url).hand(handing(399, 400))
    for size in (400, 500):
        with pytest.raises(AnchorError, match=r"422: .*forked or rolled back"):
            anchor(url).hand(handing(size, 400, FORK))


def test_an_unknown_trail_is_told_what_to_do(url: str) -> None:
    other = history(5)
    other.origin = "indelible/" + "ab" * 16
    with pytest.raises(AnchorError, match=r"404: .*keygen --show"):
        anchor(url).hand(handing(5, 0, other))


# --- witnesses that are none ----------------------------------------------------------------------------


class Reply:
    """What a made-up witness answers, and what it was sent."""

    def __init__(self, status: int, body: bytes, kind: str = "text/plain") -> None:
        self.status, self.body, self.kind = status, body, kind
        self.got: list[bytes] = []
        self.paths: list[str] = []


def made_up(reply: Reply, tls: ssl.SSLContext | None = None) -> http.server.HTTPServer:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            reply.got.append(self.rfile.read(int(self.headers["Content-Length"])))
            reply.paths.append(self.path)
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.kind)
            self.send_header("Content-Length", str(len(reply.body)))
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server


OTHER_KEY = Cosigner(NAME, Ed25519PrivateKey.generate())
REPLIES: dict[str, tuple[Callable[[], Reply], str]] = {
    "nothing": (lambda: Reply(200, b""), "no cosignature of its own"),
    "a page": (lambda: Reply(200, b"<html>welcome</html>\n"), "no cosignature of its own"),
    "another key": (lambda: Reply(200, OTHER_KEY.line(TEXT, 5).encode()), "no cosignature by"),
    "another text": (
        lambda: Reply(200, COSIGNER.line(LOG.checkpoint(8).text(), 5).encode()),
        "is wrong",
    ),
    "no time": (lambda: Reply(200, COSIGNER.line(TEXT, 0).encode()), "is wrong"),
    "the log's own signature": (
        lambda: Reply(200, SIGNER.sign(TEXT).rpartition("\n\n")[2].encode()),
        "no cosignature by",
    ),
    "too much": (lambda: Reply(200, b"x" * 70_000), "longer than"),
    "another status": (lambda: Reply(500, b"oh\x1b[31m no\n"), "500: it says"),
    "elsewhere": (lambda: Reply(307, b""), "307"),
    "forbidden": (lambda: Reply(403, b""), "does not know the key"),
    "too often": (lambda: Reply(429, b""), "too often"),
    "a size that is none": (lambda: Reply(409, b"many\n", SIZE_TYPE), "not a tree size"),
    "a size beyond": (lambda: Reply(409, b"500\n", SIZE_TYPE), "rolled back"),
    "a size and again": (lambda: Reply(409, b"5\n", SIZE_TYPE), "another size than it has just said"),
    "a conflict of another kind": (lambda: Reply(409, b"5\n"), "409"),
}


@pytest.mark.parametrize("how", REPLIES)
def test_what_is_no_cosignature_is_an_error(how: str) -> None:
    make, why = REPLIES[how]
    reply = make()
    with serving(made_up(reply)) as address, pytest.raises(AnchorError, match=why) as raised:
        anchor(f"http://{address}/prefix/").hand(handing(9))
    assert set(reply.paths) == {"/prefix/add-checkpoint"}
    assert len(reply.got) <= 2, "it is asked once more at the most"
    said = parse_submission(reply.got[0])
    assert (said.old, said.proof, said.note) == (0, (), LOG.note(9))
    assert "\n" not in str(raised.value)


def test_nobody_there_and_nobody_who_speaks_http() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.sendall(b"220 mail.example ESMTP\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises((AnchorError, OSError)):
            anchor(f"http://127.0.0.1:{port}").hand(handing(9))
        thread.join()
    with pytest.raises(ConnectionRefusedError):
        anchor(f"http://127.0.0.1:{port}").hand(handing(9))


def test_a_witness_that_drips_is_given_up_in_time() -> None:
    """Each byte comes soon enough for a wait by itself; all of them together take for ever."""
    import socket

    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            sock, _ = listener.accept()
            with sock:
                try:
                    sock.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                    while not stop.wait(0.05):
                        sock.sendall(b"a")
                except OSError:
                    pass

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            with pytest.raises((AnchorError, OSError)):
                anchor(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout="500ms").hand(handing(9))
        finally:
            stop.set()
            thread.join()


def test_https(certificate: tuple[Path, Path]) -> None:  # noqa: F811
    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    reply = Reply(200, COSIGNER.line(TEXT, 5).encode())
    with serving(made_up(reply, context), "localhost") as address:
        place = f"https://{address}"
        assert anchor(place, ca_file=str(cert)).hand(handing(9)).startswith(LOG.note(9))
        with pytest.raises(ssl.SSLError):
            anchor(place).hand(handing(9))
        with pytest.raises(ssl.SSLError):
            anchor(place.replace("localhost", "127.0.0.1"), ca_file=str(cert)).hand(handing(9))
    assert len(reply.got) == 1
