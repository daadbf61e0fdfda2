"""Somebody to be erased, among others: what they leave in a trail, and a search for it in every byte of a directory."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import zstandard

from indelible.trail import files
from indelible.trail.erased import erased_leaf
from indelible.trail.layout import Layout
from indelible.trail.proofs.merkle import leaf_hash
from indelible.trail.upkeep.orders import Erase
from indelible.trail.writer import Writer

GONE = "canary-person"
"""The user who is to be erased; everything that is theirs has the word ``canary`` in it."""

CANARY = b"canary"
STAYS = "ada"

HEAD = {"timestamp": "2026-01-01T00:00:00.000000Z"}


def event_id(name: str) -> str:
    """Return the same UUID for the same name."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def body(name: str, user: str, *, kind: str = "mcp_operation", intent: str | None = None, **more: Any) -> bytes:
    """Return an event's body; a canary's content is told from everybody else's by each of its bytes."""
    secret = f"canary-{name}" if user == GONE else f"plain-{name}"
    event: dict[str, Any] = {
        **HEAD,
        "event_type": kind,
        "event_id": event_id(name),
        "source": {"user_id": user, "session_id": f"{secret}-session"},
        "target": {"type": "tool", "capability_name": "send"},
        "request": {"args": {"text": secret + "x" * 40}, **({"intent": event_id(intent)} if intent else {})},
        **more,
    }
    return orjson.dumps(event)


def call(writer: Writer, name: str, user: str) -> None:
    """Append an intent and its outcome."""
    intent = f"{name}-intent"
    writer.append(body(intent, user, kind="mcp_operation_started"), opens=event_id(intent))
    writer.append(body(name, user, intent=intent), closes=event_id(intent))


def await_compressed(writer: Writer, *, whole: bool = False) -> None:
    """Wait until the first closed files are compressed, or all of them."""
    enough = all if whole else any
    writer.seal()
    end = time.monotonic() + 60
    while not enough(segment.suffix == ".zst" for segment in writer.layout.segments.iterdir()):
        assert time.monotonic() < end
        time.sleep(0.01)


def order(**changes: Any) -> Erase:
    """Return the order to erase that person."""
    fields: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "by": "user",
        "values": [GONE],
        "reason": "ticket 4711",
    }
    return Erase(**{**fields, **changes})


def places_with(directory: Path, needle: bytes = CANARY) -> list[str]:
    """Return every file below a directory whose bytes, or whose decompressed bytes, hold what is searched for."""
    while True:
        try:
            return _places_with(directory, needle)
        except FileNotFoundError:  # the housekeeper has compressed it meanwhile: it is another file now
            continue


def _places_with(directory: Path, needle: bytes) -> list[str]:
    found = []
    for path in sorted(directory.rglob("*")):
        if not path.is_file() or path.is_symlink():
            continue
        data = path.read_bytes()
        if data[:4] == b"\x28\xb5\x2f\xfd":
            with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
                data += reader.read()
        if needle in data or needle in path.name.encode():
            found.append(str(path.relative_to(directory)))
    return found


def lines_of(path: Path) -> Iterator[bytes]:
    """Yield a trail's lines, oldest first."""
    for file in reversed(list(files.newest_first(Layout(path)))):
        with files.open_file(file) as stream:
            yield from (line for _, line, whole in files.iter_lines(stream) if whole)


def leaves_of(path: Path) -> list[bytes]:
    """Return a trail's leaf hashes: of each line, or what an erased one keeps."""
    return [erased_leaf(line) or leaf_hash(line) for line in lines_of(path)]
