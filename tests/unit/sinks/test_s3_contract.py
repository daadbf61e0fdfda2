"""The s3 sink keeps the contract; what it sends to a bucket is judged by the bucket's own rules."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from indelible.registry import make_sink
from indelible.sink_settings import parse_sinks
from indelible.sinks.base import Sink
from indelible.sinks.checks import CHECKS
from indelible.testing import Destination, check_sink
from tests.unit.sinks.buckets import ENV, Bucket, bucket_keys
from tests.unit.sinks.web_receivers import HttpReceiver

pytestmark = pytest.mark.slow


class S3(Destination):
    def __init__(self, compression: str) -> None:
        self.bucket = Bucket()
        self.receiver = HttpReceiver(self.bucket)
        self.compression = compression

    def make(self, timeout: float) -> Sink:
        [settings] = parse_sinks([bucket_keys(self.receiver, compression=self.compression)])
        return make_sink(msgspec.structs.replace(settings, timeout=timeout))

    def received(self) -> Sequence[bytes]:
        return self.bucket.lines()

    def take_away(self) -> None:
        self.receiver.stop()

    def bring_back(self) -> None:
        self.receiver.start()

    def hang(self) -> None:
        self.receiver.goes_on.clear()

    def unfit(self) -> bytes:
        return b"two\nlines"

    def close(self) -> None:
        self.receiver.stop()


@pytest.mark.parametrize("compression", ["zstd", "gzip", "none"])
def test_the_contract(compression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    assert check_sink(lambda: S3(compression)) == tuple(CHECKS)
