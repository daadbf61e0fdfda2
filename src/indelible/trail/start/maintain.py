"""What is done to a trail from outside, by a command: a new signing key, and giving a lost one up.

The rule that lives here: a command that opens a trail as its writer deletes and compresses nothing, ends nobody's open
calls whose process lives, and leaves modes as they are, whatever the configuration at hand says: it may be another's.
"""

from __future__ import annotations

import contextlib
import grp
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from indelible.config import AuditSettings
from indelible.errors import ConfigError, NoteError, TrailError
from indelible.trail import durable
from indelible.trail.durable import Access
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import Checkpoint, Verifier, parse_vkey
from indelible.trail.proofs.rotation import open_checkpoint, successors
from indelible.trail.reader import read_small
from indelible.trail.sharing import processes
from indelible.trail.start import ground, keyring, keys, retire
from indelible.trail.start.holder import ENDING, current_holder
from indelible.trail.start.intents import recorder_of
from indelible.trail.start.keys import HeldKey
from indelible.trail.start.lock import TrailLock
from indelible.trail.start.opening import OpenTrail, open_writer

RECORDER: Final = "maintenance"
TAKEN_UP_S: Final = 10.0
"""So long a command waits for the process that holds the trail to take a new key up; it looks every two seconds."""

_KEPT: Final = 1_000_000


@contextlib.contextmanager
def open_for_maintenance(path: Path, audit: AuditSettings) -> Iterator[OpenTrail]:
    """Open a trail as its writer for a moment. Raises what `open_writer` raises."""
    opened = open_writer(path, maintenance_settings(path, audit), RECORDER, lives=_lives, listens=True)
    opened.writer.say(ENDING)  # whoever finds the trail held by this may well wait
    try:
        yield opened
    finally:
        opened.writer.close(still_open=frozenset(str(intent.get("event_id")) for intent in opened.spared))


def maintenance_settings(path: Path, audit: AuditSettings) -> AuditSettings:
    """Return settings under which a writer leaves files, and who may read them, as they are."""
    group = audit.group
    with contextlib.suppress(OSError, KeyError):
        about = Layout(path).origin.stat()
        group = grp.getgrgid(about.st_gid).gr_name if about.st_mode & 0o040 else None
    return msgspec.structs.replace(
        audit, path=str(path), group=group, backup_count=_KEPT, retention=None, compress_rotated=False
    )


def _lives(intent: dict[str, Any]) -> bool:
    recorder = recorder_of(intent)
    return recorder is not None and processes.runs(recorder[1])


# --- a new signing key --------------------------------------------------------------------------------------------


def rotate_key(path: Path, audit: AuditSettings, overlap_s: float) -> dict[str, Any]:
    """Give the trail a new signing key; the old one signs beside it for `overlap_s` seconds.

    The new key is put before the old one in the key's own file, in one step; whoever writes the trail takes it up
    before the next checkpoint, and when nobody does, this does. Return `from`, `to` (vkeys), `overlap_until`, `file`,
    and `taken_up`. Raises ConfigError when the key cannot be changed here, TrailError.
    """
    layout = Layout(path)
    ground.check_place(layout, audit.trust_directory)
    origin = keys.read_origin(layout)
    if origin is None:
        msg = f"{path}: there is no trail here; its key is made at the first start"
        raise TrailError(msg)
    file = _own_file(layout, audit)
    try:
        with keyring.changing_keys(layout):
            return _rotate(layout, audit, origin, file, overlap_s)
    except BlockingIOError as exc:
        msg = f"{path}: another process is changing the key just now; try again"
        raise TrailError(msg) from exc
    except OSError as exc:
        msg = f"{exc.filename or file}: cannot change the key: {exc.strerror}"
        raise TrailError(msg) from exc


def _rotate(layout: Layout, audit: AuditSettings, origin: str, file: Path, overlap_s: float) -> dict[str, Any]:
    held = keys.read_source(layout, audit, origin)
    present = _present(layout, held, file)
    if len(held) == keys.MAX_KEYS:
        msg = f"{file}: holds {len(held)} keys, which all sign still; wait until an overlap is over"
        raise TrailError(msg)
    until = keyring.time_in(overlap_s)
    made = keys.parse_source(keys.generate_pem(), origin, str(file))[0]
    both = [made, held[0]._replace(until=until), *held[1:]]
    mode = file.stat().st_mode & 0o700
    durable.replace_file(file, keys.format_source(both), Access(file_mode=mode))
    new = made.verifier.vkey()
    taken_up = _take_up(layout, audit, new)
    about = {"from": present.vkey(), "to": new, "overlap_until": until, "file": str(file)}
    return {**about, "taken_up": taken_up}


