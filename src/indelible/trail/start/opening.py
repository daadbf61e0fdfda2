"""Open a trail for writing: make what is missing, take the lock, repair, say so in the record, go on."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from indelible import events
from indelible._version import __version__
from indelible.errors import TrailError
from indelible.events import MAX_BODY_BYTES, RecorderId
from indelible.trail import durable, space, switch
from indelible.trail.anchors import check_anchors
from indelible.trail.clock import TrailClock, steady_ns
from indelible.trail.commit import Item
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import Checkpoint
from indelible.trail.proofs.merkle import TileTree
from indelible.trail.start import ground, keys, place, recovery, retire
from indelible.trail.start.holder import HOLDING
from indelible.trail.start.intents import LEFT_OPEN
from indelible.trail.start.keyring import Keyring
from indelible.trail.start.lock import TrailLock
from indelible.trail.writer import Writer

if TYPE_CHECKING:
    from indelible.config import AuditSettings
    from indelible.trail.durable import Access
    from indelible.trail.start.recovery import Resume

log = logging.getLogger("indelible")

EMPTY_ROOT: Final = TileTree().root()
"""Of a trail without a checkpoint it is known that nothing was signed."""

Intent = dict[str, Any]
"""An intent as it stands in the trail."""


class OpenTrail:
    """A writer, and the secret that its recorders' digest keys are derived from."""

    def __init__(self, writer: Writer, digest_secret: bytes, spared: list[Intent], *, clean: bool) -> None:
        self.writer = writer
        self.digest_secret = digest_secret
        self.clean = clean
        """The last writer said good-bye."""
        self.spared = spared
        """Open calls whose recorder lives: their outcome may still come."""


def _nobody(_intent: Intent) -> bool:
    return False


def open_writer(
    path: Path,
    audit: AuditSettings,
    recorder: str,
    *,
    clock: Callable[[], int] = time.time_ns,
    steady: Callable[[], int] = steady_ns,
    lives: Callable[[Intent], bool] = _nobody,
    listens: bool = False,
) -> OpenTrail:
    """Open the trail at `path` for writing, or make it.

    `clock` gives nanoseconds since the epoch, `steady` those of a clock that nobody sets. `lives` tells whether the
    recorder of an open call is still there; the others' are recorded as interrupted. Who `listens` for others' events
    lets them know when he does (`Writer.say`): until then he is starting.

    Raises ConfigError (a path that cannot be a trail's), TrailLocked (naming who writes it), TrailCorrupt (what must
    not be mended; nothing was written), TrailError (what could not be done).
    """
    layout = Layout(path)
    access = durable.access_for(audit.group)
    keys.check_source(audit)
    check_anchors(audit.anchors)
    try:
        prepare(layout, access, audit.trust_directory)
        lock = TrailLock(layout.lock, access)
    except OSError as exc:
        msg = f"{exc.filename or path}: cannot write the trail: {exc.strerror}"
        raise TrailError(msg) from exc
    try:
        opened = _open_locked(layout, audit, access, lock, recorder, (clock, steady), lives)
    except OSError as exc:
        lock.release()
        msg = f"{exc.filename or path}: cannot open the trail: {exc.strerror or exc}"
        raise TrailError(msg) from exc
    except BaseException:
        lock.release()
        raise
    if not listens:
        opened.writer.say(HOLDING)
    return opened


def prepare(layout: Layout, access: Access, trusted: str | None) -> None:
    """Make the directories; refuse what cannot be a trail before anything is written. `trusted`: see `ground`."""
    ground.check_place(layout, trusted)
    existing = layout.active.parent
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    durable.refuse_network_file_system(existing)
    durable.make_directory(layout.active.parent, access)
    durable.make_directory(layout.directory, access)


def _open_locked(
    layout: Layout,
    audit: AuditSettings,
    access: Access,
    lock: TrailLock,
    recorder: str,
    clocks: tuple[Callable[[], int], Callable[[], int]],
    lives: Callable[[Intent], bool],
) -> OpenTrail:
    previous = retire.finish(layout, access)
    if previous is None:
        ground.check_own(layout, keys.read_origin(layout))
        previous = _retire_if_due(layout, audit, access)
    switch.settle(layout, access)
    origin = keys.read_origin(layout)
    if origin is None:
        origin = keys.new_origin()
        durable.replace_file(layout.origin, origin.encode() + b"\n", access)
    place.take(layout, access)
    keyring = Keyring(layout, audit, origin, access)
    keyring.say_exposed()
    secret = keys.open_digest_secret(layout)
    state = space.with_reserve(layout, lambda: recovery.resume(layout, keyring.signer, access))
    identity = RecorderId(id=recorder, uid=os.getuid(), pid=os.getpid())
    clock = TrailClock(state.recorded_at, *clocks)
    writer = Writer(
        layout, audit, lock=lock, keyring=keyring, access=access, state=state, recorder=identity, clock=clock
    )
    writer.start({"previous": previous} if previous else None)
    spared: list[Intent] = []
    ended: list[Intent] = []
    for intent in state.intents:  # there may be as many as may be open, of many recorders: each is judged once
        (spared if lives(intent) else ended).append(intent)
    state.intents = ended
    try:
        writer.write_service_events(_first_events(writer, audit, state, len(spared)))
        if previous:
            if _erased_again(writer):
                retire.settled(layout)
            _say_retired(layout, previous)
        if keyring.due:
            with contextlib.suppress(OSError, TrailError):  # it is tried again before each checkpoint
                writer.seal()
    except BaseException:
        writer.close(good_bye=False)  # calls that are open have no outcome yet
        raise
    return OpenTrail(writer, secret, spared, clean=state.clean)


