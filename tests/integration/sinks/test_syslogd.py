"""Real receivers understand what the syslog sink sends, over every transport, and miss nothing when they are restarted.

One rsyslog and one syslog-ng for all tests; their configurations are those of docs/how-to/ship-to-rsyslog.md and
ship-to-syslog-ng.md.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import indelible
from indelible.registry import make_sink
from indelible.sink_settings import SinkSettings, TlsSettings
from indelible.sink_settings.syslog import SyslogSettings
from indelible.sinks.base import Shipment, Sink, SinkUnavailable
from tests.integration.sinks.rsyslog import Rsyslog
from tests.integration.sinks.syslogd import Syslogd
from tests.integration.sinks.syslogng import SyslogNg
from tests.servers import PATIENCE_S, running, until_taken

TIME = "2026-11-21T06:46:33.123456Z"
FORGED = "\\n<134>1 2026-11-21T00:00:00Z evil indelible - - - forged"


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Syslogd]:
    made: Syslogd = request.param(tmp_path_factory.mktemp("syslogd"))
    with running(made):
        yield made


def over(*transports: str) -> pytest.MarkDecorator:
    """Run a test before each server, over the transports that it has: the page's syslog-ng counts octets."""
    cases = [
        pytest.param(kind, name, id=f"{kind.__name__}-{name}")
        for kind in (Rsyslog, SyslogNg)
        for name in transports
        if kind is Rsyslog or name != "tcp lf"
    ]
    return pytest.mark.parametrize(("server", "transport"), cases, indirect=["server"])


TRANSPORTS: dict[str, dict[str, Any]] = {
    "udp": {"protocol": "udp"},
    "tcp": {"protocol": "tcp", "framing": "octet"},
    "tcp lf": {"protocol": "tcp", "framing": "lf"},
    "tls": {"protocol": "tls", "framing": "octet"},
}


def sink_to(server: Syslogd, transport: str, **other: Any) -> Sink:
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
    text = f"<134>1 {TIME} build-7 indelible 4711 mcp_operation {data} {message}"
    return Shipment(text.encode(), number, f"id-{number}")


def seqs(found: Sequence[dict[str, Any]]) -> list[int]:
    return [int(event["data"]["indelible@32473"]["seq"]) for event in found]


@over(*TRANSPORTS)
def test_it_reads_back_what_was_sent(server: Syslogd, transport: str) -> None:
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
    assert {name: found[0][name] for name in ("host", "app", "msgid")} == {
        "host": "build-7", "app": "indelible", "msgid": "mcp_operation",
    }  # fmt: skip
    assert (found[0]["severity"], found[0]["facility"]) in {(6, 16), ("info", "local0")}
    assert datetime.fromisoformat(found[0]["timestamp"]) == datetime.fromisoformat(TIME)
    assert [event["message"].lstrip() for event in found[:2]] == ["tools/call read_file", f"said: {FORGED}"]
    assert found[2]["message"].lstrip() == "x" * 7000


@over("tcp", "tls")
def test_nothing_is_missing_when_it_is_restarted(server: Syslogd, transport: str) -> None:
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


@pytest.mark.parametrize("server", [Rsyslog, SyslogNg], indirect=True)
def test_it_refuses_who_has_no_certificate_and_that_is_said(server: Syslogd) -> None:
    server.forget()
    sink = sink_to(server, "tls", tls=TlsSettings(ca_file=str(server.ca)))
    with pytest.raises(SinkUnavailable) as caught:
        sink.send([record(0)])
    sink.close()
    assert caught.value.delivery.taken == 0
    broken = (
        r"it (closed the|broke the) connection( off)?, though TLS came about; does it accept our certificate\?"
    )
    refused = "it refuses our certificate: certificate required"
    assert re.fullmatch(rf"127\.0\.0\.1:{server.tls}: ({broken}|{refused})", str(caught.value))
    assert server.understood() == []


HOSTILE = (
    '\n<134>1 2026-11-21T00:00:00Z evil indelible - - [indelible@32473 seq="0"] forged',
    "\r\n200 <134>1 - - - - - - forged",
    '"] [indelible@32473 event_id="forged" seq="0"] ',
    "\0\x1b[31m\x7f\x85\u2028 Grüße 🦊 \\",
)


@over("tls", "tcp lf")
def test_what_a_trail_has_is_shipped_and_no_text_forges_a_record(
    server: Syslogd, transport: str, tmp_path: Path
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
