"""Legal holds: what one is about, and which events it holds. Pure.

A hold is placed by the event `hold_placed`, whose metadata says what it is about, and ends with `hold_released`. It
holds every event that matches all that it names, from before and after it was placed, and the event that placed it:
while it stands, the trail itself can say what is held. Matching is on what stands in the line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec
import orjson

from indelible.errors import ConfigError

MAX_HOLDS: Final = 256
"""Holds that stand at the same time: every file's first line names them."""

MAX_TEXT_CHARS: Final = 512
"""Of a user, a session, or a reason."""

_ID: Final = re.compile(r"[0-9a-f]{12}")
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")


class Hold(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One hold. Times are RFC 3339, UTC, microseconds, ``Z``."""

    id: str
    """12 hex digits."""
    user: str | None = None
    session: str | None = None
    since: str | None = None
    until: str | None = None
    """Not included."""
    reason: str | None = None
    placed_at: str | None = None
    placed_by: str | None = None
    """The login of who placed it."""

    @property
    def of_anybody(self) -> bool:
        """Whether it names a time only."""
        return self.user is None and self.session is None

    def matches(self, event: dict[str, Any]) -> bool:
        """Tell whether it holds an event, as it stands in its line."""
        if event.get("event_type") == "hold_placed" and _hold_id(event) == self.id:
            return True
        source = event.get("source")
        source = source if isinstance(source, dict) else {}
        if self.user is not None and self.user != source.get("user_id"):
            others = source.get("on_behalf_of")
            if not isinstance(others, list) or self.user not in others:
                return False
        if self.session is not None and self.session != source.get("session_id"):
            return False
        return any(self._covers(event.get(key)) for key in ("timestamp", "recorded_at"))

    def _covers(self, time: object) -> bool:
        if self.since is None and self.until is None:
            return True
        return isinstance(time, str) and self.overlaps(time, time)

    def overlaps(self, first: str, last: str) -> bool:
        """Tell whether it may hold something from a span of time, both ends included; empty: nobody knows the end."""
        return (self.since is None or not last or last >= self.since) and (
            self.until is None or first < self.until
        )

    @property
    def needles(self) -> list[bytes]:
        """What stands in a line that it holds: all of these texts, or the last one alone."""
        texts = [text for text in (self.user, self.session) if text is not None]
        return [orjson.dumps(text) for text in texts] + [self.id.encode()]


def held(event: dict[str, Any], holds: Iterable[Hold]) -> str | None:
    """Return the id of a hold that an event is under, or None."""
    return next((hold.id for hold in holds if hold.matches(event)), None)


def check(hold: Hold) -> None:
    """Raise ConfigError for what cannot be a hold."""
    if _ID.fullmatch(hold.id) is None:
        raise ConfigError(f"hold {hold.id!r}: an id is 12 hex digits, such as 0a1b2c3d4e5f")
    for name, text in (("--user", hold.user), ("--session", hold.session), ("--reason", hold.reason)):
        if text is not None and not (text and len(text) <= MAX_TEXT_CHARS and "\0" not in text):
            raise ConfigError(f"{name}: expected 1 to {MAX_TEXT_CHARS} characters")
    for name, time in (("--since", hold.since), ("--until", hold.until)):
        if time is not None and _TIME.fullmatch(time) is None:
            raise ConfigError(f"{name}: expected a time in UTC with microseconds")
    if hold.of_anybody and (hold.since is None or hold.until is None):
        raise ConfigError("a hold names a user, a session, or both ends of a time: --since and --until")
    if hold.since is not None and hold.until is not None and hold.since >= hold.until:
        raise ConfigError("--since: is not before --until: nothing would be held")


def is_one(hold: Hold) -> bool:
    """Tell whether somebody could have placed a hold like this, and can release it."""
    try:
        check(hold)
    except ConfigError:
        return False
    return True


# --- what events say of holds ---------------------------------------------------------------------------------------


def _hold_id(event: dict[str, Any]) -> str | None:
    about = _metadata(event).get("hold")
    found = about.get("id") if isinstance(about, dict) else None
    return found if isinstance(found, str) else None


def _metadata(event: dict[str, Any]) -> dict[str, Any]:
    metadata = event.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def standing_in(event: dict[str, Any]) -> list[str] | None:
    """Return the ids of the holds that stand when a file begins, from its `file_opened`; None for another event."""
    if event.get("event_type") != "file_opened":
        return None
    ids = _metadata(event).get("holds", [])
    return [one for one in ids if isinstance(one, str)] if isinstance(ids, list) else []


def placed_in(event: dict[str, Any]) -> Hold | None:
    """Return the hold that an event places, or None."""
    metadata = _metadata(event)
    about = metadata.get("hold")
    if event.get("event_type") != "hold_placed" or not isinstance(about, dict):
        return None
    asked = metadata.get("asked")
    login = asked.get("login") if isinstance(asked, dict) else None
    try:
        return msgspec.convert(
            {
                **about,
                "reason": metadata.get("reason"),
                "placed_at": event.get("timestamp"),
                "placed_by": login,
            },
            Hold,
        )
    except msgspec.ValidationError:
        return None


def released_in(event: dict[str, Any]) -> tuple[str, str] | None:
    """Return the id of the hold that an event releases, and that of the request; None for another event."""
    found = _hold_id(event) if event.get("event_type") == "hold_released" else None
    return None if found is None else (found, str(_metadata(event).get("request")))
