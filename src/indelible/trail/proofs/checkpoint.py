"""Checkpoints: C2SP tlog-checkpoint bodies in C2SP signed notes, signed with Ed25519.

    <origin>\\n
    <size, decimal>\\n
    <root hash, base64>\\n
    [extension lines]
    \\n
    — <name> <base64(key id ‖ signature)>\\n

Pure: text in, values out. `parse` and `open_note` raise NoteError and nothing else, whatever they are given; a
note with no signature by the given key is refused, never half trusted.
"""

from __future__ import annotations

import base64
import binascii
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from indelible.errors import NoteError
from indelible.trail.proofs.merkle import HASH_SIZE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ALGORITHM_ED25519: Final = b"\x01"
"""Signature type identifier (C2SP signed-note, "Signature types")."""

ED25519_VKEY_BYTES: Final = 1 + 32
"""In a vkey: the type's byte, the public key."""

MAX_NOTE_BYTES: Final = 1_000_000
"""golang.org/x/mod/sumdb/note refuses larger ones."""

_NAME = re.compile(r"[^\s+]+")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


class Checkpoint(NamedTuple):
    """What a trail says of itself: `size` leaves under `root` (32 bytes)."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the note's text (C2SP tlog-checkpoint)."""
        lines = [self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions]
        return "".join(line + "\n" for line in lines)


class Signature(NamedTuple):
    """A signature line: key name, key id (4 bytes), signature."""

    name: str
    key_id: bytes
    value: bytes


class Verifier(NamedTuple):
    """A public key under a name, as a vkey spells it."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The first 4 bytes of SHA-256(name ‖ 0x0A ‖ algorithm ‖ public key)."""
        return key_id(self.name, ALGORITHM_ED25519 + self.public)

    def vkey(self) -> str:
        """Return the vkey: ``name+hex key id+base64(algorithm ‖ public key)``."""
        return spell_vkey(self.name, ALGORITHM_ED25519 + self.public)

    def verify(self, text: str, signature: bytes) -> bool:
        """Tell whether `signature` over `text` is by this key."""
        return verify_ed25519(self.public, text.encode(), signature)


