r"""``cef``: ArcSight's Common Event Format, revision 27. Pure.

    CEF:0|vendor|product|version|signature|name|severity|key=value key=value …

The rules that live here:

- In the header ``\`` and ``|`` are escaped, and there is no line end; in a value ``\``, ``=`` and line ends are.
- Spaces before the next key belong to the value before it, and the last value loses its own: the leaf hash stands last.
- Lengths are counted in bytes of UTF-8 as they stand in the record, which is within each reading of the specification.
"""

from __future__ import annotations

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
    visible_lines,
)
from indelible.formats.times import event_us

if TYPE_CHECKING:
    from indelible.formats.record import Options, Record

VENDOR_LIMIT: Final = 63
PRODUCT_LIMIT: Final = 63
VERSION_LIMIT: Final = 31
HOST_LIMIT: Final = 100
"""``dvchost``."""

SOURCE_IPV6: Final = "c6a2Label=Source IPv6 Address c6a2="
"""``src`` holds IPv4 only."""


def escape_header(text: str) -> str:
    """Return a text as a field of the header has it."""
    return visible_lines(text).replace("\\", "\\\\").replace("|", "\\|")


def escape_value(text: str) -> str:
    """Return a text as a value has it."""
    text = visible(text).replace("\\", "\\\\").replace("=", "\\=")
    if "\n" in text or "\r" in text:
        text = text.replace("\n", "\\n").replace("\r", "\\r")
    return text


def _slot(field: Field) -> Slot:
    before = f"{field.label}={field.name} {field.cef}=" if field.label else f"{field.cef}="
    otherwise = f"{field.other_cef}=" if field.other_cef else before
    return Slot(field.name, field.cef_limit, before, SOURCE_IPV6, otherwise, field.takes)


LAYOUT: Final = Layout(_slot, escape_value, PRINTABLE.translate({ord("\\"): None, ord("="): None}), r"\=", " ")


class CefFormat:
    """Renders every event, each under a signature of its own (`indelible.formats.names`)."""

    holds = None

    def __init__(self, options: Options) -> None:
        """Vendor, product and version stand in the header, the host is ``dvchost``."""
        self._pairs = Pairs(LAYOUT)
        self._max_bytes = options.max_bytes
        fields = (
            (options.vendor, VENDOR_LIMIT),
            (options.product, PRODUCT_LIMIT),
            (version_of(options), VERSION_LIMIT),
        )
        self._device = "|".join(cut(unicode_text(text), limit, escape_header) for text, limit in fields)
        host = cut(unicode_text(options.host), HOST_LIMIT, escape_value)
        self._host = f"dvchost={host} " if host else ""

    def render(self, record: Record) -> bytes:
        """Return the record of an event."""
        named = naming(record.entry)
        moment = epoch_ms(event_us(record.entry))
        time = f"rt={moment} " if moment is not None else ""
        head = f"CEF:0|{self._device}|{named.cef}|{named.name}|{named.level.cef}|{time}{self._host}"
        data = (head + self._pairs.write(record)).encode()
        if not 0 < self._max_bytes < len(data):
            return data
        return (head + self._pairs.fitted(record, self._max_bytes - len(head.encode()))).encode()
