"""The trail's name and its secrets: origin, signing key, digest key.

The signing key is PKCS#8 PEM (RFC 8410), so that openssl can make and read it; it has no name of its own. The
origin is the key's name in signed notes (C2SP tlog-checkpoint), so one key file may serve several trails and no
two of them can be taken for one log. Digest keys are derived with HKDF (RFC 5869) from a secret of its own: to
roll the signing key must not change what a digest of an argument looks like.
"""

from __future__ import annotations

import binascii
import os
import re
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from indelible.errors import ConfigError, TrailCorrupt
from indelible.trail import durable
from indelible.trail.durable import Access
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import Signer, Verifier
from indelible.values import shell_word

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from indelible.config import AuditSettings

ORIGIN_PREFIX: Final = "indelible/"
HMAC_SECRET_BYTES: Final = 32
MAX_KEY_FILE_BYTES: Final = 16_384
MAX_KEYS: Final = 8
"""One key signs, and so many less one may still sign beside it: each costs a signature a checkpoint."""

_ORDINARY = re.compile(
    rb"\s*-----BEGIN PRIVATE KEY-----\r?\n([A-Za-z0-9+/]{64})\r?\n-----END PRIVATE KEY-----\s*"
)
_HEAD = bytes.fromhex("302e020100300506032b657004220420")
"""What 32 bytes of an Ed25519 key have before them in PKCS#8 (RFC 8410, section 7; DER, version 0, no attributes)."""
_PEM = re.compile(rb"-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY)-----.*?-----END \1-----\n?", re.DOTALL)
_UNTIL = re.compile(rb"(?m)^Signs-until: ([0-9T:.-]{26}Z)\r?$")
_ORIGIN = re.compile(r"indelible/[0-9a-f]{32}")


def new_origin() -> str:
    """Return a fresh random name for a trail."""
    return ORIGIN_PREFIX + secrets.token_hex(16)


def read_origin(layout: Layout) -> str | None:
    """Return the trail's origin, or None when it has none yet. Raises TrailCorrupt when the file holds none."""
    try:
        text = layout.origin.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as exc:
        msg = f"{layout.origin}: cannot read the trail's origin: {exc}"
        raise TrailCorrupt(msg) from exc
    if not _ORIGIN.fullmatch(text.strip()):
        msg = f"{layout.origin}: does not hold an origin (expected {ORIGIN_PREFIX}<32 hex digits>)"
        raise TrailCorrupt(msg)
    return text.strip()


def generate_pem() -> bytes:
    """Return a new Ed25519 private key as PKCS#8 PEM."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    der = binascii.b2a_base64(_HEAD + Ed25519PrivateKey.generate().private_bytes_raw())
    return b"-----BEGIN PRIVATE KEY-----\n%b-----END PRIVATE KEY-----\n" % der


def load_signer(pem: bytes, origin: str, where: str = "key") -> Signer:
    """Return the signer of a PEM private key under the name `origin`. Raises ConfigError."""
    return Signer(origin, load_private(pem, where))


def load_private(pem: bytes, where: str = "key") -> Ed25519PrivateKey:
    """Return the private key in a PEM file.

    Raises ConfigError, naming `where` and never a byte of the key, when it is no unencrypted Ed25519 key.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    seed = _seed_of(pem)
    if seed is not None:
        return Ed25519PrivateKey.from_private_bytes(seed)

    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        msg = (
            f"{where}: not an unencrypted private key in PEM form; make one with 'indelible keygen --out FILE'"
        )
        raise ConfigError(msg) from exc
    if not isinstance(key, Ed25519PrivateKey):
        msg = f"{where}: not an Ed25519 key; make one with 'indelible keygen --out FILE'"
        raise ConfigError(msg)
    return key


def _seed_of(pem: bytes) -> bytes | None:
    """Return the 32 bytes of a key in the form that keygen and openssl write; None for any other.

    What reads every form takes 3 MB and a tenth of a start, in each tapped server.
    """
    ordinary = _ORDINARY.fullmatch(pem)
    der = binascii.a2b_base64(ordinary[1]) if ordinary else b""
    return der.removeprefix(_HEAD) if der.startswith(_HEAD) else None


class HeldKey(NamedTuple):
    """A private key of the trail's, as its source has it."""

    key: Ed25519PrivateKey
    verifier: Verifier
    until: str | None
    """RFC 3339 UTC: how long an earlier key signs on, when the source says so."""


