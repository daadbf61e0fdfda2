"""How a trail is, found cheaply: from names, the newest lines and the checkpoint; nothing is verified."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Final

import msgspec

from indelible.errors import NoteError, TrailCorrupt
from indelible.query.filters import parse_event
from indelible.trail import space
from indelible.trail.anchors.state import anchor_states
from indelible.trail.entry import line_seq
from indelible.trail.files import blocks_backward
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import parse, split_note
from indelible.trail.reader import TrailFile, open_snapshot, read_small, with_earlier
from indelible.trail.sharing.link import ASKED_S, ask
from indelible.trail.start.holder import ENDING, STARTING, current_holder
from indelible.trail.start.intents import LEFT_OPEN, recorder_of
from indelible.trail.upkeep.standing import read_cache

LOOK_BACK_BYTES: Final = 8 << 20
"""So much of the newest lines is looked at for what happened last."""

HELD_BY: Final = ("pid", "command", "since", "phase")
STARTED: Final = ("version", "durability", "intent")
NOTABLE: Final = (
    "alert", "audit_gap", "audit_recovered", "retention_applied", "entry_erased", "clock_stepped",
)  # fmt: skip


def trail_state(
    path: Path, backup_count: int | None = None, thresholds: tuple[float, ...] | None = None
) -> dict[str, Any]:
    """Return the state of a trail as `status --json` prints it. Raises TrailError when there is none.

    `thresholds` are the disk's, in percent; None when they are not known, as of a trail configured elsewhere.
    """
    layout = Layout(path)
    with open_snapshot(path) as snapshot:
        files = snapshot.files
        recent = _Recent()
        for file in reversed(files):
            if file.compressed or not recent.look_at(file):
                break
        holder = current_holder(layout.lock)
        recorders, users, unknown = (
            (None, None, None) if holder is None else ask_recorders(layout, holder.phase)
        )
        size = _checkpoint_size(layout)
        segments = len(snapshot.segments)
        oldest = _first_event(files)
        return {
            "trail": str(path),
            "origin": _origin(layout),
            "held_by": None if holder is None else {key: getattr(holder, key) for key in HELD_BY},
            "recorders": recorders,
            "users": users,
            "recorders_unknown": unknown,
            "events": recent.next_seq,
            "first_seq": None if oldest is None else oldest.get("seq"),
            "files": len(files),
            "bytes": sum(_size(file) for file in files),
            "oldest": None if oldest is None else oldest.get("recorded_at"),
            "newest": recent.newest_time,
            "checkpoint": size,
            "unsealed": None if size is None or recent.next_seq is None else max(0, recent.next_seq - size),
            "anchors": anchor_states(layout, size),
            "kept_beyond_backup_count": None if backup_count is None else max(0, segments - backup_count),
            "holds": holds_of(layout),
            "open_calls": recent.open_calls,
            "looked_back_to": recent.oldest_seq,
            "started": recent.started,
            "last": recent.notable,
            "earlier": [str(earlier) for earlier in with_earlier([path])[:-1]],
            "disk_free": shutil.disk_usage(_existing(layout)).free,
            "disk": _disk(layout, thresholds),
        }


def holds_of(layout: Layout) -> list[dict[str, Any]]:
    """Return the legal holds that stand, as the trail's last writer left them, and how many files each keeps."""
    standing = read_cache(layout.holds)
    if standing is None:
        return []
    return [msgspec.to_builtins(hold) | {"files": standing.files.get(hold.id, 0)} for hold in standing.holds]


def ask_recorders(
    layout: Layout, phase: str | None
) -> tuple[list[dict[str, Any]] | None, list[dict[str, Any]] | None, str | None]:
    """Return the recorders that write through the holder, and a service's users; or None, and why not."""
    answer = ask(layout.socket)
    if answer is not None:
        window = {"window": answer.window}
        recorders = [msgspec.structs.asdict(recorder) | window for recorder in answer.recorders]
        return recorders, [msgspec.structs.asdict(user) for user in answer.users], None
    if phase in (STARTING, ENDING):
        return None, None, f"it is just {phase}: they wait"
    if not layout.socket.exists():
        return None, None, "it lets nobody in: there is no writer.sock"
    if not os.access(layout.socket, os.W_OK):
        return None, None, "writer.sock answers only to the user who writes the trail"
    return None, None, f"no answer within {ASKED_S:g} s: it is stopped, just ending, or too busy"


