"""``type: file``. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Self

import msgspec

from indelible.sink_settings.parts import Kind, Own, absolute
from indelible.values import MEGABYTE, parse_count, parse_megabytes, parse_text


class FileSettings(Own, frozen=True, kw_only=True):
    """A file of one record a line, rotated as RotatingFileHandler does. Sizes are in bytes."""

    path: str
    max_size: int = 100 * MEGABYTE
    """From which size on it is rotated."""
    backup_count: int = 5
    """How many rotated ones are kept; 0: it is never rotated."""

    @property
    def target(self) -> str:
        """See `Own`."""
        return self.path

    @property
    def words(self) -> str:
        """See `Own`."""
        return Path(self.path).name

    def resolved(self, base: Path) -> Self:
        """See `Own`."""
        return msgspec.structs.replace(self, path=absolute(self.path, base))


def _made(values: dict[str, Any]) -> FileSettings:
    return FileSettings(
        path=values["path"], max_size=values["max_size_mb"], backup_count=values["backup_count"]
    )


FILE: Final = Kind(
    {"path": parse_text, "max_size_mb": parse_megabytes, "backup_count": parse_count},
    _made,
    required=("path",),
    defaults={"max_size_mb": 100 * MEGABYTE, "backup_count": 5},
)
