"""What receivers over HTTP do wrong, and what the http sink makes of it: nothing is lost, and one line says why."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from indelible.registry import make_sink
from indelible.sink_settings import parse_sinks
from indelible.sinks.base import Delivery, Shipment, Sink, SinkUnavailable
from tests.unit.sinks.web_judges import JUDGES, Webhook
from tests.unit.sinks.web_receivers import Asked, HttpReceiver, Plan, Reply, sink_keys

pytestmark = pytest.mark.slow

TOKEN = "t0ken-that-nobody-may-see"


def shipments(count: int, size: int = 20) -> list[Shipment]:
    return [Shipment(b'{"n":%d,"x":"%b"}' % (n, b"x" * size), n, f"event-{n}") for n in range(count)]


MADE: list[Sink] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Close what a test leaves open."""
    yield
    while MADE:
        MADE.pop().close()


def sink_to(url: str, timeout: float = 60.0, **keys: Any) -> Sink:
    settings = msgspec.structs.replace(parse_sinks([sink_keys(url, **keys)])[0], timeout=timeout)
    MADE.append(make_sink(settings))
    return MADE[-1]


@contextlib.contextmanager
def receiver(plan: Plan, **keys: Any) -> Iterator[HttpReceiver]:
    made = HttpReceiver(plan, **keys)
    try:
        yield made
    finally:
        made.stop()


def unavailable(sink: Sink, batch: list[Shipment]) -> SinkUnavailable:
    with pytest.raises(SinkUnavailable) as raised:
        sink.send(batch)
    assert str(raised.value).isprintable()
    assert TOKEN not in str(raised.value)
    return raised.value


def answered(plan: Plan, batch: list[Shipment] | None = None, **keys: Any) -> SinkUnavailable:
    """Return why a sink to a receiver that answers so is unavailable."""
    with receiver(plan) as place:
        return unavailable(sink_to(place.url, **keys), batch or shipments(3))


# --- answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "line", "asked_s"),
    [
        (Reply(429, b"slow down", {"Retry-After": "17"}), "it answers 429: slow down", 17.0),
        (Reply(503, b"", {"Retry-After": "soon"}), "it answers 503", None),
        (Reply(500, b"<h1>Oh\n no</h1>\x1b[2J"), "it answers 500: <h1>Oh no</h1>�[2J", None),
        (Reply(401, b"who?"), "it answers 401: who?; does it accept our credentials?", None),
        (Reply(403), "it answers 403; may our credentials write there?", None),
        (Reply(404, b"y" * 900), f"it answers 404: {'y' * 200}…; is the path of 'url' right?", None),
        (Reply(raw=b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "it does not speak HTTP/1.1: ", None),
        (Reply(raw=b"HTTP/1.1 " + b"x\x1b" * 9_000 + b"\r\n\r\n"), "it does not speak HTTP/1.1: ", None),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Le"), "it closed the connection in the middle of an answer", None),
        (Reply(raw=b"HTTP/1.1 100 Continue\r\n\r\n" * 99), "it does not come to an answer", None),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000), "it does not speak HTTP/1.1: ", None),
        (Reply(raw=b""), "it closed the connection without an answer", None),
        (Reply(then="reset"), "it broke the connection off", None),
    ],
    ids=lambda value: re.sub("[^a-z0-9]+", "-", value.lower())[:30] if isinstance(value, str) else "",
)  # fmt: skip
def test_what_takes_nothing_is_one_line(reply: Reply, line: str, asked_s: float | None) -> None:
    failed = answered(lambda _: reply)
    assert str(failed).partition(": ")[2].startswith(line)
    assert len(str(failed)) < 350
    assert failed.delivery == Delivery(0)
    assert failed.retry_after == asked_s


def test_retry_after_may_be_a_date_by_the_receivers_own_clock() -> None:
    then = datetime(1999, 1, 1, tzinfo=UTC)
    headers = {
        "Date": format_datetime(then, usegmt=True),
        "Retry-After": format_datetime(then + timedelta(seconds=90), usegmt=True),
    }
    raw = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
    failed = answered(lambda _: Reply(raw=b"HTTP/1.1 503 No\r\n" + raw + b"Content-Length: 0\r\n\r\n"))
    assert failed.retry_after == 90.0


@pytest.mark.parametrize("then", ["hang", "drip"])
def test_an_answer_takes_no_longer_than_the_timeout_all_in_all(then: str) -> None:
    begun = time.monotonic()
    with receiver(lambda _: Reply(then=then)) as place:
        failed = unavailable(sink_to(place.url, timeout=0.5), shipments(1))
    assert "it does not answer within 0.5 s" in str(failed)
    assert time.monotonic() - begun < 60


