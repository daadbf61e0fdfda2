"""Proofs from Python: what is shown, and that everything else raises."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import indelible
from indelible.trail.proofs.checkpoint import Signer
from indelible.trail.proofs.proof import parse_proof
from tests.trails import ORIGIN, VKEY, Maker

OTHER = Signer(ORIGIN, Ed25519PrivateKey.generate()).verifier.vkey()


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    return Maker(tmp_path / "t" / "audit.jsonl").add_many(600).seal().layout.active


def lines(trail: Path) -> list[bytes]:
    return trail.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("seq", [0, 1, 255, 256, 600])
def test_by_seq(trail: Path, seq: int) -> None:
    proof = indelible.prove(trail, seq, VKEY)
    line = lines(trail)[seq]
    shown = indelible.verify_proof(proof, line, VKEY)
    assert shown == (ORIGIN, seq, 601, False)
    assert indelible.verify_proof(proof, line.decode().removesuffix("\n"), VKEY) == shown


def test_by_event_id(trail: Path) -> None:
    event_id = "00000000-0000-4000-8000-000000000007"
    proof = indelible.prove(trail, event_id)
    [seq] = [number for number, line in enumerate(lines(trail)) if event_id.encode() in line]
    assert indelible.verify_proof(proof, lines(trail)[seq], VKEY).seq == seq


@pytest.mark.parametrize("event", [-1, 601, 10**30, "", "00000000-0000-4000-8000-999999999999"])
def test_what_is_not_there_raises(trail: Path, event: int | str) -> None:
    with pytest.raises(indelible.NotProven):
        indelible.prove(trail, event)


def test_where_nothing_is_raises(tmp_path: Path) -> None:
    with pytest.raises(indelible.TrailError, match="no trail"):
        indelible.prove(tmp_path / "none.jsonl", 0)


def test_another_line_another_key_and_no_key(trail: Path) -> None:
    proof, line = indelible.prove(trail, 5), lines(trail)[5]
    for wrong in (lines(trail)[6], line[:-2], line + b"\n", b"", line.replace(b"ada", b"bob")):
        with pytest.raises(indelible.NotProven, match="not the one"):
            indelible.verify_proof(proof, wrong, VKEY)
    with pytest.raises(indelible.NotProven, match="signed by"):
        indelible.verify_proof(proof, line, OTHER)
    with pytest.raises(indelible.ConfigError):
        indelible.verify_proof(proof, line, "nonsense")
    with pytest.raises(indelible.NotProven):
        indelible.prove(trail, 5, OTHER)


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_changed_byte_gets_through(trail: Path, data: st.DataObject) -> None:
    proof, line = bytearray(indelible.prove(trail, 5)), lines(trail)[5]
    at = data.draw(st.integers(0, len(proof) - 1))
    proof[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(indelible.NotProven):
        indelible.verify_proof(bytes(proof), line, VKEY)
    assert parse_proof(indelible.prove(trail, 5)).index == 5
