"""Checkpoints to a witness: `add-checkpoint` of C2SP tlog-witness, over HTTP or HTTPS.

The rule that lives here: what a witness answers is taken when it is its cosignature over our checkpoint, under the key
that was configured, and never otherwise. It is not told more than it asked for: the checkpoint, and hashes.

A witness answers `409 Conflict` with the size that it has when ours of it is not right, as after a lost state: then the
proof is made from there, once. No redirection is followed, no proxy asked.
"""

from __future__ import annotations

import http.client
import socket
import threading
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from indelible._version import __version__
from indelible.errors import AnchorError, NoteError
from indelible.trail.anchors.tls import context
from indelible.trail.proofs.submission import PATH, SIZE_TYPE, Submission, cosigned, parse_size

if TYPE_CHECKING:
    from indelible.anchor_settings import AnchorSettings
    from indelible.trail.anchors import Handing
    from indelible.trail.proofs.cosignature import WitnessKey

MAX_ANSWER_BYTES: Final = 65_536
"""Some dozen signature lines, also post-quantum ones."""

MAX_SHOWN: Final = 200
"""Characters of an answer that a message repeats."""

REASONS: Final = {
    400: "it did not understand the request",
    403: "it does not know the key that signed the checkpoint",
    404: "it does not know this trail; give it the trail's vkey ('indelible keygen --show')",
    409: "it has another size than it has just said",
    422: "the checkpoint does not extend the one that it has: the trail was forked or rolled back",
    429: "it is asked too often",
}
"""C2SP tlog-witness, "add-checkpoint"."""


class _Answer(NamedTuple):
    status: int
    content_type: str
    body: bytes


class HttpAnchor:
    """Submits checkpoints to one witness, and brings back its cosignature."""

    def __init__(self, settings: AnchorSettings, key: WitnessKey) -> None:
        self._settings = settings
        self._key = key
        url = urlsplit(str(settings.url))
        self._tls = context(settings) if url.scheme == "https" else None
        self._host, self._port = str(url.hostname), url.port
        self._path = f"{url.path.rstrip('/')}/{PATH}"

    def hand(self, handing: Handing) -> bytes:
        """See `Anchor`."""
        if handing.old > handing.checkpoint.size:
            _refuse_smaller(handing.old, handing)
        answer = self._submit(handing.old, handing)
        if answer.status == 409 and answer.content_type == SIZE_TYPE:
            old = self._size(answer)
            if old > handing.checkpoint.size:
                _refuse_smaller(old, handing)
            answer = self._submit(old, handing)
        if answer.status != 200:
            said = answer.body[:MAX_SHOWN].decode("utf-8", "replace").strip()
            reason = REASONS.get(answer.status, f"it says {said!r}" if said else "it says no more")
            msg = f"the witness refuses: {answer.status}: {reason}"
            raise AnchorError(msg)
        try:
            return cosigned(handing.note, answer.body, self._key)[0]
        except NoteError as exc:
            msg = f"the witness answers with no cosignature of its own: {exc}"
            raise AnchorError(msg) from exc

    def _size(self, answer: _Answer) -> int:
        try:
            return parse_size(answer.body)
        except NoteError as exc:
            msg = f"the witness says that its size is another, and which is {exc}"
            raise AnchorError(msg) from exc

    def _submit(self, old: int, handing: Handing) -> _Answer:
        body = Submission(old, tuple(handing.prove(old)), handing.note).data()
        connection = self._connection()
        sock: list[socket.socket] = []
        watch = threading.Timer(
            self._settings.timeout, _cut, (sock,)
        )  # each wait is limited, this is all of them
        watch.daemon = True
        try:
            connection.connect()
            sock.append(connection.sock)
            watch.start()
            headers = {"Content-Type": "text/plain; charset=utf-8", "User-Agent": f"indelible/{__version__}"}
            connection.request("POST", self._path, body, headers)
            with connection.getresponse() as response:
                data = response.read(MAX_ANSWER_BYTES + 1)
            kind = response.headers.get("Content-Type", "").strip()
        except http.client.HTTPException as exc:
            msg = f"the witness does not speak HTTP: {type(exc).__name__}"
            raise AnchorError(msg) from exc
        finally:
            watch.cancel()
            connection.close()
        if len(data) > MAX_ANSWER_BYTES:
            msg = f"the witness's answer is longer than {MAX_ANSWER_BYTES} bytes"
            raise AnchorError(msg)
        return _Answer(response.status, kind, data)

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._settings.timeout)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=self._settings.timeout, context=self._tls
        )


def _cut(sock: list[socket.socket]) -> None:
    """The answer takes too long, drop by drop: end the connection under whoever reads it."""
    try:
        sock[0].shutdown(socket.SHUT_RDWR)
    except (OSError, IndexError):
        pass


def _refuse_smaller(old: int, handing: Handing) -> None:
    size = handing.checkpoint.size
    msg = f"the witness has cosigned {old} events, the trail has {size}: it was rolled back"
    raise AnchorError(msg)
