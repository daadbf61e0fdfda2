"""What is said to a witness: the form of `add-checkpoint`, and what is taken for a cosignature."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from indelible.errors import NoteError
from indelible.trail.proofs.checkpoint import parse_vkey
from indelible.trail.proofs.cosignature import Cosigner, cosignatures, message, parse_witness_vkey
from indelible.trail.proofs.submission import (
    MAX_PROOF_LINES,
    MAX_SUBMISSION_BYTES,
    Submission,
    cosigned,
    parse_size,
    parse_submission,
)
from tests.trails import SIGNER
from tests.witnesses import COSIGNER, NAME, history

HASHES = st.lists(st.binary(min_size=32, max_size=32), max_size=MAX_PROOF_LINES)
NOTE = history(7).note(7)
TEXT = NOTE.decode().partition("\n\n")[0] + "\n"
LINE = COSIGNER.line(TEXT, 1_795_000_000).encode()
OTHER = Cosigner("witness.example/w2", Ed25519PrivateKey.generate())

SPEC_BODY = b"""old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\xe2\x80\x94 example.com/behind-the-sofa \
Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
"""


def test_the_example_of_the_specification() -> None:
    said = parse_submission(SPEC_BODY)
    assert (said.old, len(said.proof)) == (20852014, 4)
    assert said.note.startswith(b"example.com/behind-the-sofa\n20852163\n")
    assert said.data() == SPEC_BODY


@given(st.integers(0, (1 << 63) - 1), HASHES, st.binary(max_size=300))
def test_what_is_sent_is_what_is_read(old: int, proof: list[bytes], note: bytes) -> None:
    sent = Submission(old, tuple(proof), note)
    assert parse_submission(sent.data()) == sent


@given(st.binary(max_size=400))
def test_no_bytes_whatever_raise_anything_else(data: bytes) -> None:
    for body in (data, b"old 1\n" + data, b"old 1\n\n" + data):
        try:
            said = parse_submission(body)
        except NoteError:
            continue
        assert said.data() == body, "a body has one spelling"


@given(st.integers(0, len(SPEC_BODY) - 1), st.integers(0, 255))
def test_a_changed_byte_is_another_submission_or_none(at: int, byte: int) -> None:
    changed = bytearray(SPEC_BODY)
    changed[at] = byte
    try:
        said = parse_submission(bytes(changed))
    except NoteError:
        return
    assert said.data() == bytes(changed)


HASH = base64.b64encode(bytes(32)) + b"\n"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n\n",
        b"old\n\n" + NOTE,
        b"old \n\n" + NOTE,
        b"old 01\n\n" + NOTE,
        b"old -1\n\n" + NOTE,
        b"old 1 \n\n" + NOTE,
        b"OLD 1\n\n" + NOTE,
        b"old 9223372036854775808\n\n" + NOTE,
        b"old 1\r\n\r\n" + NOTE,
        b"old 1",
        b"old 1\n" + HASH,
        b"old 1\n" + HASH[:-2] + b"\n\n" + NOTE,
        b"old 1\nAAAA\n\n" + NOTE,
        b"old 1\n" + HASH * (MAX_PROOF_LINES + 1) + b"\n" + NOTE,
        b"old 1\n\n" + b"x" * MAX_SUBMISSION_BYTES,
    ],
)
def test_other_forms_are_refused(body: bytes) -> None:
    with pytest.raises(NoteError):
        parse_submission(body)


def test_a_size_is_a_decimal() -> None:
    assert parse_size(b"20852014\n") == 20852014
    for wrong in (b"", b"\n", b"007\n", b"1\n1\n", b"-1\n", b"9223372036854775808\n", b"x\n"):
        with pytest.raises(NoteError):
            parse_size(wrong)


# --- cosignatures ---------------------------------------------------------------------------------------


def test_what_is_signed_is_what_the_specification_shows() -> None:
    assert message("example.com/behind-the-sofa\n20852163\nCsU=\n", 1679315147) == (
        b"cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\nCsU=\n"
    )


def test_a_vkey_goes_round_and_is_not_taken_for_a_logs() -> None:
    vkey = COSIGNER.key.vkey()
    assert parse_witness_vkey(vkey) == COSIGNER.key
    with pytest.raises(NoteError, match="witness"):
        parse_vkey(vkey)
    with pytest.raises(NoteError, match="log's key"):
        parse_witness_vkey(SIGNER.verifier.vkey())


@pytest.mark.parametrize("change", ["", "x", "+00000000+", "w+00000000+", "w+12345678+BAAA"])
def test_what_is_no_vkey_is_refused(change: str) -> None:
    with pytest.raises(NoteError):
        parse_witness_vkey(change)
    with pytest.raises(NoteError):
        parse_witness_vkey(COSIGNER.key.vkey().replace(NAME, change or "other"))


def test_the_witness_own_line_is_taken_and_others_left_out() -> None:
    answer = OTHER.line(TEXT, 1).encode() + LINE
    note, time = cosigned(NOTE, answer, COSIGNER.key)
    assert (note, time) == (NOTE + LINE, 1_795_000_000)
    assert cosignatures(note, [COSIGNER.key, OTHER.key]) == {COSIGNER.key: time}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\n",
        b"ok\n",
        LINE[:-1],
        OTHER.line(TEXT, 1).encode(),
        Cosigner(NAME, Ed25519PrivateKey.generate()).line(TEXT, 1).encode(),
        COSIGNER.line(TEXT.replace("\n7\n", "\n8\n"), 1).encode(),
        COSIGNER.line(TEXT, 0).encode(),
        COSIGNER.line(TEXT, 1 << 63).encode(),
        SIGNER.sign(TEXT).rpartition("\n\n")[2].encode(),
        b"\n" + LINE,
        LINE + b"\nmore",
    ],
)
def test_nothing_else_is_taken_for_a_cosignature(answer: bytes) -> None:
    with pytest.raises(NoteError):
        cosigned(NOTE, answer, COSIGNER.key)


@given(st.integers(0, len(LINE) - 1), st.integers(0, 7))
def test_no_flipped_bit_gets_through(at: int, bit: int) -> None:
    altered = bytearray(LINE)
    altered[at] ^= 1 << bit
    with pytest.raises(NoteError):
        cosigned(NOTE, bytes(altered), COSIGNER.key)
    try:
        assert cosignatures(NOTE + bytes(altered), [COSIGNER.key]) == {}
    except NoteError:
        pass


@given(st.binary(max_size=300))
def test_any_answer_whatever_is_judged(answer: bytes) -> None:
    with pytest.raises(NoteError):
        cosigned(NOTE, answer, COSIGNER.key)
