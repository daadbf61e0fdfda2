"""Requests that wait for their answer, under ids that peers are free to choose badly.

An id is compared as peers do it: ``7`` and ``7.0`` are one number and ``"a"`` is ``"\\u0061"``, but ``7`` is
not ``"7"`` and ``null`` is an id like any other. Where one id stands for several requests, an answer belongs to
the one that wrote it the same way, else to the oldest: each still gets one answer at most.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from typing import Any, Final, Generic, Protocol, TypeVar

MAX_ID_BYTES: Final = 1024
"""A longer id is remembered by its digest."""


class HasId(Protocol):
    """What can wait: it knows its id as it was written."""

    rpc_id: bytes


Waiting = TypeVar("Waiting", bound=HasId)


def key_of(rpc_id: bytes) -> bytes:
    """Return the id in the one form in which equal ids are equal bytes; any bytes are taken."""
    if rpc_id.isdigit() or (rpc_id[:1] == b'"' and b"\\" not in rpc_id):
        key = rpc_id
    else:
        key = _normalised(rpc_id)
    return key if len(key) <= MAX_ID_BYTES else hashlib.sha256(key).digest()


def _normalised(rpc_id: bytes) -> bytes:
    try:
        value: Any = json.loads(rpc_id, parse_int=str)
    except (ValueError, RecursionError):
        return rpc_id
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return b"%d" % int(value)
    if isinstance(value, str) and rpc_id[:1] == b'"':
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return rpc_id


class Outstanding(Generic[Waiting]):
    """Requests in the order of their arrival, found by id."""

    def __init__(self) -> None:
        """Start with none."""
        self._by_key: dict[bytes, list[Waiting]] = {}
        self._count = 0

    def __len__(self) -> int:
        """Return how many requests wait."""
        return self._count

    def __iter__(self) -> Iterator[Waiting]:
        """Yield those that wait."""
        for same in self._by_key.values():
            yield from same

    def add(self, request: Waiting) -> None:
        """Let a request wait."""
        key = key_of(request.rpc_id)
        same = self._by_key.get(key)
        if same is None:
            self._by_key[key] = [request]
        else:
            same.append(request)
        self._count += 1

    def take(self, rpc_id: bytes) -> Waiting | None:
        """Return the request that an answer with this id belongs to, which then waits no more."""
        key = key_of(rpc_id)
        same = self._by_key.get(key)
        if same is None:
            return None
        self._count -= 1
        if len(same) == 1:
            del self._by_key[key]
            return same[0]
        for index, request in enumerate(same):
            if request.rpc_id == rpc_id:
                return same.pop(index)
        return same.pop(0)

    def find(self, rpc_id: bytes) -> Waiting | None:
        """Return the same, and let it wait on."""
        same = self._by_key.get(key_of(rpc_id))
        return None if same is None else next((each for each in same if each.rpc_id == rpc_id), same[0])

    def newest(self, rpc_id: bytes) -> Waiting | None:
        """Return the request that came last with this id, and let it wait on."""
        same = self._by_key.get(key_of(rpc_id))
        return same[-1] if same else None

    def remove(self, request: Waiting) -> bool:
        """Take out exactly this request; False when it does not wait."""
        key = key_of(request.rpc_id)
        same = self._by_key.get(key)
        if same is None:
            return False
        for index, other in enumerate(same):
            if other is request:
                if len(same) == 1:
                    del self._by_key[key]
                else:
                    del same[index]
                self._count -= 1
                return True
        return False

    def oldest(self) -> Waiting | None:
        """Return the request that has waited longest, or nearly so where ids are used twice."""
        for same in self._by_key.values():
            return same[0]
        return None

    def drain(self) -> list[Waiting]:
        """Return all requests, oldest first, and wait for none of them."""
        waiting = [request for same in self._by_key.values() for request in same]
        self._by_key.clear()
        self._count = 0
        return waiting
