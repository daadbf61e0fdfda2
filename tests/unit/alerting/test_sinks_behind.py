"""Sinks as a rule sees them: from the files that whoever ships leaves beside the trail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from indelible import config
from indelible.alerting import probes
from indelible.trail.durable import Access
from indelible.trail.shipping import cursor, letters
from indelible.trail.shipping.cursor import Cursor
from tests.trails import ORIGIN, Maker
from tests.unit.alerting.alerting import settings


def found(maker: Maker, **keys: Any) -> str:
    audit = config.parse(
        {"audit": {"sinks": [{"type": "file", "name": "siem", "path": "/x"}]}}, where="f", env={}
    ).audit
    [rule] = settings(sink_behind={"age": "1000d", **keys}).rules
    [one] = probes.sinks(maker.layout, audit, rule)
    assert one.about == "sink siem"
    return one.trouble


@pytest.mark.parametrize(("at", "trouble"), [(21, ""), (12, ""), (0, "21 events behind")])
def test_how_far_a_sink_is_behind(tmp_path: Path, at: int, trouble: str) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(20).seal()
    cursor.write(maker.layout, Cursor(sink="siem", origin=ORIGIN, next=at), Access())
    assert trouble in found(maker, over=10)
    assert bool(found(maker, over=10)) is bool(trouble)


def test_what_waits_too_long_and_what_was_refused(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(20).seal()
    cursor.write(maker.layout, Cursor(sink="siem", origin=ORIGIN, next=20), Access())
    assert found(maker, age="100000d") == ""
    assert found(maker, age="0s") != "" or maker.clock < 0
    letters.add(maker.layout, [letters.letter("siem", ORIGIN, 1, "x", "no", b"r")])
    assert "dead letters, 1 of them" in found(maker, age="100000d")


def test_a_sink_that_has_not_begun_is_not_behind(tmp_path: Path) -> None:
    assert found(Maker(tmp_path / "audit.jsonl").add_many(5).seal(), over=1) == ""


def test_dead_letters_of_channels_are_among_the_places_of_content(tmp_path: Path) -> None:
    from indelible.trail.upkeep.traces import places

    maker = Maker(tmp_path / "audit.jsonl").add_many(5).seal()
    home = maker.layout.for_alerts()
    letters.add(home, [letters.letter("hook", ORIGIN, 1, "x", "no", b"ada")])
    assert letters.path_of(home) in places(maker.layout).loose
    assert letters.path_of(home).parent.name == "alerts"