def _retire_if_due(layout: Layout, audit: AuditSettings, access: Access) -> dict[str, Any] | None:
    """Set the trail aside when it may not go on under its name; return what to say of it."""
    origin = keys.read_origin(layout)
    if origin is None:
        return None
    copied = place.is_copy(layout)
    checkpoint = None
    if layout.checkpoint.exists():
        checkpoint = recovery.read_checkpoint(layout, Keyring(layout, audit, origin, access).signer)
    if checkpoint is None:
        if not copied:
            return None
        checkpoint = Checkpoint(origin, 0, EMPTY_ROOT)
    about = retire.describe(layout, origin, checkpoint, retire.COPIED if copied else None)
    if not copied and about["end"] >= checkpoint.size:
        return None
    retire.retire(layout, about, access)
    return retire.finish(layout, access)


def _erased_again(writer: Writer) -> bool:
    """Erase what the trail that was put in place brings back; the marker stays until it is done.

    Also when it was a `restore` that died: nobody else would know that there is something to do.
    """
    from indelible.trail.upkeep.again import erase_again

    try:
        erase_again(writer)
    except (OSError, TrailError) as exc:
        log.error(  # noqa: TRY400 - no traceback for a disk; the next start tries again
            "%s: what was erased since the copy was made may be in it, and is not erased again: %s",
            writer.layout.active, exc,
        )  # fmt: skip
        return False
    return True


def _say_retired(layout: Layout, about: dict[str, Any]) -> None:
    """Tell the operator, who may have restored a backup and not know what that means."""
    reasons = {
        None: f"it ended at event {about['end']}, before its checkpoint over {about['size']}",
        retire.COPIED: "it is a copy, and the trail that it was copied from may have gone on",
    }
    why = reasons.get(about.get("why"))
    if why is None:
        return  # a command that somebody gave says so itself
    log.warning(
        "%s: %s, %d events, was set aside: %s; a new trail begins, and names it: %s",
        layout.active, about["origin"], about["size"], why, about["moved_to"],
    )  # fmt: skip


def _first_events(writer: Writer, audit: AuditSettings, state: Resume, left_open: int) -> list[Item]:
    """Return what a start has to say: what was repaired, what became of open calls, and that it began.

    In this order, since they may be too many for one checkpoint: after a start that died in between, the next one looks
    back to the last `audit_started`, and finds the calls that are still open.
    """
    items = []
    if state.torn or not state.clean:
        found = {
            "unsealed": state.resealed,
            "torn": [vars(torn) for torn in state.torn],
            "interrupted": len(state.intents),
        }
        items.append(writer.service_event("audit_recovered", found))
    about: dict[str, Any] = {"version": __version__, "durability": audit.durability, "intent": audit.intent}
    if left_open:
        about[LEFT_OPEN] = left_open
    items += [interrupted(intent) for intent in state.intents]
    items.append(writer.service_event("audit_started", about))
    return items


def interrupted(intent: dict[str, Any]) -> Item:
    """Return the outcome of a call whose recorder died before it knew one, made from the intent's own line.

    What the line holds is redacted already.
    """
    request = intent.get("request")
    event: dict[str, Any] = {
        "timestamp": intent.get("timestamp") or events.now(),
        "event_type": "mcp_operation",
        "event_id": events.new_id(),
        **{key: intent[key] for key in ("source", "target") if key in intent},
        "request": {**(request if isinstance(request, dict) else {}), "intent": str(intent.get("event_id"))},
        **({"policy": intent["policy"]} if "policy" in intent else {}),
        "outcome": {"status": "error", "kind": "interrupted"},
        **({"metadata": intent["metadata"]} if "metadata" in intent else {}),
    }
    body = orjson.dumps(event)
    if len(body) > MAX_BODY_BYTES:  # the intent filled its line; its arguments stand there
        event["request"].pop("args", None)
        body = orjson.dumps(event)
    return Item(body, closes=str(intent.get("event_id")))
