"""Which source a ``--from`` means: ``kafka://…``, ``-``, or the path of a file or directory."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from indelible.errors import ConfigError
from indelible.query.sources.files import FileSource
from indelible.values import shown

if TYPE_CHECKING:
    from indelible.query.sources.base import Source

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://.*", re.DOTALL)

KNOWN: Final = "a file, a directory, or - for standard input"


def open_source(name: str) -> Source:
    """Return the source that a ``--from`` names. Raises ConfigError when it is none, or cannot be read."""
    match = _URL.fullmatch(name)
    if match is None:
        return FileSource(name)
    raise ConfigError(
        f"--from: {shown(name)}: no records can be read from {match[1]}:// here; expected {KNOWN}"
    )
