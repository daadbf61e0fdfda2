"""What `indelible status` says of the last alert: in words for people, whole for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from indelible.cli.root import root
from tests.trails import Maker, at

ALERT = {
    "rule": "denials", "state": "firing", "severity": "warning", "summary": "actor ada: 11 denials in 1m",
    "dedup_key": "8e6d0205-907c-5450-b620-ac7b12772633", "since": at(0), "event_seq": 6, "by": "actor",
    "window_s": 60.0, "numbers": {"denied": 11}, "query": "indelible log -n 0 --user=ada " + "x" * 300,
}  # fmt: skip

DISK = "disk (resolved): the trail's disk is below a threshold, 9.0 % are used"


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"alert": ALERT}, "denials (warning): actor ada: 11 denials in 1m"),
        ({"alert": ALERT | {"state": "resolved"}}, "denials (resolved): actor ada: 11 denials in 1m"),
        ({"alert": ALERT | {"summary": "actor \x1b[2Ja\nb: \u202e1"}}, "denials (warning): actor �[2Ja�b: �1"),
        ({"incident": {"note": "checkout is down"}}, "incident (error): checkout is down"),
        ({"disk": "below", "used_percent": 9.0}, DISK),
        ({"alert": ["?"]}, "alert (error): the trail gives an alert; its event says which"),
        ([], "alert (error): the trail gives an alert; its event says which"),
    ],
)  # fmt: skip
def test_the_last_alert_is_said_in_words_and_whole_in_json(tmp_path: Path, metadata: Any, said: str) -> None:
    maker = Maker(tmp_path / "audit.jsonl")
    maker.add(maker.service("alert", metadata), at(60))
    maker.seal()
    where = ["--trail", str(maker.layout.active)]
    shown = CliRunner().invoke(root, ["status", *where], standalone_mode=False)
    [line] = [line.strip() for line in shown.stdout.splitlines() if line.strip().startswith("last alert")]
    assert line == f"last alert   {at(60)}, seq 1: {said}"
    state = json.loads(CliRunner().invoke(root, ["status", "--json", *where], standalone_mode=False).stdout)
    assert state["last"]["alert"]["metadata"] == metadata
