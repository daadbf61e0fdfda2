"""``MCP_COMPLIANCE_FORMAT`` and ``MCP_COMPLIANCE_OUTPUT``: the export that an environment asks for. Pure.

It stands beside whatever the configuration has, and only what records or ships looks at it. Into a file it is one more
sink of the shipper's; on standard error each process writes what it recorded itself (`indelible.shipper.echo`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from indelible.errors import ConfigError
from indelible.sink_settings import SinkFilter, SinkSettings
from indelible.sink_settings.files import FileSettings
from indelible.values import nearest, shown

FORMAT: Final = "MCP_COMPLIANCE_FORMAT"
OUTPUT: Final = "MCP_COMPLIANCE_OUTPUT"

FORMATS: Final = ("cef", "leef", "jsonlines", "json-lines", "syslog")
"""In any case."""

EVENTS: Final = frozenset({"mcp_operation", "auth_rejected", "mcp_server_state_changed"})
"""What passes: what became of calls, callers that were refused, what became of servers."""


STREAMS: Final = frozenset({"-", "/dev/stderr", "/dev/stdout", "/dev/fd/1", "/dev/fd/2"})
"""What elsewhere is a stream's name, and would be refused for a link, or be a file of that name."""

is_export: Final = re.compile(r"compliance-[0-9a-f]{8}").fullmatch
"""Tells whether a sink's name is one that a file of the environment's has."""


def compliance_sink(env: Mapping[str, str]) -> SinkSettings | None:
    """Return the sink that the environment asks for; None when it asks for none. Raises ConfigError, one line.

    A variable that is set and empty is not set.
    """
    name, output = env.get(FORMAT, "").strip(), env.get(OUTPUT, "")
    if not name:
        if output:
            raise ConfigError(f"{OUTPUT} is set and {FORMAT} is not; it is one of {', '.join(FORMATS)}")
        return None
    known = name.lower()
    if known not in FORMATS:
        raise ConfigError(f"{FORMAT}: no such format {shown(name)}{nearest(known, FORMATS)}")
    if output:
        if output in STREAMS:
            raise ConfigError(f"{OUTPUT}: expected a file, found {shown(output)}; unset, it is standard error")
        if "\0" in output:
            raise ConfigError(f"{OUTPUT}: expected a path, found {shown(output)}")
        whole = FileSettings(path=output, backup_count=0)  # it is one file, whoever reads it
        return SinkSettings(
            type="file", name="compliance", format=known, own=whole, filter=SinkFilter(events=EVENTS)
        )
    return SinkSettings(type="stderr", name="compliance", format=known, filter=SinkFilter(events=EVENTS))