def test_a_huge_answer_is_not_read_to_its_end() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 500000000\r\n\r\n" + b"x" * 300_000
    with receiver(
        lambda _: Reply(raw=raw)
    ) as place:  # it was taken: what a webhook says beside that is nobody's need
        assert sink_to(place.url).send(shipments(2)) == Delivery(2)
    failed = answered(lambda _: Reply(raw=raw), flavor="splunk_hec")
    assert "not as the HTTP Event Collector does" in str(failed)


def test_a_receiver_that_answers_before_it_has_read_everything_is_heard() -> None:
    """As a proxy does whose limit is smaller than the request: it says so, and closes with the rest unread."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listening.accept()[0] as connection:
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 401 No\r\nContent-Length: 7\r\n\r\ngo away")
            connection.settimeout(60)
            with contextlib.suppress(OSError):  # it goes on reading, slowly, until we hang up
                while connection.recv(4096):
                    pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        sink = sink_to(f"http://127.0.0.1:{listening.getsockname()[1]}", flush_batch_bytes="10MB")
        assert "it answers 401: go away" in str(unavailable(sink, shipments(100, 60_000)))
    finally:
        thread.join(60)
        listening.close()


def test_a_kept_connection_that_was_closed_is_made_anew() -> None:
    judge = Webhook()
    with receiver(judge) as place:
        sink = sink_to(place.url)
        for number in range(3):
            assert sink.send(shipments(number + 1)[number:]) == Delivery(1)
            place.hang_up()
        assert judge.records == [one.record for one in shipments(3)]
        assert place.connections == 3


def test_a_connection_that_was_idle_for_long_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver(lambda _: Reply(204)) as place:
        sink = sink_to(place.url)
        assert [sink.send(shipments(1)), sink.send(shipments(1))] == [Delivery(1)] * 2
        assert place.connections == 1
        monkeypatch.setattr("indelible.sinks.web.client.MAX_IDLE_S", 0.0)
        assert sink.send(shipments(1)) == Delivery(1)
        assert place.connections == 2


def test_one_connection_does_for_many_requests() -> None:
    judge = Webhook()
    with receiver(judge) as place:
        sink = sink_to(place.url, flush_batch_lines=2)
        assert sink.send(shipments(9)) == Delivery(9)
        assert (place.connections, len(place.asked)) == (1, 5)
    assert judge.records == [one.record for one in shipments(9)]


# --- redirections ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirection_at_the_same_origin_is_followed(status: int) -> None:
    def plan(asked: Asked) -> Reply:
        return Reply(204) if asked.path == "/there?x=1" else Reply(status, headers={"Location": "/there?x=1"})

    with receiver(plan) as place:
        assert sink_to(place.url).send(shipments(2)) == Delivery(2)
        assert [asked.body for asked in place.asked] == [
            b"[%b,%b]" % tuple(one.record for one in shipments(2))
        ] * 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirection_takes_records_or_a_token_elsewhere(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", TOKEN)
    with receiver(lambda _: Reply(204)) as other:
        failed = answered(lambda _: Reply(status, headers={"Location": f"{other.url}/x"}), token_env="TOKEN")
        assert f"it answers {status}, a redirection to {other.url}/x that is not followed" in str(failed)
        assert not other.asked


def test_redirections_come_to_an_end() -> None:
    with receiver(lambda _: Reply(307, headers={"Location": "/again"})) as place:
        assert "a redirection to /again that is not followed" in str(
            unavailable(sink_to(place.url), shipments(1))
        )
        assert len(place.asked) == 4


# --- what is refused for good ------------------------------------------------------------------------------------


def refusing(*numbers: int, status: int = 400) -> Plan:
    judge = Webhook()

    def plan(asked: Asked) -> Reply:
        bad = [n for n in numbers if b'{"n":%d,' % n in asked.body]
        return Reply(status, f"no {bad}".encode()) if bad else judge(asked)

    plan.records = judge.records  # type: ignore[attr-defined] # what the test looks at
    return plan


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("bad", [[0], [4], [9], [0, 1, 2], [3, 4, 9], [1, 3, 5, 7]])
def test_what_is_refused_is_found_and_the_others_are_taken(status: int, bad: list[int]) -> None:
    plan = refusing(*bad, status=status)
    with receiver(plan) as place:
        delivery = sink_to(place.url).send(shipments(10))
    assert delivery.taken == 10
    assert delivery.refused == tuple((n, f"it answers {status}: no [{n}]") for n in bad)
    assert plan.records == [one.record for one in shipments(10) if one.seq not in bad]  # type: ignore[attr-defined]


def test_a_receiver_that_refuses_everything_costs_no_record() -> None:
    with receiver(lambda _: Reply(400, b"bad hair day")) as place:
        sink = sink_to(place.url)
        failed = unavailable(sink, shipments(200))
        assert failed.delivery == Delivery(0)
        assert failed.refuses
        assert "it refuses each of 64 records, and takes no other: it answers 400: bad hair day" in str(failed)
        asked = len(place.asked)
        assert asked < 200
        assert unavailable(sink, shipments(1)).delivery == Delivery(0)
        place.plan = lambda _: Reply(204)
        assert sink.send(shipments(1)) == Delivery(1)


def test_a_receiver_that_finds_everything_too_large_costs_no_record() -> None:
    """As a proxy with a wrong limit; and when that is put right, requests are as large as they were."""
    judge = Webhook()
    with receiver(lambda _: Reply(413)) as place:
        sink = sink_to(place.url)
        failed = unavailable(sink, shipments(40))
        assert failed.delivery == Delivery(0)
        assert failed.refuses
        place.plan = judge
        asked = len(place.asked)
        assert sink.send(shipments(40)) == Delivery(40)
        assert len(place.asked) == asked + 1
    assert judge.records == [one.record for one in shipments(40)]


def test_a_few_refusals_are_believed_of_a_receiver_that_takes_records() -> None:
    with receiver(refusing()) as place:
        sink = sink_to(place.url)
        assert sink.send(shipments(1)) == Delivery(1)
        place.plan = lambda _: Reply(400, b"no")
        for _ in range(3):
            assert sink.send(shipments(1)) == Delivery(1, ((0, "it answers 400: no"),))
        assert "it refuses the record" in str(unavailable(sink, shipments(1)))


def test_what_was_taken_before_a_failure_is_not_sent_again() -> None:
    judge = Webhook()
    with receiver(lambda asked: judge(asked) if len(judge.records) < 4 else Reply(503)) as place:
        failed = unavailable(sink_to(place.url, flush_batch_lines=2), shipments(9))
    assert failed.delivery == Delivery(4)


def test_too_large_a_request_is_sent_in_smaller_ones_from_then_on() -> None:
    judge = Webhook()
    with receiver(lambda asked: Reply(413) if len(asked.body) > 5000 else judge(asked)) as place:
        sink = sink_to(place.url)
        assert sink.send(shipments(100, 200)) == Delivery(100)
        before = len(place.asked)
        assert sink.send(shipments(100, 200)) == Delivery(100)
        assert sum(len(asked.body) > 5000 for asked in place.asked[before:]) == 0
        assert sink.send(shipments(1, 6000)) == Delivery(1, ((0, "it answers 413"),))
    assert judge.records == [one.record for one in shipments(100, 200)] * 2


# --- addresses ---------------------------------------------------------------------------------------------------


def test_a_name_that_means_a_private_address_is_not_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it means something else a moment later: it is resolved once, and what was judged is connected to."""
    asked: list[str] = []

    def resolve(host: str, port: int, **_: object) -> list[Any]:
        asked.append(host)
        address = ["10.0.0.1", "127.0.0.1"][len(asked) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with receiver(lambda _: Reply(204)) as place:
        sink = sink_to(f"http://collector.example:{place.port}", allow_private=False, allow_http=True)
        said = "10.0.0.1 is not a public address; see 'allow_private'"
        assert said in str(unavailable(sink, shipments(1)))
        assert asked == ["collector.example"]
        assert "127.0.0.1 is not a public address" in str(unavailable(sink, shipments(1)))
        assert not place.connections


def test_localhost_in_plain_text_is_this_machine_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    other = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: other)
    failed = unavailable(sink_to("http://localhost:80"), shipments(1))
    assert "192.0.2.7 is not this machine, and records would go in plain text" in str(failed)


