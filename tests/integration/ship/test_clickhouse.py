"""`indelible ship` to ClickHouse, and back: kill -9, a table that is missing, lines that are read out of the table."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from indelible.trail.entry import line_seq
from tests.clickhouse import Engine, Interface, sink_keys
from tests.effort import LONG
from tests.integration.ship.shipped import COMMAND, configure, next_of, run, start, until
from tests.trails import Maker, operation
from tests.unit.sinks.web_receivers import Asked, HttpReceiver, Reply

KILLS = 200 if LONG else 5
LINES = 300 * KILLS


class Forgetful(Interface):
    """Takes a request now and then, and breaks the connection off before it says so."""

    def __init__(self, engine: Engine, chance: random.Random) -> None:
        super().__init__(engine)
        self.rows = 0
        self._chance = chance

    def __call__(self, asked: Asked) -> Reply:
        answer = super().__call__(asked)
        self.rows += asked.body.count(b"\n")
        return Reply(then="reset") if self._chance.random() < 0.05 else answer


@pytest.fixture
def interface(clickhouse: Engine) -> Forgetful:
    return Forgetful(clickhouse, random.Random("clickhouse"))


@pytest.fixture
def place(interface: Forgetful) -> Iterator[HttpReceiver]:
    receiver = HttpReceiver(interface)
    yield receiver
    receiver.stop()


def verify(folder: Path, lines: str) -> subprocess.CompletedProcess[str]:
    """Check lines that were read out of the table, as the page says."""
    return subprocess.run(
        [*COMMAND, "verify", "--from", "-", "--json", "--trail", str(folder / "a.jsonl")],
        input=lines, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.timeout(180 + 10 * KILLS)
def test_a_shipper_that_is_killed_again_and_again(
    tmp_path: Path, clickhouse: Engine, interface: Forgetful, place: HttpReceiver
) -> None:
    """Nothing is missing; what came twice counts once; and what is there is what was sealed."""
    clickhouse.create("killed")
    maker = Maker(tmp_path / "a.jsonl")
    maker.add_many(LINES, lambda seq: operation(seq, request={"request_id": str(seq)}))
    maker.seal()
    keys = {"name": "ch", "database": "killed", "flush_batch_lines": 100, "flush_interval": "0s"}
    configure(tmp_path, sink_keys(place.url, **keys))
    chance = random.Random() if LONG else random.Random("shipper")
    for _ in range(KILLS):
        process = start(tmp_path)
        goal = interface.rows + chance.randrange(1, 300)
        until(lambda: interface.rows >= goal or next_of(tmp_path, "ch") == maker.seq, "a row")  # noqa: B023 - at once
        process.kill()
        process.communicate()
    done = run(tmp_path, "--once")
    assert done.returncode == 0, done.stderr
    seqs = [row["seq"] for row in clickhouse.rows("SELECT seq FROM killed.operations ORDER BY seq")]
    assert seqs == sorted(set(seqs)), "one counts twice"
    [covered] = clickhouse.rows("SELECT * FROM killed.coverage")
    assert (covered["events"], covered["missing"], covered["last_seq"]) == (maker.seq, 0, maker.seq - 1)
    assert interface.rows > maker.seq, "something came twice"
    exported = clickhouse.query("SELECT line FROM killed.events FINAL ORDER BY origin, seq", "TSVRaw")
    checked = verify(tmp_path, exported)
    assert checked.returncode == 0, checked.stdout
    assert json.loads(checked.stdout)["counts"] == {"as sealed": maker.seq}


def test_lines_of_the_table_are_checked_against_the_trail(
    tmp_path: Path, clickhouse: Engine, place: HttpReceiver
) -> None:
    clickhouse.create("back")
    maker = Maker(tmp_path / "a.jsonl")
    maker.add_many(30)
    maker.seal()
    configure(tmp_path, sink_keys(place.url, name="ch", database="back"))
    assert run(tmp_path, "--once").returncode == 0
    for format_ in ("TSVRaw", "LineAsString"):
        some = clickhouse.query(
            "SELECT line FROM back.events FINAL WHERE seq % 3 = 0 ORDER BY origin, seq", format_
        )
        checked = verify(tmp_path, some)
        assert checked.returncode == 0, checked.stdout
        assert len(some.splitlines()) == json.loads(checked.stdout)["records"] == (maker.seq + 2) // 3
    clickhouse.query("INSERT INTO back.events (origin, seq, line) SELECT origin, seq, replaceOne(line, 'ada', 'eve') "
                     "FROM back.events WHERE seq = 7")  # fmt: skip
    altered = verify(tmp_path, clickhouse.query("SELECT line FROM back.events", "TSVRaw"))
    assert altered.returncode == 1
    assert any(finding["seq"] == 7 for finding in json.loads(altered.stdout)["findings"])


def test_a_table_that_is_missing_is_said_and_costs_nothing(
    tmp_path: Path, clickhouse: Engine, place: HttpReceiver
) -> None:
    maker = Maker(tmp_path / "a.jsonl")
    maker.add_many(5)
    maker.seal()
    configure(tmp_path, sink_keys(place.url, name="ch", database="later"))
    done = run(tmp_path, "--once", "--timeout", "1s")
    assert done.returncode == 3
    assert "81 UNKNOWN_DATABASE" in done.stderr
    assert "'indelible schema clickhouse' prints what does" in done.stderr
    printed = subprocess.run(
        [*COMMAND, "schema", "clickhouse", "--database", "later", "--json"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    for statement in json.loads(printed.stdout)["statements"]:
        clickhouse.query(statement["sql"])
    assert run(tmp_path, "--once").returncode == 0
    found = clickhouse.query("SELECT line FROM later.events FINAL ORDER BY seq", "TSVRaw").splitlines()
    assert [line_seq(line.encode()) for line in found] == list(range(maker.seq))
