"""A small object store over HTTP: it lists and hands out what is in a dictionary, and fails as it is told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit

PAGE = 1_000
"""Keys in one answer, as Amazon S3 has it."""


class SmallStore(ThreadingHTTPServer):
    """One bucket. `breaks` closes connections after so many bytes of an object, one entry each time."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.breaks: list[int] = []
        self.refuses: dict[str, tuple[int, str]] = {}
        """Key, or ``?`` for listings → status and code."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def small_store() -> Iterator[SmallStore]:
    with SmallStore() as store:
        thread = threading.Thread(target=store.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield store
        finally:
            store.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SmallStore

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        key = unquote(parts.path).partition("/")[2].partition("/")[2]
        self.server.asked.append(key or f"?{parts.query}")
        if (key or "?") in self.server.refuses:
            status, code = self.server.refuses[key or "?"]
            self._answer(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())
        elif not key:
            self._answer(200, self._listing({name: one[0] for name, one in parse_qs(parts.query).items()}))
        elif key not in self.server.objects:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            self._object(self.server.objects[key])

    def _object(self, data: bytes) -> None:
        begin = int(self.headers.get("Range", "bytes=0-")[6:-1])
        body = data[begin:]
        cut = self.server.breaks.pop(0) if self.server.breaks else len(body)
        self._answer(206 if begin else 200, body, cut)

    def _answer(self, status: int, body: bytes, cut: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"one"')
        self.end_headers()
        self.wfile.write(body[:cut])
        if cut is not None and cut < len(body):
            self.close_connection = True

    def _listing(self, asked: dict[str, str]) -> bytes:
        prefix = asked.get("prefix", "")
        after = asked.get("continuation-token", asked.get("start-after", ""))
        keys = [key for key in sorted(self.server.objects) if key.startswith(prefix) and key > after]
        if "delimiter" in asked:
            below = sorted({key[len(prefix) :].partition("/")[0] for key in keys if "/" in key[len(prefix) :]})
            found = "".join(
                f"<CommonPrefixes><Prefix>{prefix}{one}/</Prefix></CommonPrefixes>" for one in below
            )
            return f"<ListBucketResult>{found}</ListBucketResult>".encode()
        page = keys[:PAGE]
        found = "".join(
            f"<Contents><Key>{quote(key)}</Key><Size>{len(self.server.objects[key])}</Size></Contents>"
            for key in page
        )
        more = len(keys) > PAGE
        token = f"<NextContinuationToken>{page[-1]}</NextContinuationToken>" if more else ""
        return (
            f"<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{token}{found}</ListBucketResult>"
        ).encode()
