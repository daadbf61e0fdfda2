"""What came just before and after the events of one request. Pure: items in, the same items out, marked.

The rules that live here, which are `grep -C`'s:

- Every own item is given out, whatever else is asked for; of the others only those that fit are, and counted.
- No more than `before` items are held at any time, however many there are.
- Where two groups do not touch, what lies between them is counted, not left out in silence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Near(NamedTuple, Generic[T]):
    """One item of a group."""

    item: T
    own: bool
    """Whether it is one of those that the others are around."""
    skipped: int = 0
    """How many fitting items lie between this one and the one given out before it."""


def around(
    items: Iterable[T], own: Callable[[T], bool], fits: Callable[[T], bool], before: int, after: int
) -> Iterator[Near[T]]:
    """Yield every own item with up to `before` and `after` fitting ones around it, in the order given, each once."""
    waiting: deque[T] = deque(maxlen=before)
    passed = 0
    """Fitting items since the last one that was given out."""
    left = 0
    begun = False
    for item in items:
        mine = own(item)
        if not mine and not fits(item):
            continue
        if mine:
            gap = passed - len(waiting) if begun else 0
            for one in waiting:
                yield Near(one, own=False, skipped=gap)
                gap = 0
            yield Near(item, own=True, skipped=gap)
            waiting.clear()
            begun, passed, left = True, 0, after
        elif left:
            yield Near(item, own=False)
            left -= 1
        else:
            waiting.append(item)
            passed += 1
