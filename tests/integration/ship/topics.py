"""Trails that are shipped to a Kafka broker, and what of them stands in a topic."""

from __future__ import annotations

import json
from typing import Any

from indelible.trail.entry import stamp
from tests.brokers import Message
from tests.trails import Maker, at, encode, operation

KEYS = 50
PART = 10_000


def add(maker: Maker, count: int) -> None:
    """Append calls of some sessions, quickly, and seal them."""
    marked = encode(
        operation(0, event_id="EVENT-ID", source__session_id="SESSION", request__args={"text": "x" * 200})
    )
    for first in range(maker.seq, maker.seq + count, PART):
        seqs = range(first, min(first + PART, maker.seq + count))
        lines = [
            stamp(
                seq,
                at(1000),
                marked.replace(b"EVENT-ID", b"e%d" % seq).replace(b"SESSION", b"s%d" % (seq % KEYS)),
            )
            for seq in seqs
        ]
        maker.raw(b"\n".join(lines) + b"\n")
        maker._waiting += lines
    maker.seq += count
    maker.seal()


def kafka(topic: str, settings: dict[str, Any], **other: Any) -> dict[str, Any]:
    return {"type": "kafka", "name": "k", "topic": topic, "start": "beginning", **settings, **other}


def in_order(found: list[Message]) -> dict[tuple[bytes | None, int], list[int]]:
    """Return the seqs of each key as they stand in its one partition."""
    kept: dict[tuple[bytes | None, int], list[int]] = {}
    for one in found:
        kept.setdefault((one.key, one.partition), []).append(one.seq)
    keyed = [key for key, _ in kept if key is not None]
    assert len(keyed) == len(set(keyed))
    return kept


def state(maker: Maker) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((maker.layout.cursors / "k.state").read_bytes())
    except FileNotFoundError:
        return {"state": None}
    return found
