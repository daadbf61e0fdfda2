"""Cosignatures: what a witness says of a checkpoint (C2SP tlog-cosignature, Ed25519, `cosignature/v1`).

    — <name> base64(key id ‖ time, 8 bytes big-endian ‖ Ed25519 signature)

The signature is over ``cosignature/v1\\ntime <time>\\n`` and the checkpoint's text: as of that time, this is the
largest tree of this log that the witness has seen, and it extends all that it saw before.

Pure: text in, values out. What parses raises NoteError and nothing else. A signature of another type under the same
name has another key id, and is passed over as an unknown key's.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final, NamedTuple

from indelible.errors import NoteError
from indelible.trail.proofs.checkpoint import (
    ALGORITHM_ED25519,
    check_name,
    key_id,
    read_vkey,
    spell_vkey,
    split_note,
    verify_ed25519,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ALGORITHM_COSIGNATURE: Final = b"\x04"
"""Signature type of Ed25519 cosignatures (C2SP tlog-cosignature, "Format")."""

TIME_BYTES: Final = 8
MAX_TIME: Final = (1 << 63) - 1
"""Seconds since 1970; a time must not exceed it, nor be zero in a cosignature of a checkpoint."""


class WitnessKey(NamedTuple):
    """A witness's public key under its name."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The first 4 bytes of SHA-256(name ‖ 0x0A ‖ 0x04 ‖ public key)."""
        return key_id(self.name, ALGORITHM_COSIGNATURE + self.public)

    def vkey(self) -> str:
        """Return the vkey: ``name+hex key id+base64(0x04 ‖ public key)``."""
        return spell_vkey(self.name, ALGORITHM_COSIGNATURE + self.public)

    def verified(self, text: str, value: bytes) -> int | None:
        """Return the time of a cosignature over a checkpoint's `text`, or None when it is not by this key."""
        time = int.from_bytes(value[:TIME_BYTES], "big")
        if len(value) <= TIME_BYTES or not 0 < time <= MAX_TIME:
            return None
        return time if verify_ed25519(self.public, message(text, time), value[TIME_BYTES:]) else None


class Cosigner:
    """A witness's private key under its name."""

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        check_name(name)
        self._key = key
        self.key = WitnessKey(name, key.public_key().public_bytes_raw())

    def line(self, text: str, time: int) -> str:
        """Return the signature line over a checkpoint's text, with its line feed."""
        value = self.key.key_id + time.to_bytes(TIME_BYTES, "big") + self._key.sign(message(text, time))
        return f"— {self.key.name} {base64.b64encode(value).decode()}\n"


def message(text: str, time: int) -> bytes:
    """Return what is signed (C2SP tlog-cosignature, "Ed25519 signed message")."""
    return f"cosignature/v1\ntime {time}\n{text}".encode()


_LOG: Final = {ALGORITHM_ED25519: "this is a log's key; a witness's cosignatures have one of type 0x04"}


def parse_witness_vkey(vkey: str) -> WitnessKey:
    """Parse a witness's vkey, of signature type 0x04; raises NoteError when it is none."""
    return WitnessKey(*read_vkey(vkey, ALGORITHM_COSIGNATURE, _LOG, "not a witness's Ed25519 key (type 0x04)"))


def cosignatures(note: bytes, keys: Iterable[WitnessKey]) -> dict[WitnessKey, int]:
    """Return which of `keys` cosigned a note, and when, in seconds since 1970; of several by one the newest.

    Raises NoteError when it is no note, or a signature under a known name and key id is wrong (C2SP signed-note).
    """
    text, signatures = split_note(note)
    known = {(key.name, key.key_id): key for key in keys}
    found: dict[WitnessKey, int] = {}
    for signature in signatures:
        key = known.get((signature.name, signature.key_id))
        if key is None:
            continue
        time = key.verified(text, signature.value)
        if time is None:
            msg = f"the cosignature by {signature.name} is wrong"
            raise NoteError(msg)
        found[key] = max(time, found.get(key, 0))
    return found
