"""Which sinks a reload has changed: known by their names, and by nothing that does not change what they get."""

from __future__ import annotations

from typing import Any

from indelible.shipper.reloading import change
from indelible.sink_settings.sinks import SinkSettings, parse_sinks


def sinks(*items: dict[str, Any]) -> tuple[SinkSettings, ...]:
    return parse_sinks([{"type": "file", "path": f"{item['name']}.log", **item} for item in items])


def test_what_came_what_went_and_what_is_otherwise() -> None:
    before = sinks({"name": "a"}, {"name": "b"}, {"name": "c"})
    after = sinks({"name": "d"}, {"name": "c", "format": "ecs"}, {"name": "a"})
    order = change(before, after)
    assert order is not None
    assert (order.added, order.removed, order.changed) == (["d"], ["b"], ["c"])


def test_the_same_sinks_in_another_order_are_no_change() -> None:
    assert change(sinks({"name": "a"}, {"name": "b"}), sinks({"name": "b"}, {"name": "a"})) is None
    assert change((), ()) is None


def test_each_change_has_an_id_of_its_own() -> None:
    first, second = (change((), sinks({"name": "a"})) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.id != second.id
