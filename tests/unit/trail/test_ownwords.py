"""The trail's own words: signed by the writer, told from everybody else's by the public keys."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from indelible.trail.entry import stamp
from indelible.trail.proofs import ownwords
from indelible.trail.proofs.checkpoint import Signer, Verifier
from indelible.trail.proofs.ownwords import OwnWords
from indelible.trail.proofs.rotation import STRAGGLERS, Rotation, Speaker, speakers
from indelible.trail.unsealed import PROMISED_EVENTS
from tests.trails import ORIGIN, SIGNER

BODY = {
    "timestamp": "2026-11-21T05:38:34.123456Z",
    "event_type": "retention_applied",
    "event_id": "5f0c36a1-7f7e-4f34-8a0e-0d0f0f6b0c11",
    "metadata": {"pruned": [[0, 9]], "why": 'é \u2028 "', "removed": [{"last": 9, "first": 0, "events": None}]},
}


SEQ = 7


def signed(signer: Signer = SIGNER, seq: int = SEQ) -> dict[str, Any]:
    """Return the event as it stands in its line."""
    body = ownwords.sign(signer, seq, json.dumps(BODY).encode())
    entry: dict[str, Any] = json.loads(stamp(seq, "2026-11-21T05:38:34.200000Z", body))
    return entry


def speaking(*keys: Verifier) -> list[Speaker]:
    return [Speaker(key, 2**53) for key in keys or (SIGNER.verifier,)]


def known(*keys: Verifier) -> OwnWords:
    return OwnWords(lambda: speaking(*keys))


def test_what_the_key_signed_is_the_trails_and_nothing_else_is() -> None:
    entry = signed()
    assert {key: value for key, value in entry["metadata"].items() if key != "signed"} == BODY["metadata"]
    assert known().has(entry)
    assert known().has({**entry, "recorded_at": "x"}), "a line that is written again has another time"
    for other in (
        {**entry, "seq": SEQ + 1},
        {**entry, "seq": str(SEQ)},
        {**entry, "schema": 2},
        {**entry, "timestamp": "2026-11-21T05:38:35.123456Z"},
        {**entry, "more": 1},
        {key: value for key, value in entry.items() if key != "seq"},
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
    entry = signed(other)
    assert not known().has(entry)
    assert known(SIGNER.verifier, other.verifier).has(entry), "a key that took over"
    of_another_trail = Verifier("indelible/other", SIGNER.verifier.public)
    assert not known(of_another_trail).has(signed())


def test_a_signature_is_replaced_by_that_of_who_writes_the_event() -> None:
    other = Signer(ORIGIN, Ed25519PrivateKey.generate())
    body = ownwords.sign(other, SEQ, json.dumps(BODY).encode())
    assert ownwords.sign(SIGNER, SEQ, body) == ownwords.sign(SIGNER, SEQ, json.dumps(BODY).encode())


def test_the_text_that_is_signed_is_documented() -> None:
    """Checked without the project: docs/reference/trail.md says how."""
    import base64
    from hashlib import sha256

    entry = signed()
    value = base64.b64decode(entry["metadata"].pop("signed"))
    del entry["recorded_at"]
    rest = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    text = f"indelible: the trail's own words\n{ORIGIN}\n{sha256(rest).hexdigest()}\n"
    assert value[:4] == SIGNER.verifier.key_id
    assert SIGNER.verifier.verify(text, value[4:])


@pytest.mark.parametrize("depth", [300, 5_000])
def test_what_no_encoder_takes_is_nobodys_word(depth: int) -> None:
    deep: object = []
    for _ in range(depth):
        deep = [deep]
    entry = signed()
    assert not known().has({**entry, "metadata": {**entry["metadata"], "deep": deep}})


def test_keys_are_looked_up_again_when_a_writer_took_another_but_not_for_ever() -> None:
    looks: list[int] = []
    new = Signer(ORIGIN, Ed25519PrivateKey.generate())

    def look_up() -> list[Speaker]:
        looks.append(1)
        return speaking(SIGNER.verifier, *([] if len(looks) == 1 else [new.verifier]))

    own = OwnWords(look_up)
    assert own.has(signed())
    assert own.has(signed(new))
    assert len(looks) == 2
    for number in range(100):
        assert not own.has(signed(Signer(ORIGIN, Ed25519PrivateKey.generate()))), number
    assert len(looks) == ownwords.MAX_LOOKS
    assert own.has(signed(new))


def test_without_a_key_nobody_can_tell() -> None:
    assert OwnWords(None).has({"event_type": "retention_applied", "metadata": {"pruned": [[0, 9]]}})


def keys(count: int) -> list[Signer]:
    return [Signer(ORIGIN, Ed25519PrivateKey.generate()) for _ in range(count)]


def rotated(*chain: tuple[Signer, Signer, int]) -> list[Rotation]:
    return [Rotation(old.verifier, new.verifier, size, "") for old, new, size in chain]


def test_a_key_whose_time_is_over_says_nothing_more() -> None:
    """A word that it signed in its time stays; who still has it adds none, wherever the checkpoint ends by now."""
    first, second, third = keys(3)
    notes = rotated((first, second, 10), (second, third, 20_000))
    own = OwnWords(lambda: speakers(third.verifier, notes))
    assert STRAGGLERS >= 2 * PROMISED_EVENTS, "written, and not sealed when the note was made"
    for signer, last in ((first, 10 + STRAGGLERS - 1), (second, 20_000 + STRAGGLERS - 1)):
        assert own.has(signed(signer, 5))
        assert own.has(signed(signer, last))
        assert not own.has(signed(signer, last + 1))
    assert own.has(signed(third, 10**9))
    before = OwnWords(lambda: speakers(first.verifier, notes))
    assert all(before.has(signed(one, 10**9)) for one in (first, second, third)), (
        "none of them has handed over yet"
    )


def test_a_key_that_came_back_speaks_again() -> None:
    first, second = keys(2)
    notes = rotated((first, second, 10), (second, first, 20_000))
    own = OwnWords(lambda: speakers(first.verifier, notes))
    assert own.has(signed(first, 10**9))


def test_nobody_names_a_key_for_the_trail_but_the_key_that_speaks_for_it() -> None:
    retired, present, evil = keys(3)
    notes = rotated((retired, present, 10), (retired, evil, 0))
    own = OwnWords(lambda: speakers(present.verifier, notes))
    assert not own.has(signed(evil, 0))
    assert own.has(signed(retired, 5))
