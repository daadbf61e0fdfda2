"""What a trail can be told to do, by whoever may change it: one struct an order. Pure.

An order is carried out by the process that holds the trail (see `duties`), whoever gives it (see `manage`). It may be
given twice: when the holder dies, the one who gave it cannot know whether it was carried out, and gives it again to the
next. So an order that would not come to the same when it is carried out twice has an `id`, by which it is known again.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec

from indelible.config import Retention
from indelible.errors import TrailError, WireError
from indelible.trail.upkeep.holding import Hold

MAX_RESULT_BYTES: Final = 512 * 1024
"""What an order's result may come to as JSON: it goes over a socket in one message."""

MAX_LISTED: Final = 100
"""Entries of a list to which a result is cut that is longer than that."""


class Asker(NamedTuple):
    """Who gave an order, as the kernel says."""

    uid: int
    pid: int


class NotTaken(TrailError):  # noqa: N818 - not a fault of anybody's, mostly
    """The order was not carried out: it is not taken now, or not from this one."""


class Ending(NotTaken):
    """The process that holds the trail is ending: another will take it."""


class Retain(msgspec.Struct, tag_field="order", tag="retain", frozen=True, kw_only=True, omit_defaults=True):
    """Delete the closed files that nothing keeps any more, by these rules; None: by those of the trail's holder."""

    retention: Retention | None = None
    backup_count: int | None = None


class Erase(msgspec.Struct, tag_field="order", tag="erase", frozen=True, kw_only=True, omit_defaults=True):
    """Erase the content of a user's or a session's events, or of single ones."""

    id: str
    """A UUID of the order's own: given again, after the holder died, it is known by it."""
    by: Literal["user", "session", "event"]
    values: list[str]
    reason: str
    """Redacted already."""
    dry_run: bool = False


class AddHold(msgspec.Struct, tag_field="order", tag="hold_add", frozen=True, kw_only=True, omit_defaults=True):
    """Place a legal hold. Its id is the giver's choice: given twice, it stands once."""

    hold: Hold


class ReleaseHold(msgspec.Struct, tag_field="order", tag="hold_release", frozen=True, kw_only=True):
    """Release a legal hold."""

    id: str
    reason: str
    request: str
    """Random: given twice, it is no error that the hold does not stand any more."""


_Name = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
"""What a sink may be called (`indelible.named_settings`)."""

_Names = Annotated[list[_Name], msgspec.Meta(max_length=64)]


class Reloaded(
    msgspec.Struct, tag_field="order", tag="config_reloaded", frozen=True, kw_only=True, omit_defaults=True
):
    """Record that the shipper has read its configuration again, and ships to other sinks than before."""

    id: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f-]{36}\Z")]
    """A UUID: given again, after the holder died, it is known by it."""
    added: _Names = []
    removed: _Names = []
    changed: _Names = []


class AddIncident(
    msgspec.Struct, tag_field="order", tag="incident_add", frozen=True, kw_only=True, omit_defaults=True
):
    """Record what somebody saw from outside, at a time of which he has a note."""

    id: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")]
    """A UUID, which the event's becomes: given again, after the holder died, it is known by it."""
    at: Annotated[
        str, msgspec.Meta(pattern=r"\A[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9](:[0-5][0-9]){2}\.[0-9]{6}Z\Z")
    ]
    """When it was seen, in the trail's form."""
    note: Annotated[str, msgspec.Meta(min_length=1, max_length=4_000)]
    """Redacted already."""
    backend: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    """Which MCP server it is about, when it is about one. Redacted already."""


_Called = Annotated[str, msgspec.Meta(max_length=512)]
"""A caller's name, as the trail has it; one that is longer is left out."""


class RecordAlert(
    msgspec.Struct, tag_field="order", tag="alert", frozen=True, kw_only=True, omit_defaults=True
):
    """Record an alert of a rule (`indelible.alerting`). What it names stands in the trail, redacted."""

    id: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")]
    """Of the alert's event: the same whoever finds it, so that it is recorded once."""
    at: Annotated[
        str, msgspec.Meta(pattern=r"\A[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9](:[0-5][0-9]){2}\.[0-9]{6}Z\Z")
    ]
    """When the rule fired, by the events' clock, in the trail's form."""
    alert: dict[Annotated[str, msgspec.Meta(max_length=40)], Any]
    """What stands under ``alert`` in the event's metadata; at most `MAX_ALERT_BYTES`."""
    user: _Called | None = None
    session: _Called | None = None
    backend: _Called | None = None
    type: _Called | None = None
    name: _Called | None = None


MAX_ALERT_BYTES: Final = 16_384

Order = Retain | AddHold | ReleaseHold | Erase | Reloaded | AddIncident | RecordAlert

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Order).decode


def name(order: Order | type[Order]) -> str:
    """Return the word that stands for an order's kind."""
    return str(order.__struct_config__.tag)


def encode(order: Order) -> msgspec.Raw:
    """Return an order as it goes over a socket."""
    return msgspec.Raw(_encode(order))


def decode(data: msgspec.Raw | bytes) -> Order:
    """Return an order as it was encoded. Raises WireError, one line that says what is wrong."""
    try:
        order: Order = _decode(bytes(data))
    except (ValueError, RecursionError) as exc:
        msg = f"this is no order that is known here: {exc}"
        raise WireError(msg) from exc
    return order


def encode_result(result: dict[str, Any]) -> msgspec.Raw:
    """Return a result as it goes over a socket; of one that is too long the lists are cut, and `cut` says so."""
    encoded = _encode(result)
    if len(encoded) > MAX_RESULT_BYTES:
        short = {key: value[:MAX_LISTED] if isinstance(value, list) else value for key, value in result.items()}
        encoded = _encode({**short, "cut": True})
    return msgspec.Raw(encoded if len(encoded) <= MAX_RESULT_BYTES else _encode({"cut": True}))
