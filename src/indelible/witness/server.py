"""A witness over HTTP/1.1: `POST /add-checkpoint` and `GET /<origin hash>/checkpoint` (C2SP tlog-witness).

The standard library's server, and limits of our own, since a witness answers a few small requests a second and should
need nothing else: so many connections, each for so long, bodies of a stated length and no more. Whatever comes, the
answer is a status and one line; what a client sent is never repeated in the log but with escapes.
"""

from __future__ import annotations

import http.server
import logging
import socket
import threading
import time
from http import HTTPStatus
from typing import Any, Final, cast

from indelible._version import __version__
from indelible.errors import IndelibleError, NoteError
from indelible.trail.proofs.cosignature import Cosigner
from indelible.trail.proofs.submission import MAX_SUBMISSION_BYTES, PATH, parse_submission
from indelible.witness.decision import TEXT_TYPE, Answer, Logs, identify, judge, refuse
from indelible.witness.state import FILE, StateDirectory

log = logging.getLogger("indelible")

MAX_CONNECTIONS: Final = 64
"""More are closed at once: each has a thread."""

CONNECTION_S: Final = 60.0
"""How long a connection may last, however it is used; clients open another."""

WAIT_S: Final = 10.0
"""How long one read or write may take."""

LOG_CHARS: Final = 200


class Witness:
    """Answers submissions, one at a time."""

    def __init__(self, logs: Logs, cosigner: Cosigner, state: StateDirectory) -> None:
        self._logs = logs
        self._cosigner = cosigner
        self._state = state
        self._turn = threading.Lock()

    def add_checkpoint(self, body: bytes) -> Answer:
        """Return the answer to a submission; of status 200 once what is cosigned is on the disk."""
        try:
            submission = parse_submission(body)
        except NoteError as exc:
            return refuse(400, str(exc))
        signed = identify(submission, self._logs)
        if isinstance(signed, Answer):
            return signed
        origin = signed.checkpoint.origin
        with self._turn:
            try:
                refusal = judge(submission, signed.checkpoint, self._state.latest(origin))
                if refusal is not None:
                    self._say(origin, f"refused {signed.checkpoint.size} events: {refusal.status}", refusal)
                    return refusal
                line = self._cosigner.line(signed.text, int(time.time())).encode()
                self._state.keep(signed.checkpoint, signed.note + line)
            except (OSError, IndelibleError) as exc:
                log.error("%s: nothing was cosigned: %s", origin, exc)  # noqa: TRY400 - one line, no traceback
                return refuse(500, "the witness cannot keep its state")
        log.info("%s: cosigned %d events", origin, signed.checkpoint.size)
        return Answer(200, line)

    def _say(self, origin: str, what: str, refusal: Answer) -> None:
        """A fork or a rollback that the log's own key has signed is worth a warning; a size out of step is not."""
        level = logging.WARNING if refusal.status == HTTPStatus.UNPROCESSABLE_ENTITY else logging.INFO
        log.log(level, "%s: %s %s", origin, what, refusal.body.decode().strip())

    def checkpoint(self, name: str) -> Answer:
        """Return the newest cosigned checkpoint of the log whose origin has this hash."""
        try:
            note = self._state.serve(name)
        except OSError:
            return refuse(500, "the witness cannot read its state")
        return refuse(404, "nothing was cosigned of this log") if note is None else Answer(200, note)


class WitnessServer(http.server.HTTPServer):
    """Serves a witness until `shutdown`."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], witness: Witness) -> None:
        """Listen. Raises OSError."""
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.witness = witness
        self._open: dict[socket.socket, float] = {}
        self._turn = threading.Lock()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind, without the look-up of a name that nobody needs."""
        socket_server_bind = super(http.server.HTTPServer, self).server_bind
        socket_server_bind()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, unless there are as many as may be."""
        sock = cast("socket.socket", request)
        with self._turn:
            full = len(self._open) >= MAX_CONNECTIONS
            if not full:
                self._open[sock] = time.monotonic() + CONNECTION_S
        if full:
            self.shutdown_request(request)
            return
        thread = threading.Thread(target=self._serve, args=(sock, client_address), daemon=True)
        thread.start()

    def _serve(self, sock: socket.socket, client_address: Any) -> None:
        try:
            self.finish_request(sock, client_address)
        except Exception as exc:  # noqa: BLE001 - a client that goes away, or worse, ends its own connection only
            log.debug("connection ended: %s", type(exc).__name__)
        finally:
            with self._turn:
                self._open.pop(sock, None)
            self.shutdown_request(sock)

    def service_actions(self) -> None:
        """Twice a second: end connections that last too long, however slowly they drip."""
        now = time.monotonic()
        with self._turn:
            late = [sock for sock, until in self._open.items() if until < now]
        for sock in late:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    server: WitnessServer
    protocol_version = "HTTP/1.1"
    timeout = WAIT_S
    wbufsize = -1
    error_content_type = TEXT_TYPE
    error_message_format = "%(code)d %(message)s\n"

    def version_string(self) -> str:
        """What the header Server says."""
        return f"indelible/{__version__}"

    def do_POST(self) -> None:
        """``/add-checkpoint``, and nothing else."""
        if self.path != f"/{PATH}":
            self._answer(refuse(404, "not found"), close=True)
            return
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or len(lengths) != 1:
            self._answer(refuse(411, "say how long the body is, once"), close=True)
            return
        if not (lengths[0].isascii() and lengths[0].isdigit() and len(lengths[0]) < 19):
            self._answer(refuse(400, "Content-Length is no number"), close=True)
            return
        length = int(lengths[0])
        if length > MAX_SUBMISSION_BYTES:
            self._answer(refuse(413, f"a submission has at most {MAX_SUBMISSION_BYTES} bytes"), close=True)
            return
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        self._answer(self.server.witness.add_checkpoint(body))

    def do_GET(self) -> None:
        """``/<origin hash>/checkpoint``."""
        name, _, file = self.path.removeprefix("/").partition("/")
        found = self.server.witness.checkpoint(name) if file == FILE else refuse(404, "not found")
        self._answer(found, close="Content-Length" in self.headers or "Transfer-Encoding" in self.headers)

    def _answer(self, answer: Answer, *, close: bool = False) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        if close:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(answer.body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Requests are logged by what came of them, not here; what could not be parsed, for who looks for it."""
        text = (format % args).encode("unicode_escape").decode()
        log.debug("%s: %s", self.client_address[0], text[:LOG_CHARS])
