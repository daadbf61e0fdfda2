r"""``leef``: IBM QRadar's Log Event Extended Format, version 2.0. Pure.

    LEEF:2.0|vendor|product|version|event id|x09|key=value<TAB>key=value…

The rules that live here:

- The format has no escapes. What would end a value or a field is replaced: TAB by a space, a line end by the two
  characters ``\n``, ``|`` in the header by ``¦``, and a ``\`` at the end of a value, which some readers take for an
  escape of the delimiter, by ``\u005c``.
- ``src`` holds addresses only, and ``devTime`` 13 digits.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from indelible.formats.fields import Field
from indelible.formats.names import naming
from indelible.formats.text import (
    PRINTABLE,
    Layout,
    Pairs,
    Slot,
    cut,
    epoch_ms,
    unicode_text,
    version_of,
    visible,
)
from indelible.formats.times import event_us

if TYPE_CHECKING:
    from indelible.formats.record import Options, Record

HEADER_LIMIT: Final = 255
"""Of vendor, product, version and event id."""
HOST_LIMIT: Final = 255

OTHER_ADDRESS: Final = "clientIp="
"""What a peer said that is no address."""

_line_end = re.compile(r"\r\n|\r|\n")

PROTOCOLS: Final = {
    "mcp_operation": "proto=tool\t",
    "mcp_operation_started": "proto=tool\t",
    "mcp_server_state_changed": "proto=provider\t",
}
"""Of the dialect ``hangar``. In LEEF ``proto`` is one of IANA's, so that it is not written otherwise."""


def escape_value(text: str) -> str:
    """Return a text as a value has it."""
    text = visible(text)
    if "\n" in text or "\r" in text:
        text = _line_end.sub(r"\\n", text)
    text = text.replace("\t", " ")
    return f"{text[:-1]}\\u005c" if text.endswith("\\") else text


def escape_header(text: str) -> str:
    """Return a text as a field of the header has it."""
    return escape_value(text.replace("|", "¦"))


def _slot(field: Field) -> Slot:
    before = f"{field.leef}="
    if field.takes == "address":
        return Slot(field.name, field.leef_limit, before, before, OTHER_ADDRESS, "address")
    return Slot(field.name, field.leef_limit, before, before, before)


LAYOUT: Final = Layout(_slot, escape_value, PRINTABLE.replace("\\", ""), "", "\t", alone="\\")


class LeefFormat:
    """Renders every event, each under an EventID of its own (`indelible.formats.names`)."""

    holds = None

    def __init__(self, options: Options) -> None:
        """Vendor, product and version stand in the header, the host is ``devHost``."""
        self._pairs = Pairs(LAYOUT)
        self._max_bytes = options.max_bytes
        fields = (options.vendor, options.product, version_of(options))
        self._device = "|".join(cut(unicode_text(text), HEADER_LIMIT, escape_header) for text in fields)
        host = cut(unicode_text(options.host), HOST_LIMIT, escape_value)
        self._host = f"devHost={host}\t" if host else ""
        self._protocols = PROTOCOLS if options.dialect == "hangar" else {}

    def render(self, record: Record) -> bytes:
        """Return the record of an event."""
        entry = record.entry
        named = naming(entry)
        moment = epoch_ms(event_us(entry))
        time = f"devTime={moment}\t" if moment is not None else ""
        protocol = self._protocols.get(entry.event_type, "")
        head = (
            f"LEEF:2.0|{self._device}|{named.leef}|x09|{time}sev={named.level.cef}\teventName={named.name}\t"
            f"{self._host}{protocol}"
        )
        data = (head + self._pairs.write(record)).encode()
        if not 0 < self._max_bytes < len(data):
            return data
        return (head + self._pairs.fitted(record, self._max_bytes - len(head.encode()))).encode()
