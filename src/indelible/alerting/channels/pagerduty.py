"""PagerDuty's Events API v2 (https://developer.pagerduty.com/docs/send-alert-event).

The key of the integration goes into the body, and is added when a request is made: it stands neither in a record nor in
a dead letter. 202 takes an event, 400 refuses it, 429 asks to be left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from indelible.alert_settings import PagerDutySettings
from indelible.errors import ConfigError
from indelible.sinks.http import HttpTransport
from indelible.sinks.secrets import read_secret
from indelible.sinks.waits import Waits
from indelible.sinks.web.carrying import CarryingSink
from indelible.sinks.web.credentials import cleaned
from indelible.sinks.web.webhook import WebhookApi

if TYPE_CHECKING:
    from indelible.sink_settings import SinkSettings
    from indelible.sinks.web.answers import Verdict


def pagerduty_sink(settings: SinkSettings) -> CarryingSink:
    """Return the sink of a channel of the type ``pagerduty``."""
    own, waits = PagerDutySettings.of(settings.own), Waits(settings.timeout)
    return CarryingSink(PagerDutyTransport(own, waits, settings.format), waits, own.batch, own.target)


class PagerDutyTransport(HttpTransport):
    """See `web.carrying.Transport`."""

    def __init__(self, own: PagerDutySettings, waits: Waits, format_name: str) -> None:
        super().__init__(own, WebhookApi(own, format_name), waits)
        self._secret = own.routing_key
        self._key = ""

    def open(self) -> None:
        """See `Transport`."""
        self._read_key()
        super().open()

    def close(self) -> None:
        """See `Transport`."""
        super().close()
        self._key = ""

    def clean(self, text: str) -> str:
        """See `Transport`."""
        return cleaned(super().clean(text), [self._key] if self._key else [])

    def ask(self, parts: Sequence[bytes]) -> Verdict:
        """See `Transport`."""
        key = self._key or self._read_key()
        return super().ask([b'{"routing_key":%b,%b' % (msgspec.json.encode(key), part[1:]) for part in parts])

    def _read_key(self) -> str:
        self._key = read_secret(self._secret, "routing_key")
        if not self._key.isascii() or not self._key.isprintable():
            raise ConfigError("routing_key: expected the key of an integration of the Events API v2")
        return self._key
