"""``indelible``: the line as it stands in the trail, to the byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indelible.formats.record import Options, Record


class IndelibleFormat:
    """Adds nothing, so that a line found elsewhere can be checked with ``indelible verify --line``."""

    holds = None

    def __init__(self, options: Options) -> None:
        """There is nothing to set."""

    def render(self, record: Record) -> bytes:
        """Return the line."""
        return record.line
