"""The configurations on the page about S3 are read as they stand, and mean what the page says of them."""

from __future__ import annotations

import json
from typing import Any

import yaml

from indelible import config
from indelible.sink_settings.s3 import S3Settings
from indelible.sinks.bucket.answers import MEANINGS, not_taken
from indelible.sinks.bucket.client import MISSING
from indelible.sinks.web.client import Answer
from tests.unit.docs.pages import DOCS, blocks, prose

PAGE = DOCS / "how-to" / "ship-to-s3.md"


def shown() -> dict[str, S3Settings]:
    found = [
        config.parse(yaml.safe_load(block.text), where=block.name, env={}).audit.sinks
        for block in blocks(PAGE)
        if block.language == "yaml"
    ]
    return {sink.name: S3Settings.of(sink.own) for sinks in found for sink in sinks}


def policy() -> dict[str, Any]:
    """Return what the page says that the sink is to be allowed."""
    [found] = [json.loads(block.text) for block in blocks(PAGE) if block.language == "json"]
    assert isinstance(found, dict)
    return found


def test_each_store_is_shown_in_its_own_shape() -> None:
    sinks = shown()
    assert sorted(sinks) == ["aws", "b2", "gcs", "minio", "r2", "with-keys"]
    own = {name for name, sink in sinks.items() if sink.endpoint is not None}
    assert own == {"b2", "gcs", "minio", "r2"}
    locks = {name: sink.object_lock for name, sink in sinks.items() if sink.object_lock != "none"}
    assert locks == {"aws": "compliance", "b2": "compliance", "minio": "governance"}
    assert all(sink.access_key is not None for name, sink in sinks.items() if name != "aws")
    assert all((sink.endpoint or "https:").startswith("https:") for sink in sinks.values())


def test_the_policy_is_for_where_the_first_sink_writes_and_lets_it_read_nothing() -> None:
    aws = shown()["aws"]
    put, look = policy()["Statement"]
    assert put["Resource"] == f"arn:aws:s3:::{aws.bucket}/{aws.prefix}/*"
    assert put["Action"] == ["s3:PutObject", "s3:PutObjectRetention"]
    assert (look["Action"], look["Resource"]) == (
        "s3:GetBucketObjectLockConfiguration",
        f"arn:aws:s3:::{aws.bucket}",
    )


def said(status: int, code: str, message: str = "") -> str:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
    return str(not_taken(Answer(status, {}, body))).partition(": ")[0]


def test_what_the_page_says_of_errors_is_what_is_said() -> None:
    text = PAGE.read_text()
    for code in (
        "NoSuchBucket", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "RequestTimeTooSkewed",
        "AccessDenied", "InvalidStorageClass", "SlowDown", "XMinioStorageFull",
    ):  # fmt: skip
        assert code in MEANINGS
        assert f"| {said(400, code)} |" in text, code
    for line, found in (
        (
            "the bucket is in another region; see 'region'",
            not_taken(Answer(301, {"x-amz-bucket-region": "x"}, b"")),
        ),
        ("the bucket has no object lock", said(404, "ObjectLockConfigurationNotFoundError")),
        ("needs the package boto3", MISSING),
    ):
        assert f"| {line} |" in text
        assert str(found).startswith(line)


def test_numbers() -> None:
    text = prose(PAGE)
    batch = shown()["aws"].batch
    assert batch.interval == 60.0
    assert "up to `flush_interval`, a minute" in text
    assert f"`flush_batch_bytes` ({batch.bytes >> 20} MB of lines)" in text
