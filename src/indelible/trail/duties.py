"""What the process that holds a trail does when it is told to: one function an order.

A duty is done on the housekeeper's thread, so that nothing else is done to closed files meanwhile; the writer goes on.
It has to be crash-safe at every step by itself, and it may be told twice (see `orders`). What it returns is what the
command prints, and is JSON; what it raises (an IndelibleError, one line) reaches whoever gave the order, with its exit
code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from indelible.trail import orders
from indelible.trail.orders import Asker, Erase, Order, Retain

if TYPE_CHECKING:
    from indelible.trail.writer import Writer

Duty = Callable[["Writer", Any, Asker], dict[str, Any]]
"""Carries an order out; `Any` is the order's own type."""


def _retain(writer: Writer, _order: Retain, _asker: Asker) -> dict[str, Any]:
    before = writer.housekeeper.pruned
    writer.seal()
    writer.housekeeper.prune()
    return {"pruned_before": before, "pruned": writer.housekeeper.pruned}


def _erase(writer: Writer, order: Erase, asker: Asker) -> dict[str, Any]:
    from indelible.trail.erase import erase

    return erase(writer, order, asker.uid)


DUTIES: Final[dict[type[Order], Duty]] = {
    Retain: _retain,
    Erase: _erase,
}


def known() -> list[str]:
    """Return the words for the orders that are carried out here."""
    return [orders.name(kind) for kind in DUTIES]


def carry_out(writer: Writer, order: Order, asker: Asker) -> dict[str, Any]:
    """Do what an order says; see the module. Raises IndelibleError."""
    return DUTIES[type(order)](writer, order, asker)
