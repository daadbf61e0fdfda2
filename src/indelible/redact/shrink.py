"""Cut a body that is too large for a line: results, arguments, metadata, then names."""

from __future__ import annotations

from typing import Any, Final

import orjson

from indelible.events import MAX_BODY_BYTES
from indelible.redact.fit import fit
from indelible.redact.limits import CUT_LIST, CUT_NAME_CHARS
from indelible.redact.values import Values

_PARTS: Final = (("outcome", "result"), ("request", "args"), ("metadata", None))
_NOTE_BYTES: Final = 96
"""Room for `metadata.cut`, which names what was cut."""


def shrink(body: bytes, values: Values) -> bytes:
    """Return a redacted body cut to `MAX_BODY_BYTES`; raises ValueError when that cannot be done."""
    event = orjson.loads(body)
    cut: list[str] = []
    for part, field in _PARTS:
        over = len(orjson.dumps(event)) + _NOTE_BYTES - MAX_BODY_BYTES
        holder = event.get(part) if field else event
        name = field or part
        if over > 0 and isinstance(holder, dict) and name in holder:
            size = len(orjson.dumps(holder[name]))
            holder[name] = fit(holder[name], size - over)
            cut.append(f"{part}.{field}" if field else part)
    if len(orjson.dumps(event)) + _NOTE_BYTES > MAX_BODY_BYTES:
        event = {key: value if key == "metadata" else _names(value, values) for key, value in event.items()}
        cut.append("names")
    metadata = event.get("metadata", {})
    event["metadata"] = {**(metadata if isinstance(metadata, dict) else {"[TRUNCATED]": metadata}), "cut": cut}
    result = orjson.dumps(event)
    if len(result) > MAX_BODY_BYTES:
        raise ValueError("the body cannot be cut to a line")
    return result


def _names(value: Any, values: Values) -> Any:
    """Cut every text and list in an event's parts; arguments and results have been cut before."""
    if isinstance(value, str):
        return value if len(value) <= 2 * CUT_NAME_CHARS else values.cut(value, value, CUT_NAME_CHARS)
    if isinstance(value, dict):
        return {k: v if k in ("args", "result") else _names(v, values) for k, v in value.items()}
    if isinstance(value, list):
        kept = [_names(item, values) for item in value[:CUT_LIST]]
        return kept if len(kept) == len(value) else [*kept, f"[TRUNCATED] {len(value) - len(kept)} more"]
    return value
