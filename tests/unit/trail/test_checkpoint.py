"""Signed notes and checkpoints: what is accepted, and above all what is not."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.errors import ConfigError, NoteError
from indelible.trail.proofs.checkpoint import Checkpoint, Verifier, open_note, parse, parse_vkey, split_note
from indelible.trail.start import keys

ORIGIN = "indelible/0123456789abcdef0123456789abcdef"
SIGNER = keys.load_signer(keys.generate_pem(), ORIGIN)
OTHER = keys.load_signer(keys.generate_pem(), ORIGIN)
NOTE = SIGNER.sign(Checkpoint(ORIGIN, 70_000, bytes(range(32))).text()).encode()


def test_a_note_of_the_specification_is_read() -> None:
    """The example of golang.org/x/mod/sumdb/note, signed there."""
    verifier = parse_vkey("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    note = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n"
        "\n"
        "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    ).encode()
    assert open_note(note, [verifier]).startswith("If you think")


def test_round_trip() -> None:
    assert parse(open_note(NOTE, [SIGNER.verifier])) == Checkpoint(ORIGIN, 70_000, bytes(range(32)))
    assert parse_vkey(SIGNER.verifier.vkey()) == SIGNER.verifier


@given(st.integers(0, len(NOTE) - 1), st.integers(0, 7))
def test_no_flipped_bit_gets_through(at: int, bit: int) -> None:
    altered = bytearray(NOTE)
    altered[at] ^= 1 << bit
    with pytest.raises(NoteError):
        open_note(bytes(altered), [SIGNER.verifier])


@given(st.integers(0, len(NOTE) - 1))
def test_no_cut_note_gets_through(length: int) -> None:
    with pytest.raises(NoteError):
        open_note(NOTE[:length], [SIGNER.verifier])


def test_a_note_by_another_key_under_the_same_name_is_refused() -> None:
    with pytest.raises(NoteError, match="not signed by the expected key"):
        open_note(NOTE, [OTHER.verifier])


def test_signatures_by_unknown_keys_are_passed_over() -> None:
    cosigned = NOTE + OTHER.sign("x\n").rpartition("\n\n")[2].encode()
    assert open_note(cosigned, [SIGNER.verifier]) == open_note(NOTE, [SIGNER.verifier])


@given(st.binary(max_size=300))
def test_parsers_raise_one_error_type_on_any_bytes(data: bytes) -> None:
    with pytest.raises(NoteError):
        split_note(data)
    with pytest.raises(NoteError):
        parse(data.decode("latin-1"))
    with pytest.raises(NoteError):
        parse_vkey(data.decode("latin-1"))


@pytest.mark.parametrize(
    "text",
    [
        "o\n-1\nAAAA\n",
        "o\n01\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "o\n1\n" + base64.b64encode(bytes(31)).decode() + "\n",
        "o\n1\n" + base64.b64encode(bytes(32)).decode(),
        "o\n1\n" + base64.b64encode(bytes(32)).decode() + "\n\n",
        "\n1\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "o\n99999999999999999999\n" + base64.b64encode(bytes(32)).decode() + "\n",
    ],
)
def test_texts_that_are_no_checkpoint(text: str) -> None:
    with pytest.raises(NoteError):
        parse(text)


def test_a_vkey_whose_id_is_not_its_keys_is_refused() -> None:
    name, _, rest = SIGNER.verifier.vkey().partition("+")
    with pytest.raises(NoteError, match="key id"):
        parse_vkey(f"{name}+00000000+{rest.partition('+')[2]}")


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u00a0b"])
def test_names_that_cannot_name_a_key(name: str) -> None:
    with pytest.raises(NoteError):
        parse_vkey(Verifier(name, bytes(32)).vkey())


@pytest.mark.parametrize(
    "pem", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_what_is_no_key_is_refused_without_being_shown(pem: bytes) -> None:
    with pytest.raises(ConfigError, match=r"^key\.pem: not an unencrypted private key"):
        keys.load_signer(pem, ORIGIN, "key.pem")
