"""The trail's own words, by which other lines are believed to be gone, or held: its key signs each of them. Pure.

The rule that lives here: whatever stands after the checkpoint is sealed by the next writer, whoever wrote it. An event
that excuses a file that is not there or a line that was blanked, and one that says which holds stand, therefore counts
only with a signature of its own, which a line that somebody else has added cannot have. It stands in its metadata as
`signed`, base64(key id ‖ Ed25519 signature), over the text

    indelible: the trail's own words\\n
    <origin>\\n
    <SHA-256, hex, of the line without `recorded_at` and `signed`: JSON, keys sorted, no white space, UTF-8>\\n

That can be taken for no checkpoint, which begins with an origin. It holds the seq: a copy of the line says nothing in
any other place, nor in another trail. The writer signs as it gives the seq, by the key that counts then; a key that has
handed over speaks no more (see `rotation.speakers`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, get_args

import orjson

from indelible.errors import NoteError
from indelible.events import MAX_INTEGER, SCHEMA, SignedEventType
from indelible.trail.entry import parse_line
from indelible.trail.proofs.checkpoint import canonical_base64
from indelible.trail.proofs.rotation import Speaker

if TYPE_CHECKING:
    from indelible.trail.proofs.checkpoint import Signer

HEAD: Final = "indelible: the trail's own words"
"""The first line of what is signed."""

MARK: Final = "signed"
"""The key in an event's metadata."""

KINDS: Final = frozenset(get_args(SignedEventType))
"""The types of events that are signed: no other changes what is believed of other lines."""

_TELLING: Final = tuple(b'"event_type":"%b"' % kind.encode() for kind in sorted(KINDS))

KEY_ID_BYTES: Final = 4

MAX_LOOKS: Final = 16
"""So often the keys are looked up: whoever makes up key ids does not make a reader slow."""


def _text(origin: str, entry: Mapping[str, Any]) -> str:
    metadata = {key: value for key, value in entry["metadata"].items() if key != MARK}
    rest = {key: value for key, value in entry.items() if key != "recorded_at"} | {"metadata": metadata}
    digest = sha256(orjson.dumps(rest, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return f"{HEAD}\n{origin}\n{digest}\n"


def sign(signer: Signer, seq: int, body: bytes) -> bytes:
    """Return the body of an event of one of `KINDS`, signed for its place; a signature that it bears is replaced."""
    entry = orjson.loads(body)
    entry["metadata"].pop(MARK, None)
    text = _text(signer.verifier.name, {"seq": seq, "schema": SCHEMA, **entry})
    entry["metadata"][MARK] = signer.sign_alone(text)
    return orjson.dumps(entry)


def may_tell(data: bytes) -> bool:
    """Tell whether one of `KINDS` may be in lines; a caller's text may hold the same, so whoever cares parses them."""
    return any(telling in data for telling in _TELLING)


def is_one(line: bytes, signer: Signer) -> bool:
    """Tell whether a line, without its LF, is a word of the trail's own by a key that signs now."""
    if not may_tell(line):
        return False
    return OwnWords(lambda: [Speaker(key, MAX_INTEGER + 1) for key in signer.verifiers]).has(parse_line(line))


class OwnWords:
    """Tells what a trail has said from what others have written into it."""

    def __init__(self, look_up: Callable[[], Iterable[Speaker]] | None) -> None:
        """`look_up` returns the keys that speak, or have spoken, for the trail; None: no key is known, all is taken.

        It is called again when a key is not among them: a writer at work may have taken another one meanwhile.
        """
        self._look_up = look_up
        self._looks = 0
        self._keys: dict[bytes, list[Speaker]] = {}

    def has(self, entry: Mapping[str, Any] | None) -> bool:
        """Tell whether an event, as it stands in its line, is signed by the trail."""
        if self._look_up is None:
            return True
        metadata = entry.get("metadata") if entry is not None else None
        if entry is None or entry.get("event_type") not in KINDS or not isinstance(metadata, dict):
            return False
        said, seq = metadata.get(MARK), entry.get("seq")
        if not isinstance(said, str) or type(seq) is not int:
            return False
        try:
            value = canonical_base64(said, "signature")
            return any(
                seq < one.end and one.key.verify(_text(one.key.name, entry), value[KEY_ID_BYTES:])
                for one in self._named(value[:KEY_ID_BYTES], self._look_up)
            )
        except (NoteError, TypeError, ValueError):  # nested too deeply to be encoded: no writer's
            return False

    def _named(self, key_id: bytes, look_up: Callable[[], Iterable[Speaker]]) -> list[Speaker]:
        """Return the keys of an id; usually one."""
        if key_id not in self._keys and self._looks < MAX_LOOKS:
            self._looks += 1
            self._keys = {}
            for one in look_up():
                self._keys.setdefault(one.key.key_id, []).append(one)
        return self._keys.get(key_id, [])
