"""Sealed batches: how an object of lines is named in an object store, and the manifest beside it. Pure.

    PREFIX/YYYY/MM/DD/HH/<first seq, 20 digits>-<last seq, 20 digits>-<8 hex digits>.jsonl.zst
    PREFIX/YYYY/MM/DD/HH/<the same>.manifest.json

The hour is that in which the first line was recorded, in UTC; the 8 digits are the first of SHA-256(origin), so that
trails may share a prefix. The manifest is stored after its object: it is what makes a batch count.

`decode` raises NoteError and nothing else, whatever it is given: of an object store anybody may be the author. What it
returns is well-formed, and no more than somebody's claim: the checkpoint's signature, its root by the proof
(`indelible.trail.proofs.subset`) and the object's digest are for the reader to check.
"""

from __future__ import annotations

import base64
import json
import re
from hashlib import sha256
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from indelible.errors import NoteError

VERSION: Final = 1
SUFFIX: Final = ".manifest.json"

PROVEN_FORMAT: Final = "indelible"
"""The format whose records are the trail's own lines: of others the leaf hash cannot be computed."""

MAX_LINES: Final = 1_000_000
"""Lines of one batch: 33 MB of leaf hashes, for who makes its proof."""
MAX_HASHES: Final = 200_000
"""Hashes of one proof. Without holes it takes two for each level of the tree; each hole adds one to some tens."""
MAX_BYTES: Final = 16 << 20
"""A manifest that is larger is not read: the longest proof comes to 10 MB."""

MAX_SEQ: Final = (1 << 53) - 1
"""The largest integer that every reader of JSON holds (RFC 8259, section 6)."""

_Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)]
_Name = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]{0,199}\Z")]
_Word = Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,100}\Z")]
_Hex = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Time = Annotated[
    str, msgspec.Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z\Z")
]
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=100_000)]


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is said of one object; the keys of its JSON object, in this order."""

    manifest: int
    """The version of this form, 1."""
    name: _Name = msgspec.field(name="object")
    """The object's name, in the same "directory" as the manifest."""
    format: _Word
    origin: Annotated[str, msgspec.Meta(pattern=r"^[^\s+]{1,500}\Z")]
    schema: _Count
    size: _Count = msgspec.field(name="bytes")
    """Of the object as it is stored, compressed or not."""
    sha256: _Hex
    lines: Annotated[int, msgspec.Meta(ge=1, le=MAX_LINES)]
    first_seq: _Count
    last_seq: _Count
    first_time: _Time | None
    """`recorded_at` of the first line that has one: RFC 3339, UTC. An erased line has none."""
    last_time: _Time | None
    after: _Count | None
    """The seq after which this batch speaks: the last one of what the sink handed over before; None for its first."""
    complete: bool
    """Whether every seq from first to last is in it."""
    checkpoint: _Text | None
    """The signed note that covers the last seq; None when there was none to be had, as of a damaged trail."""
    vkey: Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)] | None
    """The key that signed it, as its writer has it: who trusts no store takes the key from elsewhere."""
    proof: tuple[bytes, ...] | None = None
    """Of the lines under the checkpoint's root (`subset`); None without one, or in another format."""
    rotations: _Text | None = None
    """The notes by which earlier keys handed over to `vkey`, one after the other, for who pinned one of these."""


