"""The trail's own words: signed by the writer, told from everybody else's by the public keys."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from indelible.trail.proofs import ownwords
from indelible.trail.proofs.checkpoint import Signer, Verifier
from indelible.trail.proofs.ownwords import OwnWords
from tests.trails import ORIGIN, SIGNER

BODY = {
    "timestamp": "2026-11-21T05:38:34.123456Z",
    "event_type": "retention_applied",
    "event_id": "5f0c36a1-7f7e-4f34-8a0e-0d0f0f6b0c11",
    "metadata": {"pruned": [[0, 9]], "why": 'é \u2028 "', "removed": [{"last": 9, "first": 0, "events": None}]},
}


def signed(signer: Signer = SIGNER) -> bytes:
    return ownwords.sign(signer, json.dumps(BODY).encode())


def known(*keys: Verifier) -> OwnWords:
    return OwnWords(lambda: keys or (SIGNER.verifier,))


def test_what_the_key_signed_is_the_trails_and_nothing_else_is() -> None:
    entry = json.loads(signed())
    assert {key: value for key, value in entry["metadata"].items() if key != "signed"} == BODY["metadata"]
    assert known().has(entry)
    assert known().has({**entry, "seq": 7, "recorded_at": "x", "schema": 1}), (
        "a line's stamps are not the event's"
    )
    for other in (
        {**entry, "event_id": "another"},
        {**entry, "event_type": "entry_erased"},
        {**entry, "event_type": "alert"},
        {**entry, "event_id": 7},
        {**entry, "metadata": {**entry["metadata"], "pruned": [[0, 10]]}},
        {**entry, "metadata": {**entry["metadata"], "more": 1}},
        {**entry, "metadata": BODY["metadata"]},
        {**entry, "metadata": {**entry["metadata"], "signed": entry["metadata"]["signed"][:-4]}},
        {**entry, "metadata": {**entry["metadata"], "signed": "é"}},
        {**entry, "metadata": {**entry["metadata"], "signed": None}},
        {**entry, "metadata": [1]},
        {},
        None,
    ):
        assert not known().has(other), other


def test_another_key_or_origin_signs_nothing_for_the_trail() -> None:
    other = Signer(ORIGIN, Ed25519PrivateKey.generate())
    entry = json.loads(signed(other))
    assert not known().has(entry)
    assert known(SIGNER.verifier, other.verifier).has(entry), "a key that took over"
    of_another_trail = Verifier("indelible/other", SIGNER.verifier.public)
    assert not known(of_another_trail).has(json.loads(signed()))


def test_a_signature_is_replaced_by_that_of_who_writes_the_event() -> None:
    other = Signer(ORIGIN, Ed25519PrivateKey.generate())
    again = ownwords.sign(SIGNER, signed(other))
    assert again == signed()


def test_the_text_that_is_signed_is_documented() -> None:
    """Checked without the project: docs/reference/trail.md says how."""
    import base64
    from hashlib import sha256

    entry = json.loads(signed())
    value = base64.b64decode(entry["metadata"].pop("signed"))
    rest = json.dumps(entry["metadata"], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    lines = ("indelible: the trail's own words", ORIGIN, entry["event_type"], entry["event_id"])
    text = "".join(line + "\n" for line in (*lines, sha256(rest).hexdigest()))
    assert value[:4] == SIGNER.verifier.key_id
    assert SIGNER.verifier.verify(text, value[4:])


@pytest.mark.parametrize("depth", [300, 5_000])
def test_what_no_encoder_takes_is_nobodys_word(depth: int) -> None:
    deep: object = []
    for _ in range(depth):
        deep = [deep]
    entry = json.loads(signed())
    assert not known().has({**entry, "metadata": {**entry["metadata"], "deep": deep}})


def test_keys_are_looked_up_again_when_a_writer_took_another_but_not_for_ever() -> None:
    looks: list[int] = []
    new = Signer(ORIGIN, Ed25519PrivateKey.generate())

    def look_up() -> list[Verifier]:
        looks.append(1)
        return [SIGNER.verifier] if len(looks) == 1 else [SIGNER.verifier, new.verifier]

    own = OwnWords(look_up)
    assert own.has(json.loads(signed()))
    assert own.has(json.loads(signed(new)))
    assert len(looks) == 2
    for number in range(100):
        assert not own.has(json.loads(signed(Signer(ORIGIN, Ed25519PrivateKey.generate())))), number
    assert len(looks) == ownwords.MAX_LOOKS
    assert own.has(json.loads(signed(new)))


def test_without_a_key_nobody_can_tell() -> None:
    assert OwnWords(None).has({"event_type": "retention_applied", "metadata": {"pruned": [[0, 9]]}})
