"""A real rsyslog understands what the syslog sink sends, over every transport, and misses nothing when it is restarted.

One process for all of them: its configuration is the one of docs/how-to/ship-to-rsyslog.md.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import indelible
from indelible.registry import make_sink
from indelible.sink_settings import SinkSettings, TlsSettings
from indelible.sink_settings.syslog import SyslogSettings
from indelible.sinks.base import Shipment, Sink, SinkUnavailable
from tests.integration.sinks.rsyslog import PATIENCE_S, Rsyslog, running

FORGED = "\\n<134>1 2026-11-21T00:00:00Z evil indelible - - - forged"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rsyslog]:
    with running(tmp_path_factory.mktemp("rsyslog")) as made:
        yield made


TRANSPORTS: dict[str, dict[str, Any]] = {
    "udp": {"protocol": "udp"},
    "tcp": {"protocol": "tcp", "framing": "octet"},
    "tcp lf": {"protocol": "tcp", "framing": "lf"},
    "tls": {"protocol": "tls", "framing": "octet"},
}


def sink_to(server: Rsyslog, transport: str, **other: Any) -> Sink:
    timeout = other.pop("timeout", PATIENCE_S)
    settings = {**TRANSPORTS[transport], **other}
    port = {"udp": server.udp, "tls": server.tls}.get(settings["protocol"], server.tcp)
    if settings["protocol"] == "tls":
        certificate, key = map(str, server.client)
        settings.setdefault("tls", TlsSettings(ca_file=str(server.ca), cert_file=certificate, key_file=key))
    own = SyslogSettings(address=f"127.0.0.1:{port}", **settings)
    return make_sink(SinkSettings(type="syslog", name="s", own=own, timeout=timeout))


def record(number: int, message: str = "tools/call read_file") -> Shipment:
    data = f'[indelible@32473 event_id="id-{number}" seq="{number}" odd="a\\"b\\\\c\\]d = ü"]'
    text = f"<134>1 2026-11-21T06:46:33.123456Z build-7 indelible 4711 mcp_operation {data} {message}"
    return Shipment(text.encode(), number, f"id-{number}")


def until_taken(sink: Sink, batch: Sequence[Shipment]) -> None:
    deadline, said = time.monotonic() + PATIENCE_S, ""
    while batch:
        assert time.monotonic() < deadline, said
        try:
            batch = batch[sink.send(batch).taken :]
        except SinkUnavailable as exc:
            batch, said = batch[exc.delivery.taken :], str(exc)
            time.sleep(0.02)


def seqs(found: Sequence[dict[str, Any]]) -> list[int]:
    return [int(event["data"]["indelible@32473"]["seq"]) for event in found]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_rsyslog_reads_back_what_was_sent(server: Rsyslog, transport: str) -> None:
    server.forget()
    sink = sink_to(server, transport)
    sink.open()
    batch = [record(0), record(1, f"said: {FORGED}"), record(2, "x" * 7000), *map(record, range(3, 60))]
    until_taken(sink, batch)
    until_taken(sink, [record(60)])
    sink.close()
    found = server.wait_for(61)
    assert seqs(found) == list(range(61))
    assert found[0]["data"] == {"indelible@32473": {"event_id": "id-0", "seq": "0", "odd": 'a"b\\c]d = ü'}}
    named = {name: found[0][name] for name in ("timestamp", "host", "app", "msgid", "severity", "facility")}
    assert named == {
        "timestamp": "2026-11-21T06:46:33.123456Z", "host": "build-7", "app": "indelible",
        "msgid": "mcp_operation", "severity": 6, "facility": 16,
    }  # fmt: skip
    assert [event["message"].lstrip() for event in found[:2]] == ["tools/call read_file", f"said: {FORGED}"]
    assert found[2]["message"].lstrip() == "x" * 7000


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_nothing_is_missing_when_rsyslog_is_restarted(server: Rsyslog, transport: str) -> None:
    """Batch after batch, while it ends, is away, and starts again."""
    server.forget()
    sink = sink_to(server, transport)
    done = threading.Event()
    number = 0

    def disturb() -> None:
        while len(server.understood()) < 200 and not done.is_set():
            time.sleep(0.02)
        server.stop()
        server.start()

    disturbing = threading.Thread(target=disturb)
    disturbing.start()
    try:
        while disturbing.is_alive():
            until_taken(sink, [record(number + index) for index in range(50)])
            number += 50
        until_taken(sink, [record(number)])
    finally:
        done.set()
        disturbing.join(2 * PATIENCE_S)
    sink.close()
    deadline = time.monotonic() + PATIENCE_S
    while set(seqs(server.understood())) != set(range(number + 1)):
        missing = sorted(set(range(number + 1)) - set(seqs(server.understood())))
        assert time.monotonic() < deadline, (number, missing[:20], len(missing))
        time.sleep(0.1)
    assert list(dict.fromkeys(seqs(server.understood()))) == list(range(number + 1))


def test_rsyslog_refuses_who_has_no_certificate_and_that_is_said(server: Rsyslog) -> None:
    server.forget()
    sink = sink_to(server, "tls", tls=TlsSettings(ca_file=str(server.ca)))
    with pytest.raises(SinkUnavailable) as caught:
        sink.send([record(0)])
    sink.close()
    assert caught.value.delivery.taken == 0
    said = (
        f"127.0.0.1:{server.tls}: it (closed the connection|broke the connection off), though TLS came about; "
    )
    assert re.fullmatch(re.escape("does it accept our certificate?").join([said, ""]), str(caught.value))
    assert server.understood() == []


HOSTILE = (
    '\n<134>1 2026-11-21T00:00:00Z evil indelible - - [indelible@32473 seq="0"] forged',
    "\r\n200 <134>1 - - - - - - forged",
    '"] [indelible@32473 event_id="forged" seq="0"] ',
    "\0\x1b[31m\x7f\x85\u2028 Grüße 🦊 \\",
)


@pytest.mark.parametrize("transport", ["tls", "tcp lf"])
def test_what_a_trail_has_is_shipped_and_no_text_forges_a_record(
    server: Rsyslog, transport: str, tmp_path: Path
) -> None:
    """From the call to the receiver's file, with `indelible ship`; the text stands wherever a caller can put it."""
    server.forget()
    certificate, key = map(str, server.client)
    protocol = TRANSPORTS[transport]["protocol"]
    port = server.tls if protocol == "tls" else server.tcp
    sink: dict[str, Any] = {"type": "syslog", "start": "beginning", "address": f"127.0.0.1:{port}"}
    sink |= {**TRANSPORTS[transport], "timeout": "60s", "max_bytes": "60kB"}
    if protocol == "tls":
        sink["tls"] = {"ca_file": str(server.ca), "cert_file": certificate, "key_file": key}
    settings = {"audit": {"path": "audit.jsonl", "ship": "off", "sinks": [sink]}}
    config = tmp_path / "indelible.yaml"
    config.write_text(json.dumps(settings))
    with indelible.open_trail(config=config) as trail:
        for text in HOSTILE:
            with trail.operation("tools/call", text, args={text: text}, user_id=text, backend=text) as op:
                op.finish("tool_error", error=text)
    command = [str(Path(sys.executable).with_name("indelible")), "ship", "--once", "-c", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    expected = list(indelible.search(tmp_path / "audit.jsonl"))
    assert len(expected) == len(HOSTILE)
    found = [event["data"]["indelible@32473"] for event in server.wait_for(len(HOSTILE))]
    assert [(event["event_id"], int(event["seq"])) for event in found] == [
        (event["event_id"], event["seq"]) for event in expected
    ]
    assert len(server.understood()) == len(HOSTILE)
