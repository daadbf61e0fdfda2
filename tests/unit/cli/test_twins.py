"""`indelible twins`: what it makes, says and refuses; and `--no-twins`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from indelible.cli import main
from indelible.query import quick
from indelible.query.engine import twinned
from indelible.trail import twins
from indelible.trail.durable import Access
from indelible.trail.layout import Layout
from tests.trails import Maker, operation

pytestmark = pytest.mark.slow

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    maker = Maker(tmp_path / "a.jsonl")
    for compress in (False, True):
        maker.add_many(20, lambda seq: operation(seq, source__user_id=f"u{seq % 2}"))
        maker.rotate(compress=compress)
    maker.add_many(3)
    return maker.seal().layout.active


@pytest.fixture
def run(trail: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    def run(*args: str) -> tuple[int, str, str]:
        code = main([args[0], "--trail", str(trail), *args[1:]])
        said = capfd.readouterr()
        return code, said.out, said.err

    return run


def test_what_is_due_is_made_and_said(run: Run, trail: Path) -> None:
    code, out, err = run("twins")
    assert (code, err) == (0, "")
    first, second = out.splitlines()
    assert first.startswith(f"{trail}: twins: 2 of 42 events, ")
    assert second.strip().startswith("2 made, ")
    code, out, _ = run("twins", "--json")
    (one,) = json.loads(out)["trails"]
    assert (code, one["twins"], one["made"], one["events"], one["by_line"]) == (0, 2, 0, 42, 0)
    stored = sum(path.stat().st_size for path in Layout(trail).twins.glob("*.parquet"))
    assert one["bytes"] == stored
    assert "2 made" in run("twins", "--rebuild")[1]


def test_verify_says_that_it_did_not_look_at_them(run: Run) -> None:
    """Answers may come from them, and what is wrong with one no line shows."""
    said = "indelible twins --check"
    assert said not in run("verify")[1]
    assert said not in " ".join(json.loads(run("verify", "--json")[1])["not_checked"])
    run("twins")
    *_, last = run("verify")[1].splitlines()
    assert "not checked: twins" in last
    assert said in last
    assert said in json.loads(run("verify", "--json")[1])["not_checked"][-1]
    run("twins", "--remove")
    assert said not in run("verify")[1]


def test_they_are_checked(run: Run, trail: Path) -> None:
    run("twins")
    assert run("twins", "--check")[:2][0] == 0
    rows, other = sorted(Layout(trail).twins.glob("*.parquet"))
    rows.write_bytes(other.read_bytes())
    note = rows.with_suffix(".json")
    stamp = twins.stamp_of(rows.stat())
    forged = {name: getattr(stamp, name) for name in stamp.__struct_fields__}
    note.write_text(json.dumps({**json.loads(note.read_text()), "rows": forged}))
    code, out, _ = run("twins", "--check", "--json")
    (one,) = json.loads(out)["trails"]
    assert (code, json.loads(out)["ok"], len(one["findings"])) == (1, False, 1)
    assert "something else than its lines" in run("twins", "--check")[1]


def test_twins_that_do_not_fit_are_told_and_not_called_whole(run: Run, trail: Path) -> None:
    assert run("twins", "--check")[1].splitlines()[0].endswith(": twins: none")
    run("twins")
    for note in Layout(trail).twins.glob("*.json"):
        note.write_text(json.dumps({**json.loads(note.read_text()), "columns": "of an earlier version"}))
    first, second, third = run("twins", "--check")[1].splitlines()
    assert first.endswith(": twins: none that fit")
    assert second.startswith(
        "  2 not asked, of lines that are others now, or of another version; 'indelible twins"
    )
    assert third == "  0 checked: there is none that fits"


def test_they_are_removed(run: Run, trail: Path) -> None:
    run("twins")
    code, out, _ = run("twins", "--remove")
    assert (code, "4 files removed" in out) == (0, True)
    assert sorted(path.name for path in Layout(trail).twins.iterdir()) == [twins.LOCK]


@pytest.mark.parametrize("command", ["log", "sql"])
def test_the_lines_alone_can_be_asked(run: Run, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick, "LEAST_BYTES", 0)
    run("twins")
    asks = ["log", "--count", "--user", "u1"] if command == "log" else ["sql", "SELECT count(*) FROM logs"]
    expected = run(*asks)
    assert expected[0] == 0

    def forbidden(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(twinned, "Cover", forbidden)
    monkeypatch.setattr("indelible.query.engine.pieces.Cover", forbidden)
    assert run(*asks, "--no-twins") == expected


@pytest.mark.parametrize("limit", ["0", "40"])
@pytest.mark.parametrize("where", ["seq IN (SELECT seq FROM events)", "latency_ms >= 0"])
def test_a_line_that_was_edited_beside_its_twin_has_the_lines_asked(
    run: Run, trail: Path, where: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin fits: the file is as long as it was, both its ends are as they were, and so are its times."""
    segment = min(Layout(trail).segments.glob("*.jsonl"))
    run("twins")
    monkeypatch.setattr(twins, "fits_closed", lambda *_: True)
    lines = segment.read_bytes().split(b"\n")
    lines[9], lines[10] = lines[10], lines[9]
    segment.write_bytes(b"\n".join(lines))
    asks = ["log", "--where", where, "-n", limit, "--json"]
    code, out, err = run(*asks, "--no-twins")
    assert (code, len(out.splitlines()), err) == (0, min(43, int(limit) or 43), "")
    told = run(*asks)
    assert told[:2] == (0, out)
    [said] = told[2].splitlines()
    assert said.startswith(f"indelible: {segment}: is not as its twin says, so the lines were asked")
    assert f"'indelible twins --rebuild --trail {trail}' makes twins anew" in said
    assert run("sql", f"SELECT count(*) AS n FROM logs WHERE {where}")[0] == 0


def test_mistakes_are_one_line(run: Run, trail: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("twins", "--check", "--remove")[0] == 2
    with twins.alone(Layout(trail), Access()):
        code, out, err = run("twins", "--rebuild")
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert "somebody else" in err

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(Layout(trail).twins))

    monkeypatch.setattr(twins, "alone", denied)
    code, out, err = run("twins", "--rebuild")
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert "who may write the trail" in err


def test_there_has_to_be_a_trail(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["twins", "--trail", str(tmp_path / "none.jsonl")]) == 3
    assert "there is no trail here" in capfd.readouterr().err
    assert not (tmp_path / "none.jsonl.d").exists()
