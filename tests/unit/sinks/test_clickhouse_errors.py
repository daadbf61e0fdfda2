"""What becomes of records when ClickHouse says no: its engine's own exceptions, and what stands between it and us."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import msgspec
import pytest

from indelible.formats.record import Options, Record
from indelible.registry import make_format, make_sink
from indelible.sink_settings import SinkSettings, parse_sinks
from indelible.sink_settings.clickhouse import FORMATS
from indelible.sinks.base import Delivery, Shipment, Sink, SinkUnavailable
from indelible.sinks.checks import CHECKS
from indelible.sinks.clickhouse.quoting import literal
from indelible.testing import Destination, check_sink
from tests.clickhouse import HEADERS, Engine, Interface, shipments, sink_keys, stamped
from tests.trails import operation
from tests.unit.sinks.web_receivers import Asked, HttpReceiver, Reply

ORIGIN = "indelible/00112233445566778899aabbccddeeff"
USER, PASSWORD = "indelible", "s3cret-of-a-house"


@pytest.fixture
def interface(clickhouse: Engine) -> Interface:
    return Interface(clickhouse)


@pytest.fixture
def place(interface: Interface) -> Iterator[HttpReceiver]:
    receiver = HttpReceiver(interface)
    yield receiver
    receiver.stop()


@pytest.fixture(scope="module", autouse=True)
def table(clickhouse: Engine) -> None:
    """Tables that are not the schema's: what people have."""
    clickhouse.query("CREATE DATABASE said")
    clickhouse.query("CREATE TABLE said.events (origin String, seq UInt64, line String) ENGINE = Memory")
    clickhouse.query("CREATE TABLE said.wrong (origin String, seq UInt64, line UInt8) ENGINE = Memory")
    clickhouse.query("CREATE TABLE said.poor (seq UInt64, line String) ENGINE = Memory")
    clickhouse.query(
        "CREATE TABLE said.logs (timestamp DateTime64(3, 'UTC'), name String, duration_ms Nullable(UInt8), caller "
        "Nullable(String), type Nullable(String), input_json String, policy_decision String, reason Nullable(String), "
        "status String, error Nullable(String), indelible String) ENGINE = Memory"
    )


def settings(place: HttpReceiver, **keys: Any) -> SinkSettings:
    return parse_sinks([sink_keys(place.url, database="said", **keys)])[0]


def send(place: HttpReceiver, batch: Sequence[Shipment], **keys: Any) -> Delivery:
    sink = make_sink(settings(place, **keys))
    try:
        return sink.send(batch)
    finally:
        sink.close()


def fails(place: HttpReceiver, batch: Sequence[Shipment], **keys: Any) -> SinkUnavailable:
    with pytest.raises(SinkUnavailable) as caught:
        send(place, batch, **keys)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 600
    return caught.value


def some(count: int = 3) -> list[Shipment]:
    return shipments(ORIGIN, *stamped(*map(operation, range(count))))


# --- the table, the user --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"table": "nope"}, ("60 UNKNOWN_TABLE", "'indelible schema clickhouse' prints what does")),
        ({"database": "nope"}, ("81 UNKNOWN_DATABASE", "'indelible schema clickhouse' prints what does")),
        ({"table": "poor"}, ("16 NO_SUCH_COLUMN_IN_TABLE", "does the table have these columns?")),
        (
            {"settings": {"no_such_setting": 1}},
            ("115 UNKNOWN_SETTING", "no_such_setting", "look at 'settings'"),
        ),
    ],
    ids=lambda value: next(iter(value.items()), "")[0] if isinstance(value, dict) else "",
)
def test_what_the_table_lacks_is_said_with_what_to_do(
    place: HttpReceiver, keys: dict[str, Any], says: tuple[str, ...]
) -> None:
    given = {"database": "said", **keys}
    sink = make_sink(parse_sinks([sink_keys(place.url, **given)])[0])
    with pytest.raises(SinkUnavailable) as caught:
        sink.send(some())
    sink.close()
    assert caught.value.delivery == Delivery(0)
    assert not caught.value.refuses
    for words in says:
        assert words in str(caught.value)
    assert f"{given['database']}.{given.get('table', 'events')}: " in str(caught.value)