class _Recent:
    """What the newest lines say, read from the last one back."""

    def __init__(self) -> None:
        self.next_seq: int | None = None
        self.newest_time: str | None = None
        self.oldest_seq: int | None = None
        self.open_calls = 0
        self.notable: dict[str, dict[str, Any]] = {}
        self.started: dict[str, str] | None = None
        """How the last start says that it records."""
        self._closed: set[str] = set()
        self._stopped: set[tuple[str, int] | None] = set()
        """Recorders that said good-bye: what they had opened before is open no more."""
        self._settled = False
        self._left = LOOK_BACK_BYTES

    def look_at(self, file: TrailFile) -> bool:
        """Take in a file's lines, newest first; tell whether to go on with the file before."""
        try:
            stream = file.open()
        except FileNotFoundError:  # the writer at work deleted it meanwhile, and so those before it
            return False
        with stream:
            if file.compressed:  # meanwhile, too: only what can be read from its end is looked at
                return False
            fd = stream.fileno()
            for _, lines in blocks_backward(fd, os.fstat(fd).st_size):
                for line in reversed(lines):
                    self._take(line)
                self._left -= sum(map(len, lines))
                if self._left <= 0:
                    return False
        return True

    def _take(self, line: bytes) -> None:
        event = parse_event(line) if line_seq(line) is not None else None
        if event is None:
            return
        seq = self.oldest_seq = event["seq"]
        if self.next_seq is None:
            self.next_seq = seq + 1
        if self.newest_time is None:
            self.newest_time = event.get("recorded_at")
        kind = event.get("event_type")
        if kind == "audit_started" and self.started is None:
            self.started = _how(event.get("metadata"))
        if kind in NOTABLE and kind not in self.notable:
            self.notable[kind] = {key: event.get(key) for key in ("seq", "recorded_at", "metadata")}
        self._count_open(event, kind)

    def _count_open(self, event: dict[str, Any], kind: object) -> None:
        """Count intents without an outcome. A start closes what it found open, and says what it left to the living."""
        if self._settled:
            return
        request, about = event.get("request"), event.get("metadata")
        if kind == "mcp_operation" and isinstance(request, dict) and isinstance(request.get("intent"), str):
            self._closed.add(request["intent"])
        elif kind == "mcp_operation_started":
            closed = event.get("event_id") in self._closed or recorder_of(event) in self._stopped
            self.open_calls += not closed
        elif kind == "audit_stopped":
            self._stopped.add(recorder_of(event))
        elif kind == "audit_started":
            self._settled = not (isinstance(about, dict) and LEFT_OPEN in about)


def _how(metadata: object) -> dict[str, str] | None:
    """Return version, durability and intent of an `audit_started`, or None when they are not there as texts."""
    if not isinstance(metadata, dict):
        return None
    about = {key: text for key in STARTED if isinstance(text := metadata.get(key), str)}
    return about if len(about) == len(STARTED) else None


def _first_event(files: list[TrailFile]) -> dict[str, Any] | None:
    """Return the first event of the oldest file that is still there: a writer at work may delete the oldest.

    None when that file is damaged: what follows is not the oldest.
    """
    for file in files:
        try:
            stream = file.open()
        except FileNotFoundError:
            continue
        with stream:
            try:
                return parse_event(stream.read(1 << 17).split(b"\n", 1)[0])
            except TrailCorrupt:
                return None
    return None


def _size(file: TrailFile) -> int:
    try:
        return file.path.stat().st_size
    except FileNotFoundError:
        return 0


def _origin(layout: Layout) -> str | None:
    try:
        data = read_small(layout.origin)
    except OSError:
        return None
    return None if data is None else data.decode("utf-8", "replace").strip()[:200]


def _checkpoint_size(layout: Layout) -> int | None:
    """Return how many events the checkpoint says it covers; whether that is so is for `verify` to say."""
    try:
        return parse(split_note(read_small(layout.checkpoint) or b"")[0]).size
    except (OSError, NoteError):
        return None


def _disk(layout: Layout, thresholds: tuple[float, ...] | None) -> dict[str, Any]:
    """Return how full the file system is, and what follows for the trail: its health.

    ``ok``; ``warning`` above a threshold; ``full`` above the last one, where new events are not taken. None when the
    thresholds are not known.
    """
    usage = space.measure(_existing(layout))
    passed = [threshold for threshold in thresholds or () if usage.at_least(threshold)]
    health = None if thresholds is None else "ok"
    if passed:
        health = "full" if passed[-1:] == list(thresholds or ())[-1:] else "warning"
    return {
        "health": health,
        "threshold": passed[-1] if passed else None,
        "of": usage.of,
        "used_percent": round(usage.percent, 1),
        "used": usage.used,
        "free": usage.free,
        "reserve": _reserve(layout),
    }


def _reserve(layout: Layout) -> int:
    """Return how many bytes are kept back for the trail's last words."""
    try:
        return layout.reserve.lstat().st_size
    except OSError:
        return 0


def _existing(layout: Layout) -> Path:
    return layout.directory if layout.directory.is_dir() else layout.active.parent
