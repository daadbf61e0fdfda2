"""A real object store: MinIO, over plain HTTP or TLS, and what is in it as another client than ours reads it."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from minio import Minio, MinioAdmin
from minio.credentials.providers import StaticProvider

from tests.certificates import Authority
from tests.judges.conftest import TOOLS
from tests.servers import Server, free_port

USER, PASSWORD = "indelible-test", "a password of the test's"
REGION = "eu-test-1"
LOCKED, PLAIN = "locked", "plain"
"""Buckets: with object lock, and without."""


@dataclass(frozen=True)
class Stored:
    """One version of an object."""

    key: str
    version: str
    data: bytes


class Store(Server):
    """MinIO on one disk."""

    def __init__(self, folder: Path, *, tls: bool = False, disk: Path | None = None) -> None:
        super().__init__(folder, "none")
        self.port = free_port()
        self.disk = disk or folder / "disk"
        self.authority = Authority(folder) if tls else None
        self._certificates = folder / "certs"
        self._certificates.mkdir()
        if self.authority is not None:
            certificate, key = self.authority.issue("server", "127.0.0.1", "localhost")
            (self._certificates / "public.crt").write_bytes(certificate.read_bytes())
            (self._certificates / "private.key").write_bytes(key.read_bytes())

    @property
    def url(self) -> str:
        return f"{'https' if self.authority else 'http'}://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        program = TOOLS / "minio"
        assert program.exists(), "minio is not built: run make setup"
        address = f"127.0.0.1:{self.port}"
        return [
            str(program), "server", str(self.disk), "--address", address, "--console-address", "127.0.0.1:0",
            "--certs-dir", str(self._certificates), "--json",
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "MINIO_ROOT_USER": USER,
            "MINIO_ROOT_PASSWORD": PASSWORD,
            "MINIO_SITE_REGION": REGION,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "HOME": str(self.folder),
        }

    def listening(self) -> Sequence[int]:
        return [self.port]

    def start(self) -> None:
        super().start()
        for bucket in (LOCKED, PLAIN):
            if not self.client().bucket_exists(bucket):
                self.client().make_bucket(bucket, object_lock=bucket == LOCKED)

    def client(self) -> Minio:
        pool = urllib3.PoolManager(
            timeout=20,
            retries=urllib3.Retry(total=20, backoff_factor=0.1, status_forcelist=[500, 502, 503, 504]),
            ca_certs=str(self.authority.file) if self.authority else None,
        )
        return Minio(
            f"127.0.0.1:{self.port}",
            USER,
            PASSWORD,
            secure=self.authority is not None,
            region=REGION,
            http_client=pool,
        )

    def add_user(self, name: str, password: str, policy: dict[str, Any]) -> None:
        """Let somebody in who may do what an AWS policy says, and nothing else."""
        admin = MinioAdmin(
            endpoint=f"127.0.0.1:{self.port}",
            credentials=StaticProvider(USER, PASSWORD),
            region=REGION,
            secure=self.authority is not None,
        )
        admin.policy_add(name, policy=policy)
        admin.user_add(name, password)
        admin.policy_set(name, user=name)

    def versions(self, bucket: str, prefix: str) -> Iterator[Stored]:
        """Yield every version of every object whose key begins so, in the order of their keys."""
        client = self.client()
        for found in client.list_objects(bucket, prefix, recursive=True, include_version=True):
            name, version = str(found.object_name), str(found.version_id)
            given = None if version in ("null", "None") else version
            answer = client.get_object(bucket, name, version_id=given)
            try:
                yield Stored(name, version, answer.read())
            finally:
                answer.close()
                answer.release_conn()


def keys(store: Store, **more: Any) -> dict[str, Any]:
    """Return what a sink's settings are for a store, with a prefix that no other test has."""
    made = {
        "type": "s3",
        "name": "store",
        "bucket": PLAIN,
        "prefix": f"t/{uuid.uuid4().hex[:8]}",
        "region": REGION,
        "endpoint": store.url,
        "allow_private": True,
        "access_key_env": "STORE_USER",
        "secret_key_env": "STORE_PASSWORD",
        "flush_interval": "0s",
        "start": "beginning",
    }
    return {name: value for name, value in {**made, **more}.items() if value is not None}


ENV = {"STORE_USER": USER, "STORE_PASSWORD": PASSWORD}


def manifests(found: Sequence[Stored]) -> dict[str, dict[str, Any]]:
    """Return the manifests among some objects, by the keys of their objects."""
    return {
        one.key.rpartition("/")[0] + "/" + said["object"]: said
        for one in found
        if one.key.endswith(".manifest.json") and (said := json.loads(one.data))
    }
