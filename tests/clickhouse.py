"""ClickHouse for tests: its own engine behind its HTTP interface, as far as an INSERT uses that.

What a request's query, settings and rows mean is the engine's word. Users, what a status is, and what goes wrong
between two machines are put in front of it, after ClickHouse's own documentation and sources.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from indelible.sink_settings.clickhouse import ClickhouseSettings
from indelible.sinks.base import Shipment
from indelible.sinks.clickhouse.columns import GIVEN
from indelible.sinks.clickhouse.quoting import literal
from indelible.sinks.clickhouse.schema import Options, statements
from indelible.sinks.clickhouse.sink import ClickhouseApi
from indelible.trail.entry import stamp
from tests.trails import Body, encode
from tests.unit.sinks.web_receivers import Asked, Reply

ROOT: Final = Path(__file__).parents[1]
PATIENCE_S: Final = 60.0

NO_SETTINGS: Final = frozenset({"query", "wait_end_of_query"})
"""Parameters of a request that are the interface's own (`src/Server/HTTPHandler.cpp`)."""

STATUS: Final = {
    **dict.fromkeys((6, 8, 25, 26, 27, 36, 38, 41, 44, 53, 62, 72, 117, 321, 376, 441, 675, 676), 400),
    **dict.fromkeys((46, 47, 50, 60, 73, 81, 115), 404),
    **dict.fromkeys((192, 193, 497, 516), 403),
    48: 501, 159: 408, 194: 401, 209: 503, 229: 413,
}  # fmt: skip
"""Code → status (ClickHouse, `src/Server/HTTP/exceptionCodeToHTTPStatus.cpp`); of every other one 500."""


class EngineError(Exception):
    """What the engine refuses, in its own words."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Engine:
    """The process. Of any thread, one query at a time."""

    def __init__(self, folder: Path) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.clickhouse_engine", str(folder)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.version = self.rows("SELECT version() AS version")[0]["version"]

    def query(self, sql: str, format_: str = "JSONEachRow") -> str:
        """Run one statement. Raises EngineError."""
        data = json.dumps({"sql": sql, "format": format_}).encode()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(struct.pack(">I", len(data)) + data)
            self._process.stdin.flush()
            head = self._process.stdout.read(4)
            assert head, "the engine has ended"
            found = json.loads(self._process.stdout.read(struct.unpack(">I", head)[0]))
        if "code" in found:
            raise EngineError(found["code"], found["text"])
        text: str = found["text"]
        return text

    def rows(self, sql: str) -> list[dict[str, Any]]:
        # A line of ours may have what splitlines() takes for a line's end.
        return [json.loads(line) for line in self.query(sql).split("\n") if line]

    def create(self, database: str) -> Options:
        """Make the schema in a database of its own, as it is printed."""
        options = Options(database)
        for statement in statements(options):
            self.query(statement.sql)
        return options

    def close(self) -> None:
        """End the process: it does so when nobody asks any more."""
        try:
            self._process.communicate(timeout=PATIENCE_S)
        finally:
            self._process.kill()


class Interface:
    """Answers requests as ClickHouse's HTTP interface does."""

    def __init__(self, engine: Engine, users: dict[str, str] | None = None) -> None:
        self.engine = engine
        self.users = {"default": ""} if users is None else users
        self.before: Callable[[Asked], Reply | None] = lambda _asked: None
        """What happens instead, when it returns something."""
        self.says_late = False
        """Whether an exception comes after a 200, as of a server that had begun to answer."""

    def __call__(self, asked: Asked) -> Reply:
        if (instead := self.before(asked)) is not None:
            return instead
        try:
            self._check(asked)
            self.engine.query(self._sql(asked))
        except EngineError as exc:
            return self.failed(exc.code, exc.text)
        return Reply(200, b"", {**HEADERS, "X-ClickHouse-Summary": '{"read_rows":"0","written_rows":"1"}'})

    def failed(self, code: int, text: str) -> Reply:
        """Return an exception as the interface says it."""
        body = (text if text.startswith("Code: ") else f"Code: {code}. DB::Exception: {text}").encode() + b"\n"
        if self.says_late:
            return Reply(200, b"__exception__\r\nabcdefghijklmnop\r\n" + body + b"__exception__\r\n", HEADERS)
        status = STATUS.get(code, 500)
        return Reply(status, body, {**HEADERS, "X-ClickHouse-Exception-Code": str(code)})

    def _check(self, asked: Asked) -> None:
        user = asked.headers["X-ClickHouse-User"] or "default"
        if self.users.get(user) != (asked.headers["X-ClickHouse-Key"] or ""):
            raise EngineError(
                516, f"{user}: Authentication failed: password is incorrect, or there is no user with such name. "
                "(AUTHENTICATION_FAILED) (version 26.9.2.1)",
            )  # fmt: skip

    def _sql(self, asked: Asked) -> str:
        """Return the query with its settings and rows as one text; both belong to the URL's parameters here."""
        pairs = parse_qsl(urlsplit(asked.path).query, keep_blank_values=True, strict_parsing=True)
        given = dict(pairs)
        assert len(given) == len(pairs), "a parameter stands twice"
        assert given["wait_end_of_query"] == "1"
        before, word, format_ = given["query"].rpartition(" FORMAT ")
        assert word
        settings = ", ".join(
            f"{key} = {literal(value)}" for key, value in given.items() if key not in NO_SETTINGS
        )
        return f"{before} SETTINGS {settings} FORMAT {format_}\n{asked.body.decode()}"


HEADERS: Final = {
    "Content-Type": "text/tab-separated-values; charset=UTF-8",
    "X-ClickHouse-Server-Display-Name": "test",
    "X-ClickHouse-Query-Id": "8d1c1f4e-3f5e-4b8e-9f9b-0d5d7f4a7a11",
    "X-ClickHouse-Timezone": "UTC",
}


def sink_keys(url: str, **keys: Any) -> dict[str, Any]:
    """Return the keys of a sink to an interface here."""
    return {"type": "clickhouse", "url": url, "allow_private": True, "start": "beginning", **keys}


# --- rows ---------------------------------------------------------------------------------------------------

RECORDED: Final = "2026-11-21T05:38:35.000001Z"


def shipments(origin: str, *sent: bytes) -> list[Shipment]:
    return [Shipment(line, seq, f"event-{seq}", origin=origin, line=line) for seq, line in enumerate(sent)]


def stamped(*bodies: Body) -> list[bytes]:
    return [stamp(seq, RECORDED, encode(body)) for seq, body in enumerate(bodies)]


def insert(engine: Engine, database: str, batch: Sequence[Shipment]) -> None:
    """Hand rows to the engine as they are on the wire."""
    api = ClickhouseApi(ClickhouseSettings(url="http://localhost", database=database), "indelible")
    rows = api.body([api.part(one) for one in batch]).decode()
    engine.query(f"INSERT INTO {database}.events ({', '.join(GIVEN)}) FORMAT JSONEachRow\n{rows}")


def read(engine: Engine, table: str, origin: str, columns: str = "seq, line") -> list[Any]:
    """Return rows of one trail; `table` may have FINAL behind it."""
    return engine.rows(f"SELECT {columns} FROM {table} WHERE origin = '{origin}' ORDER BY seq")
