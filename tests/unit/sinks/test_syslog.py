"""Syslog over TCP and TLS: what receivers do wrong, each with its line; nothing is missing when they come back."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.errors import ConfigError
from indelible.registry import make_sink
from indelible.sink_settings import SinkSettings, TlsSettings
from indelible.sink_settings.syslog import SyslogSettings
from indelible.sinks import connection, syslog
from indelible.sinks.base import Shipment, Sink, SinkUnavailable
from tests.certificates import Authority
from tests.effort import examples
from tests.unit.sinks.receivers import Receiver, by_lines, octet_counted

PATIENCE_S = 60.0


def sink_to(address: str, **settings: Any) -> Sink:
    timeout = settings.pop("timeout", PATIENCE_S)
    own = SyslogSettings(address=address, **{"protocol": "tcp", **settings})
    return make_sink(SinkSettings(type="syslog", name="s", own=own, timeout=timeout))


def shipments(*numbers: int) -> list[Shipment]:
    return [Shipment(b"<134>1 - - indelible - - - %d" % number, number, "") for number in numbers]


def sent(*numbers: int) -> list[bytes]:
    return [shipment.record for shipment in shipments(*numbers)]


def until_taken(sink: Sink, batch: Sequence[Shipment]) -> list[str]:
    """Send as the shipper does, and return what was said meanwhile."""
    said: list[str] = []
    deadline = time.monotonic() + PATIENCE_S
    while batch:
        try:
            batch = batch[sink.send(batch).taken :]
        except SinkUnavailable as exc:
            said.append(str(exc))
            batch = batch[exc.delivery.taken :]
            assert time.monotonic() < deadline, said
    return said


def once(messages: Sequence[bytes]) -> list[bytes]:
    return list(dict.fromkeys(messages))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.stop()


def test_a_connection_is_kept_once_it_has_shown_that_it_is_read(receiver: Receiver) -> None:
    sink = sink_to(receiver.address)
    for number in range(20):
        assert sink.send(shipments(number)).taken == 1
    sink.close()
    assert receiver.connections == 2  # the first one was ended to see whether it is read
    assert receiver.messages == sent(*range(20))
    assert receiver.ended_by == ["in good order"] * 2


def test_it_is_asked_again_before_too_much_is_not_seen_to_be_read(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syslog, "UNREAD_BYTES", 300)
    sink = sink_to(receiver.address)
    for number in range(30):
        sink.send(shipments(number))
    sink.close()
    assert receiver.connections == 1 + 3
    assert receiver.messages == sent(*range(30))


def test_and_after_it_was_idle(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syslog, "IDLE_S", 0.0)
    sink = sink_to(receiver.address)
    for number in range(4):
        sink.send(shipments(number))
    sink.close()
    assert receiver.messages == sent(0, 1, 2, 3)
    assert receiver.connections == 4


def test_where_the_system_does_not_tell_each_batch_is_seen_to_be_read(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syslog, "CAN_SETTLE", False)
    sink = sink_to(receiver.address)
    for number in range(3):
        sink.send(shipments(number))
        assert receiver.messages == sent(*range(number + 1))
    sink.close()


def test_a_receiver_that_closes_when_it_likes_is_no_failure(receiver: Receiver) -> None:
    """As some do after some minutes: the next batch goes over a new connection, without a word."""
    sink = sink_to(receiver.address)
    sink.send(shipments(0))
    for number in range(1, 6):
        wait_until(lambda number=number: len(once(receiver.messages)) == number)
        receiver.hang_up()
        wait_until(lambda: not receiver._open)
        assert sink.send(shipments(number)).taken == 1
    sink.close()
    assert once(receiver.messages) == sent(*range(6))


def wait_until(holds: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_what_a_receiver_had_and_had_not_read_when_it_died_comes_again(receiver: Receiver) -> None:
    sink = sink_to(receiver.address)
    assert sink.send(shipments(0)).taken == 1
    assert sink.send(shipments(1)).taken == 1
    wait_until(lambda: len(receiver.messages) == 2)
    receiver.reset_after = 1  # it reads nothing from now on
    receiver.reads.clear()
    assert sink.send(shipments(*range(2, 500))).taken == 498  # with its system, and not read
    receiver.reads.set()
    wait_until(lambda: not receiver._open)
    said = until_taken(sink, shipments(*range(500, 510)))
    assert said == [f"{receiver.address}: it broke the connection off"]
    sink.close()
    assert once(receiver.messages) == sent(*range(510))
    assert [receiver.messages.count(record) for record in sent(0, 505)] == [1, 1]


def test_it_comes_again_at_the_end_too(receiver: Receiver) -> None:
    sink = sink_to(receiver.address)
    sink.send(shipments(0))
    sink.send(shipments(1))
    wait_until(lambda: len(receiver.messages) == 2)
    receiver.reset_after = 1
    receiver.reads.clear()
    sink.send(shipments(*range(2, 500)))
    receiver.reads.set()
    wait_until(lambda: not receiver._open)
    sink.close()
    assert once(receiver.messages) == sent(*range(500))


@pytest.mark.slow
def test_a_receiver_that_hangs_is_not_given_the_same_again_and_again(receiver: Receiver) -> None:
    """The shipper closes and opens after each failure."""
    sink = sink_to(receiver.address, timeout=0.4)
    until_taken(sink, shipments(0))
    until_taken(sink, shipments(1))
    wait_until(lambda: len(once(receiver.messages)) == 2)
    receiver.reads.clear()
    for number in range(2, 50):
        until_taken(sink, shipments(number))  # its system has them
    for _ in range(4):
        sink.close()
        with pytest.raises(SinkUnavailable, match="it has not read what it was sent"):
            sink.send(shipments(50))
    receiver.reads.set()
    until_taken(sink, shipments(50))
    sink.close()
    wait_until(lambda: once(receiver.messages) == sent(*range(51)))
    assert receiver.messages.count(sent(7)[0]) <= 3


@settings(max_examples=examples(40))
@given(breaks=st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=6), size=st.integers(1, 30))
def test_whatever_breaks_nothing_is_missing(breaks: list[tuple[bool, int]], size: int) -> None:
    receiver = Receiver()
    sink = sink_to(receiver.address)
    number = 0
    try:
        for resets, after in [*breaks, (False, 1000)]:
            if resets:
                receiver.reset_after = after
            else:
                receiver.close_after = after
            for _ in range(4):
                until_taken(sink, shipments(*range(number, number + size)))
                number += size
    finally:
        sink.close()
        receiver.stop()
    assert once(receiver.messages) == sent(*range(number))


def test_absent(receiver: Receiver) -> None:
    receiver.stop()
    sink = sink_to(receiver.address)
    with pytest.raises(SinkUnavailable, match=f"^{receiver.address}: nothing listens there$"):
        sink.open()
    with pytest.raises(SinkUnavailable, match="nothing listens there") as caught:
        sink.send(shipments(0))
    assert caught.value.delivery.taken == 0
    receiver.start()
    assert sink.send(shipments(0)).taken == 1
    sink.close()


def test_a_receiver_that_accepts_and_never_reads_has_taken_nothing(receiver: Receiver) -> None:
    receiver.reads.clear()
    sink = sink_to(receiver.address, timeout=0.5)
    with pytest.raises(SinkUnavailable, match=r"it has not read what it was sent, for 0\.5 s$") as caught:
        sink.send(shipments(0, 1))
    assert caught.value.delivery.taken == 0
    with pytest.raises(SinkUnavailable, match=r"it has taken nothing for 0\.5 s$") as caught:
        sink.send([Shipment(b"x" * (32 << 20), 0, "")])
    receiver.reads.set()
    sink.close()


def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    for protocol in ("tcp", "udp"):
        sink = sink_to("log.invalid:514", protocol=protocol)
        with pytest.raises(
            SinkUnavailable, match=r"^log.invalid:514: the name cannot be resolved: Name or service not known$"
        ):
            sink.open()
        sink.close()


def test_a_name_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    others = set(threading.enumerate())  # of tests before this one that left a question behind
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: theirs.recv(1))
    sink = sink_to("log.example", timeout=0.2)
    with pytest.raises(SinkUnavailable, match="the name is not resolved in time"):
        sink.open()
    sink.close()
    ours.close()
    wait_until(lambda: not any(t.name == "indelible-sink" for t in set(threading.enumerate()) - others))
    theirs.close()


def test_the_second_address_of_a_name_is_tried(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = socket.create_server(("127.0.0.1", 0))
    other = closed.getsockname()
    closed.close()
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
        for address in (other, ("127.0.0.1", receiver.port))
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    sink = sink_to("log.example")
    assert sink.send(shipments(0)).taken == 1
    sink.close()


def test_a_datagram_that_is_too_long_is_refused_with_what_to_do() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        sink = sink_to(f"127.0.0.1:{listening.getsockname()[1]}", protocol="udp")
        delivery = sink.send([Shipment(b"x" * 70_000, 0, ""), *shipments(1)])
        sink.close()
        assert delivery.taken == 2
        assert delivery.refused == (
            (0, "70000 bytes are too long for a datagram; set max_bytes, or send it over TCP"),
        )
        assert listening.recv(100) == sent(1)[0]


def test_a_local_socket_that_is_full_is_waited_for_and_no_longer_than_told(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))
        sink = sink_to(str(path), protocol="udp", timeout=0.3)
        with pytest.raises(SinkUnavailable, match=r"it has taken nothing for 0\.3 s$") as caught:
            sink.send(shipments(*range(100_000)))
        taken = caught.value.delivery.taken
        assert 0 < taken < 100_000
        assert [listening.recv(100) for _ in range(taken)] == sent(*range(taken))
        sink.close()


@settings(max_examples=examples(40))
@given(records=st.lists(st.binary(max_size=60)), lf=st.booleans())
def test_framing_gives_back_exactly_the_records_that_are_not_refused(records: list[bytes], lf: bool) -> None:
    sink = syslog.StreamedSyslogSink(
        SinkSettings(type="syslog", name="s", own=SyslogSettings(address="h", framing="lf" if lf else "octet"))
    )
    batch = [Shipment(record, number, "") for number, record in enumerate(records)]
    refused = {index for index, _ in sink._refused(batch)}
    assert refused == {index for index, record in enumerate(records) if not record or (lf and b"\n" in record)}
    data = b"".join(part for part, _ in sink._parts(batch, refused))
    found, rest = by_lines(data) if lf else octet_counted(data)
    assert rest == b""
    assert found == [record for index, record in enumerate(records) if index not in refused]


# --- TLS ----------------------------------------------------------------------------------------------------------


class Tls:
    """An authority, a certificate for the receiver's address, one for us; and a receiver that asks for ours."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder)
        self.client = self.authority.issue("client")
        self.ca = str(self.authority.file)

    def context(self, *hosts: str, days: int = 30, asks: bool = True) -> ssl.SSLContext:
        certificate, key = self.authority.issue("server", *(hosts or ("127.0.0.1",)), days=days)
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(certificate, key)
        made.load_verify_locations(self.ca)
        made.verify_mode = ssl.CERT_REQUIRED if asks else ssl.CERT_NONE
        return made

    def settings(self, **other: str | None) -> TlsSettings:
        mine = {"ca_file": self.ca, "cert_file": str(self.client[0]), "key_file": str(self.client[1])}
        return TlsSettings(**{**mine, **other})

    @contextlib.contextmanager
    def receiving(self, context: ssl.SSLContext) -> Iterator[Receiver]:
        receiver = Receiver(tls=context)
        try:
            yield receiver
        finally:
            receiver.stop()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return Tls(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_over_tls_with_a_certificate_of_ours(tls: Tls, version: ssl.TLSVersion) -> None:
    context = tls.context()
    context.minimum_version = context.maximum_version = version
    with tls.receiving(context) as receiver:
        sink = sink_to(receiver.address, protocol="tls", tls=tls.settings())
        for number in range(5):
            assert sink.send(shipments(number)).taken == 1
        big = Shipment(b"x" * 3_000_000, 5, "")
        assert sink.send([big]).taken == 1
        sink.close()
        wait_until(lambda: len(receiver.ended_by) == receiver.connections)
        assert receiver.messages == [*sent(*range(5)), big.record]
        assert set(receiver.ended_by) == {"in good order"}  # that is, with close_notify


def test_over_tls_by_a_name_of_its_own(tls: Tls) -> None:
    with tls.receiving(tls.context("log.example")) as receiver:
        sink = sink_to(receiver.address, protocol="tls", tls=tls.settings(server_name="log.example"))
        assert sink.send(shipments(0)).taken == 1
        sink.close()


BAD = [
    ("unknown authority", "its certificate is not accepted: self-signed certificate in certificate chain"),
    (
        "wrong name",
        "its certificate is not accepted: IP address mismatch, certificate is not valid for '127.0.0.1'",
    ),
    ("expired", "its certificate is not accepted: certificate has expired"),
    ("no certificate of ours", "it refuses our certificate: certificate required"),
    ("no TLS", "it does not speak TLS there"),
    ("old TLS", "it refuses the connection: protocol version"),
]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize(("what", "said"), BAD, ids=[what for what, _ in BAD])
def test_tls_that_does_not_come_about_has_one_line_and_loses_nothing(
    tls: Tls, tmp_path: Path, what: str, said: str
) -> None:
    context = {
        "wrong name": lambda: tls.context("other.example"),
        "expired": lambda: tls.context(days=-1),
    }.get(what, tls.context)()
    settings = tls.settings()
    if what == "unknown authority":
        settings = tls.settings(ca_file=str(Authority(tmp_path, "another authority").file))
    elif what == "no certificate of ours":
        settings = TlsSettings(ca_file=tls.ca)
    elif what == "old TLS":
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with tls.receiving(context) as receiver:
        if what == "no TLS":
            receiver._tls, receiver.greeting = None, b"220 mail.example ESMTP\r\n"
        sink = sink_to(receiver.address, protocol="tls", tls=settings)
        for _ in range(2):
            with pytest.raises(SinkUnavailable) as caught:
                sink.send(shipments(0))
            assert caught.value.delivery.taken == 0
            assert str(caught.value) == f"{receiver.address}: {said}"
        assert receiver.messages == []
        sink.close()


def test_files_that_hold_not_what_they_should_are_a_mistake_of_the_configuration(
    tls: Tls, tmp_path: Path, receiver: Receiver
) -> None:
    none, empty = str(tmp_path / "none.pem"), tmp_path / "empty.pem"
    empty.write_text("")
    other = tls.authority.issue("somebody")
    cases = [
        (tls.settings(ca_file=none), f"ca_file: {none}: No such file or directory"),
        (tls.settings(ca_file=str(empty)), f"ca_file: {empty}: it holds no certificate"),
        (
            tls.settings(cert_file=none, key_file=None),
            f"cert_file, key_file: {none}: No such file or directory",
        ),
        (
            tls.settings(key_file=str(other[1])),
            f"cert_file, key_file: {tls.client[0]} and {other[1]}: the key is not the certificate's",
        ),
    ]
    for bad, said in cases:
        sink = sink_to(receiver.address, protocol="tls", tls=bad)
        with pytest.raises(ConfigError) as caught:
            sink.open()
        assert str(caught.value) == said
        sink.close()


def test_a_certificate_that_was_renewed_is_read_again(tls: Tls, tmp_path: Path) -> None:
    """After a failure: no restart is needed when somebody puts a valid one there."""
    mine = tmp_path / "mine.pem"
    stranger = Authority(tmp_path, "stranger").issue("stranger")
    mine.write_bytes(stranger[0].read_bytes() + stranger[1].read_bytes())
    with tls.receiving(tls.context()) as receiver:
        sink = sink_to(receiver.address, protocol="tls", tls=TlsSettings(ca_file=tls.ca, cert_file=str(mine)))
        with pytest.raises(SinkUnavailable, match="it refuses our certificate: unknown ca"):
            sink.send(shipments(0))
        mine.write_bytes(tls.client[0].read_bytes() + tls.client[1].read_bytes())
        assert sink.send(shipments(0)).taken == 1
        sink.close()
        assert receiver.messages == sent(0)


def test_a_receiver_that_never_answers_the_handshake(receiver: Receiver, tls: Tls) -> None:
    sink = sink_to(receiver.address, protocol="tls", tls=tls.settings(), timeout=0.3)
    with pytest.raises(SinkUnavailable, match=r"it does not answer the TLS handshake$"):
        sink.open()
    sink.close()


def test_what_the_system_says_of_unacknowledged_data_is_believed_when_it_says_all(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter([30, 30, 10, 0])
    asked: list[int] = []

    def unacknowledged(_: socket.socket) -> int:
        asked.append(next(left, 0))
        return asked[-1]

    sink = sink_to(receiver.address)
    sink.send(shipments(0))
    monkeypatch.setattr(connection, "_unacknowledged", unacknowledged)
    assert sink.send(shipments(1)).taken == 1
    assert asked == [30, 30, 10, 0]
    sink.close()
    assert receiver.ended_by == ["in good order"] * 2
