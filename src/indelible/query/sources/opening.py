"""Which source a ``--from`` means: ``kafka://…``, ``s3://…``, ``-``, or the path of a file or directory."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from indelible.errors import ConfigError
from indelible.query.sources.files import FileSource
from indelible.values import shown

if TYPE_CHECKING:
    from indelible.query.sources.base import Source
    from indelible.sink_settings import SinkSettings

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://.*", re.DOTALL)

KNOWN: Final = "a file, a directory, - for standard input, kafka://HOST:PORT/TOPIC or s3://BUCKET/PREFIX"


def open_source(name: str, sink: SinkSettings | None = None, since: str | None = None) -> Source:
    """Return the source that a ``--from`` names; `sink` is the one that says how to come in.

    Of what was recorded before `since` (a time in the trail's form) as much may be left out as is no trouble.

    Raises ConfigError when it is none, or cannot be read.
    """
    match = _URL.fullmatch(name)
    if match is None:
        return FileSource(name)
    if match[1] == "kafka":
        from indelible.query.sources.kafka import KafkaSource

        return KafkaSource(name, sink)
    if match[1] == "s3":
        from indelible.query.sources.s3 import S3Source

        return S3Source(name, sink, since)
    raise ConfigError(
        f"--from: {shown(name)}: no records can be read from {match[1]}:// here; expected {KNOWN}"
    )