def test_who_we_are_stands_in_headers_and_in_no_message(
    place: HttpReceiver, interface: Interface, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    interface.users = {USER: PASSWORD}
    monkeypatch.setenv("CH_USER", USER)
    (tmp_path / "password").write_text("wrong\n")
    keys = {"username_env": "CH_USER", "password_file": str(tmp_path / "password")}
    said = str(fails(place, some(), **keys))
    assert "516 AUTHENTICATION_FAILED" in said
    assert "look at the user name and the password" in said
    assert "wrong" not in said
    sink = make_sink(settings(place, **keys))
    with pytest.raises(SinkUnavailable):
        sink.send(some())
    (tmp_path / "password").write_text(PASSWORD + "\n")
    assert sink.send(some()).taken == 3  # it is read again after a failure
    sink.close()
    last = place.asked[-1]
    assert (last.headers["X-ClickHouse-User"], last.headers["X-ClickHouse-Key"]) == (USER, PASSWORD)
    assert last.headers["Authorization"] is None
    assert all(word not in asked.path for asked in place.asked for word in (USER + "&", PASSWORD, "wrong"))


def test_a_password_that_comes_back_is_not_shown(
    place: HttpReceiver, interface: Interface, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CH_PASSWORD", PASSWORD)
    interface.before = lambda asked: interface.failed(
        516, f"password {asked.headers['X-ClickHouse-Key']} is wrong"
    )
    said = str(fails(place, some(), password_env="CH_PASSWORD"))
    assert "password [REDACTED] is wrong" in said


def test_a_password_that_no_header_holds_is_an_error_that_does_not_show_it(
    place: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CH_PASSWORD", "pässword")
    said = str(fails(place, some(), password_env="CH_PASSWORD"))
    assert "password: holds what no header may" in said
    assert "ssword:" in said
    assert "pässword" not in said


# --- rows -----------------------------------------------------------------------------------------------------


def mxcp(place: HttpReceiver) -> dict[str, Any]:
    return {"table": "logs", "format": "mxcp"}


def mxcp_rows(*bad: int, count: int = 1000) -> list[Shipment]:
    """Return records for a table of somebody's own, some of which do not fit its columns."""
    row = (
        b'{"timestamp":"2026-11-21T05:38:34.123Z","caller":"http","type":"tool","name":"n%d","input_json":"{}",'
        b'"duration_ms":%b,"policy_decision":"allow","reason":null,"status":"success","error":null,"indelible":{"seq":%d}}'
    )
    return [
        Shipment(row % (seq, b'"soon, I hope"' if seq in bad else b"1", seq), seq, f"e{seq}")
        for seq in range(count)
    ]


def test_of_a_thousand_rows_the_one_that_does_not_fit_is_refused(
    clickhouse: Engine, place: HttpReceiver
) -> None:
    clickhouse.query("TRUNCATE TABLE said.logs")
    delivery = send(place, mxcp_rows(617), **mxcp(place))
    assert delivery.taken == 1000
    [(index, reason)] = delivery.refused
    assert index == 617
    assert "CANNOT_PARSE" in reason
    found = clickhouse.rows("SELECT indelible FROM said.logs")
    assert len(found) == 999
    assert len(place.asked) <= 4, "the exception says which row it is"


@pytest.mark.parametrize(
    "settings_", [{}, {"input_format_parallel_parsing": 0}], ids=["parallel", "one thread"]
)
def test_rows_that_do_not_fit_are_found_wherever_they_are(
    clickhouse: Engine, place: HttpReceiver, settings_: dict[str, int]
) -> None:
    clickhouse.query("TRUNCATE TABLE said.logs")
    bad = {0, 1, 2, 500, 998, 999}
    delivery = send(place, mxcp_rows(*bad), settings=settings_, **mxcp(place))
    assert {index for index, _ in delivery.refused} == bad
    assert clickhouse.rows("SELECT count() AS rows, uniqExact(name) AS names FROM said.logs") == [
        {"rows": 994, "names": 994}
    ]


def test_an_exception_that_says_no_row_is_searched_for(
    clickhouse: Engine, place: HttpReceiver, interface: Interface
) -> None:
    def wordless(asked: Asked) -> Reply | None:
        return interface.failed(469, "Constraint is violated") if b'"n37"' in asked.body else None

    clickhouse.query("TRUNCATE TABLE said.logs")
    interface.before = wordless
    delivery = send(place, mxcp_rows(count=64), **mxcp(place))
    assert [index for index, _ in delivery.refused] == [37]
    assert clickhouse.rows("SELECT count() AS rows FROM said.logs") == [{"rows": 63}]


def test_what_has_no_column_is_not_lost_in_silence(clickhouse: Engine, place: HttpReceiver) -> None:
    """ClickHouse skips unknown fields unless it is told otherwise."""
    extra = mxcp_rows(count=5)
    odd = extra[2].record.replace(b'"status"', b'"brand_new":1,"status"')
    clickhouse.query("TRUNCATE TABLE said.logs")
    delivery = send(
        place, [*extra[:2], msgspec.structs.replace(extra[2], record=odd), *extra[3:]], **mxcp(place)
    )
    assert [index for index, _ in delivery.refused] == [2]
    assert "brand_new" in delivery.refused[0][1]
    told = {"input_format_skip_unknown_fields": 1}
    assert send(
        place, [msgspec.structs.replace(extra[2], record=odd)], settings=told, **mxcp(place)
    ) == Delivery(1, ())


@pytest.mark.parametrize("format_", sorted(set(FORMATS) - {"indelible"}))
def test_other_formats_are_rows_of_a_table_that_has_their_columns(
    clickhouse: Engine, place: HttpReceiver, format_: str
) -> None:
    """The table is what ClickHouse itself makes of such records."""
    render = make_format(format_, Options()).render
    lines = stamped(
        operation(0), operation(1, cost={"centicents": 7}), operation(2, request__args={"a": ["\u2028'\\"]})
    )
    batch = [Shipment(render(Record(line, ORIGIN)), seq, f"e{seq}") for seq, line in enumerate(lines)]
    rows = literal(b"\n".join(one.record for one in batch).decode())
    name = format_.replace("-", "_")
    clickhouse.query(f"CREATE TABLE said.{name} ENGINE = Memory AS SELECT * FROM format(JSONEachRow, {rows})")
    clickhouse.query(f"TRUNCATE TABLE said.{name}")
    assert send(place, batch, table=name, format=format_) == Delivery(3, ())
    assert clickhouse.rows(f"SELECT count() AS rows FROM said.{name}") == [{"rows": 3}]


def test_a_table_that_refuses_every_row_costs_none(place: HttpReceiver) -> None:
    failure = fails(place, some(80), table="wrong")
    assert failure.refuses
    assert failure.delivery == Delivery(0)
    said = str(failure)
    assert "it refuses each of 64 records" in said
    for quoted in ("mcp_operation", "read_file", "00000000-0000", "/srv/"):
        assert quoted not in said


def test_rows_of_too_many_months_go_in_smaller_requests(place: HttpReceiver, interface: Interface) -> None:
    sizes: list[int] = []

    def picky(asked: Asked) -> Reply | None:
        sizes.append(asked.body.count(b"\n"))
        text = "Too many partitions for single INSERT block (more than 100). (TOO_MANY_PARTS)"
        return interface.failed(252, text) if sizes[-1] > 10 else None

    interface.before = picky
    assert send(place, some(40)) == Delivery(40, ())
    assert sizes[0] == 40
    assert max(sizes[-2:]) <= 10


# --- what passes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (202, "Too many simultaneous queries. Maximum: 100. (TOO_MANY_SIMULTANEOUS_QUERIES)"),
        (209, "Timeout exceeded while reading from socket. (SOCKET_TIMEOUT)"),
        (210, "I/O error: Broken pipe. (NETWORK_ERROR)"),
        (159, "Timeout exceeded: elapsed 30 seconds. (TIMEOUT_EXCEEDED)"),
        (241, "Memory limit (total) exceeded. (MEMORY_LIMIT_EXCEEDED)"),
        (
            252,
            "Too many parts (3000). Merges are processing significantly slower than inserts. (TOO_MANY_PARTS)",
        ),
        (
            242,
            "Table is in readonly mode since table metadata was not found in zookeeper. (TABLE_IS_READ_ONLY)",
        ),
        (999, "Coordination::Exception: Session expired. (KEEPER_EXCEPTION)"),
        (497, "a_user: Not enough privileges. (ACCESS_DENIED)"),
        (1_002, "something that nobody knows"),
    ],
)
@pytest.mark.parametrize("is_late", [False, True], ids=["", "after a 200"])
def test_what_is_not_about_a_row_passes_and_gives_up_nothing(
    place: HttpReceiver, interface: Interface, code: int, text: str, is_late: bool
) -> None:
    interface.says_late = is_late
    interface.before = lambda _asked: interface.failed(code, text)
    sink = make_sink(settings(place))
    with pytest.raises(SinkUnavailable) as caught:
        sink.send(some())
    assert (caught.value.delivery, caught.value.refuses) == (Delivery(0), False)
    assert f"it answers {code}" in str(caught.value)
    assert text.partition(".")[0].partition(": ")[0] in str(caught.value)
    interface.says_late = False
    interface.before = lambda _asked: None
    assert sink.send(some()) == Delivery(3, ())
    sink.close()


def test_a_row_that_is_refused_after_a_200_is_found_as_well(
    clickhouse: Engine, place: HttpReceiver, interface: Interface
) -> None:
    clickhouse.query("TRUNCATE TABLE said.logs")
    interface.says_late = True
    delivery = send(place, mxcp_rows(7, count=20), **mxcp(place))
    assert [index for index, _ in delivery.refused] == [7]


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply(200, b"<html>Please log in</html>", {}), "and not as ClickHouse does"),
        (Reply(200, b"", {}), "and not as ClickHouse does"),
        (Reply(200, b"Ok.\n", HEADERS), "to an INSERT it says more than nothing"),
        (Reply(503, b"no server", {"Retry-After": "7"}), "it answers 503"),
        (Reply(429, b"slow down", {"Retry-After": "7"}), "it answers 429"),
        (Reply(502, b"bad gateway"), "it answers 502"),
        (Reply(302, b"", {"Location": "https://elsewhere.example/"}), "a redirection to"),
        (Reply(then="reset"), "it broke the connection off"),
        (Reply(raw=b"SSH-2.0-OpenSSH\r\n\r\n"), "it does not speak HTTP/1.1"),
    ],
)
def test_what_is_between_us_and_it(place: HttpReceiver, interface: Interface, reply: Reply, says: str) -> None:
    interface.before = lambda _asked: reply
    failure = fails(place, some())
    assert says in str(failure)
    assert failure.delivery == Delivery(0)
    assert failure.retry_after == (7.0 if "Retry-After" in reply.headers else None)


