"""`audit.sinks` and `audit.max_backlog`: what is taken, and that a mistake is answered in one line that says where."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible import config, configfile, events
from indelible.errors import ConfigError
from indelible.registry import make_format
from indelible.shipper.names import check_names
from indelible.shipper.shipper import options_of
from indelible.sink_settings import (
    FILTER_CHOICES,
    MAX_SINKS,
    Backlog,
    SinkSettings,
    TlsSettings,
    parse_sinks,
    resolved,
)
from indelible.sink_settings.addresses import is_loopback, is_public
from indelible.sink_settings.files import FileSettings
from indelible.sink_settings.http import HttpSettings
from indelible.sink_settings.otlp import OtlpSettings
from indelible.sink_settings.syslog import SyslogSettings, split_address


def parsed(*sinks: dict[str, Any]) -> tuple[SinkSettings, ...]:
    return config.parse({"audit": {"sinks": list(sinks)}}, where="c", env={"HOST": "h.example"}).audit.sinks


def test_defaults_and_names() -> None:
    file, out, syslog, local, other = parsed(
        {"type": "file", "path": "/var/log/mcp events.log", "format": "mxcp"},
        {"type": "stdout"},
        {"type": "syslog", "address": "${HOST}:6514", "protocol": "tls", "tls": {"server_name": "x"}},
        {"type": "syslog", "address": "/dev/log", "enterprise": 57264, "facility": "audit"},
        {"type": "pigeon", "coop": {"on": "the roof"}, "start": "beginning", "filter": {"status": "error"}},
    )
    assert (file.name, file.format, file.start) == ("mcp-events.log", "mxcp", "now")
    assert FileSettings.of(file.own).max_size == 100 << 20
    assert (out.name, out.format, out.intents, out.max_bytes) == ("stdout", "indelible", False, 0)
    assert (syslog.name, syslog.format) == ("h.example", "syslog")
    own = SyslogSettings.of(syslog.own)
    assert (own.place, own.protocol, own.framing) == (("h.example", 6514), "tls", "octet")
    assert own.tls == TlsSettings(server_name="x")
    assert (local.name, local.enterprise, local.facility, local.max_bytes) == ("log", 57264, "audit", 2048)
    assert (other.name, other.extra, other.start) == ("pigeon", {"coop": {"on": "the roof"}}, "beginning")
    assert other.filter.status == {"error"}
    assert other.filter.events is None


def test_a_filter_takes_one_value_or_a_list_and_all_events() -> None:
    [sink] = parsed(
        {"type": "stdout", "filter": {"kind": ["denied", "timed_out"], "tool": "rm", "events": "all"}}
    )
    assert sorted(sink.filter.kind) == ["denied", "timed_out"]
    assert list(sink.filter.tool) == ["rm"]
    assert sorted(sink.filter.events or ()) == sorted(get_args(events.EventType))


def test_the_words_of_a_filter_are_the_events() -> None:
    known = {
        "events": events.EventType, "status": events.Status, "kind": events.Kind,
        "policy": events.Decision, "effects": events.Effects,
    }  # fmt: skip
    assert {name: words for name, words in FILTER_CHOICES.items() if words} == {
        name: get_args(kind) for name, kind in known.items()
    }


WRONG: list[tuple[object, str]] = [
    ("file", "expected a list"),
    ([{"type": "stdout", "name": f"s{number}"} for number in range(MAX_SINKS + 1)], "at most 16"),
    (["x"], "sink 1: expected a mapping"),
    ([{}], "sink 1: type: expected file, stdout, stderr, syslog"),
    ([{"type": "../x"}], "sink 1: type: expected file"),
    ([{"type": "clickhouse"}], "sink 1: type clickhouse needs 'url'"),
    ([{"type": "file"}], "sink 1: type file needs 'path'"),
    ([{"type": "syslog"}], "sink 1: type syslog needs 'address'"),
    ([{"type": "stdout"}, {"type": "file", "paht": "/a"}], "sink 2: unknown key 'paht'; did you mean 'path'"),
    ([{"type": "stdout", "path": "/a"}], "sink 1: unknown key 'path'"),
    ([{"type": "stdout", 5: 6}], "sink 1: unknown key '5'"),
    ([{"type": "stdout"}, {"type": "stdout"}], "sink 2: another one is called 'stdout', too"),
    ([{"type": "stdout", "name": "../x"}], "name: expected up to 64"),
    ([{"type": "stdout", "start": "later"}], "start: expected now or beginning"),
    (
        [{"type": "stdout", "filter": {"statsu": "error"}}],
        "filter: unknown key 'statsu'; did you mean 'status'",
    ),
    ([{"type": "stdout", "filter": {"status": "bad"}}], "filter: status: no such value 'bad'"),
    ([{"type": "stdout", "filter": {"events": ["mcp_operatoin"]}}], "did you mean 'mcp_operation'"),
    ([{"type": "stdout", "filter": {"tool": []}}], "filter: tool: expected a value"),
    ([{"type": "file", "path": "/a", "max_size_mb": 0}], "max_size_mb: expected a number of megabytes"),
    ([{"type": "syslog", "address": "x:99999"}], "address: expected HOST:PORT"),
    ([{"type": "syslog", "address": "udp://x"}], "address: expected HOST:PORT"),
    ([{"type": "syslog", "address": "x", "tls": {"ca_file": "/c"}}], "tls: needs 'protocol: tls'"),
    (
        [{"type": "syslog", "address": "x", "protocol": "tls", "tls": {"key_file": "/k"}}],
        "tls: key_file: needs",
    ),
    ([{"type": "syslog", "address": "x", "protocol": "tls", "tls": {"ca": "/k"}}], "tls: unknown key 'ca'"),
    ([{"type": "syslog", "address": "x", "max_bytes": 100}], "max_bytes: expected a size of at least 480"),
    ([{"type": "syslog", "address": "x", "timeout": 0}], "timeout: expected a duration above 0"),
    ([{"type": "syslog", "address": "x", "app_name": "a b"}], "app_name: expected up to 48"),
    ([{"type": "syslog", "address": "./s", "protocol": "tls"}], "protocol: tls needs HOST:PORT"),
    ([{"type": "syslog", "address": "/dev/log", "protocol": "tcp"}], "a local socket takes datagrams"),
    ([{"type": "syslog", "address": "x", "enterprise": 0}], "enterprise: expected a private enterprise"),
    ([{"type": "http"}], "sink 1: type http needs 'url'"),
    ([{"type": "http", "url": "ftp://x"}], "url: expected https://HOST"),
    (
        [{"type": "http", "url": "https://ada:pw@x"}],
        "url: expected https://HOST[:PORT][/PATH][?QUERY] or http://…, without",
    ),
    ([{"type": "http", "url": "https://x/a b"}], "url: expected https://HOST"),
    ([{"type": "http", "url": "https://x:99999"}], "url: expected https://HOST"),
    ([{"type": "http", "url": "http://collector.example"}], "sends records and credentials in plain text"),
    (
        [{"type": "http", "url": "https://localhost"}],
        "localhost is not a public address; say 'allow_private: true'",
    ),
    ([{"type": "http", "url": "https://[::ffff:10.0.0.1]"}], "is not a public address"),
    ([{"type": "http", "url": "https://169.254.169.254/x"}], "169.254.169.254 is not a public address"),
    ([{"type": "http", "url": "https://x", "flavor": "splunk"}], "flavor: expected webhook, splunk_hec,"),
    ([{"type": "http", "url": "https://x", "labels": {"a": "b"}}], "labels: is for 'flavor: loki'"),
    (
        [{"type": "http", "url": "https://x", "index": "a"}],
        "index: is for 'flavor: splunk_hec and elasticsearch'",
    ),
    (
        [{"type": "http", "url": "https://x", "flavor": "loki", "secret_env": "A"}],
        "secret_env: is for 'flavor: webhook'",
    ),
    (
        [{"type": "http", "url": "https://x", "flavor": "loki", "labels": {"a-b": "c"}}],
        "labels: 'a-b' is no label",
    ),
    (
        [{"type": "http", "url": "https://x", "flavor": "elasticsearch", "index": "Logs"}],
        "index: expected the name of an index: lower-case",
    ),
    ([{"type": "http", "url": "https://x", "token_env": "A", "token_file": "b"}], "not both"),
    ([{"type": "http", "url": "https://x", "username_env": "A"}], "username: needs password"),
    (
        [{"type": "http", "url": "https://x", "token_env": "T", "username_env": "A", "password_env": "B"}],
        "token: give a token, or username and password, not both",
    ),
    ([{"type": "http", "url": "https://x", "headers": {"A:": "b"}}], "headers: 'A:' is no header"),
    ([{"type": "http", "url": "https://x", "headers": {"A": "b\r\nC: d"}}], "headers: 'A' is no header"),
    ([{"type": "http", "url": "https://x", "headers": {"Authorization": "b"}}], "take token_env, token_file"),
    ([{"type": "http", "url": "https://x", "tls": {"key_file": "k"}}], "tls: key_file: needs cert_file"),
    (
        [{"type": "http", "url": "http://127.0.0.1", "allow_private": True, "tls": {"ca_file": "k"}}],
        "tls: is for urls with https://",
    ),
]


@pytest.mark.parametrize(("sinks", "why"), WRONG)
def test_a_mistake_is_said_in_one_line(sinks: object, why: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config.parse({"audit": {"sinks": sinks}}, where="c", env={})
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith("c: audit.sinks: ")


def test_the_backlog_has_bounds_of_its_own() -> None:
    def backlog(value: object) -> Backlog:
        return config.parse({"audit": {"max_backlog": value}}, where="c", env={}).audit.max_backlog

    assert backlog({"size": "1GB"}) == Backlog(size=1 << 30, age=7 * 86400.0)
    assert backlog({"size": "none", "age": "2h"}) == Backlog(size=None, age=7200.0)
    with pytest.raises(ConfigError, match=r"max_backlog: unknown key 'sise'; did you mean 'size'"):
        backlog({"sise": 1})


@pytest.mark.parametrize("text", ["off", '"off"', "false"])
def test_off_is_off_without_quotes_too(tmp_path: Path, text: str) -> None:
    file = tmp_path / "indelible.yaml"
    file.write_text(f"audit: {{ship: {text}}}")
    assert configfile.load(str(file)).audit.ship == "off"


def test_a_profile_has_sinks_of_its_own() -> None:
    audit = {"sinks": [{"type": "stdout"}], "ship": "thread"}
    profiles = {"quiet": {"audit": {"sinks": [], "path": "x"}}}
    settings = config.parse({"audit": audit, "profiles": profiles}, where="c", env={}, profile="quiet")
    assert (settings.audit.sinks, settings.audit.ship) == ((), "thread")


def test_paths_are_taken_from_the_files_directory(tmp_path: Path) -> None:
    file = tmp_path / "indelible.yaml"
    file.write_text(
        "audit: {path: a.jsonl, sinks: [{type: file, path: out.log}, {type: syslog, address: ./s.sock}, {type: syslog, "
        "address: host, protocol: tls, tls: {ca_file: ca.pem}}]}"
    )
    out, local, far = configfile.load(str(file)).audit.sinks
    assert [sink.target for sink in (out, local, far)] == [f"{tmp_path}/out.log", f"{tmp_path}/s.sock", "host"]
    assert SyslogSettings.of(far.own).tls == TlsSettings(ca_file=str(tmp_path / "ca.pem"))


@pytest.mark.parametrize(
    "sinks", ["[{type: file, path: a.jsonl}]", "[{type: file, path: a.jsonl.d/key}]",
              "[{type: file, path: a.jsonl.d/segments/00000000000000000000.jsonl}]",
              "[{type: file, path: a.jsonl.d}]", "[{type: file, path: a.jsonl.2}]",
              "[{type: file, path: a.jsonl.1.zst}]",
              "[{type: file, path: hard-link}]", "[{type: file, path: soft-link}]",
              "[{type: file, path: b, name: x}, {type: file, path: ./b, name: y}]",
              "[{type: file, path: b, name: x}, {type: file, path: b.1, name: y}]",
              "[{type: file, path: b.3, name: x}, {type: file, path: b, name: y}]"]
)  # fmt: skip
def test_no_sink_writes_where_something_else_does(tmp_path: Path, sinks: str) -> None:
    (tmp_path / "a.jsonl").touch()
    (tmp_path / "hard-link").hardlink_to(tmp_path / "a.jsonl")
    (tmp_path / "soft-link").symlink_to("a.jsonl.d/segments/00000000000000000000.jsonl")
    file = tmp_path / "indelible.yaml"
    file.write_text(f"audit: {{path: a.jsonl, sinks: {sinks}}}")
    with pytest.raises(ConfigError, match="take another"):
        configfile.load(str(file))


@pytest.mark.parametrize("enterprise", [1, (1 << 32) - 1])
def test_every_enterprise_number_that_is_taken_is_one_of_the_formats(enterprise: int) -> None:
    [sink] = parse_sinks([{"type": "syslog", "address": "x", "enterprise": enterprise}])
    make_format("syslog", options_of(sink, "1"))  # raises ConfigError for one that is none


def test_a_mistake_in_one_sink_does_not_show_the_secret_of_another(tmp_path: Path) -> None:
    file = tmp_path / "indelible.yaml"
    file.write_text("audit: {sinks: [{type: other, password: hunter2}, {type: file}]}")
    with pytest.raises(ConfigError, match="sink 2: type file needs 'path'") as said:
        configfile.load(str(file))
    assert "hunter2" not in str(said.value)


def test_sinks_beside_each_other_and_beside_the_trail_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "indelible.yaml"
    paths = ("b", "b.log", "b.1x", "a.jsonl.log", "deeper/a.jsonl", "a.jsonl.copy/1")
    sinks = ", ".join(f"{{type: file, path: {path}, name: s{at}}}" for at, path in enumerate(paths))
    file.write_text(f"audit: {{path: a.jsonl, sinks: [{sinks}]}}")
    assert len(configfile.load(str(file)).audit.sinks) == len(paths)


@given(st.text(max_size=30))
def test_any_address_is_taken_or_answered(text: str) -> None:
    try:
        host, port = split_address(text, 514)
    except ValueError:
        return
    assert host
    assert 0 < port < 65536
    assert not set(host) & set("/@[] \n")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: (
    st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["type", "name", "path", "format", "filter", "tls", "address", "file", "syslog", "events"]), inner, max_size=4)
)))  # fmt: skip
def test_whatever_stands_there_is_taken_or_answered(value: object) -> None:
    try:
        sinks = parse_sinks(value)
    except ValueError:
        return
    assert all(isinstance(sink, SinkSettings) for sink in sinks)


@pytest.mark.parametrize(
    ("flavor", "url", "path"),
    [
        ("webhook", "https://x", "/"),
        ("webhook", "https://x/hook/?key=1", "/hook/?key=1"),
        ("splunk_hec", "https://x:8088", "/services/collector/event"),
        ("splunk_hec", "https://x:8088/services/collector", "/services/collector/event"),
        ("splunk_hec", "https://x/splunk/?channel=1", "/splunk/services/collector/event?channel=1"),
        ("elasticsearch", "https://x/", "/logs-indelible.audit-default/_bulk"),
        ("elasticsearch", "https://x/es/mine/_bulk", "/es/mine/_bulk"),
        ("loki", "https://x/loki/api/v1/push", "/loki/api/v1/push"),
        ("loki", "https://x/loki", "/loki/api/v1/push"),
    ],
)
def test_an_api_is_found_at_its_server(flavor: str, url: str, path: str) -> None:
    [sink] = parsed({"type": "http", "url": url, "flavor": flavor})
    assert HttpSettings.of(sink.own).path == path


def test_what_an_http_sink_has_when_nothing_is_said(tmp_path: Path) -> None:
    [hook, splunk, elastic] = parsed(
        {"type": "http", "url": "https://hooks.example.com/x", "secret_file": "s", "tls": {"ca_file": "c"}},
        {"type": "http", "url": "https://x", "flavor": "splunk_hec", "token_env": "T"},
        {"type": "http", "url": "https://y", "flavor": "elasticsearch", "timeout": "5s"},
    )
    own = [HttpSettings.of(sink.own) for sink in (hook, splunk, elastic)]
    assert [one.gzip for one in own] == [False, True, True]
    assert [one.token_scheme for one in own] == ["Bearer", "Splunk", "ApiKey"]
    assert [sink.format for sink in (hook, splunk, elastic)] == ["indelible", "indelible", "ecs"]
    assert [sink.timeout for sink in (hook, splunk, elastic)] == [30.0, 30.0, 5.0]
    assert (hook.name, hook.target) == ("hooks.example.com", "https://hooks.example.com")
    [there] = resolved((hook,), tmp_path)
    found = HttpSettings.of(there.own)
    assert found.secret is not None
    assert found.tls is not None
    assert (found.secret.file, found.tls.ca_file) == (str(tmp_path / "s"), str(tmp_path / "c"))


@pytest.mark.parametrize(
    ("address", "public", "own"),
    [
        ("1.1.1.1", True, False), ("2606:4700:4700::1111", True, False), ("127.0.0.1", False, True),
        ("::1", False, True), ("::ffff:127.0.0.1", False, True), ("10.1.2.3", False, False),
        ("172.16.0.1", False, False), ("192.168.1.1", False, False), ("100.64.0.1", False, False),
        ("169.254.169.254", False, False), ("fe80::1%eth0", False, False), ("fd00:ec2::254", False, False),
        ("64:ff9b::a00:1", False, False), ("2002:a00:1::", False, False), ("0.0.0.0", False, False),
        ("::", False, False), ("224.0.0.1", False, False), ("255.255.255.255", False, False),
        ("64:ff9b::101:101", True, False), ("::ffff:1.1.1.1", True, False),
        ("64:ff9b:1::a00:1", False, False), ("64:ff9b::7f00:1", False, False), ("2002:7f00:1::", False, False),
        ("::127.0.0.1", False, False), ("::ffff:0:10.0.0.1", False, False), ("fec0::1", False, False),
        ("2001:0:102:304:0:0:80ff:fffe", False, False), ("3fff::1", False, False), ("5f00::1", False, False),
    ],
)  # fmt: skip
def test_which_addresses_are_public(address: str, public: bool, own: bool) -> None:
    assert (is_public(address), is_loopback(address)) == (public, own)


def test_what_is_shown_of_settings_has_no_secret() -> None:
    http, plain, otlp, other, path, usual = parsed(
        {"type": "http", "url": "https://hooks.example/T0/s3cret?key=s3cret", "headers": {"X-Key": "s3cret"}},
        {"type": "http", "url": "https://h.example/", "flavor": "loki"},
        {"type": "otlp", "headers": {"X-Key": "s3cret"}},
        {"type": "pigeon", "password": "s3cret"},
        {"type": "otlp", "name": "path", "endpoint": "https://o.example/receiver/v1/otlp/s3cret"},
        {"type": "otlp", "name": "usual", "endpoint": "https://o.example/v1/logs"},
    )
    shown = [sink.public() for sink in (http, plain, otlp, other, path, usual)]
    assert "s3cret" not in repr(shown)
    assert "s3cret" not in "".join(sink.target for sink in (http, plain, otlp, other, path, usual))
    assert OtlpSettings.of(shown[5].own).endpoint == "https://o.example/v1/logs"
    assert HttpSettings.of(shown[0].own).url == "https://hooks.example/…"
    assert HttpSettings.of(shown[1].own).url == "https://h.example/"
    assert list(shown[3].extra) == ["password"]


def test_a_filter_that_would_let_nothing_through_is_refused() -> None:
    file = {"type": "file", "path": "x"}
    check_names(parsed({**file, "format": "argus", "filter": {"events": ["alert", "mcp_operation"]}}))
    check_names(parsed({**file, "format": "argus", "filter": {"events": "alert"}, "intents": True}))
    check_names(parsed({**file, "format": "cef", "filter": {"events": "alert"}}))
    check_names(parsed({**file, "filter": {"events": "alert"}}))
    with pytest.raises(ConfigError) as caught:
        check_names(parsed({**file, "format": "argus", "filter": {"events": ["audit_gap", "alert"]}}))
    assert str(caught.value) == (
        "audit.sinks: x: filter: events: 'format: argus' has no shape for alert, audit_gap, "
        "only for mcp_operation, mcp_operation_started"
    )
