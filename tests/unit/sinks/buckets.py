"""A store with one bucket on the tests' own HTTP receiver: it takes objects, and refuses as Amazon's documents say."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from typing import Any
from urllib.parse import unquote

import zstandard

from tests.unit.sinks.web_receivers import Asked, HttpReceiver, Reply

BUCKET = "audit"
KEY_ID = "an access key"
ENV = {"S3_USER": KEY_ID, "S3_PASSWORD": "not to be said to anybody"}


def error(status: int, code: str, message: str = "", more: str = "", **headers: str) -> Reply:
    """Return a refusal (Amazon S3 API Reference, "Error responses")."""
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>'
        f"{more}<RequestId>1</RequestId></Error>"
    )
    return Reply(status, body.encode(), {"Content-Type": "application/xml", **headers})


class Bucket:
    """What a receiver answers, and what it has."""

    def __init__(self) -> None:
        self.puts: list[tuple[str, bytes, Asked]] = []
        """Key, body and request of each object, in the order in which they came."""
        self.plan: list[Reply] = []
        """What is answered to the next objects instead of taking them."""
        self.about_lock = error(404, "ObjectLockConfigurationNotFoundError", "It does not exist")

    def __call__(self, asked: Asked) -> Reply:
        assert f"Credential={KEY_ID}/" in asked.headers["Authorization"]
        if asked.method == "GET":
            assert asked.path == f"/{BUCKET}?object-lock"
            return self.about_lock
        assert asked.method == "PUT"
        if self.plan:
            return self.plan.pop(0)
        digest = base64.b64encode(hashlib.md5(asked.raw, usedforsecurity=False).digest()).decode()
        assert asked.headers["Content-MD5"] == digest
        path = unquote(asked.path)
        assert path.startswith(f"/{BUCKET}/")
        self.puts.append((path.removeprefix(f"/{BUCKET}/"), asked.raw, asked))
        return Reply(200, b"", {"ETag": '"1"'})

    def objects(self) -> list[tuple[str, list[bytes]]]:
        """Return the keys and lines of all objects but manifests."""
        return [(key, lines_of(key, body)) for key, body, _ in self.puts if not key.endswith(".json")]

    def manifests(self) -> list[dict[str, Any]]:
        return [json.loads(body) for key, body, _ in self.puts if key.endswith(".json")]

    def lines(self) -> list[bytes]:
        return [line for _, lines in self.objects() for line in lines]


def lines_of(key: str, body: bytes) -> list[bytes]:
    """Return an object's lines."""
    if key.endswith(".zst"):
        body = zstandard.ZstdDecompressor().decompress(body)
    elif key.endswith(".gz"):
        body = gzip.decompress(body)
    assert body.endswith(b"\n")
    return body.split(b"\n")[:-1]


def bucket_keys(receiver: HttpReceiver, **keys: Any) -> dict[str, Any]:
    """Return the keys of a sink to a receiver here."""
    made = {
        "type": "s3",
        "bucket": BUCKET,
        "prefix": "a/b",
        "endpoint": receiver.url,
        "allow_private": True,
        "access_key_env": "S3_USER",
        "secret_key_env": "S3_PASSWORD",
        "start": "beginning",
        **keys,
    }
    return {name: value for name, value in made.items() if value is not None}
