"""The plan of an erasure: the file `erasing`, and who may be believed that an erasure is to go on.

The rule that lives here: whoever could write a plan could have a writer erase lines and put that on record, so a plan
counts only when the trail's key has signed it.

A trail that is set aside takes its plan along, and cannot carry it out: nothing is written in it any more. So its
successor does (see `erase.resume`). It knows the plan by a key that it holds itself, under the earlier trail's name;
or, where the key was lost, or is another machine's, by the plan's digest in its own first line: whoever set the trail
aside has verified the plan while the key was at hand (see `digest_of`).
"""

from __future__ import annotations

import contextlib
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import msgspec

from indelible.errors import ConfigError, NoteError, NotProven, TrailCorrupt, TrailError
from indelible.trail import durable, files
from indelible.trail.checking.verify import ERASING
from indelible.trail.entry import parse_line
from indelible.trail.erased import Selector, plan_text, split_plan
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import Verifier, open_note
from indelible.trail.proofs.merkle import leaf_hash
from indelible.trail.proofs.stored import open_sealed, own_words
from indelible.trail.start import keys
from indelible.trail.upkeep.traces import places

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from indelible.trail.writer import Writer

DIGEST: Final = "erasing"
"""What a first line says of an earlier trail: the SHA-256 of the plan that it took along."""


class Part(msgspec.Struct, frozen=True):
    """The lines of one trail that go: ranges of seqs, each with the `event_id` of the record that names it."""

    place: str | None
    """The name below `retired/`; None for the trail itself."""
    marks: list[tuple[int, int, str]]


class Plan(msgspec.Struct, frozen=True):
    """What `erasing` says."""

    id: str
    selector: Selector
    """What is meant in places that are no trail's."""
    ids: list[str]
    """The `event_id` of events that are meant, as far as they may stand in such places."""
    size: int
    """The records are at this seq or later."""
    parts: list[Part]
    records: list[str]
    """The events that say so, as JSON, in order."""


def path_of(layout: Layout) -> Path:
    """Return where a trail's plan stands while an erasure is under way."""
    return layout.directory / ERASING


def write(writer: Writer, plan: Plan) -> None:
    """Put a plan on the disk, signed. Raises TrailError, which says what will become of it.

    No key hands over to another meanwhile: the next one would not know what the last has signed.
    """
    path, text = path_of(writer.layout), msgspec.json.encode(plan)
    with writer.keys_stay():
        writer.ensure_hold()
        note = writer.signer.sign(plan_text(writer.origin, text))
        try:
            durable.replace_file(path, note.encode() + text, durable.Access())
        except OSError as exc:
            raise TrailError(f"{exc.filename or path}: {exc.strerror or exc}; {_take_back(path)}") from exc


def _take_back(path: Path) -> str:
    """Remove a plan that may not be on the disk; return what to say of the erasure."""
    try:
        path.unlink(missing_ok=True)
        durable.sync_directory(path.parent)
    except OSError:
        return (
            "whether anything is erased is not known: whoever writes the trail next does all of it, or nothing"
        )
    return "nothing was erased"


def read(layout: Layout, origin: str, verifiers: list[Verifier]) -> Plan | None:
    """Return the plan of an erasure that was cut off, or None. Raises TrailCorrupt for one that nobody has signed."""
    path = path_of(layout)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        msg = f"{path}: {exc.strerror}"
        raise TrailError(msg) from exc
    plan = _opened(data, origin, verifiers)
    if plan is None:
        msg = f"{path}: is no plan of an erasure that this trail has signed; nothing is erased until it is taken away"
        raise TrailCorrupt(msg)
    return plan


def _opened(data: bytes, origin: str, verifiers: Iterable[Verifier], digest: str = "") -> Plan | None:
    """Return the plan that one of the keys has signed, or that has this digest; None for any other."""
    note, text = split_plan(data)
    try:
        if sha256(text).hexdigest() != digest and open_note(note, list(verifiers)) != plan_text(origin, text):
            return None
        return msgspec.json.decode(text, type=Plan)
    except (NoteError, ValueError):
        return None


# --- of trails that were set aside ----------------------------------------------------------------------------------


class Unfinished(msgspec.Struct, frozen=True):
    """An erasure that a trail which was set aside had not finished."""

    home: Layout
    origin: str
    plan: Plan


def digest_of(layout: Layout, origin: str, verifiers: Iterable[Verifier]) -> str | None:
    """Return the digest of the plan in a trail's directory; None without one that a key of these has signed."""
    try:
        data = path_of(layout).read_bytes()
    except OSError:
        return None
    return None if _opened(data, origin, verifiers) is None else sha256(split_plan(data)[1]).hexdigest()


def left_by_earlier(layout: Layout) -> list[Layout]:
    """Return the earlier trails that have a plan with them."""
    return [place for place in places(layout).trails[1:] if path_of(place).exists()]


def unfinished(writer: Writer) -> tuple[list[Unfinished], list[Path]]:
    """Return what trails that were set aside have not finished, and the plans that nobody can believe.

    Raises OSError, TrailCorrupt.
    """
    waiting = left_by_earlier(writer.layout)
    vouched = _vouched(writer) if waiting else {}
    found, others = [], []
    for home in waiting:
        origin = keys.read_origin(home) or ""
        held: list[Verifier] = []
        with contextlib.suppress(ConfigError, NoteError):
            held = [one.verifier for one in keys.read_source(writer.layout, writer.audit, origin)]
        plan = _opened(path_of(home).read_bytes(), origin, held, vouched.get(origin, ""))
        if plan is None:
            others.append(path_of(home))
        else:
            found.append(Unfinished(home, origin, plan))
    return found, others


def _vouched(writer: Writer) -> dict[str, str]:
    """Return the digests of plans that the sealed first line names, by the origin of the earlier trail."""
    oldest = next(iter(files.oldest_first(writer.layout)), None)
    if oldest is None or oldest.first_seq:
        return {}
    line = files.first_line(oldest)
    try:
        tiles = open_sealed(writer.layout.active, writer.signer.verifier).tiles
    except NotProven:
        return {}
    if tiles.leaf(0) != leaf_hash(line) or not tiles.trusted(0, 0):
        return {}  # somebody has written into it
    entry = parse_line(line) or {}
    if not own_words(writer.layout, writer.signer.verifier).has(entry):
        return {}
    metadata = entry.get("metadata")
    about = metadata.get("previous") if isinstance(metadata, dict) else None
    named = [about, about.get("replaced")] if isinstance(about, dict) else []
    found = [one for one in named if isinstance(one, dict) and isinstance(one.get(DIGEST), str)]
    return {str(one.get("origin")): str(one[DIGEST]) for one in found}
