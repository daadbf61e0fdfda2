"""What stands at `audit.jsonl.1`, `.2`, … is a link to a closed file of this trail, or a finding."""

import itertools
import os
from pathlib import Path

import pytest

from indelible.trail import findings as words
from indelible.trail.checking.check import verify_trail
from indelible.trail.layout import Layout
from tests.trails import VKEY
from tests.unit.trail.verify.sealed import only, segments


def link(trail: Path, number: int, target: str, suffix: str = "") -> Path:
    path = trail.with_name(f"{trail.name}.{number}{suffix}")
    path.unlink(missing_ok=True)
    path.symlink_to(target)
    return path


def to(trail: Path, segment: Path) -> str:
    """Return what the writer's link to a closed file says."""
    return os.path.relpath(segment, trail.parent)


@pytest.fixture
def linked(trail: Path) -> Path:
    """Make the links as a writer leaves them: `.1` the newest; the second segment is compressed."""
    for number, segment in enumerate(reversed(segments(trail)), 1):
        link(trail, number, to(trail, segment), segment.suffix if segment.suffix == ".zst" else "")
    return trail


def test_links_as_the_writer_makes_them_are_nothing_to_speak_of(linked: Path) -> None:
    assert sorted(path.name for path in linked.parent.glob("audit.jsonl.*")) == [
        "audit.jsonl.1", "audit.jsonl.2.zst", "audit.jsonl.3", "audit.jsonl.d",
    ]  # fmt: skip
    result = verify_trail(linked, VKEY)
    assert result.ok
    assert len(result.not_checked) == 1


def test_a_link_replaced_by_a_copy_is_found(linked: Path) -> None:
    place = linked.with_name("audit.jsonl.1")
    content = place.read_bytes()
    place.unlink()
    place.write_bytes(content.replace(b"ada", b"eve"))
    result = verify_trail(linked, VKEY)
    finding = only(result)
    assert (finding.problem, finding.file, finding.found) == (words.LINK_ALTERED, str(place), "a plain file")
    assert finding.expected == f"a link to {segments(linked)[-1].name}"
    assert result.events == 700


def test_a_directory_in_a_links_place_is_found(linked: Path) -> None:
    place = linked.with_name("audit.jsonl.3")
    place.unlink()
    place.mkdir()
    assert (only(verify_trail(linked, VKEY)).problem, only(verify_trail(linked, VKEY)).found) == (
        words.LINK_ALTERED, "no link",
    )  # fmt: skip


@pytest.mark.parametrize(
    "target",
    [
        "/etc/passwd",
        "elsewhere.jsonl",
        "audit.jsonl",
        "audit.jsonl.d/key.vkey",
        "audit.jsonl.d/segments/../../elsewhere.jsonl",
        "audit.jsonl.d/segments/00000000000000000382.jsonl/",
        "../audit.jsonl.d/segments/00000000000000000382.jsonl",
        "audit.jsonl.d/segments/notes.txt",
        "other.jsonl.d/segments/00000000000000000382.jsonl",
        "\x1b[31m\n\udcff",
    ],
)
def test_a_link_that_points_elsewhere_is_found(linked: Path, target: str) -> None:
    path = link(linked, 1, target)
    finding = only(verify_trail(linked, VKEY))
    assert (finding.problem, finding.file, finding.found) == (
        words.LINK_ALTERED,
        str(path),
        f"a link to {target!r}",
    )


def test_links_that_changed_places_are_found(linked: Path) -> None:
    newest, _, oldest = reversed(segments(linked))
    link(linked, 1, to(linked, oldest))
    path = link(linked, 3, to(linked, newest))
    result = verify_trail(linked, VKEY)
    assert (only(result).problem, only(result).file) == (words.LINK_ALTERED, str(path))


def test_every_state_that_a_killed_writer_can_leave_is_no_finding(linked: Path) -> None:
    """Each link still says what it said before the last rotation, or is not there yet, or says what it should."""
    first, second, third = segments(linked)
    states = {1: (third, second), 2: (second, first), 3: (first, None)}
    for chosen in itertools.product(*states.values()):
        for path in linked.parent.glob("audit.jsonl.[0-9]*"):
            path.unlink()
        for number, segment in zip(states, chosen, strict=True):
            if segment is not None:
                link(linked, number, to(linked, segment), segment.suffix if segment.suffix == ".zst" else "")
        result = verify_trail(linked, VKEY)
        assert result.ok, (chosen, [str(finding) for finding in result.findings])
        behind = chosen[:2] != (third, second)
        assert any("the next writer sets it right" in text for text in result.not_checked) == behind


def test_a_link_whose_file_was_compressed_or_deleted_since_is_no_finding(linked: Path) -> None:
    link(linked, 2, "audit.jsonl.d/segments/00000000000000000191.jsonl")  # now .zst
    link(linked, 4, "audit.jsonl.d/segments/00000000000000000000.jsonl")
    link(linked, 5, "audit.jsonl.d/segments/00000000000000009999.jsonl")
    assert verify_trail(linked, VKEY).ok


def test_files_that_are_in_no_links_place_are_somebodys_own(linked: Path) -> None:
    for name in (
        "audit.jsonl.4",
        "audit.jsonl.bak",
        "audit.jsonl.01",
        "audit.jsonl.1.gz",
        "audit.jsonl.1.orig",
    ):
        linked.with_name(name).write_text("mine")
    result = verify_trail(linked, VKEY)
    assert result.ok
    assert len(result.not_checked) == 1


def test_while_a_writer_is_at_work_nothing_is_said_of_links_that_lag(linked: Path) -> None:
    import fcntl

    link(linked, 1, to(linked, segments(linked)[0]))
    with Layout(linked).lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert len(verify_trail(linked, VKEY).not_checked) == 1
