"""The trail's own words, by which other lines are believed to be gone, or held: its key signs each of them. Pure.

The rule that lives here: whatever stands after the checkpoint is sealed by the next writer, whoever wrote it. An event
that excuses a file that is not there or a line that was blanked, and one that says which holds stand, therefore counts
only with a signature of its own, which a line that somebody else has added cannot have. It stands in its metadata as
`signed`, base64(key id ‖ Ed25519 signature), over the text

    indelible: the trail's own words\\n
    <origin>\\n
    <event_type>\\n
    <event_id>\\n
    <SHA-256, hex, of the metadata without `signed`: JSON with sorted keys and no white space, UTF-8>\\n

That can be taken for no checkpoint, which begins with an origin. It holds neither seq nor time: said again, an event
says nothing new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import orjson

from indelible.errors import NoteError
from indelible.trail.proofs.checkpoint import Verifier, canonical_base64

if TYPE_CHECKING:
    from indelible.trail.proofs.checkpoint import Signer

HEAD: Final = "indelible: the trail's own words"
"""The first line of what is signed."""

MARK: Final = "signed"
"""The key in an event's metadata."""

KINDS: Final = frozenset({"file_opened", "retention_applied", "entry_erased", "hold_placed", "hold_released"})
"""The types of events that are signed: no other changes what is believed of other lines."""

KEY_ID_BYTES: Final = 4

MAX_LOOKS: Final = 16
"""So often the keys are looked up: whoever makes up key ids does not make a reader slow."""


def _text(origin: str, entry: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in entry["metadata"].items() if key != MARK}
    digest = sha256(orjson.dumps(rest, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return f"{HEAD}\n{origin}\n{entry['event_type']}\n{entry['event_id']}\n{digest}\n"


def sign(signer: Signer, body: bytes) -> bytes:
    """Return the body of an event of one of `KINDS`, signed; a signature that it bears already is replaced."""
    entry = orjson.loads(body)
    entry["metadata"].pop(MARK, None)
    entry["metadata"][MARK] = signer.sign_alone(_text(signer.verifier.name, entry))
    return orjson.dumps(entry)


class OwnWords:
    """Tells what a trail has said from what others have written into it."""

    def __init__(self, look_up: Callable[[], Iterable[Verifier]] | None) -> None:
        """`look_up` returns the keys that sign, or have signed, for the trail; None: no key is known, all is taken.

        It is called again when a key is not among them: a writer at work may have taken another one meanwhile.
        """
        self._look_up = look_up
        self._looks = 0
        self._keys: dict[bytes, list[Verifier]] = {}

    def has(self, entry: Mapping[str, Any] | None) -> bool:
        """Tell whether an event, as it stands in its line, is signed by the trail."""
        metadata = entry.get("metadata") if entry is not None else None
        if self._look_up is None:
            return True
        if entry is None or entry.get("event_type") not in KINDS or not isinstance(metadata, dict):
            return False
        said, event_id = metadata.get(MARK), entry.get("event_id")
        if not isinstance(said, str) or not isinstance(event_id, str):
            return False
        try:
            value = canonical_base64(said, "signature")
            keys = self._named(value[:KEY_ID_BYTES], self._look_up)
            return any(key.verify(_text(key.name, entry), value[KEY_ID_BYTES:]) for key in keys)
        except (NoteError, TypeError, ValueError):  # nested too deeply to be encoded: no writer's
            return False

    def _named(self, key_id: bytes, look_up: Callable[[], Iterable[Verifier]]) -> list[Verifier]:
        """Return the keys of an id; usually one."""
        if key_id not in self._keys and self._looks < MAX_LOOKS:
            self._looks += 1
            self._keys = {}
            for key in look_up():
                self._keys.setdefault(key.key_id, []).append(key)
        return self._keys.get(key_id, [])
