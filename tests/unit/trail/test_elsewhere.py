"""Lines found elsewhere, looked up in trails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import indelible
from indelible.errors import NotProven, TrailError
from indelible.events import MAX_LINE_BYTES
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import Signer
from indelible.trail.proofs.elsewhere import LineCheck, Verdict
from tests.trails import SIGNER, Maker, erased, operation


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    maker = Maker(tmp_path / "t" / "audit.jsonl").add_many(300)
    maker.rotate(compress=True)
    return maker.add_many(20).seal().add_many(2)


def look_up(maker: Maker, *lines: bytes) -> tuple[LineCheck, list[Verdict]]:
    check = LineCheck([maker.layout.active], None, "found.jsonl")
    return check, [check.line(line, number) for number, line in enumerate(lines, 1)]


def line(maker: Maker, at: int) -> bytes:
    """Return a line of the active file."""
    return maker.layout.active.read_bytes().splitlines()[at]


def test_lines_of_the_trail_are_in_it(maker: Maker) -> None:
    check, verdicts = look_up(maker, line(maker, 0), line(maker, 20))
    assert [(verdict.verdict, verdict.seq) for verdict in verdicts] == [("yes", 301), ("yes", 321)]
    result = check.finish()
    assert (result.ok, result.events, result.size) == (True, 2, 322)
    assert "every other line of the trail" in result.not_checked


WRONG: dict[str, Callable[[bytes], bytes]] = {
    "altered": lambda data: data.replace(b"files", b"filez"),
    "another seq": lambda data: data.replace(b'"seq":303', b'"seq":304'),
    "re-encoded": lambda data: data.replace(b'":', b'": ').replace(b'"seq": ', b'"seq":'),
    "re-encoded wholly": lambda data: data.replace(b'":', b'": '),
    "white space": lambda data: b" " + data,
    "byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "cut": lambda data: data[:-1],
    "two carriage returns": lambda data: data + b"\r\r",
    "NUL": lambda data: data + b"\0",
    "no JSON": lambda _: b"hello",
    "huge seq": lambda _: b'{"seq":' + b"9" * 5_000 + b",",
    "negative seq": lambda _: b'{"seq":-1,"schema":1}',
    "megabytes": lambda data: data + b" " * 2_000_000,
    "too long with a carriage return": lambda _: b'{"seq":303,' + b"x" * MAX_LINE_BYTES + b"\r",
    "erased by somebody else": lambda data: erased(data.replace(b"files", b"filez"), 303),
    "a leaf that is none": lambda _: b'{"seq":303,"erased":"x","leaf":"00"}',
}


@pytest.mark.parametrize("how", WRONG)
def test_whatever_else_is_not(maker: Maker, how: str) -> None:
    check, [verdict] = look_up(maker, WRONG[how](line(maker, 2)))
    assert verdict.verdict == "no"
    assert verdict.detail
    result = check.finish()
    assert not result.ok
    assert [finding.problem for finding in result.findings] == ["line not in the trail"]


def test_a_carriage_return_is_said(maker: Maker) -> None:
    _, [verdict] = look_up(maker, line(maker, 2) + b"\r")
    assert verdict.verdict == "yes"
    assert "carriage return" in verdict.detail


def test_what_no_checkpoint_covers_yet_is_no_yes(maker: Maker) -> None:
    check, verdicts = look_up(maker, line(maker, 21), b'{"seq":999999999999999,"schema":1}')
    assert [verdict.verdict for verdict in verdicts] == ["not covered", "not covered"]
    assert not check.finish().ok


def test_an_erased_line_is_counted_apart(maker: Maker) -> None:
    check, [verdict] = look_up(maker, erased(line(maker, 2), 303))
    assert (verdict.verdict, verdict.erased) == ("yes", True)
    result = check.finish()
    assert (result.ok, result.events, result.erased) == (True, 1, 1)
    assert any("erased" in text for text in result.not_checked)


def test_a_line_that_names_another_trail(maker: Maker, tmp_path: Path) -> None:
    signer = Signer("indelible/other", Ed25519PrivateKey.generate())
    other = Maker(tmp_path / "u" / "audit.jsonl", origin="indelible/other", signer=signer).seal()
    _, [verdict] = look_up(maker, line(other, 0))
    assert (verdict.verdict, verdict.detail) == (
        "another trail",
        "the line says that it is of 'indelible/other'",
    )


def test_of_several_trails_the_one_that_has_it_is_named(maker: Maker, tmp_path: Path) -> None:
    signer = Signer("indelible/other", Ed25519PrivateKey.generate())
    other = Maker(tmp_path / "u" / "audit.jsonl", origin="indelible/other", signer=signer)
    other.add_many(5, lambda number: operation(number, target__backend="mail")).seal()
    paths = [maker.layout.active, other.layout.active]
    check = LineCheck(paths, None, "found.jsonl")
    assert check.line(line(other, 3), 1).trail == str(other.layout.active)
    assert check.line(line(maker, 3), 2).trail == str(maker.layout.active)
    assert check.finish().ok
    pinned = LineCheck(paths, SIGNER.verifier, "found.jsonl")
    assert pinned.line(line(other, 3), 1).verdict == "no"
    assert any("does not count" in text for text in pinned.finish().not_checked)


def test_a_line_of_an_earlier_trail_is_said_to_be_one(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for count in (5, 0):
        with indelible.open_trail(path) as trail:
            for _ in range(count):
                with trail.operation("tools/call", "steal"):
                    pass
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:4]))
    check = LineCheck([path], None, "found.jsonl")
    assert check.line(path.read_bytes().splitlines()[0], 1).verdict == "yes"
    retired = next(Layout(path).retired.glob("*/audit.jsonl")).read_bytes().splitlines()
    verdict = check.line(retired[2], 2)
    assert verdict.verdict == "another trail"
    assert "set aside" in verdict.detail


@pytest.mark.parametrize("how", ["altered", "missing"])
def test_a_tile_that_the_root_does_not_vouch_for_says_nothing(maker: Maker, how: str) -> None:
    tile = maker.layout.tiles / "0" / "000"
    first = b'{"seq":7,"schema":1,"recorded_at":"x"}'
    if how == "missing":
        tile.unlink()
    else:
        from indelible.trail.proofs.merkle import leaf_hash

        data = tile.read_bytes()
        tile.write_bytes(data[: 7 * 32] + leaf_hash(first) + data[8 * 32 :])
    _, [verdict] = look_up(maker, first)
    assert verdict.verdict == "no"
    assert "tile/0/000" in verdict.detail


def test_no_line_is_no_yes(maker: Maker) -> None:
    check, _ = look_up(maker)
    assert not check.finish().ok


def test_more_findings_than_are_kept_are_counted(maker: Maker) -> None:
    check, _ = look_up(maker, *[b"{}"] * 1_500)
    result = check.finish()
    assert (len(result.findings), result.omitted, len(check.lines)) == (1_000, 500, 1_000)
    assert check.counts == {"no": 1_500}


def test_without_a_trail_or_a_signed_checkpoint_nothing_is_looked_up(maker: Maker, tmp_path: Path) -> None:
    with pytest.raises(TrailError, match="no trail"):
        LineCheck([tmp_path / "nowhere.jsonl"], None, "x")
    maker.layout.checkpoint.write_text("hello\n")
    with pytest.raises(NotProven):
        LineCheck([maker.layout.active], None, "x")
