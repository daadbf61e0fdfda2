"""What a list of tools says that is new: the definitions to learn, and an event of each that changed.

A tool that was not known before is no change, and neither is one that a page of a list does not name. What a
definition said is compared by its redacted words (`definitions.words_of`): a diff has nothing else.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from indelible.definitions import MAX_ALL_WORDS, MAX_TOOLS, Tool, Word, describe
from indelible.events import Event, Source, Target, new_id

MAX_DIFF_BYTES: Final = 8 * 1024
"""Of all differences of one event, as JSON; metadata has room for half as much again."""

MAX_ASKED: Final = 30_000
"""Texts that are redacted of one list; about a second's work. Tools beyond them have their words at the next list."""

WINDOW_CHARS: Final = 200
"""Of a text around the place where it differs."""

CONTEXT_CHARS: Final = 40
"""Of it before that place."""


def learned(
    known: Mapping[str, Tool], listed: Iterable[object], word: Word | None
) -> tuple[list[Tool], list[tuple[Tool, Tool]]]:
    """Return the tools of a list that are not as they were known, and of these the pairs whose definition changed.

    A name that stands twice is as it stood last. Empty when there would be more tools than are kept.
    """
    room = MAX_ALL_WORDS - sum(len(tool.words or "") for tool in known.values())
    counted = None if word is None else _Counted(word)
    found: dict[str, Tool] = {}
    for item in itertools.islice(listed, MAX_TOOLS):
        name = item.get("name") if isinstance(item, dict) else None
        before = known.get(name) if isinstance(name, str) else None
        spare = counted is not None and room > 0 and counted.left > 0
        tool = describe(item, counted if spare else None, before)
        if tool is not None:
            found[tool.name] = tool
            room -= 0 if tool == before else len(tool.words or "")
    new = [tool for tool in found.values() if known.get(tool.name) != tool]
    if len(known) + len(new) > 2 * MAX_TOOLS:
        return [], []
    pairs = [(known[tool.name], tool) for tool in new if tool.name in known]
    return new, [(old, tool) for old, tool in pairs if old.sha256 != tool.sha256]


class _Counted:
    """A `Word` that counts how often it is asked."""

    def __init__(self, word: Word) -> None:
        self._word = word
        self.left = MAX_ASKED

    def __call__(self, key: str, text: str) -> str:
        self.left -= 1
        return self._word(key, text)


def changed(old: Tool, new: Tool, source: Source | None, target: Target, timestamp: str) -> Event:
    """Return the event of a definition that changed; `target` is that of the tool's calls from now on."""
    metadata: dict[str, Any] = {"from_sha256": old.sha256, "to_sha256": new.sha256}
    if old.keys and new.keys:
        names = sorted(old.keys.keys() | new.keys.keys())
        metadata["changed"] = [name for name in names if old.keys.get(name) != new.keys.get(name)]
    if old.words is not None and new.words is not None:
        metadata["diff"], whole = diff(json.loads(old.words), json.loads(new.words))
        if not whole:
            metadata["diff_cut"] = True
    return Event(
        timestamp=timestamp,
        event_type="tool_definition_changed",
        event_id=new_id(),
        source=source,
        target=msgspec.structs.replace(target, method="tools/list"),
        metadata=metadata,
    )


def diff(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[list[dict[str, str]], bool]:
    """Return where two definitions differ, `MAX_DIFF_BYTES` of it at most, and whether that is all."""
    found: list[dict[str, str]] = []
    size = 0
    for path in [*old, *(path for path in new if path not in old)]:
        one, other = old.get(path), new.get(path)
        if one == other:
            continue
        entry = {"path": path}
        start = _start(one or "", other or "")
        if one is not None:
            entry["from"] = _window(one, start)
        if other is not None:
            entry["to"] = _window(other, start)
        size += len(json.dumps(entry, ensure_ascii=False).encode("utf-8", "surrogatepass")) + 1
        if size > MAX_DIFF_BYTES:
            return found, False
        found.append(entry)
    return found, True


def _start(one: str, other: str) -> int:
    """Return where two texts begin to differ."""
    for at, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return at
    return min(len(one), len(other))


def _window(text: str, start: int) -> str:
    """Return what stands around a place of a text."""
    begin = max(0, start - CONTEXT_CHARS)
    begin = begin if begin > 1 else 0
    end = begin + WINDOW_CHARS
    return ("…" if begin else "") + text[begin:end] + ("…" if end < len(text) else "")