def parse_source(data: bytes, origin: str, where: str) -> list[HeldKey]:
    """Return the keys of a PEM text, under the name `origin`: the first signs, those after it are its predecessors.

    RFC 7468, section 2: text between the blocks is allowed; a line ``Signs-until: <time>`` belongs to the block that
    follows it. Raises ConfigError, see `load_signer`.
    """
    found: list[HeldKey] = []
    position = 0
    for block in _PEM.finditer(data) if _PEM.search(data) else [None]:
        said = _UNTIL.findall(data[position : block.start()]) if block else []
        position = block.end() if block else 0
        key = load_private(block[0] if block else data, where)
        verifier = Signer(origin, key).verifier
        if all(verifier != other.verifier for other in found):
            found.append(HeldKey(key, verifier, said[-1].decode() if said else None))
    if len(found) > MAX_KEYS:
        msg = f"{where}: holds {len(found)} keys; a trail has at most {MAX_KEYS} that sign at a time"
        raise ConfigError(msg)
    return found


def format_source(keys: Sequence[HeldKey]) -> bytes:
    """Return the PEM text that `parse_source` reads."""
    from cryptography.hazmat.primitives import serialization

    parts = []
    for held in keys:
        if held.until is not None:
            parts.append(b"Signs-until: " + held.until.encode() + b"\n")
        parts.append(
            held.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    return b"".join(parts)


def source_path(layout: Layout, audit: AuditSettings) -> Path | None:
    """Return the file that the trail's key is in; None when it comes from the environment."""
    if audit.key_env is not None:
        return None
    return layout.key if audit.key_file is None else Path(audit.key_file).expanduser()


def read_source(layout: Layout, audit: AuditSettings, origin: str) -> list[HeldKey]:
    """Return the trail's keys from where the settings say. Raises ConfigError."""
    path = source_path(layout, audit)
    if path is not None:
        return parse_source(read_key(path), origin, str(path))
    text = os.environ.get(str(audit.key_env))
    if not text:
        msg = f"audit.key_env: environment variable {audit.key_env} is not set"
        raise ConfigError(msg)
    return parse_source(text.encode(), origin, f"${audit.key_env}")


def check_source(audit: AuditSettings) -> None:
    """Raise ConfigError when the configured key cannot be used: before anything is made on disk."""
    if audit.key_env is not None or audit.key_file is not None:
        read_source(Layout(Path(str(audit.path))), audit, ORIGIN_PREFIX + "0" * 32)


def read_key(path: Path) -> bytes:
    """Return the content of a key's file. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_KEY_FILE_BYTES)
    except OSError as exc:
        msg = f"{path}: cannot read the signing key: {exc.strerror}"
        raise ConfigError(msg) from exc


def exposed(path: Path) -> str | None:
    """Return what is to be said of a private key's file that others than its owner may use; None when it is well.

    What a group may do counts where the file is our own, as ssh has it: somebody else's is read by a group on purpose.
    """
    try:
        about = path.stat()
    except OSError:
        return None
    ours = about.st_uid == os.geteuid()
    mode = stat.S_IMODE(about.st_mode)
    if not mode & (0o066 if ours else 0o006):
        return None
    can = "read" if mode & 0o044 else "change"
    first = "" if ours else "give it to the user who signs, then "
    return f"{path}: others may {can} the private key in it (mode {mode:04o}): {first}chmod 600 {shell_word(str(path))}"


def open_digest_secret(layout: Layout) -> bytes:
    """Return the secret that digest keys are derived from; made at the first start, always 0600."""
    try:
        text = layout.hmac_key.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        text = secrets.token_hex(HMAC_SECRET_BYTES)
        durable.replace_file(layout.hmac_key, text.encode() + b"\n", Access())
    except (OSError, UnicodeDecodeError) as exc:
        msg = f"{layout.hmac_key}: cannot read the digest key: {exc}"
        raise TrailCorrupt(msg) from exc
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) != HMAC_SECRET_BYTES:
        msg = f"{layout.hmac_key}: expected {2 * HMAC_SECRET_BYTES} hex digits"
        raise TrailCorrupt(msg)
    return secret


def derive_digest_key(secret: bytes, recorder: str) -> tuple[bytes, str]:
    """Return a recorder's digest key (32 bytes) and its id (8 hex digits, safe to publish)."""
    return _derive(secret, "digest", recorder, 32), _derive(secret, "digest key id", recorder, 4).hex()


def derive_token_key(secret: bytes, whose: str = "") -> bytes:
    """Return the key of the tokens that stand for secrets (32 bytes): one for all recorders of a trail's own user.

    The users of a service have one each, `whose`: with the same, one could try guesses at what another has recorded.
    """
    return _derive(secret, "token", whose, 32)


def derive_erasure_key(secret: bytes) -> tuple[bytes, str]:
    """Return the key of the digests by which records of erasures name whom they are about, and its id."""
    return _derive(secret, "erasure", "", 32), _derive(secret, "erasure key id", "", 4).hex()


def _derive(secret: bytes, purpose: str, recorder: str, length: int) -> bytes:
    """HKDF-SHA256 (RFC 5869) of the trail's secret, with the purpose and the recorder's id as info."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    info = f"indelible v1 {purpose}\0{recorder}".encode()
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=info).derive(secret)
