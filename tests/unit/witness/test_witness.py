"""What a witness cosigns, what it refuses, and what it says: C2SP tlog-witness, "add-checkpoint", line by line."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from unittest import mock

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indelible.errors import ConfigError, TrailError
from indelible.trail import durable
from indelible.trail.proofs.checkpoint import Checkpoint, Signer, open_note, parse
from indelible.trail.proofs.cosignature import Cosigner, cosignatures
from indelible.trail.proofs.merkle import EMPTY_ROOT
from indelible.trail.proofs.submission import SIZE_TYPE, Submission
from indelible.witness.decision import Answer
from indelible.witness.server import Witness
from indelible.witness.state import StateDirectory, origin_hash
from tests.trails import ORIGIN, SIGNER
from tests.witnesses import COSIGNER, NAME, History, history

LOG = history(700)
FORK = history(700, "evil", 300)
SECOND_KEY = Signer(ORIGIN, Ed25519PrivateKey.generate())
LOGS = {ORIGIN: [SIGNER.verifier, SECOND_KEY.verifier]}


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateDirectory]:
    made = StateDirectory(tmp_path / "state", COSIGNER.key)
    yield made
    made.close()


@pytest.fixture
def witness(state: StateDirectory) -> Witness:
    return Witness(LOGS, COSIGNER, state)


def said(witness: Witness, old: int, size: int, log: History = LOG) -> Answer:
    return witness.add_checkpoint(log.submission(old, size).data())


def note_of(checkpoint: Checkpoint) -> bytes:
    return SIGNER.sign(checkpoint.text()).encode()


@pytest.mark.parametrize(
    "sizes", [(1, 2, 3), (255, 256, 257), (1, 256, 512, 513, 700), (700,), (0, 5), (5, 5, 6)]
)
def test_a_log_that_grows_is_cosigned(witness: Witness, sizes: tuple[int, ...]) -> None:
    old = 0
    for size in sizes:
        answer = said(witness, old, size)
        assert answer.status == 200, answer
        assert list(cosignatures(LOG.note(size) + answer.body, [COSIGNER.key])) == [COSIGNER.key]
        old = size
    served = witness.checkpoint(sha256(ORIGIN.encode()).hexdigest())
    assert parse(open_note(served.body, [SIGNER.verifier])) == LOG.checkpoint(sizes[-1])
    assert list(cosignatures(served.body, [COSIGNER.key])) == [COSIGNER.key]


def test_a_size_out_of_step_is_told_which_it_is(witness: Witness) -> None:
    assert said(witness, 5, 10) == Answer(409, b"0\n", SIZE_TYPE)
    assert said(witness, 0, 400).status == 200
    for old, size in ((0, 500), (399, 500), (500, 600), (0, 400), (0, 100)):
        assert said(witness, old, size) == Answer(409, b"400\n", SIZE_TYPE)


def test_a_rollback_is_refused(witness: Witness) -> None:
    assert said(witness, 0, 400).status == 200
    assert witness.add_checkpoint(Submission(400, (), LOG.note(399)).data()).status == 400
    assert said(witness, 0, 399).status == 409


@pytest.mark.parametrize("size", [400, 401, 700])
def test_a_fork_is_refused(witness: Witness, size: int) -> None:
    assert said(witness, 0, 400).status == 200
    answer = said(witness, 400, size, FORK)
    assert answer.status == 422
    assert said(witness, 400, size).status == 200, "the log itself goes on"


@given(st.integers(0, 700), st.integers(0, 700), st.lists(st.binary(min_size=32, max_size=32), max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_made_up_proof_is_cosigned(tmp_path: Path, old: int, size: int, proof: list[bytes]) -> None:
    state = StateDirectory(tmp_path / "s", COSIGNER.key)
    try:
        witness = Witness(LOGS, COSIGNER, state)
        if state.latest(ORIGIN) is None:
            assert said(witness, 0, 400).status == 200
        answer = witness.add_checkpoint(Submission(old, tuple(proof), FORK.note(size)).data())
        assert answer.status in (400, 409, 422)
        assert state.latest(ORIGIN) == LOG.checkpoint(400)
    finally:
        state.close()


def test_an_empty_tree_has_one_root_and_nothing_is_proved_from_it(witness: Witness) -> None:
    wrong = note_of(Checkpoint(ORIGIN, 0, bytes(32)))
    assert witness.add_checkpoint(Submission(0, (), wrong).data()).status == 422
    empty = note_of(Checkpoint(ORIGIN, 0, EMPTY_ROOT))
    assert witness.add_checkpoint(Submission(0, (), empty).data()).status == 200
    assert witness.add_checkpoint(Submission(0, (bytes(32),), LOG.note(3)).data()).status == 422
    assert said(witness, 0, 3).status == 200


def test_who_is_not_known_gets_nothing(witness: Witness) -> None:
    stranger = Signer("indelible/other", Ed25519PrivateKey.generate())
    unknown = history(5)
    unknown.signer, unknown.origin = stranger, "indelible/other"
    assert said(witness, 0, 5, unknown).status == 404
    forged = Signer(ORIGIN, Ed25519PrivateKey.generate()).sign(LOG.checkpoint(5).text()).encode()
    assert witness.add_checkpoint(Submission(0, (), forged).data()).status == 403
    unsigned = COSIGNER.line(LOG.checkpoint(5).text(), 9)
    only_cosigned = f"{LOG.checkpoint(5).text()}\n{unsigned}".encode()
    assert witness.add_checkpoint(Submission(0, (), only_cosigned).data()).status == 403
    broken = LOG.note(5).replace(b"\n5\n", b"\n6\n")
    assert (
        witness.add_checkpoint(Submission(0, (), broken + LOG.note(6).rpartition(b"\n\n")[2]).data()).status
        == 403
    )
    assert witness.checkpoint(origin_hash("indelible/other")).status == 404
    assert witness.checkpoint(origin_hash(ORIGIN)).status == 404


def test_a_second_key_of_the_log_counts_and_other_peoples_lines_are_not_kept(witness: Witness) -> None:
    other = Cosigner("w2", Ed25519PrivateKey.generate()).line(LOG.checkpoint(5).text(), 9).encode()
    note = SECOND_KEY.sign(LOG.checkpoint(5).text()).encode() + other
    assert witness.add_checkpoint(Submission(0, (), note).data()).status == 200
    kept = witness.checkpoint(origin_hash(ORIGIN)).body
    assert parse(open_note(kept, [SECOND_KEY.verifier])).size == 5
    assert "\n— w2 ".encode() not in kept  # the letters alone may stand in a signature


@pytest.mark.parametrize(
    "body", [b"", b"old 0\n\n", b"old 0\n\nno note", b"\xff" * 100, b"old 0\n\n" + bytes(90_000)]
)
def test_what_is_no_submission_is_refused(witness: Witness, body: bytes) -> None:
    assert witness.add_checkpoint(body).status == 400


# --- what it remembers ----------------------------------------------------------------------------------


def test_it_remembers_across_a_restart(tmp_path: Path) -> None:
    for old, size in ((0, 300), (300, 500)):
        state = StateDirectory(tmp_path / "state", COSIGNER.key)
        assert said(Witness(LOGS, COSIGNER, state), old, size).status == 200
        state.close()
    state = StateDirectory(tmp_path / "state", COSIGNER.key)
    assert said(Witness(LOGS, COSIGNER, state), 300, 500, FORK) == Answer(409, b"500\n", SIZE_TYPE)
    state.close()


def test_two_of_them_do_not_share_a_state(tmp_path: Path, state: StateDirectory) -> None:
    with pytest.raises(TrailError, match="another witness runs"):
        StateDirectory(tmp_path / "state", COSIGNER.key)


@pytest.mark.parametrize("fault", ["datasync", "rename", "sync_directory"])
def test_what_cannot_be_kept_is_not_signed(witness: Witness, fault: str) -> None:
    """And whether the disk has it or not, the log is told what is so, and goes on."""
    assert said(witness, 0, 300).status == 200
    target, name = (durable, fault) if fault != "rename" else (Path, "rename")
    with mock.patch.object(target, name, side_effect=OSError(28, os.strerror(28))):
        failed = said(witness, 300, 400)
    assert (failed.status, b"\xe2\x80\x94" in failed.body) == (500, False)
    now = said(witness, 0, 1)
    assert now.status == 409
    size = int(now.body)
    assert size in (300, 400)
    assert said(witness, size, 400).status == 200
    assert said(witness, 400, 500).status == 200


@pytest.mark.parametrize(
    "damage", ["empty", "torn", "another log's", "another witness's", "a directory", "gone", "old"]
)
def test_a_state_that_was_tampered_with_stops_it_from_signing(
    witness: Witness, tmp_path: Path, damage: str
) -> None:
    assert said(witness, 0, 200).status == 200
    place = tmp_path / "state" / origin_hash(ORIGIN) / "checkpoint"
    old = place.read_bytes()
    assert said(witness, 200, 300).status == 200
    good = place.read_bytes()
    other = Cosigner(NAME, Ed25519PrivateKey.generate())
    foreign = Checkpoint("elsewhere", 300, bytes(32)).text()
    made = {
        "empty": b"",
        "torn": good[:100],
        "another log's": SIGNER.sign(foreign).encode() + COSIGNER.line(foreign, 5).encode(),
        "another witness's": LOG.note(300) + other.line(LOG.checkpoint(300).text(), 5).encode(),
        "old": old,
    }
    place.unlink()
    if damage == "a directory":
        place.mkdir()
    elif damage != "gone":
        place.write_bytes(made[damage])
    for log in (LOG, FORK):
        assert said(witness, 300, 400, log).status == 500
        assert said(witness, 0, 400, log).status == 500
        assert said(witness, 200, 400, log).status == 500
    if damage == "a directory":
        place.rmdir()
    place.write_bytes(good)
    assert said(witness, 300, 400).status == 200


@pytest.mark.parametrize("content", [b"", b"old 1\n", LOG.note(5)])
def test_it_does_not_start_with_a_damaged_state(tmp_path: Path, content: bytes) -> None:
    place = tmp_path / "state" / origin_hash(ORIGIN)
    place.mkdir(parents=True)
    (place / "checkpoint").write_bytes(content)
    with pytest.raises((TrailError, ConfigError), match=r"damaged|another witness"):
        StateDirectory(tmp_path / "state", COSIGNER.key)


def test_many_at_once_get_one_history(witness: Witness) -> None:
    """Two histories that fork are submitted from many threads: exactly one of them is ever signed past the fork."""
    assert said(witness, 0, 300).status == 200
    signed: list[tuple[int, bytes]] = []

    def submit(log: History) -> None:
        old = 300
        while old < 420:
            answer = said(witness, old, old + 1, log)
            if answer.status == 200:
                signed.append((old + 1, log.checkpoint(old + 1).root))
                old += 1
            elif answer.status == 409:
                old = min(int(answer.body), 420)
            else:
                assert answer.status == 422
                return

    threads = [threading.Thread(target=submit, args=(log,)) for log in (LOG, FORK) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    histories = {root == LOG.checkpoint(size).root for size, root in signed}
    assert len(histories) == 1
    assert {size for size, _ in signed} == set(range(301, 421))
