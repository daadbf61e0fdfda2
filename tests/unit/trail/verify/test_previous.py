"""A trail that succeeds one which lost its end says what became of that, and checks it where it was set aside."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import indelible
from indelible.trail import findings as words
from indelible.trail.checking.check import verify_trail
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import Signer
from tests.trails import Maker
from tests.unit.trail.verify.sealed import edit_lines, only


def record(path: Path, count: int) -> None:
    with indelible.open_trail(path) as trail:
        for number in range(count):
            with trail.operation("tools/call", f"tool{number}", effects="read_only"):
                pass


def cut(path: Path, lines: int) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:lines]))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "trail" / "audit.jsonl"


@pytest.fixture
def successor(path: Path) -> tuple[Path, Path]:
    """Make a trail whose predecessor lost all after its first five lines; return both."""
    record(path, 10)
    origin = Layout(path).origin.read_text().strip()
    cut(path, 5)
    record(path, 3)
    return path, Layout(path).retired / origin.rpartition("/")[2] / path.name


def test_the_earlier_trail_is_checked_where_it_was_set_aside(successor: tuple[Path, Path]) -> None:
    path, earlier = successor
    result = verify_trail(path)
    assert result.ok, [str(finding) for finding in result.findings]
    [previous] = result.previous
    assert (previous.trail, previous.ok, previous.size, previous.end) == (str(earlier), True, 13, 5)
    lost = f"the content of 8 events that the earlier trail {previous.origin} had lost: {earlier}"
    assert result.not_checked[-2] == lost
    assert not any("verify it by itself" in text for text in result.not_checked)
    assert verify_trail(path, Layout(path).vkey.read_text()).previous == [previous]
    value = json.loads(json.dumps(result.as_dict()))
    assert value["previous"] == [vars(previous)]


def test_one_that_is_gone_was_not_checked(successor: tuple[Path, Path]) -> None:
    path, earlier = successor
    shutil.rmtree(earlier.parent)
    result = verify_trail(path)
    assert result.ok
    [previous] = result.previous
    assert (previous.trail, previous.ok) == (None, None)
    assert (
        f"the earlier trail {previous.origin}, 13 events: it is not where it was set aside"
        in result.not_checked
    )


@pytest.mark.parametrize("line", [1, 4])
def test_what_was_altered_there_since_is_a_finding_there(successor: tuple[Path, Path], line: int) -> None:
    path, earlier = successor
    edit_lines(
        earlier,
        lambda lines: lines.__setitem__(line, lines[line].replace(b'"timestamp":"2', b'"timestamp":"1')),
    )
    result = verify_trail(path)
    finding = only(result)
    assert (finding.file, finding.line, finding.seq) == (str(earlier), line + 1, line)
    assert [previous.ok for previous in result.previous] == [False]


def test_what_was_lost_there_since_is_a_finding_there(successor: tuple[Path, Path]) -> None:
    path, earlier = successor
    cut(earlier, 3)
    finding = only(verify_trail(path))
    assert (finding.problem, finding.file, finding.seq) == (words.TAIL_CUT, str(earlier), 3)


@pytest.mark.parametrize("name", ["tile/0/000.p/13", "checkpoint", "key.vkey"])
def test_a_piece_of_its_seal_that_is_gone_is_a_finding_there(successor: tuple[Path, Path], name: str) -> None:
    path, earlier = successor
    file = Layout(earlier).directory / name
    file.unlink()
    result = verify_trail(path)
    assert str(file) in {finding.file for finding in result.findings}
    assert [previous.ok for previous in result.previous] == [False]


def test_another_trail_in_its_place_is_found(successor: tuple[Path, Path]) -> None:
    path, earlier = successor
    origin = Layout(earlier).origin.read_text().strip()
    shutil.rmtree(earlier.parent)
    Maker(earlier, origin=origin, signer=Signer(origin, Ed25519PrivateKey.generate())).add_many(12).seal()
    assert verify_trail(earlier).ok
    result = verify_trail(path)
    assert (only(result).problem, only(result).file) == (
        words.PREVIOUS_MISMATCH,
        str(Layout(earlier).checkpoint),
    )
    assert [previous.ok for previous in result.previous] == [False]


def test_a_torn_end_is_part_of_the_loss(path: Path) -> None:
    record(path, 10)
    path.write_bytes(path.read_bytes()[:-1000])
    record(path, 1)
    result = verify_trail(path)
    assert result.ok, [str(finding) for finding in result.findings]
    assert [previous.ok for previous in result.previous] == [True]


def test_a_row_of_them_is_followed_to_its_beginning(successor: tuple[Path, Path]) -> None:
    path, earlier = successor
    middle = Layout(path).origin.read_text().strip()
    cut(path, 2)
    record(path, 1)
    result = verify_trail(path)
    assert result.ok, [str(finding) for finding in result.findings]
    assert [previous.trail for previous in result.previous] == [
        str(Layout(path).retired / middle.rpartition("/")[2] / path.name),
        str(earlier),
    ]
    between = verify_trail(
        Path(str(result.previous[0].trail))
    )  # looked at by itself, it finds the one beside it
    assert [previous.trail for previous in between.previous] == [str(earlier)]


GOOD = {"origin": "indelible/" + "a" * 32, "size": 9, "root": "0" * 64, "end": 3}


@pytest.mark.parametrize(
    "named",
    [
        "yes", 1, [], {}, {**GOOD, "origin": 5}, {**GOOD, "origin": "../../../../etc"}, {**GOOD, "origin": "a/.."},
        {**GOOD, "origin": "a/b/c"}, {**GOOD, "origin": "\x1b[31m"}, {**GOOD, "size": "9"}, {**GOOD, "size": True},
        {**GOOD, "root": "x"}, {**GOOD, "root": None}, {**GOOD, "end": 9}, {**GOOD, "end": -1},
    ],
    ids=repr,
)  # fmt: skip
def test_what_no_writer_says_is_not_followed(tmp_path: Path, named: Any) -> None:
    path = naming(tmp_path, named)
    result = verify_trail(path)
    assert result.ok
    assert result.previous == []
    assert any("in no form that a writer gives it" in text for text in result.not_checked)


def test_a_trail_that_names_itself_is_followed_no_further(tmp_path: Path) -> None:
    from tests.trails import ORIGIN

    result = verify_trail(naming(tmp_path, {**GOOD, "origin": ORIGIN}))
    assert result.previous == []


def naming(folder: Path, named: Any) -> Path:
    """Make a trail whose first line says so of an earlier one."""

    class Successor(Maker):
        def service(self, event_type: str, metadata: dict[str, Any]) -> dict[str, Any]:
            return super().service(event_type, {**metadata, "previous": named})

    return Successor(folder / "audit.jsonl").add_many(3).seal().layout.active