def test_settings_of_a_profile_lose_no_rows(place: HttpReceiver) -> None:
    """What ClickHouse could be told to drop rows by is said in every request; our settings go with it."""
    send(place, some(), settings={"insert_quorum": 1, "async_insert": True})
    [asked] = place.asked
    found = {key: value for key, [value] in parse_qs(urlsplit(asked.path).query).items()}
    token = found.pop("insert_deduplication_token")
    assert token.startswith("indelible-")
    assert found == {
        "query": "INSERT INTO `said`.`events` (origin, seq, line) FORMAT JSONEachRow",
        "wait_end_of_query": "1", "async_insert": "1", "wait_for_async_insert": "1", "insert_quorum": "1",
        "input_format_allow_errors_num": "0", "input_format_allow_errors_ratio": "0",
        "distributed_foreground_insert": "1",
    }  # fmt: skip


# --- the contract ---------------------------------------------------------------------------------------------

UNFIT = b"the one that is refused"


class Clickhouse(Destination):
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.table = f"contract_{uuid4().hex}"
        engine.query(
            f"CREATE TABLE said.{self.table} (origin String, seq UInt64, line String, CONSTRAINT fits CHECK line != "
            f"'{UNFIT.decode()}') ENGINE = Memory"
        )
        self.receiver = HttpReceiver(Interface(engine))

    def make(self, timeout: float) -> Sink:
        return make_sink(msgspec.structs.replace(settings(self.receiver, table=self.table), timeout=timeout))

    def received(self) -> Sequence[bytes]:
        found = self.engine.rows(f"SELECT line FROM said.{self.table} SETTINGS max_threads = 1")
        return [row["line"].encode() for row in found]

    def take_away(self) -> None:
        self.receiver.stop()

    def bring_back(self) -> None:
        self.receiver.start()

    def hang(self) -> None:
        self.receiver.goes_on.clear()

    def unfit(self) -> bytes:
        return UNFIT

    def close(self) -> None:
        self.receiver.stop()


@pytest.mark.slow
def test_the_contract(clickhouse: Engine) -> None:
    assert check_sink(lambda: Clickhouse(clickhouse)) == tuple(CHECKS)
