"""``type: kafka`` in a configuration: what is taken, and that a mistake is answered in one line that says where."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible import config, configfile
from indelible.errors import ConfigError
from indelible.sink_settings import SinkSettings, parse_sinks
from indelible.sink_settings.kafka import KafkaSettings
from indelible.sinks.broker import client
from indelible.sinks.kafka import KafkaSink

LEAST: dict[str, Any] = {"type": "kafka", "brokers": ["a:1"], "topic": "t"}
SASL = {"mechanism": "plain", "username_env": "U", "password_env": "P"}


def parsed(**keys: Any) -> SinkSettings:
    [sink] = config.parse({"audit": {"sinks": [{**LEAST, **keys}]}}, where="c", env={"B": "x:1, y"}).audit.sinks
    return sink


def own(**keys: Any) -> KafkaSettings:
    return KafkaSettings.of(parsed(**keys).own)


def test_what_it_is_when_little_is_said() -> None:
    sink = parsed(topic="mcp.audit", brokers=["kafka-1", "[::1]:9093", "c:9"])
    settings = KafkaSettings.of(sink.own)
    assert (sink.name, sink.format, sink.timeout) == ("mcp.audit", "indelible", 5.0)
    assert sink.target == "mcp.audit at kafka-1:9092 and 2 more"
    assert settings.brokers == ("kafka-1:9092", "[::1]:9093", "c:9")
    assert (settings.partition_strategy, settings.partition_key) == ("hash", "session_id")
    assert (settings.acks, settings.compression, settings.tls, settings.sasl) == ("all", "zstd", None, None)
    batch = settings.batch
    assert (batch.interval, batch.lines, batch.bytes) == (5.0, 5000, 1_000_000)


def test_what_may_be_said_in_several_ways() -> None:
    assert own(brokers="${B}").brokers == ("x:1", "y:9092")
    assert [own(acks=acks).acks for acks in (-1, "all", 1, "1", 0)] == ["all", "all", "1", "1", "0"]
    assert own(tls={"enabled": "true"}).tls == own(tls={}).tls
    assert own(tls={"enabled": False}).tls is None
    sasl = own(tls={}, sasl={**SASL, "mechanism": "SCRAM-SHA-512"}).sasl
    assert sasl is not None
    assert sasl.mechanism == "scram-sha-512"
    assert own(tls={"enabled": False}, sasl=SASL).sasl is not None


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"brokers": []}, "brokers: expected a list of brokers"),
    ({"brokers": [""]}, "brokers: expected a text"),
    ({"brokers": ["kafka://x"]}, "brokers: expected HOST:PORT or [IPV6]:PORT, found 'kafka://x'"),
    ({"brokers": ["x:99999"]}, "brokers: expected HOST:PORT"),
    ({"topic": "a b"}, "topic: expected a topic's name"),
    ({"topic": ".."}, "topic: expected a topic's name"),
    ({"partition_strategy": "murmur2"}, "partition_strategy: expected hash, round_robin or sticky"),
    (
        {"partition_key": "user"},
        "partition_key: expected session_id, auth_key_id, tool_name, method or request_id",
    ),
    ({"acks": True}, "acks: expected all, 1 or 0"),
    ({"acks": 2}, "acks: expected all, 1 or 0"),
    ({"compression": "brotli"}, "compression: expected zstd, gzip, lz4, snappy or none"),
    ({"flush_interval": "2h"}, "flush_interval: expected a duration up to 60m"),
    ({"flush_batch_lines": 0}, "flush_batch_lines: expected a whole number from 1 to 100000"),
    ({"flush_batch_bytes": 10}, "flush_batch_bytes: expected a size from 1024 bytes to 64MB"),
    ({"tls": {"cert_file": "/c"}}, "tls: cert_file: needs key_file"),
    ({"tls": {"key_file": "/c"}}, "tls: key_file: needs cert_file"),
    ({"tls": {"enabled": False, "ca_file": "/c"}}, "tls: ca_file: needs 'enabled: true'"),
    ({"tls": {"server_name": "x"}}, "tls: unknown key 'server_name'"),
    ({"sasl": SASL}, "sasl: needs 'tls: {enabled: true}'"),
    ({"tls": {}, "sasl": {**SASL, "mechanism": "gssapi"}}, "sasl: mechanism: expected plain, scram-sha-256 or"),
    ({"tls": {}, "sasl": {"username_env": "U", "password_env": "P"}}, "sasl: needs 'mechanism'"),
    ({"tls": {}, "sasl": {"mechanism": "plain", "password_env": "P"}}, "sasl: needs 'username_env' or"),
    ({"tls": {}, "sasl": {"mechanism": "plain", "username_env": "P"}}, "sasl: needs 'password_env' or"),
    (
        {"tls": {}, "sasl": {**SASL, "password_file": "/p"}},
        "sasl: password_env: give it or password_file, not both",
    ),
    (
        {"tls": {}, "sasl": {**SASL, "password": "hunter2"}},
        "sasl: unknown key 'password'; did you mean 'password_",
    ),
    ({"topics": "t"}, "unknown key 'topics'; did you mean 'topic'?"),
]


@pytest.mark.parametrize(("keys", "why"), WRONG)
def test_a_mistake_is_said_in_one_line(keys: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parsed(**keys)
    assert f"c: audit.sinks: sink 1: {why}" in str(raised.value)
    assert str(raised.value).isprintable()
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("key", ["brokers", "topic"])
def test_what_is_needed_is_asked_for(key: str) -> None:
    with pytest.raises(ValueError, match=f"sink 1: type kafka needs '{key}'"):
        parse_sinks([{name: value for name, value in LEAST.items() if name != key}])


def test_paths_are_taken_from_the_files_directory(tmp_path: Path) -> None:
    file = tmp_path / "indelible.yaml"
    file.write_text(
        "audit: {path: a.jsonl, sinks: [{type: kafka, brokers: [x], topic: t, tls: {ca_file: ca.pem}, "
        "sasl: {mechanism: plain, username_file: ../u, password_file: p}}]}"
    )
    settings = KafkaSettings.of(configfile.load(str(file)).audit.sinks[0].own)
    assert settings.tls is not None
    assert settings.sasl is not None
    assert settings.tls.ca_file == str(tmp_path / "ca.pem")
    assert (settings.sasl.username.file, settings.sasl.password.file) == (f"{tmp_path}/../u", f"{tmp_path}/p")


FILES: list[tuple[dict[str, Any], str]] = [
    ({"tls": {"ca_file": "none.pem"}}, "tls: ca_file: none.pem: No such file or directory"),
    ({"tls": {"ca_file": __file__}}, f"tls: ca_file: {__file__}: no PEM"),
    ({"tls": {}, "sasl": SASL}, "sasl: username_env: environment variable U is not set"),
    (
        {"tls": {}, "sasl": {"mechanism": "plain", "username_env": "HOME", "password_file": "/none"}},
        "sasl: password_file: /none: No such file or directory",
    ),
]


@pytest.mark.parametrize(("keys", "why"), FILES)
def test_what_is_not_there_is_said_when_it_is_opened(
    keys: dict[str, Any], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("U", raising=False)
    with pytest.raises(ConfigError) as raised:
        KafkaSink(parsed(**keys)).open()
    assert str(raised.value) == why


def test_secrets_are_read_when_they_are_needed_and_shown_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("hunter2\n")
    sink = parsed(tls={}, sasl={"mechanism": "plain", "username_env": "HOME", "password_file": str(file)})
    made = client._configuration(KafkaSettings.of(sink.own), client.Level(1, 1), 5.0)
    assert (made["sasl.username"], made["sasl.password"]) == (os.environ["HOME"], "hunter2")
    assert "hunter2" not in repr(sink)
    assert "hunter2" not in sink.target


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: (
    st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["enabled", "ca_file", "mechanism", "username_env", "password_file", "x"]), inner, max_size=4)
)), st.sampled_from(["brokers", "topic", "acks", "tls", "sasl", "flush_interval", "flush_batch_bytes"]))  # fmt: skip
def test_whatever_stands_there_is_taken_or_answered(value: object, key: str) -> None:
    try:
        [sink] = parse_sinks([{**LEAST, key: value}])
    except ValueError:
        return
    assert isinstance(sink.own, KafkaSettings)