def verify_ed25519(public: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether an Ed25519 signature is right (RFC 8032)."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key: Ed25519PublicKey = Ed25519PublicKey.from_public_bytes(public)
        key.verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


class Signer:
    """A private key under a name; while keys overlap, earlier ones sign beside it."""

    def __init__(self, name: str, key: Ed25519PrivateKey, *beside: Ed25519PrivateKey) -> None:
        check_name(name)
        keys = (key, *beside)
        self._keys = [(Verifier(name, one.public_key().public_bytes_raw()), one) for one in keys]
        self.verifier = self._keys[0][0]

    @property
    def verifiers(self) -> list[Verifier]:
        """The public halves, the trail's own key first."""
        return [verifier for verifier, _ in self._keys]

    def sign(self, text: str) -> str:
        """Return the signed note of `text`, which ends in a newline: a signature line a key."""
        return text + "\n" + "".join(_signature_line(verifier, key, text) for verifier, key in self._keys)

    def sign_alone(self, text: str) -> str:
        """Return base64(key id ‖ signature) of `text` by the trail's own key: what ends a note's signature line."""
        return _encode_signature(*self._keys[0], text)


def _signature_line(verifier: Verifier, key: Ed25519PrivateKey, text: str) -> str:
    return f"— {verifier.name} {_encode_signature(verifier, key, text)}\n"


def _encode_signature(verifier: Verifier, key: Ed25519PrivateKey, text: str) -> str:
    return base64.b64encode(verifier.key_id + key.sign(text.encode())).decode()


def check_name(name: str) -> None:
    """Raise NoteError unless `name` can name a key: no white space, no plus (C2SP signed-note, "Format")."""
    if not _NAME.fullmatch(name) or not name.isprintable():
        msg = "not a key name: white space, a plus, or nothing"  # never the text: it may be a private key
        raise NoteError(msg)


# --- vkeys: a public key with its signature type's byte in front, under a name ---------------------------


def key_id(name: str, key: bytes) -> bytes:
    """Return the first 4 bytes of SHA-256(name ‖ 0x0A ‖ key) (C2SP signed-note, "Signatures")."""
    return sha256(name.encode() + b"\n" + key).digest()[:4]


def spell_vkey(name: str, key: bytes) -> str:
    """Return ``name+hex key id+base64(key)`` (C2SP signed-note, "Verifier keys")."""
    return f"{name}+{key_id(name, key).hex()}+{base64.b64encode(key).decode()}"


def read_vkey(vkey: str, wanted: bytes, refusals: Mapping[bytes, str], otherwise: str) -> tuple[str, bytes]:
    """Return a vkey's name and its Ed25519 public key, when its signature type is the `wanted` one.

    Raises NoteError: `refusals` has what is said of keys of some other types, `otherwise` of all the rest.
    """
    name, _, rest = vkey.strip().partition("+")
    digits, _, encoded = rest.partition("+")
    check_name(name)
    key = canonical_base64(encoded, "vkey")
    if key[:1] != wanted or len(key) != ED25519_VKEY_BYTES:
        known = len(key) == ED25519_VKEY_BYTES
        msg = f"vkey: {refusals.get(key[:1], otherwise) if known else otherwise}"
        raise NoteError(msg)
    expected = key_id(name, key).hex()
    if expected != digits.lower():
        msg = f"vkey: the key id should be {expected}, found {digits.lower()[:16]!r}"
        raise NoteError(msg)
    return name, key[1:]


_WITNESS: Final = {b"\x04": "this is a witness's key (type 0x04), not the one that a log signs with"}


def parse_vkey(vkey: str) -> Verifier:
    """Parse a vkey; raises NoteError when it is none, or its key id is not its key's."""
    return Verifier(*read_vkey(vkey, ALGORITHM_ED25519, _WITNESS, "not an Ed25519 key"))


# --- signed notes -----------------------------------------------------------------------------------------


def split_note(note: bytes) -> tuple[str, list[Signature]]:
    """Split a signed note into its text (with its last newline) and its signatures.

    Raises NoteError (C2SP signed-note, "Format").
    """
    if len(note) > MAX_NOTE_BYTES:
        msg = f"a signed note has at most {MAX_NOTE_BYTES} bytes, this one {len(note)}"
        raise NoteError(msg)
    try:
        text = note.decode("utf-8")
    except UnicodeDecodeError as exc:
        msg = f"not a signed note: invalid UTF-8 at byte {exc.start}"
        raise NoteError(msg) from exc
    if any(char < " " and char != "\n" for char in text):
        msg = "not a signed note: control characters"
        raise NoteError(msg)
    body, separator, block = text.rpartition("\n\n")
    if not separator or not block.endswith("\n"):
        msg = "not a signed note: no signature block after an empty line"
        raise NoteError(msg)
    return body + "\n", [_signature(line) for line in block[:-1].split("\n")]


def _signature(line: str) -> Signature:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    if dash != "—":
        msg = f"not a signature line: {line[:40]!r}"
        raise NoteError(msg)
    check_name(name)
    value = canonical_base64(encoded, "signature")
    if len(value) < 5:
        msg = "signature: too short"
        raise NoteError(msg)
    return Signature(name, value[:4], value[4:])


def open_note(note: bytes, verifiers: list[Verifier]) -> str:
    """Return a note's text when at least one of `verifiers` signed it.

    Raises NoteError when none did, or when a signature under a known name and key id is wrong. Signatures by
    unknown keys are passed over, as C2SP signed-note demands.
    """
    text, signatures = split_note(note)
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    verified = False
    for signature in signatures:
        verifier = known.get((signature.name, signature.key_id))
        if verifier is None:
            continue
        if not verifier.verify(text, signature.value):
            msg = f"the signature by {signature.name} is wrong"
            raise NoteError(msg)
        verified = True
    if not verified:
        names = ", ".join(sorted({f"{item.name}+{item.key_id.hex()}" for item in signatures}))
        msg = f"not signed by the expected key; signed by {names}"
        raise NoteError(msg)
    return text


def parse(text: str) -> Checkpoint:
    """Parse a checkpoint's text (C2SP tlog-checkpoint); raises NoteError."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
        msg = "not a checkpoint: expected origin, size and root hash, a line each"
        raise NoteError(msg)
    origin, size, root, *extensions = lines[:-1]
    if not _SIZE.fullmatch(size):
        msg = f"not a checkpoint: size {size[:24]!r}"
        raise NoteError(msg)
    digest = canonical_base64(root, "checkpoint: root hash")
    if len(digest) != HASH_SIZE:
        msg = f"not a checkpoint: a root hash of {len(digest)} bytes"
        raise NoteError(msg)
    return Checkpoint(origin, int(size), digest, tuple(extensions))


def canonical_base64(text: str, what: str) -> bytes:
    """Decode base64; refuse everything but the one canonical spelling, so that no bit can flip unseen."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        msg = f"{what}: not base64"
        raise NoteError(msg) from exc
    if base64.b64encode(data).decode() != text:
        msg = f"{what}: not canonical base64"
        raise NoteError(msg)
    return data
