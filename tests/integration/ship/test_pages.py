"""The configurations of the receivers' pages are shipped with as they stand there, but for hosts, ports and files.

The receivers here take what those systems take over the wire: octets counted or lines over TLS, or requests over HTTPS.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import indelible
from tests.certificates import Authority
from tests.integration.ship.shipped import run
from tests.unit.docs.pages import DOCS, blocks
from tests.unit.formats import leefread
from tests.unit.sinks.receivers import Receiver, by_lines, octet_counted
from tests.unit.sinks.web_judges import JUDGES
from tests.unit.sinks.web_receivers import HttpReceiver

SYSLOG_PAGES = ("qradar", "arcsight", "splunk", "fluentd", "rsyslog", "syslog-ng")
HTTP_PAGES = ("splunk", "elastic", "loki")
NAMES = ("list_files", "delete_file")
BEGIN: dict[str, Callable[[bytes], bool]] = {
    "leef": lambda data: leefread.read(data[data.index(b"LEEF:") :]).vendor == "Indelible",
    "cef": lambda data: b" CEF:0|Example|MCP|" in data,
    "syslog": lambda data: b"[indelible@32473 " in data,
}


def sink_of(page: str, kind: str) -> dict[str, Any]:
    """Return the sink of a type that a page shows."""
    shown = [
        yaml.safe_load(block.text)
        for block in blocks(DOCS / f"how-to/ship-to-{page}.md")
        if block.language == "yaml"
    ]
    found = [sink for one in shown for sink in one["audit"]["sinks"] if sink["type"] == kind]
    assert len(found) == 1, page
    sink: dict[str, Any] = found[0]
    return sink


def at_home(tls: dict[str, Any], authority: Authority) -> dict[str, Any]:
    """Return the same keys with the test's own files."""
    certificate, key = map(str, authority.issue("client"))
    files = {"ca_file": str(authority.file), "cert_file": certificate, "key_file": key}
    return {name: files[name] for name in tls}


def server_context(authority: Authority, *, asks: bool) -> ssl.SSLContext:
    certificate, key = authority.issue("server", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if asks:
        context.load_verify_locations(authority.file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def shipped(folder: Path, sink: dict[str, Any]) -> None:
    """Record two calls and ship them; whoever asks for a later beginning gets the whole trail here."""
    config = folder / "indelible.yaml"
    settings = {"audit": {"path": "a.jsonl", "ship": "off", "sinks": [{**sink, "start": "beginning"}]}}
    config.write_text(json.dumps(settings))
    with indelible.open_trail(config=config) as trail:
        for name in NAMES:
            with trail.operation("tools/call", name, args={"path": "/srv"}, user_id="ada"):
                pass
    done = run(folder, "--once")
    assert (done.returncode, "2 events taken" in done.stdout) == (0, True), (done.stdout, done.stderr)


@pytest.mark.parametrize("page", SYSLOG_PAGES)
def test_over_syslog(page: str, tmp_path: Path) -> None:
    sink = sink_of(page, "syslog")
    authority = Authority(tmp_path)
    tls = server_context(authority, asks="cert_file" in sink["tls"])
    receiver = Receiver(framing=by_lines if sink.get("framing") == "lf" else octet_counted, tls=tls)
    try:
        assert sink["protocol"] == "tls"
        shipped(tmp_path, {**sink, "address": receiver.address, "tls": at_home(sink["tls"], authority)})
        found = [message for message in receiver.messages if message]
    finally:
        receiver.stop()
    assert len(found) == len(NAMES)
    for name, message in zip(NAMES, found, strict=True):
        assert BEGIN[sink.get("format", "syslog")](message), message
        assert name.encode() in message
        assert len(message) <= int(str(sink.get("max_bytes", 8096)).replace("kB", "000"))


@pytest.mark.parametrize("page", HTTP_PAGES)
def test_over_http(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = sink_of(page, "http")
    authority = Authority(tmp_path)
    judge = JUDGES[sink["flavor"]](
        refuses=lambda _: False, **{key: sink[key] for key in ("index",) if key in sink}
    )
    receiver = HttpReceiver(judge, tls=server_context(authority, asks=False))
    for key in ("token_env", "username_env", "password_env"):
        if key in sink:
            monkeypatch.setenv(sink[key], "s3cret")
    try:
        home = {"url": receiver.url, "allow_private": True, "tls": {"ca_file": str(authority.file)}}
        shipped(tmp_path, {**sink, **home})
    finally:
        receiver.stop()
    assert [name for record in judge.records for name in NAMES if name.encode() in record] == list(NAMES)
