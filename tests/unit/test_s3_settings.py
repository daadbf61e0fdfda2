"""``type: s3`` in a configuration: what is taken, and that a mistake is answered in one line that says where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible import config, configfile
from indelible.errors import ConfigError
from indelible.sink_settings import SinkSettings, parse_sinks
from indelible.sink_settings.parts import Secret
from indelible.sink_settings.s3 import S3Settings

LEAST: dict[str, Any] = {"type": "s3", "bucket": "audit"}
KEYS = {"access_key_env": "U", "secret_key_env": "P"}


def parsed(**keys: Any) -> SinkSettings:
    [sink] = config.parse({"audit": {"sinks": [{**LEAST, **keys}]}}, where="c", env={"B": "trail"}).audit.sinks
    return sink


def own(**keys: Any) -> S3Settings:
    return S3Settings.of(parsed(**keys).own)


def test_what_it_is_when_little_is_said() -> None:
    sink = parsed()
    settings = S3Settings.of(sink.own)
    assert (sink.name, sink.format, sink.timeout, sink.target) == ("audit", "indelible", 30.0, "s3://audit")
    assert (settings.object_lock, settings.retention_days, settings.compression) == ("none", None, "zstd")
    batch = settings.batch
    assert (batch.interval, batch.lines, batch.bytes) == (60.0, 100_000, 16 << 20)
    assert settings.path_style is None


def test_a_store_of_ones_own() -> None:
    settings = own(endpoint="https://minio.example:9000/", prefix="/mcp/trails/")
    assert (settings.target, settings.prefix) == ("s3://audit/mcp/trails at minio.example:9000", "mcp/trails")
    assert [own(path_style=word).path_style for word in ("true", False)] == [True, False]


def test_a_lock_may_be_written_as_amazon_does() -> None:
    for word in ("COMPLIANCE", "Compliance", "compliance"):
        settings = own(object_lock=word, retention_days="365")
        assert (settings.object_lock, settings.retention_days) == ("compliance", 365)


def test_credentials_stand_elsewhere_and_relative_paths_are_of_the_file(tmp_path: Path) -> None:
    config_file = tmp_path / "indelible.yaml"
    config_file.write_text(
        "audit: {sinks: [{type: s3, bucket: audit, access_key_env: U, secret_key_file: key, "
        "session_token_file: /run/token, tls: {ca_file: ca.pem}}]}"
    )
    [sink] = configfile.load(str(config_file)).audit.sinks
    settings = S3Settings.of(sink.own)
    assert settings.access_key == Secret(env="U")
    assert settings.secret_key == Secret(file=str(tmp_path / "key"))
    assert settings.session_token == Secret(file="/run/token")
    assert settings.tls is not None
    assert settings.tls.ca_file == str(tmp_path / "ca.pem")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"bucket": "Audit"}, "bucket: expected a bucket's name"),
    ({"bucket": "a"}, "bucket: expected a bucket's name"),
    ({"bucket": "a..b"}, "bucket: expected a bucket's name"),
    ({"bucket": "s3://audit"}, "bucket: expected a bucket's name"),
    ({"prefix": "a//b"}, "prefix: expected up to 512"),
    ({"prefix": "a/../b"}, "prefix: expected up to 512"),
    ({"prefix": "ü"}, "prefix: expected up to 512"),
    ({"prefix": 3}, "prefix: expected text"),
    ({"region": "Frankfurt"}, "region: expected a region, such as eu-central-1"),
    ({"endpoint": "minio:9000"}, "endpoint: expected https://HOST[:PORT]"),
    ({"endpoint": "https://minio:9000/audit"}, "the bucket has a key of its own"),
    ({"endpoint": "https://u:p@minio"}, "without a path or credentials"),
    ({"endpoint": "http://minio.example"}, "endpoint: http:// sends records in plain text"),
    (
        {"endpoint": "https://10.0.0.1:9000"},
        "endpoint: 10.0.0.1 is not a public address; say 'allow_private: true'",
    ),
    ({"endpoint": "http://localhost:9000"}, "endpoint: localhost is not a public address"),
    (
        {"endpoint": "http://127.0.0.1", "allow_private": True, "tls": {"ca_file": "x"}},
        "tls: is for endpoints with https://",
    ),
    ({"object_lock": "governance"}, "object_lock: needs retention_days"),
    ({"object_lock": "worm", "retention_days": 1}, "object_lock: expected none, governance or compliance"),
    ({"retention_days": 30}, "retention_days: needs 'object_lock: governance' or"),
    ({"object_lock": "none", "retention_days": 30}, "retention_days: needs"),
    (
        {"object_lock": "governance", "retention_days": 0},
        "retention_days: expected a whole number of days from 1",
    ),
    ({"object_lock": "governance", "retention_days": "1y"}, "retention_days: expected"),
    ({"access_key_env": "U"}, "access_key: needs secret_key"),
    ({"secret_key_file": "f"}, "access_key: needs secret_key"),
    ({"session_token_env": "T"}, "session_token: needs access_key and secret_key"),
    ({**KEYS, "access_key_file": "f"}, "access_key_env: give it or access_key_file, not both"),
    ({**KEYS, "profile": "p"}, "profile: give it or an access key, not both"),
    ({"access_key": "AKIA"}, "unknown key 'access_key'"),
    ({"sse": "aes"}, "sse: expected AES256, aws:kms or aws:kms:dsse"),
    ({"sse": "AES256", "kms_key_id": "k"}, "kms_key_id: needs 'sse: aws:kms'"),
    ({"storage_class": "cold"}, "storage_class: expected a storage class"),
    ({"compression": "lz4"}, "compression: expected zstd, gzip or none"),
    ({"flush_interval": "2h"}, "flush_interval: expected a duration up to 60m"),
    ({"flush_batch_bytes": "1GB"}, "flush_batch_bytes: expected a size"),
    ({"buckets": "b"}, "did you mean 'bucket'?"),
]


@pytest.mark.parametrize(("keys", "why"), WRONG, ids=lambda value: None)
def test_a_mistake_is_said_in_one_line(keys: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parsed(**keys)
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith("c: audit.sinks: sink 1: ")


@given(st.dictionaries(st.sampled_from(["bucket", "prefix", "endpoint", "region", "kms_key_id"]), st.text()))
def test_whatever_text_is_taken_or_answered_with_one_error(keys: dict[str, str]) -> None:
    try:
        [sink] = parse_sinks([{**LEAST, **keys}])
    except ValueError:
        return
    settings = S3Settings.of(sink.own)
    assert settings.url.isascii()
    assert settings.url.isprintable()


def test_two_sinks_that_would_overwrite_each_other_are_refused() -> None:
    """Objects are called after their seqs: those of one format would take the place of the other's."""
    one = {**LEAST, "name": "one", "prefix": "audit"}
    two = {**one, "name": "two", "prefix": "/audit/", "format": "ecs"}
    with pytest.raises(
        ValueError, match=r"sink 2: prefix: sink 'one' stores at s3://.*/audit, too, .* of its own"
    ):
        parse_sinks([one, two])
    assert len(parse_sinks([one, {**two, "prefix": "audit/ecs"}])) == 2
    assert len(parse_sinks([one, {**two, "endpoint": "https://s3.example.org"}])) == 2
