"""Mail to a real server: what arrives, what is tried again, what is refused for good, and what no name can do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from indelible.alert_settings import parse_alerts
from indelible.alerting.channels.email import EmailSink
from indelible.alerting.channels.mail import Mail
from indelible.sinks.base import Shipment, SinkUnavailable
from tests.certificates import Authority
from tests.effort import examples
from tests.unit.alerting.mail_servers import Taken, running


def mail(**keys: Any) -> Shipment:
    made = {
        "id": "a1", "thread": "t1", "subject": "[error] denials: 11 denials", "text": "11 denials\n",
        "at": "2026-11-22T09:00:00.000000Z", **keys,
    }  # fmt: skip
    return Shipment(msgspec.json.encode(Mail(**made)), 7, "a1")


def sink(port: int, **keys: Any) -> EmailSink:
    given_ = {
        "type": "email", "server": f"127.0.0.1:{port}", "from": "indelible@here.example", "security": "none",
        "to": ["ops@there.example", "duty@there.example"], "allow_private": True, "timeout": "20s", **keys,
    }  # fmt: skip
    return EmailSink(parse_alerts({"channels": [given_]}).channels[0].sink)


@pytest.fixture(scope="module")
def plain() -> Iterator[tuple[Taken, int]]:
    taken = Taken()
    with running(taken) as port:
        yield taken, port


@pytest.fixture
def server(plain: tuple[Taken, int]) -> tuple[Taken, int]:
    plain[0].begin()
    return plain


def sent(made: EmailSink, *shipments: Shipment) -> Any:
    made.open()
    try:
        return made.send(shipments)
    finally:
        made.close()


def test_a_message_arrives_whole(server: tuple[Taken, int]) -> None:
    taken, port = server
    text = "ünïcödé, und eine sehr lange Zeile: " + "x" * 2000 + "\n.\n.. dots\n"
    delivery = sent(sink(port), mail(text=text), mail(id="a2", subject="[resolved] ½"))
    assert (delivery.taken, list(delivery.refused)) == (2, [])
    first, second = taken.messages
    assert first.get_content().replace("\r\n", "\n") == text
    assert first["Subject"] == "[error] denials: 11 denials"
    assert second["Subject"] == "[resolved] ½"
    assert first["Auto-Submitted"] == "auto-generated"
    assert (first["Message-ID"], second["Message-ID"]) == ("<a1@indelible.invalid>", "<a2@indelible.invalid>")
    assert first["References"] == second["References"]
    assert first["Date"].datetime.isoformat() == "2026-11-22T09:00:00+00:00"
    assert taken.recipients == [["ops@there.example", "duty@there.example"]] * 2


@effort(max_examples=examples(25))
@given(subject=st.text(max_size=120), text=st.text(max_size=300))
def test_no_name_makes_a_header_or_another_message(plain: tuple[Taken, int], subject: str, text: str) -> None:
    taken, port = plain
    taken.messages.clear()
    taken.recipients.clear()
    try:
        shipment = mail(subject=subject, text=text)
    except UnicodeEncodeError:  # half a surrogate pair, which no record has
        return
    delivery = sent(sink(port), shipment)
    assert delivery.taken == 1
    assert len(taken.messages) + len(delivery.refused) == 1
    for message in taken.messages:
        assert sorted(map(str.lower, message.keys())) == sorted(
            ["from", "to", "subject", "date", "message-id", "references", "auto-submitted", "content-type",
             "content-transfer-encoding", "mime-version", *[key.lower() for key in message if key.startswith("X-")]]
        )  # fmt: skip
    assert all(names == ["ops@there.example", "duty@there.example"] for names in taken.recipients)


@pytest.mark.parametrize("bad", ["a\r\nBcc: eve@evil.example", "a\nb", "a\rb", "a\r\n\r\nbody"])
def test_a_line_end_in_a_subject_is_refused_and_sent_to_nobody(server: tuple[Taken, int], bad: str) -> None:
    taken, port = server
    delivery = sent(sink(port), mail(subject=bad), mail(id="a2"))
    assert [index for index, _ in delivery.refused] == [0]
    assert [message["Message-ID"] for message in taken.messages] == ["<a2@indelible.invalid>"]


def test_what_the_server_refuses_for_good_is_refused_and_holds_up_nothing(server: tuple[Taken, int]) -> None:
    taken, port = server
    taken.answers["DATA"] = "554 5.7.1 looks like spam"
    made = sink(port)
    made.open()
    delivery = made.send([mail(), mail(id="a2")])
    assert delivery.taken == 2
    assert [why for _, why in delivery.refused] == ["it answers 554 5.7.1 looks like spam"] * 2
    taken.answers = {"ops@there.example": "550 no such user"}
    assert made.send([mail(id="a3")]).refused == ()
    assert taken.recipients == [["duty@there.example"]]
    taken.answers["duty@there.example"] = "550 gone"
    assert "no recipient is accepted: 550" in made.send([mail(id="a4")]).refused[0][1]
    made.close()


@pytest.mark.parametrize("who", ["DATA", "ops@there.example"])
def test_what_passes_is_tried_again(server: tuple[Taken, int], who: str) -> None:
    taken, port = server
    taken.answers = {who: "451 try later", "duty@there.example": "451 try later"}
    made = sink(port)
    made.open()
    with pytest.raises(SinkUnavailable, match="451 try later") as raised:
        made.send([mail(), mail(id="a2")])
    assert raised.value.delivery.taken == 0
    taken.answers.clear()
    assert made.send([mail(), mail(id="a2")]).taken == 2
    assert len(taken.messages) == 2
    made.close()


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # it knows STARTTLS only
@pytest.mark.parametrize("way", ["starttls", "tls"])
def test_tls_is_checked_and_credentials_go_in_it(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "another one")
    monkeypatch.setenv("MAIL_USER", "indelible")
    monkeypatch.setenv("MAIL_PASSWORD", "right")
    keys = {"security": way, "username_env": "MAIL_USER", "password_env": "MAIL_PASSWORD"}
    taken = Taken()
    certificate = authority.issue("mail", "127.0.0.1")
    with running(taken, certificate=certificate, starttls=way == "starttls", logins=True) as port:
        assert sent(sink(port, **keys, tls={"ca_file": str(authority.file)}), mail()).taken == 1
        assert taken.logins == [(b"indelible", b"right")]
        with pytest.raises(SinkUnavailable, match="its certificate is not accepted"):
            sink(port, **keys, tls={"ca_file": str(other.file)}).open()
        with pytest.raises(SinkUnavailable, match="its certificate is not accepted"):
            sink(port, **keys, tls={"ca_file": str(authority.file), "server_name": "other.example"}).open()
        monkeypatch.setenv("MAIL_PASSWORD", "wrong-secret")
        with pytest.raises(SinkUnavailable, match="does not accept our credentials") as raised:
            sink(port, **keys, tls={"ca_file": str(authority.file)}).open()
        assert "wrong-secret" not in str(raised.value)
    assert len(taken.messages) == 1


def test_a_server_without_starttls_gets_nothing(
    server: tuple[Taken, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, port = server
    monkeypatch.setenv("MAIL_USER", "indelible")
    monkeypatch.setenv("MAIL_PASSWORD", "right")
    made = sink(port, security="starttls", username_env="MAIL_USER", password_env="MAIL_PASSWORD")
    with pytest.raises(SinkUnavailable, match="does not offer STARTTLS"):
        made.open()
    assert (taken.messages, taken.logins) == ([], [])


def test_an_address_that_is_not_public_is_not_connected_to(server: tuple[Taken, int]) -> None:
    _, port = server
    settings = parse_alerts(
        {
            "channels": [
                {
                    "type": "email", "server": f"localtest.example:{port}", "from": "a@b.example",
                    "to": "c@d.example", "security": "tls",
                }
            ]
        }
    ).channels[0].sink  # fmt: skip
    made = EmailSink(settings)
    real = socket.getaddrinfo

    def resolves(_host: Any, asked: Any, *args: Any, **more: Any) -> Any:
        return real("127.0.0.1", asked, *args, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", resolves)
        with pytest.raises(SinkUnavailable, match=r"127\.0\.0\.1 is not a public address; see 'allow_private'"):
            made.open()


class Silent:
    """Accepts, says hello, and nothing more; what it is sent byte by byte never ends."""

    def __init__(self, *, drips: bool) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.over = threading.Event()
        self._drips = drips
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        made, _ = self._listening.accept()
        with made:
            if self._drips:
                while not self.over.wait(0.05):
                    try:
                        made.sendall(b"220-still here\r\n")
                    except OSError:
                        return
            else:
                self.over.wait(60)

    def stop(self) -> None:
        self.over.set()
        self._listening.close()
        self._thread.join(60)


@pytest.mark.parametrize("drips", [False, True])
def test_a_server_that_hangs_is_given_up_in_time(drips: bool) -> None:
    silent = Silent(drips=drips)
    try:
        with pytest.raises(SinkUnavailable, match="does not answer in time"):
            sink(silent.port, timeout="1s").open()
    finally:
        silent.stop()


def test_a_stop_ends_what_is_waited_for() -> None:
    silent = Silent(drips=False)
    made = sink(silent.port, timeout="300s")
    failed: list[BaseException] = []

    def run() -> None:
        try:
            made.open()
        except SinkUnavailable as exc:
            failed.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    made.stop()
    thread.join(60)
    assert not thread.is_alive()
    assert len(failed) == 1
    silent.stop()
