"""What an answer means for the records that it is about.

The rules that live here:

- Taken is what the API says is taken, in its own words; a 200 whose body is another's is no acknowledgement.
- 401, 403, 404, 429, all of 5xx and whatever else is not about records passes, or is mended where it was configured:
  nothing is refused for good by it.
- 413 is about the size of a request, 400 and 422 about what is in it: which record it is about is found by sending
  fewer of them. A single one that is refused so is refused for good: by a receiver that takes others (`Refused.sure`),
  since a proxy whose limit is wrong says 413 to everything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

from indelible.sinks.web.client import Answer

MAX_SHOWN: Final = 200
"""Characters of an answer that a message repeats."""

CUT: Final = "…"
"""Stands at the end of what is longer."""

ABOUT_RECORDS: Final = frozenset({400, 422})
TOO_LARGE: Final = 413

HINTS: Final = {
    401: "does it accept our credentials?",
    403: "may our credentials write there?",
    404: "is the path of 'url' right?",
    405: "is the path of 'url' right?",
    407: "a proxy is in between, and none is asked",
    411: "is the path of 'url' right?",
    415: "does it take 'gzip', and this format?",
}
"""Status → what to look at (RFC 9110, section 15.5)."""


class Refused(NamedTuple):
    """A record that will never be taken as it is."""

    at: int
    """Its place in the request."""
    reason: str
    sure: bool
    """Whether the receiver means this record; else it may be that it takes nothing at all."""


class Verdict(NamedTuple):
    """What became of a request's records."""

    settled: int
    """So many, from the first on, are taken or refused."""
    refused: Sequence[Refused] = ()
    later: str = ""
    """Why the others are to be tried later; empty where they may go at once."""


class Fewer(Exception):  # noqa: N818 - what to do
    """Something among the records is refused, or they are too many: send fewer at once."""

    def __init__(self, reason: str, *, sure: bool, first: int | None = None, is_size: bool = False) -> None:
        """`first` is the index of the first record that is refused, where it is said."""
        super().__init__(reason)
        self.reason = reason
        self.sure = sure
        self.first = first
        self.is_size = is_size


class NotNow(Exception):  # noqa: N818 - a state, and it passes
    """Nothing of this request was acknowledged; it is tried again."""

    def __init__(self, reason: str, retry_after: float | None = None, *, hint: str = "") -> None:
        """`reason` may repeat what the receiver says; `hint` is ours: what to do."""
        super().__init__(reason)
        self.retry_after = retry_after
        self.hint = hint


def unless_taken(answer: Answer) -> None:
    """Return for an answer of class 2xx. Raises Fewer or NotNow for every other one."""
    status = answer.status
    if 200 <= status < 300:
        return
    reason = f"it answers {status}{about(answer)}"
    if status == TOO_LARGE:
        raise Fewer(reason, sure=False, is_size=True)
    if status in ABOUT_RECORDS:
        raise Fewer(reason, sure=False)
    raise NotNow(reason, retry_after(answer))


def about(answer: Answer) -> str:
    """Return what is to be said of an answer beside its status: where it sends us, what it says, what to look at."""
    if 300 <= answer.status < 400:
        where = printable(answer.headers.get("location", ""))
        return f", a redirection{f' to {where}' if where else ''} that is not followed; put it into 'url'"
    said = printable(answer.body.decode("utf-8", "replace"))
    hint = HINTS.get(answer.status, "")
    return (f": {said}" if said else "") + (f"; {hint}" if hint else "")


def printable(text: str) -> str:
    """Return somebody else's text as a part of one line of ours."""
    line = re.sub(r"\s+", " ", text).strip()
    clean = "".join(sign if sign.isprintable() else "�" for sign in line[: MAX_SHOWN + 1])
    return clean if len(clean) <= MAX_SHOWN else f"{clean[:MAX_SHOWN]}{CUT}"


def retry_after(answer: Answer) -> float | None:
    """Return how many seconds a receiver asks to be left alone (RFC 9110, section 10.2.3); None when it does not.

    A date is held against the receiver's own clock, where it tells that.
    """
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    then = _date(text)
    if then is None:
        return None
    now = _date(answer.headers.get("date", "")) or datetime.now(UTC)
    return max(0.0, (then - now).total_seconds())


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
