"""The APIs of receivers, and what they have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from indelible.sinks.web.elastic import ElasticApi
from indelible.sinks.web.loki import LokiApi
from indelible.sinks.web.splunk import SplunkApi
from indelible.sinks.web.webhook import WebhookApi

if TYPE_CHECKING:
    from indelible.sink_settings.http import HttpSettings
    from indelible.sinks.base import Shipment
    from indelible.sinks.web.answers import Verdict
    from indelible.sinks.web.client import Answer


class Api(Protocol):
    """How one kind of receiver is asked to take records, and what it answers."""

    @property
    def content_type(self) -> str:
        """Of a request's body."""

    @property
    def most(self) -> int:
        """How many bytes of an answer's body are read."""

    @property
    def lines(self) -> int:
        """How many records a request holds at the most; 0: as many as the settings say."""

    @property
    def query(self) -> str:
        """What is added to the query of the URL; empty: nothing."""

    def part(self, shipment: Shipment) -> bytes:
        """Return a record as it stands in a request. Raises ValueError, which says why it cannot."""

    def body(self, parts: Sequence[bytes]) -> bytes:
        """Return the body of a request with these records."""

    def headers(self, body: bytes, keys: Sequence[bytes]) -> list[tuple[str, str]]:
        """Return headers that depend on the body, before compression; `keys` to sign it with."""

    def verdict(self, answer: Answer, count: int) -> Verdict:
        """Return what an answer says of a request's records. Raises Fewer, NotNow."""


APIS: Final[dict[str, Callable[[HttpSettings, str], Api]]] = {
    "webhook": WebhookApi,
    "splunk_hec": SplunkApi,
    "elasticsearch": ElasticApi,
    "loki": LokiApi,
}


def make(settings: HttpSettings, format_name: str) -> Api:
    """Return the API that the settings name, for records of a format."""
    return APIS[settings.flavor](settings, format_name)
