"""What each API is sent, and what its answers mean; judged by the receivers' own rules, and by others' programs."""

from __future__ import annotations

import json
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from indelible.sinks.base import Delivery, Shipment
from tests.certificates import Authority
from tests.unit.sinks.test_http import receiver, sink_to, unavailable
from tests.unit.sinks.web_judges import Elastic, Loki, Splunk, Webhook
from tests.unit.sinks.web_receivers import Asked, HttpReceiver, Reply, said

pytestmark = pytest.mark.slow

SECRETS = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2VjcmV0cyBhcmUgYXQgbGVhc3QgMjQgYnl0ZXM=")


def event(number: int, **more: Any) -> Shipment:
    line = {
        "seq": number,
        "recorded_at": f"2026-11-21T05:38:{number:02d}.500001Z",
        "timestamp": f"2026-11-21T05:38:{number:02d}.123456Z",
        **more,
    }
    record = json.dumps(line, separators=(",", ":")).encode()
    return Shipment(record, number, f"event-{number}", "", "indelible/x", 1, record)


# --- webhooks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gzip", [False, True])
def test_a_signature_is_that_of_standard_webhooks(gzip: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", " ".join(SECRETS))
    with receiver(lambda _: Reply(500)) as place:
        sink = sink_to(place.url, secret_env="SECRET", gzip=gzip)
        unavailable(sink, [event(1), event(2)])
        place.plan = lambda _: Reply(204)
        assert sink.send([event(1), event(2)]) == Delivery(2)
        first, second = place.asked
    assert first.headers["webhook-id"] == second.headers["webhook-id"]  # it is the same message, sent again
    for secret in SECRETS:
        for asked in (first, second):
            assert _verify(secret, asked) == [json.loads(event(number).record) for number in (1, 2)]
    with pytest.raises(WebhookVerificationError):
        _verify("whsec_" + "A" * 32, second)


def _verify(secret: str, asked: Asked) -> Any:
    return Verifier(secret).verify(asked.body, {name.lower(): value for name, value in asked.headers.items()})


@pytest.mark.parametrize(("body", "count"), [("single", 3), ("lines", 1), ("array", 1)])
def test_a_request_has_the_shape_that_was_asked_for(body: str, count: int) -> None:
    batch = [event(1), Shipment('CEF:0|"ü"|x'.encode(), 2, ""), event(3)]
    judge = Webhook(body=body)
    with receiver(judge) as place:
        assert sink_to(place.url, body=body).send(batch) == Delivery(3)
        assert len(place.asked) == count
    assert judge.records == [one.record for one in batch]


def test_what_a_line_cannot_hold_is_refused() -> None:
    bad = [Shipment(b"two\nlines", 1, ""), Shipment(b"\xff", 2, "")]
    with receiver(lambda _: Reply(204)) as place:
        lines = sink_to(place.url, body="lines").send([bad[0], event(3)])
        array = sink_to(place.url).send([bad[1], event(3)])
    assert "holds a line end" in lines.refused[0][1]
    assert array == Delivery(2, ((0, "is no UTF-8 text"),))


# --- Elasticsearch -----------------------------------------------------------------------------------------------


def item(status: int, kind: str = "", reason: str = "") -> dict[str, Any]:
    return {"create": {"status": status, **({"error": {"type": kind, "reason": reason}} if kind else {})}}


def bulk(*items: dict[str, Any]) -> Reply:
    return said(200, {"errors": True, "items": list(items)})


def test_of_a_bulk_request_each_item_is_read() -> None:
    """A conflict was there already; a mapping error is a document's own; too many requests pass."""
    full = item(429, "es_rejected_execution_exception", "rejected execution of coordinating operation")
    answers = [
        bulk(item(201), item(400, "document_parsing_exception", "no number"), item(409), full, item(201)),
        bulk(full, item(409)),
        bulk(item(201), item(409)),
    ]
    with receiver(lambda _: answers.pop(0)) as place:
        sink = sink_to(place.url, flavor="elasticsearch")
        failed = unavailable(sink, [event(number) for number in range(5)])
        assert failed.delivery == Delivery(3, ((1, "400: document_parsing_exception: no number"),))
        assert "the one at 3 was not taken: 429: es_rejected_execution_exception" in str(failed)
        assert unavailable(sink, [event(3), event(4)]).delivery == Delivery(0)
        assert sink.send([event(3), event(4)]) == Delivery(2)


@pytest.mark.parametrize(
    ("items", "line"),
    [
        ([item(404, "index_not_found_exception", "no such index [x]")], "404: index_not_found_exception"),
        ([item(403, "security_exception", "action is unauthorized")], "403: security_exception"),
        ([item(503, "unavailable_shards_exception", "primary shard is not active")], "503: unavailable"),
        ([item(400, "illegal_argument_exception", "Limit of total fields [1000]")], "it refuses the record"),
        ([], "it answers for 0 records, and was sent 1"),
        ([item(201), item(201)], "it answers for 2 records, and was sent 1"),
    ],
)
def test_what_is_the_clusters_fault_costs_no_record(items: list[dict[str, Any]], line: str) -> None:
    with receiver(lambda _: bulk(*items)) as place:
        failed = unavailable(sink_to(place.url, flavor="elasticsearch"), [event(1)])
    assert line in str(failed)
    assert failed.delivery == Delivery(0)


HOSTILE = (b"", b"ok", b"[]", b"null", b'{"took":1}', b'{"errors":false,"items":null}', b"\xff", b"[" * 100_000)


@pytest.mark.parametrize("flavor", ["elasticsearch", "splunk_hec"])
@pytest.mark.parametrize("body", HOSTILE)
def test_an_answer_of_another_kind_is_no_acknowledgement(flavor: str, body: bytes) -> None:
    """A proxy's login page is 200, too."""
    with receiver(lambda _: Reply(200, body)) as place:
        failed = unavailable(sink_to(place.url, flavor=flavor), [event(1)])
    assert "it answers 200, and not as" in str(failed)
    assert failed.delivery == Delivery(0)


def test_a_document_has_the_events_id_and_comes_in_once() -> None:
    judge = Elastic(index="mcp")
    erased = Shipment(b'{"seq":3,"erased":"x","leaf":"00"}', 3, "")
    with receiver(judge) as place:
        sink = sink_to(place.url, flavor="elasticsearch", index="mcp")
        for _ in range(2):
            assert sink.send([event(1), event(2), erased]) == Delivery(3)
        assert sink.send([Shipment(b"<134>1 text", 4, "event-4", "", "", 1, event(4).line)]) == Delivery(1)
    assert list(judge.documents)[:2] == ["event-1", "event-2"]
    assert len(judge.documents) == 4
    assert judge.documents["event-4"] == {
        "@timestamp": "2026-11-21T05:38:04.123456Z",
        "message": "<134>1 text",
        "event": {"id": "event-4"},
    }


# --- Splunk ------------------------------------------------------------------------------------------------------


def test_an_event_of_splunk_has_its_own_time_and_flat_fields() -> None:
    judge = Splunk()
    keys: dict[str, Any] = {"index": "mcp", "source": "s", "sourcetype": "t", "host": "h"}
    with receiver(judge) as place:
        sink = sink_to(f"{place.url}/services/collector", flavor="splunk_hec", **keys)
        assert sink.send([event(1), Shipment(b"CEF:0|x", 2, "")]) == Delivery(2)
    assert judge.events[0] == {
        "time": 1795239481.123456,
        **keys,
        "fields": {"seq": "1", "event_id": "event-1"},
        "event": json.loads(event(1).record),
    }
    assert judge.events[1] == {**keys, "fields": {"seq": "2"}, "event": "CEF:0|x"}


@pytest.mark.parametrize(
    ("code", "text", "line"),
    [
        (7, "Incorrect index", "may the token write to this index?"),
        (10, "Data channel is missing", "does something on the way take 'X-Splunk-Request-Channel' out?"),
        (99, "Something new", "Something new"),
    ],
)
def test_a_400_about_the_token_or_the_index_costs_no_record(code: int, text: str, line: str) -> None:
    with receiver(lambda _: said(400, {"text": text, "code": code, "invalid-event-number": 0})) as place:
        failed = unavailable(sink_to(place.url, flavor="splunk_hec"), [event(1), event(2)])
        assert len(place.asked) == 1
    assert line in str(failed)
    assert failed.delivery == Delivery(0)


def test_the_event_that_splunk_names_is_the_one_that_is_refused() -> None:
    judge = Splunk(refuses=lambda record: b'"seq":70,' in record)
    with receiver(judge) as place:
        delivery = sink_to(place.url, flavor="splunk_hec").send([event(number) for number in range(99)])
        assert len(place.asked) == 4  # all; those before it; it alone; those behind it
    [(index, reason)] = delivery.refused
    assert (delivery.taken, index) == (99, 70)
    assert "Invalid data format" in reason


def posts(place: HttpReceiver) -> list[bool]:
    """Return of each request whether it brought records; the others asked for an acknowledgement."""
    return [asked.path.endswith("/event") for asked in place.asked]


def test_where_indexers_acknowledge_records_are_taken_when_they_have() -> None:
    waits = [2, 0, 1]
    asked: list[int] = []

    def indexed(number: int) -> bool:
        asked.append(number)
        return asked.count(number) > waits[number]

    with receiver(judge := Splunk(indexed=indexed)) as place:
        sink = sink_to(place.url, flavor="splunk_hec", flush_batch_lines=2)
        assert sink.send([event(number) for number in range(5)]) == Delivery(5)
        assert posts(place) == [True, False, False, False, True, False, True, False, False]
    assert judge.records == [event(number).record for number in range(5)]
    assert len(judge.channels) == 1


def test_what_no_indexer_has_acknowledged_in_time_is_asked_for_before_it_is_sent_again() -> None:
    """Also when more came in meanwhile; what was erased meanwhile is sent as it is then."""
    done: set[int] = set()
    with receiver(judge := Splunk(indexed=done.__contains__)) as place:
        sink = sink_to(place.url, timeout=0.3, flavor="splunk_hec")
        for _ in range(3):
            failed = unavailable(sink, [event(1), event(2)])
            assert "it has the records, and no indexer acknowledges them within 0.3 s" in str(failed)
            assert failed.delivery == Delivery(0)
        assert posts(place).count(True) == 1
        done |= {0, 1}
        assert sink.send([event(1), event(2), event(3)]) == Delivery(3)
        assert judge.records == [event(number).record for number in (1, 2, 3)]
        unavailable(sink, [event(4), event(5)])
        done |= {2, 3}
        assert sink.send([structs.replace(event(4), record=b"{}"), event(5)]) == Delivery(2)
    assert judge.records[3:] == [event(4).record, event(5).record, b"{}", event(5).record]


def test_what_was_waited_for_too_long_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver that was started anew knows no number of before."""
    monkeypatch.setattr("indelible.sinks.http.ACK_S", 0.0)
    with receiver(Splunk(indexed=lambda number: number == 1)) as place:
        sink = sink_to(place.url, timeout=0.3, flavor="splunk_hec")
        unavailable(sink, [event(1)])
        assert sink.send([event(1)]) == Delivery(1)
        assert posts(place).count(True) == 2


@pytest.mark.parametrize(
    "reply",
    [Reply(400, b'{"text":"ACK is disabled","code":14}'), Reply(200, b'{"acks":[]}'), Reply(503), Reply(200)],
)
def test_an_answer_that_acknowledges_nothing_takes_nothing(reply: Reply) -> None:
    judge = Splunk(indexed=lambda _: True)
    with receiver(lambda asked: judge(asked) if asked.path.endswith("/event") else reply) as place:
        failed = unavailable(sink_to(place.url, flavor="splunk_hec"), [event(1), event(2)])
        assert posts(place) == [True, False]
    assert f"asked for an acknowledgement, it answers {reply.status}" in str(failed)
    assert failed.delivery == Delivery(0)
    assert not failed.refuses


def test_whoever_waits_for_an_acknowledgement_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indelible.sinks.http.FIRST_ACK_S", 50.0)
    asked = threading.Event()

    def indexed(_number: int) -> bool:
        asked.set()
        return False

    with receiver(Splunk(indexed=indexed)) as place:
        sink = sink_to(place.url, flavor="splunk_hec")

        def stop() -> None:
            asked.wait(60)
            sink.stop()

        thread = threading.Thread(target=stop)
        thread.start()
        assert "it was stopped" in str(unavailable(sink, [event(1)]))
        thread.join(60)


# --- Loki --------------------------------------------------------------------------------------------------------


def test_an_entry_of_loki_has_the_time_at_which_it_was_recorded() -> None:
    judge = Loki()
    with receiver(judge) as place:
        sink = sink_to(place.url, flavor="loki", labels={"service_name": "gateway", "env": "prod"})
        assert sink.send([event(1), event(2)]) == Delivery(2)
        assert sink.send([event(2), event(3)]) == Delivery(2)
    assert judge.times == [1795239481500001000 + number * 1_000_000_000 for number in range(3)]
    assert judge.labels == [{"service_name": "gateway", "env": "prod"}] * 2
    assert judge.records == [event(number).record for number in (1, 2, 3)]


def test_what_is_too_old_for_loki_is_refused_and_named_though_it_is_all_there_is() -> None:
    with receiver(Loki(refuses=lambda _: True)) as place:
        delivery = sink_to(place.url, flavor="loki").send([event(1), event(2)])
    assert delivery.taken == 2
    assert all("timestamp too old" in reason for _, reason in delivery.refused)
    assert len(delivery.refused) == 2


# --- TLS ---------------------------------------------------------------------------------------------------------


def tls_receiver(folder: Path, ours: Authority, *, asks: bool = False) -> HttpReceiver:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*ours.issue("receiver", "127.0.0.1", "collector.example"))
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(ours.file)
    return HttpReceiver(lambda _: Reply(204), tls=context)


def test_tls_knows_the_receiver_and_shows_our_certificate(tmp_path: Path) -> None:
    ours, other = Authority(tmp_path), Authority(tmp_path, "other authority")
    certificate, key = map(str, ours.issue("shipper"))
    place = tls_receiver(tmp_path, ours, asks=True)
    try:
        ca = {"ca_file": str(ours.file)}
        good = {**ca, "cert_file": certificate, "key_file": key}
        assert sink_to(place.url, tls=good).send([event(1)]) == Delivery(1)
        named = {**good, "server_name": "collector.example"}
        assert sink_to(place.url, tls=named).send([event(1)]) == Delivery(1)
        for tls, line in (
            (ca, "it refuses our certificate"),
            ({**good, "ca_file": str(other.file)}, "its certificate is not accepted"),
            ({**good, "server_name": "elsewhere.example"}, "its certificate is not accepted"),
            ({**good, "key_file": str(tmp_path / "none")}, "No such file"),
        ):
            assert line in str(unavailable(sink_to(place.url, tls=tls), [event(1)]))
    finally:
        place.stop()


def test_an_address_of_ipv6() -> None:
    with receiver(lambda _: Reply(204), host="::1") as place:
        assert sink_to(place.url).send([event(1)]) == Delivery(1)
        assert place.asked[0].headers["Host"] == f"[::1]:{place.port}"
