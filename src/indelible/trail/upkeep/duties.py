"""What the process that holds a trail does when it is told to: one function an order.

A duty is done on the housekeeper's thread, so that nothing else is done to closed files meanwhile; the writer goes on.
It has to be crash-safe at every step by itself, and it may be told twice (see `orders`). What it returns is what the
command prints, and is JSON; what it raises (an IndelibleError, one line) reaches whoever gave the order, with its exit
code.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from indelible import events
from indelible.errors import ConfigError, TrailError
from indelible.events import Event, Source, Target
from indelible.trail.commit import Item
from indelible.trail.shipping.backlog import shipping_of
from indelible.trail.upkeep import keeping, orders
from indelible.trail.upkeep.due import Rules
from indelible.trail.upkeep.holds import describe_asker
from indelible.trail.upkeep.orders import (
    AddHold,
    AddIncident,
    Asker,
    Erase,
    Order,
    RecordAlert,
    ReleaseHold,
    Reloaded,
    Retain,
)

if TYPE_CHECKING:
    from pathlib import Path

    from indelible.trail.writer import Writer

NEWEST_BYTES: Final = 1 << 20
"""So much of the newest file is looked through for an order that the holder before may have carried out."""

Duty = Callable[["Writer", Any, Asker], dict[str, Any]]
"""Carries an order out; `Any` is the order's own type."""


def _retain(writer: Writer, order: Retain, asker: Asker) -> dict[str, Any]:
    audit, keeper = writer.audit, writer.housekeeper
    rules = Rules(
        audit.retention_rules if order.retention is None else order.retention,
        audit.backup_count if order.backup_count is None else order.backup_count,
        shipping_of(audit),
    )
    writer.seal()
    try:
        done = keeper.pruner.prune(rules, lambda: False, describe_asker(asker))
    except OSError as exc:
        msg = f"{exc.filename or writer.layout.active}: {exc.strerror or exc}; what is on record as deleted goes later"
        raise TrailError(msg) from exc
    with contextlib.suppress(OSError):  # the next look sets them right
        keeper.link()
    return {**done, "retention": keeping.describe_rules(rules.retention), "backup_count": rules.backup_count}


def _add_hold(writer: Writer, order: AddHold, asker: Asker) -> dict[str, Any]:
    hold = writer.housekeeper.holds.place(writer, order, asker)
    return {"hold": msgspec.to_builtins(hold)}


def _release_hold(writer: Writer, order: ReleaseHold, asker: Asker) -> dict[str, Any]:
    hold = writer.housekeeper.holds.release(writer, order, asker)
    return {"released": msgspec.to_builtins(hold) if hold is not None else {"id": order.id}}


def _erase(writer: Writer, order: Erase, asker: Asker) -> dict[str, Any]:
    from indelible.trail.upkeep.erase import erase

    return erase(writer, order, asker, writer.housekeeper.holds.held)


def _reloaded(writer: Writer, order: Reloaded, asker: Asker) -> dict[str, Any]:
    """Record a change of sinks, unless the holder before has done so: then its order stands in the newest lines."""
    if not _stands_in_newest(writer.layout.active, order.id.encode()):
        sinks = {key: getattr(order, key) for key in ("added", "removed", "changed") if getattr(order, key)}
        metadata = {"sinks": sinks, "order": order.id, "asked": describe_asker(asker)}
        writer.write_service_events([writer.service_event("config_reloaded", metadata)])
    return {}


def _add_incident(writer: Writer, order: AddIncident, asker: Asker) -> dict[str, Any]:
    """Record an incident, unless the holder before has done so. Its time is the note's; none is later than now."""
    if order.at > events.now():
        msg = f"--at: {order.at} is later than now: an incident is recorded once it has been seen"
        raise ConfigError(msg)
    event = Event(
        timestamp=order.at,
        event_type="alert",
        event_id=order.id,
        source=Source(recorder=writer.recorder),
        target=None if order.backend is None else Target(backend=order.backend),
        metadata={"incident": {"note": order.note}, "asked": describe_asker(asker)},
    )
    if not _stands_in_newest(writer.layout.active, order.id.encode()):
        writer.write_service_events([Item(events.encode_body(event))])
    return {"event_id": order.id, "at": order.at, "note": order.note, "backend": order.backend}


def _record_alert(writer: Writer, order: RecordAlert, asker: Asker) -> dict[str, Any]:
    """Record an alert of a rule, unless the holder before has done so."""
    if len(msgspec.json.encode(order.alert)) > orders.MAX_ALERT_BYTES:
        msg = f"an alert is more than {orders.MAX_ALERT_BYTES} bytes"
        raise ConfigError(msg)
    target = Target(backend=order.backend, type=order.type, capability_name=order.name)
    event = Event(
        timestamp=min(order.at, events.now()),
        event_type="alert",
        event_id=order.id,
        source=Source(session_id=order.session, user_id=order.user, recorder=writer.recorder),
        target=None if target == Target() else target,
        metadata={"alert": order.alert, "asked": describe_asker(asker)},
    )
    if not _stands_in_newest(writer.layout.active, order.id.encode()):
        writer.write_service_events([Item(events.encode_body(event))])
    return {"event_id": order.id}


def _stands_in_newest(path: Path, text: bytes) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - NEWEST_BYTES))
        return text in file.read(NEWEST_BYTES)


DUTIES: Final[dict[type[Order], Duty]] = {
    Retain: _retain,
    Erase: _erase,
    AddHold: _add_hold,
    ReleaseHold: _release_hold,
    Reloaded: _reloaded,
    AddIncident: _add_incident,
    RecordAlert: _record_alert,
}


def known() -> list[str]:
    """Return the words for the orders that are carried out here."""
    return [orders.name(kind) for kind in DUTIES]


def carry_out(writer: Writer, order: Order, asker: Asker) -> dict[str, Any]:
    """Do what an order says; see the module. Raises IndelibleError."""
    return DUTIES[type(order)](writer, order, asker)
