"""A trail whose own words nobody signed, as earlier versions wrote them: found, and gone on with."""

from pathlib import Path
from unittest import mock

import pytest

from indelible.config import AuditSettings
from indelible.trail import findings as words
from indelible.trail.checking.check import verify_trail
from indelible.trail.layout import Layout
from indelible.trail.proofs import ownwords
from indelible.trail.proofs.stored import words_beside
from indelible.trail.upkeep.standing import read_standing

from .faults import read_all, without_threads
from .test_writer import body, start

SMALL = AuditSettings(max_size=3000, compress_rotated=False)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "audit.jsonl"
    with (
        mock.patch.object(ownwords, "sign", lambda _signer, _seq, body: body),
        without_threads(look_after=False),
    ):
        writer = start(path, SMALL)
        placed = {"hold": {"id": "0a1b2c3d4e5f", "user": "ada"}, "reason": "case 7", "asked": {"login": "root"}}
        writer.write_service_events([writer.service_event("hold_placed", placed)])
        for number in range(40):
            writer.append(body(f"a{number}"))
        writer.close()
    assert len(list(Layout(path).segments.iterdir())) > 1
    return path


def test_it_is_found_and_its_holds_stand(old: Path) -> None:
    found = verify_trail(old).findings
    assert {finding.problem for finding in found} == {words.NOT_SIGNED}
    assert {finding.seq for finding in found} == {
        entry["seq"] for entry in read_all(old) if entry["event_type"] in ownwords.KINDS
    }
    assert {hold.user for hold in read_standing(Layout(old)).standing.values()} == {"ada"}


def test_the_next_writer_goes_on_and_what_it_says_is_its_own(old: Path) -> None:
    """Also the hold: it says that again, and signs it."""
    before = {(one.problem, one.seq) for one in verify_trail(old).findings}
    count = len(read_all(old))
    with without_threads(look_after=False):
        writer = start(old, SMALL)
        for number in range(40):
            writer.append(body(f"b{number}"))
        writer.seal()
        writer.housekeeper.prune()
        writer.close()
    assert {(one.problem, one.seq) for one in verify_trail(old).findings} == before
    own, added = words_beside(Layout(old)), read_all(old)[count:]
    said = [entry for entry in added if entry["event_type"] in ownwords.KINDS and entry.pop("leaf")]
    assert {entry["event_type"] for entry in said} == {"file_opened", "hold_placed"}
    assert all(own.has(entry) for entry in said)
    (hold,) = read_standing(Layout(old)).standing.values()
    assert (hold.id, hold.user, hold.reason) == ("0a1b2c3d4e5f", "ada", "case 7")