def encode(manifest: Manifest) -> bytes:
    """Return a manifest's file: one JSON object, a key or a hash a line."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def decode(data: bytes) -> Manifest:
    """Return what a manifest says; unknown keys are passed over. Raises NoteError."""
    if len(data) > MAX_BYTES:
        msg = f"not a manifest: more than {MAX_BYTES} bytes"
        raise NoteError(msg)
    value = _loaded(data)
    if value.get("manifest") != VERSION or value["manifest"] is True:
        found = repr(value.get("manifest"))[:24]
        msg = f"not a manifest that is known here: expected version {VERSION}, found {found}"
        raise NoteError(msg)
    try:
        manifest = msgspec.convert(value, Manifest)
    except msgspec.ValidationError as exc:
        msg = f"not a manifest: {_one_line(exc)}"
        raise NoteError(msg) from exc
    wrong = _contradiction(manifest) or _wrong_hashes(manifest, value.get("proof"))
    if wrong:
        msg = f"not a manifest: {wrong}"
        raise NoteError(msg)
    return manifest


def _loaded(data: bytes) -> dict[str, Any]:
    """Return the JSON object: text that any two readers understand alike (RFC 8259, sections 4, 6 and 8)."""
    try:
        text = data.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_number)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair cannot be printed, or compared
    except RecursionError as exc:
        msg = "not a manifest: nested too deep"
        raise NoteError(msg) from exc
    except UnicodeError as exc:
        msg = "not a manifest: invalid UTF-8"
        raise NoteError(msg) from exc
    except ValueError as exc:
        msg = f"not a manifest: {_one_line(exc)}"
        raise NoteError(msg) from exc
    if not isinstance(value, dict):
        msg = "not a manifest: no JSON object"
        raise NoteError(msg)
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        msg = "a key stands twice in it"
        raise ValueError(msg)
    return found


def _no_number(name: str) -> None:
    msg = f"{name} is no number in JSON"
    raise ValueError(msg)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _contradiction(manifest: Manifest) -> str:
    """Return what in a manifest cannot be true together; empty when nothing is."""
    span = manifest.last_seq - manifest.first_seq + 1
    if not 0 < manifest.lines <= span:
        return f"{manifest.lines} lines from seq {manifest.first_seq} to {manifest.last_seq}"
    if manifest.complete != (manifest.lines == span):
        return f"complete: {str(manifest.complete).lower()}, with {manifest.lines} of {span} seqs"
    if manifest.after is not None and manifest.after >= manifest.first_seq:
        return f"after: {manifest.after}, which is not before first_seq {manifest.first_seq}"
    if manifest.proof is not None and manifest.format != PROVEN_FORMAT:
        return f"format {manifest.format} with a proof"
    if manifest.checkpoint is None and (manifest.proof is not None or manifest.vkey is not None):
        return "a proof or a key without a checkpoint"
    return ""


def _wrong_hashes(manifest: Manifest, spelled: Any) -> str:
    """Return what is wrong with the proof; each hash has one spelling, so that no bit can flip unseen."""
    proof = manifest.proof or ()
    if len(proof) > MAX_HASHES:
        return f"a proof of {len(proof)} hashes, none needs more than {MAX_HASHES}"
    for number, (item, text) in enumerate(zip(proof, spelled or (), strict=True), 1):
        if len(item) != 32 or base64.b64encode(item).decode() != text:
            return f"hash {number} of the proof is none"
    return ""


# --- names ------------------------------------------------------------------------------------------------------------

_KEY = re.compile(
    r"(?P<prefix>(?:.*/)?)(?P<hour>[0-9]{4}/[01][0-9]/[0-3][0-9]/[0-2][0-9])/"
    r"(?P<first>[0-9]{20})-(?P<last>[0-9]{20})-(?P<trail>[0-9a-f]{8})(?P<ending>(?:\.[0-9a-z]+)+)",
    re.DOTALL,
)


def trail_digits(origin: str) -> str:
    """Return the 8 hex digits by which an object's name says whose lines it has."""
    return sha256(origin.encode()).hexdigest()[:8]


def batch_stem(origin: str, first_seq: int, last_seq: int) -> str:
    """Return what the names of an object and of its manifest begin with."""
    return f"{first_seq:020d}-{last_seq:020d}-{trail_digits(origin)}"


def hour_directory(time: str) -> str:
    """Return ``YYYY/MM/DD/HH`` of a time as events have it (RFC 3339, UTC)."""
    return f"{time[0:4]}/{time[5:7]}/{time[8:10]}/{time[11:13]}"


class BatchKey(NamedTuple):
    """What an object's key says; sorted, the batches of a trail come as its events do."""

    trail: str
    """`trail_digits` of the origin."""
    prefix: str
    """What stands before the hour, with the slash after it; empty when nothing does."""
    first_seq: int
    last_seq: int
    hour: str
    """``YYYY/MM/DD/HH``."""
    ending: str
    """From the first dot of the name on."""

    @property
    def directory(self) -> str:
        """The key up to the name, with its last slash."""
        return f"{self.prefix}{self.hour}/"

    @property
    def stem(self) -> str:
        """The name without its ending: the same for an object and its manifest."""
        return f"{self.first_seq:020d}-{self.last_seq:020d}-{self.trail}"

    @property
    def name(self) -> str:
        """The name, as `Manifest.name` has that of an object."""
        return self.stem + self.ending

    @property
    def is_manifest(self) -> bool:
        """Whether it is that of a manifest."""
        return self.ending == SUFFIX


def parse_key(key: str) -> BatchKey | None:
    """Return what a key says; None for that of an object which is none of ours."""
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    first, last = int(match["first"]), int(match["last"])
    if first > last or last > MAX_SEQ:
        return None
    return BatchKey(match["trail"], match["prefix"] or "", first, last, match["hour"], match["ending"])
