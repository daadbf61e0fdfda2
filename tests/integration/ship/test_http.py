"""`indelible ship` to receivers over HTTP: kill -9, secrets, dead letters."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from indelible.trail.entry import line_seq
from tests.effort import LONG
from tests.integration.ship.shipped import configure, next_of, run, start, until
from tests.trails import Maker, operation
from tests.unit.sinks.web_judges import Elastic, Judge, Loki, Splunk, Webhook
from tests.unit.sinks.web_receivers import Asked, HttpReceiver, Reply, sink_keys

KILLS = 200 if LONG else 5
LINES = 500 * KILLS
TOKEN = "t0ken-that-nobody-may-see"


class Forgetful:
    """Takes a request now and then, and breaks the connection off before it says so."""

    def __init__(self, judge: Judge, chance: random.Random) -> None:
        self.judge = judge
        self._chance = chance

    def __call__(self, asked: Asked) -> Reply:
        answer = self.judge(asked)
        return Reply(then="reset") if self._chance.random() < 0.02 else answer


@pytest.fixture
def places() -> Iterator[dict[str, HttpReceiver]]:
    chance = random.Random("http")
    judges = {"webhook": Webhook(), "splunk_hec": Splunk(), "elasticsearch": Elastic(), "loki": Loki()}
    made = {name: HttpReceiver(Forgetful(judge, chance)) for name, judge in judges.items()}
    yield made
    for place in made.values():
        place.stop()


@pytest.mark.timeout(180 + 10 * KILLS)
def test_a_shipper_that_is_killed_again_and_again(tmp_path: Path, places: dict[str, HttpReceiver]) -> None:
    maker = Maker(tmp_path / "a.jsonl")
    maker.add_many(LINES, lambda seq: operation(seq, request={"request_id": str(seq)}))
    maker.seal()
    keys = {"format": "indelible", "flush_batch_lines": 50, "flush_interval": "0s"}
    configure(
        tmp_path,
        *(sink_keys(place.url, name=name, flavor=name, **keys) for name, place in places.items()),
    )
    judges = {name: place.plan.judge for name, place in places.items()}  # type: ignore[attr-defined] # Forgetful
    chance = random.Random() if LONG else random.Random("shipper")

    def written() -> int:
        return sum(len(judge.records) for judge in judges.values())

    for _ in range(KILLS):
        process = start(tmp_path)
        goal = written() + chance.randrange(1_500)
        until(lambda: written() >= goal or _is_done(tmp_path, maker.seq), "a record")  # noqa: B023 - called at once
        process.kill()
        process.communicate()
    assert run(tmp_path, "--once").returncode == 0
    for name, judge in judges.items():
        seqs = [line_seq(record) or 0 for record in judge.records]
        assert list(dict.fromkeys(seqs)) == list(range(maker.seq)), name
        if name in ("elasticsearch", "loki"):  # to them what comes again is the same
            assert len(seqs) == maker.seq
        else:  # what came again began with what was there
            assert all(later == earlier + 1 for earlier, later in pairwise(seqs) if later > earlier)


def _is_done(folder: Path, count: int) -> bool:
    return all(next_of(folder, name) == count for name in ("webhook", "splunk_hec", "elasticsearch", "loki"))


def trail(folder: Path, *sinks: dict[str, Any]) -> Maker:
    maker = Maker(folder / "a.jsonl")
    maker.add_many(5)
    maker.seal()
    configure(folder, *sinks)
    return maker


def test_no_command_shows_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the receiver says it, and the URL has one, too."""
    monkeypatch.setenv("TOKEN", TOKEN)
    place = HttpReceiver(lambda asked: Reply(403, f"{asked.path} {asked.headers['Authorization']}".encode()))
    try:
        trail(
            tmp_path,
            sink_keys(
                f"{place.url}/hooks/{TOKEN}", name="hook", token_env="TOKEN", headers={"X-Key": "${TOKEN}"}
            ),
        )
        done = run(tmp_path, "--once", "--timeout", "1s")
        assert done.returncode == 3
        assert "it answers 403: " in done.stderr
        assert "[REDACTED]" in done.stderr
        assert len(done.stderr.splitlines()) <= 2
        status, checked = (
            subprocess.run(
                [sys.executable, "-m", "indelible", *command, "-c", str(tmp_path / "indelible.yaml")],
                capture_output=True, text=True, timeout=120, check=False, env=os.environ.copy(),
            )
            for command in (("status", "--json"), ("config", "check"))
        )  # fmt: skip
        assert "hook" in checked.stdout
        [sink] = json.loads(status.stdout)["sinks"]
        assert "it answers 403: " in json.dumps(sink)
        kept = [path.read_text() for path in (tmp_path / "a.jsonl.d" / "cursors").rglob("*.json*")]
        for said in (done.stdout, done.stderr, status.stdout, status.stderr, checked.stdout, *kept):
            assert TOKEN not in said
    finally:
        place.stop()


def test_a_dead_letter_that_is_refused_again_holds_up_nothing(tmp_path: Path) -> None:
    judge = Webhook(refuses=lambda record: line_seq(record) == 3)
    place = HttpReceiver(judge)
    letters = tmp_path / "a.jsonl.d" / "cursors" / "dead-letter.jsonl"
    try:
        maker = trail(tmp_path, sink_keys(place.url, name="hook"))
        first = maker.seq
        assert run(tmp_path, "--once").returncode == 0
        assert [json.loads(line)["seq"] for line in letters.read_bytes().splitlines()] == [3]
        maker.add_many(1)
        maker.seal()
        done = run(tmp_path, "--once", "--replay-dead-letters")
        assert (done.returncode, next_of(tmp_path, "hook")) == (0, first + 1), done.stderr
        assert "its dead letters are refused again" in done.stderr
        assert letters.read_bytes()
        judge.refuses = lambda _: False
        assert run(tmp_path, "--once", "--replay-dead-letters").returncode == 0
        assert not letters.exists() or not letters.read_bytes()
    finally:
        place.stop()
    assert sorted(line_seq(record) or 0 for record in judge.records) == list(range(maker.seq))
