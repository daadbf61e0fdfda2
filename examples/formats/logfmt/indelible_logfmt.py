"""``logfmt``: an event as ``key=value`` pairs on one line."""

from __future__ import annotations

import json
import re

from indelible.formats.names import naming
from indelible.formats.record import Options, Record, json_text
from indelible.formats.times import event_time

_is_word = re.compile(r"[\w.,:/@+-]+", re.ASCII).fullmatch


def pair(key: str, value: str) -> str:
    """Return a pair; a value that is more than a word stands in quotes, so that it is never taken for two."""
    if not _is_word(value):
        value = json.dumps(value).replace("\x7f", "\\u007f")  # JSON leaves this control character as it is
    return f"{key}={value}"


class LogfmtFormat:
    """Renders every event."""

    holds = None

    def __init__(self, options: Options) -> None:
        """Nothing of the options but the receiver's limit has a place here."""
        self._max_bytes = options.max_bytes

    def render(self, record: Record) -> bytes:
        """Return the record of an event. What its receiver has no room for is left out, the last first."""
        entry = record.entry
        proof = {"id": entry.event_id, "seq": str(entry.seq), "origin": record.origin, "leaf": record.leaf}
        said = {
            "time": event_time(entry),
            "event": naming(entry).name,
            "user": entry.source.user_id,
            "name": entry.target.capability_name,
            "kind": entry.outcome and entry.outcome.kind,
            "args": json_text(entry.request.args),
        }
        end = [pair(key, value) for key, value in proof.items() if value]
        pairs = [pair(key, value) for key, value in said.items() if value]
        while True:
            data = " ".join([*pairs, *end]).encode()
            if not pairs or not 0 < self._max_bytes < len(data):
                return data
            pairs.pop()