def _own_file(layout: Layout, audit: AuditSettings) -> Path:
    """Return the file in which the key can be changed. Raises ConfigError when that is for somebody else to do."""
    file = keys.source_path(layout, audit)
    how = "put a new one ('indelible keygen --out FILE') in front of the old one there, and start again"
    if file is None:
        msg = f"audit.key_env: the key comes from ${audit.key_env}: {how}"
        raise ConfigError(msg)
    if file.is_symlink():
        msg = f"{file}: is a symbolic link, which is not replaced: {how}"
        raise ConfigError(msg)
    try:
        owner = file.stat().st_uid
    except OSError as exc:
        msg = f"{file}: cannot read the signing key: {exc.strerror}"
        raise ConfigError(msg) from exc
    if owner != os.geteuid():
        msg = f"{file}: belongs to another user (uid {owner}); run this as that user"
        raise ConfigError(msg)
    return file


def _present(layout: Layout, held: list[HeldKey], file: Path) -> Verifier:
    """Return the key that signs, which must be the first one of the file. Raises ConfigError, TrailError."""
    said = (read_small(layout.vkey) or b"").decode(errors="replace").strip()
    known = [one.verifier.vkey() for one in held]
    if said == known[0]:
        return held[0].verifier
    if said in known:
        msg = f"{file}: holds a new key already, which no writer has taken up yet; start one, and try again"
        raise TrailError(msg)
    msg = f"{file}: is not the key that the trail was signed with: {said or layout.vkey}; put that one back"
    raise ConfigError(msg)


def _take_up(layout: Layout, audit: AuditSettings, vkey: str) -> bool:
    """Wait until the trail's writer signs with the new key, or be the one who does; tell whether it is done."""
    if current_holder(layout.lock) is None:
        with contextlib.suppress(TrailError), open_for_maintenance(layout.active, audit) as opened:
            opened.writer.seal()  # which hands over
    end = time.monotonic() + TAKEN_UP_S
    while (read_small(layout.vkey) or b"").decode(errors="replace").strip() != vkey:
        if time.monotonic() >= end:
            return False
        time.sleep(0.05)
    return True


# --- a lost one ---------------------------------------------------------------------------------------------------


def give_up_key(path: Path, audit: AuditSettings) -> dict[str, Any]:
    """Set a trail aside whose signing key is lost, and begin a new one that names it; return what it says of it.

    The checkpoint must be signed by the key that `key.vkey` names. Raises ConfigError when the key is not lost,
    TrailError.
    """
    layout = Layout(path)
    ground.check_place(layout, audit.trust_directory)
    origin = keys.read_origin(layout)
    if origin is None or not layout.checkpoint.exists():
        msg = f"{path}: there is no trail here that a key has signed"
        raise TrailError(msg)
    keys.check_source(audit)  # the new trail needs one: before the old one is touched
    access = durable.access_for(maintenance_settings(path, audit).group)
    lock = TrailLock(layout.lock, access)
    try:
        _refuse_key_at_hand(layout, audit, origin)
        signed, accepted = _signed_by_vkey(layout)
        about = retire.describe(layout, origin, signed, retire.KEY_LOST, accepted)
        if layout.key.exists() and audit.key_file is None and audit.key_env is None:
            layout.key.rename(
                layout.key.with_name("key.unused")
            )  # another key lies there, which signed nothing
        retire.retire(layout, about, access)
    finally:
        lock.release()
    with open_for_maintenance(path, audit) as opened:
        return {**about, "successor": opened.writer.origin}


def _refuse_key_at_hand(layout: Layout, audit: AuditSettings, origin: str) -> None:
    """Raise ConfigError when the key that signed the trail is there."""
    said = (read_small(layout.vkey) or b"").decode(errors="replace").strip()
    try:
        held = keys.read_source(layout, audit, origin)
    except ConfigError:
        return
    if said in {one.verifier.vkey() for one in held}:
        msg = f"{layout.active}: its signing key is not lost; 'indelible keygen --rotate' gives it a new one"
        raise ConfigError(msg)


def _signed_by_vkey(layout: Layout) -> tuple[Checkpoint, list[Verifier]]:
    """Return the checkpoint, and the key that has signed it. Raises TrailError."""
    try:
        key = parse_vkey((read_small(layout.vkey) or b"").decode(errors="replace"))
        return open_checkpoint(read_small(layout.checkpoint) or b"", successors(key, [])), [key]
    except NoteError as exc:
        msg = f"{layout.checkpoint}: {exc}; 'indelible verify' says more"
        raise TrailError(msg) from exc