# --- secrets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "header"),
    [
        ({"token_env": "TOKEN"}, ("Authorization", f"Bearer {TOKEN}")),
        ({"token_env": "TOKEN", "flavor": "splunk_hec"}, ("Authorization", f"Splunk {TOKEN}")),
        ({"token_env": "TOKEN", "flavor": "elasticsearch"}, ("Authorization", f"ApiKey {TOKEN}")),
        ({"token_env": "TOKEN", "token_header": "X-API-Key"}, ("X-API-Key", TOKEN)),
        (
            {"username_env": "NAME", "password_env": "TOKEN"},
            ("Authorization", "Basic YWRhOnQwa2VuLXRoYXQtbm9ib2R5LW1heS1zZWU="),
        ),
    ],
)
def test_credentials_go_into_a_header_and_no_answer_brings_them_back(
    keys: dict[str, Any], header: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", TOKEN)
    monkeypatch.setenv("NAME", "ada")
    with receiver(lambda asked: Reply(403, f"you said {asked.headers[header[0]]} {TOKEN}".encode())) as place:
        failed = unavailable(sink_to(place.url, **keys), shipments(1))
        assert place.asked[0].headers[header[0]] == header[1]
    assert "[REDACTED]" in str(failed)
    assert "YWRhOn" not in str(failed)


@pytest.mark.parametrize(
    ("place", "said", "shown"),
    [
        ("/services/T0AB/s3cretPlace", "Cannot POST {path}", "Cannot POST [REDACTED]"),
        ("/services/T0AB/s3cretPlace", "no hook s3cretPlace there", "no hook [REDACTED] there"),
        (
            "/hook?key=s3cr%25t",
            "{path} s3cr%t {path}",
            "[REDACTED]?[REDACTED] [REDACTED] [REDACTED]?[REDACTED]",
        ),
        ("/hook?key=s3cretPlace", "y" * 190 + "s3cretPlaces", "y" * 190 + "[REDACTED]…"),
        ("/", "nothing at {path}", "nothing at /"),
    ],
)
def test_a_url_that_is_a_secret_is_not_shown_where_a_receiver_says_it(
    place: str, said: str, shown: str
) -> None:
    with receiver(lambda asked: Reply(403, said.format(path=asked.path).encode())) as there:
        failed = unavailable(sink_to(f"{there.url}{place}"), shipments(1))
        assert str(failed).partition(": ")[2] == f"it answers 403: {shown}; may our credentials write there?"
        there.plan = lambda asked: Reply(301, headers={"Location": f"https://elsewhere.example{asked.path}/"})
        moved = unavailable(sink_to(f"{there.url}{place}"), shipments(1))
        assert "s3cr" not in str(moved)


def test_a_tenants_number_is_no_secret() -> None:
    with receiver(lambda _: Reply(401, b"nobody")) as place:
        failed = unavailable(sink_to(place.url, headers={"X-Scope-OrgID": "4"}), shipments(1))
    assert "it answers 401: nobody" in str(failed)


def test_headers_of_the_settings_are_sent_and_no_answer_brings_them_back() -> None:
    headers = {"X-Scope-OrgID": "audit-of-acme", "user-agent": "our own"}
    with receiver(lambda asked: Reply(403, asked.headers["x-scope-orgid"].encode())) as place:
        failed = unavailable(sink_to(place.url, headers=headers), shipments(1))
        [asked] = place.asked
    assert asked.headers.get_all("X-Scope-OrgID") == ["audit-of-acme"]
    assert asked.headers.get_all("User-Agent") == ["our own"]
    assert "it answers 403: [REDACTED]" in str(failed)


def test_a_secret_is_read_anew_after_a_failure(tmp_path: Path) -> None:
    file = tmp_path / "token"
    with receiver(lambda asked: Reply(204 if asked.headers["Authorization"] == "Bearer new" else 401)) as place:
        sink = sink_to(place.url, token_file=str(file))
        assert "token_file: " in str(unavailable(sink, shipments(1)))
        file.write_text("old\n")
        assert "it answers 401" in str(unavailable(sink, shipments(1)))
        file.write_text("new\n")
        assert sink.send(shipments(1)) == Delivery(1)


def test_a_secret_that_is_none_is_said_and_not_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BAD", f"{TOKEN}\nHost: evil")
    (tmp_path / "empty").write_text("\n")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"token_env": "BAD"}, "token: holds what no header may"),
        ({"secret_env": "BAD"}, "secret: expected whsec_ and base64 of 24 to 64 bytes"),
        ({"token_env": "NOT_SET"}, "token_env: environment variable NOT_SET is not set"),
        ({"token_file": str(tmp_path / "empty")}, "is empty"),
    ]
    for keys, line in wrong:
        assert line in str(unavailable(sink_to("http://127.0.0.1:9", **keys), shipments(1)))


def test_no_setting_shows_where_a_webhook_is() -> None:
    [settings] = parse_sinks([sink_keys("https://hooks.example.com/services/T0/SECRET?key=SECRET")])
    assert settings.target == "https://hooks.example.com"
    assert settings.name == "hooks.example.com"


# --- compression -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flavor", list(JUDGES))
def test_what_every_receiver_takes_compressed_is_compressed(flavor: str) -> None:
    judge = JUDGES[flavor]()
    with receiver(judge) as place:
        assert sink_to(place.url, flavor=flavor).send(shipments(500)) == Delivery(500)
        [asked] = place.asked
    assert (asked.headers["Content-Encoding"] == "gzip") == (flavor != "webhook")
    assert len(judge.records) == 500
    if flavor != "webhook":
        assert len(asked.raw) * 5 < len(asked.body)


def test_stop_ends_a_send_that_waits_for_an_answer() -> None:
    with receiver(lambda _: Reply(204)) as place:
        place.goes_on.clear()
        sink = sink_to(place.url)
        timer = threading.Timer(0.2, sink.stop)
        timer.start()
        assert "stopped" in str(unavailable(sink, shipments(1)))
        timer.join()
