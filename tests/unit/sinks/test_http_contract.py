"""The http sink keeps the contract with each API that it speaks; its receivers judge by the APIs' own rules."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from indelible.registry import make_sink
from indelible.sink_settings import parse_sinks
from indelible.sinks.base import Sink
from indelible.sinks.checks import CHECKS
from indelible.testing import Destination, check_sink
from tests.unit.sinks.web_judges import JUDGES, Judge
from tests.unit.sinks.web_receivers import HttpReceiver, sink_keys

pytestmark = pytest.mark.slow

UNFIT = b"the one that is refused"


class Http(Destination):
    def __init__(self, flavor: str, *, acknowledges: bool = False, **keys: Any) -> None:
        self.flavor = flavor
        self.keys = keys
        judged = {**keys, "indexed": self.indexed} if acknowledges else keys
        self.asked: set[int] = set()
        self.judge: Judge = JUDGES[flavor](refuses=lambda record: record == UNFIT, **judged)
        self.receiver = HttpReceiver(self.judge)

    def indexed(self, number: int) -> bool:
        """When it is asked for the second time."""
        known = number in self.asked
        self.asked.add(number)
        return known

    def make(self, timeout: float) -> Sink:
        given = sink_keys(self.receiver.url, flavor=self.flavor, **self.keys)
        return make_sink(msgspec.structs.replace(parse_sinks([given])[0], timeout=timeout))

    def received(self) -> Sequence[bytes]:
        return self.judge.records

    def take_away(self) -> None:
        self.receiver.stop()

    def bring_back(self) -> None:
        self.receiver.start()

    def hang(self) -> None:
        self.receiver.goes_on.clear()

    def unfit(self) -> bytes:
        return UNFIT

    def close(self) -> None:
        self.receiver.stop()


@pytest.mark.parametrize(
    ("flavor", "keys"),
    [
        ("webhook", {}),
        ("webhook", {"body": "lines", "gzip": True}),
        ("splunk_hec", {}),
        ("splunk_hec", {"acknowledges": True}),
        ("elasticsearch", {}),
        ("loki", {}),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else value,
)
def test_the_contract(flavor: str, keys: dict[str, Any]) -> None:
    assert check_sink(lambda: Http(flavor, **keys)) == tuple(CHECKS)
