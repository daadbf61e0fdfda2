"""Put a backup of a trail back: as an earlier trail that a new one follows and names, never as the trail itself.

The rule that lives here: (origin, seq) is the identity of an event. The trail that a backup was made of may have gone
on, here or elsewhere, so nothing is ever appended to what was restored.

What a crash may leave, and who settles it:

- `retired/.restoring`: half a copy, which the next restore removes;
- the whole copy in `retired/`, and no trail that names it: the next restore of the same backup finds it, and goes on;
- the marker `retiring` as well: whoever writes the trail next sets aside what stood there, and begins the new one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from indelible.config import AuditSettings
from indelible.errors import ConfigError, NotProven, TrailError
from indelible.trail import durable
from indelible.trail.checking.check import Progress, load_vkey, verify_trail
from indelible.trail.checking.previous import says
from indelible.trail.durable import Access
from indelible.trail.files import trails_in
from indelible.trail.findings import VerifyResult
from indelible.trail.layout import DIRECTORY_SUFFIX, STAGED, Layout
from indelible.trail.proofs.checkpoint import Checkpoint, Verifier
from indelible.trail.proofs.rotation import relatives
from indelible.trail.proofs.stored import own_key, rotations_of
from indelible.trail.reader import is_there, names_in, open_plain, reading
from indelible.trail.start import keys, retire
from indelible.trail.start.holder import current_holder
from indelible.trail.start.lock import TrailLock
from indelible.trail.start.maintain import maintenance_settings, open_for_maintenance
from indelible.trail.start.opening import EMPTY_ROOT, prepare
from indelible.trail.upkeep.again import erase_again
from indelible.values import user_path

CHUNK_BYTES: Final = 1 << 20

_LEFT_BEHIND: Final = frozenset(
    {"lock", "writer.sock", "key", "hmac.key", "retired", "place", "twins", retire.MARKER}
)
"""What of a backup's directory says where it lived, is secret, is looked after apart, or fits no copy."""


class Plan(NamedTuple):
    """What a restore does."""

    backup: Layout
    target: Layout
    about: dict[str, Any]
    """What the new trail's first line says of the backup."""
    replaced: dict[str, Any] | None
    """The same of the trail that stands in its place; None when none does."""
    found: VerifyResult
    in_place: bool
    """The backup stands where it is to be: nothing is copied."""


def locate(backup: Path) -> Layout:
    """Return the trail that a path means: its active file, its `.d` directory, or a directory that holds one trail.

    Raises ConfigError.
    """
    path = user_path(backup).absolute()
    if path.name.endswith(".jsonl" + DIRECTORY_SUFFIX):
        path = path.with_name(path.name.removesuffix(DIRECTORY_SUFFIX))
    elif path.is_dir():
        found = trails_in(path)
        if len(found) != 1:
            said = (
                f"holds {len(found)} trails; name the file of the one that is meant"
                if found
                else "holds no trail"
            )
            msg = f"{backup}: {said}"
            raise ConfigError(msg)
        path = found[0]
    layout = Layout(path)
    if not is_there(path) or not layout.directory.is_dir():
        msg = f"{backup}: there is no trail here; name its file, with the directory {layout.directory.name} beside it"
        raise ConfigError(msg)
    return layout


def plan(
    backup: Path,
    target: Path,
    *,
    vkey: str | None = None,
    replace: bool = False,
    damaged: bool = False,
    progress: Progress | None = None,
) -> Plan:
    """Verify a backup, and say what restoring it to `target` comes to; nothing is written.

    Raises ConfigError for what cannot be meant, NotProven for a backup that does not verify, TrailError.
    """
    source, place = locate(backup), Layout(target)
    _refuse_held(source)
    _refuse_held(place)
    in_place = place.directory.is_dir() and source.directory.samefile(place.directory)
    if source.retired in place.directory.resolve().parents or place.retired.resolve() in source.active.parents:
        msg = f"{backup}: backup and trail lie in one another; copy the backup elsewhere first"
        raise ConfigError(msg)
    replaced = None
    if not in_place and (place.active.exists() or place.origin.exists()):
        if not replace:
            msg = f"{target}: a trail stands there; --replace sets it aside as well, or name another place: --trail"
            raise ConfigError(msg)
        replaced = _describe_standing(place)
    found = verify_trail(source.active, vkey, progress)
    if found.findings and not damaged:
        more = len(found.findings) + found.omitted - 1
        msg = (
            f"{source.active}: the backup is not what was sealed: {found.findings[0]}"
            f"{f', and {more} more findings' if more else ''}; --damaged restores it all the same"
        )
        raise NotProven(msg)
    return Plan(
        source,
        place,
        _describe(source, found, None if vkey is None else load_vkey(vkey)),
        replaced,
        found,
        in_place,
    )


def _refuse_held(layout: Layout) -> None:
    holder = current_holder(layout.lock)
    if holder is not None:
        msg = f"{layout.active}: is being written by process {holder.pid}; end that one first, or use a copy"
        raise TrailError(msg)


def _describe(source: Layout, found: VerifyResult, pinned: Verifier | None) -> dict[str, Any]:
    origin = keys.read_origin(source)
    if origin is None:
        msg = f"{source.origin}: there is no origin in this backup, so nothing can name it"
        raise ConfigError(msg)
    checkpoint = Checkpoint(origin, found.size or 0, found.root if found.size and found.root else EMPTY_ROOT)
    accepted: list[Verifier] = []
    with contextlib.suppress(NotProven):
        accepted = relatives(pinned or own_key(source), rotations_of(source))
    return retire.describe(source, origin, checkpoint, retire.RESTORED, accepted)


def _describe_standing(layout: Layout) -> dict[str, Any] | None:
    """Return what there is to say of the trail that stands where another one is to be."""
    origin = keys.read_origin(layout)
    if origin is None:
        return None
    size, root = says(layout) or (0, EMPTY_ROOT.hex())
    checkpoint = Checkpoint(origin, size, bytes.fromhex(root))
    return retire.describe(layout, origin, checkpoint, retire.REPLACED)


# --- doing it -----------------------------------------------------------------------------------------------------


def restore(planned: Plan, audit: AuditSettings, progress: Progress | None = None) -> str:
    """Do what was planned; return the origin of the new trail. Raises TrailError, ConfigError."""
    layout = planned.target
    settings = maintenance_settings(layout.active, audit)
    access = durable.access_for(settings.group)
    try:
        prepare(layout, access, audit.trust_directory)
        lock = TrailLock(layout.lock, access)
        try:
            _put_in_place(planned, settings, access, progress)
        finally:
            lock.release()
    except OSError as exc:
        msg = f"{exc.filename or layout.active}: cannot restore the backup: {exc.strerror}"
        raise TrailError(msg) from exc
    with open_for_maintenance(layout.active, audit) as opened:
        opened.writer.seal()
        try:
            erase_again(opened.writer)
        except OSError as exc:
            msg = (
                f"{exc.filename or layout.active}: {exc.strerror or exc}; the backup is restored, and what was erased"
                " since it was made is not erased in it again: 'indelible verify' says where"
            )
            raise TrailError(msg) from exc
        return opened.writer.origin


def _put_in_place(planned: Plan, audit: AuditSettings, access: Access, progress: Progress | None) -> None:
    layout, about = planned.target, planned.about
    begun = retire.pending(layout)
    if begun is not None:
        if any(begun.get(key) != about[key] for key in ("origin", "size", "root")):
            msg = f"{layout.directory}: an earlier trail is being set aside; start a writer once, and try again"
            raise TrailError(msg)
        return  # this very restore was interrupted: only the new trail is missing
    if planned.in_place:
        retire.retire(layout, about, access)
        return
    _make_room(planned)
    durable.make_directory(layout.retired, access)
    with _staging(layout.retired / STAGED):
        place = _copy_whole(planned.backup, layout, about, access, progress)
        for earlier in _earlier(planned.backup):
            _copy_whole(earlier, layout, None, access, progress)
    if planned.replaced is None:
        _take_secrets(planned.backup, layout, audit)
    about = {**about, "moved_to": str(place.active.relative_to(layout.active.parent))}
    if planned.replaced is not None:
        about["replaced"] = planned.replaced
        origin = str(planned.replaced["origin"])
        move = {"origin": origin, "name": retire.free_name(layout, origin)}
        about["replaced"] = {**planned.replaced, "moved_to": f"{layout.directory.name}/retired/{move['name']}"}
        retire.mark(layout, about, move, access)
    else:
        retire.mark(layout, about, None, access)


@contextlib.contextmanager
def _staging(place: Path) -> Iterator[None]:
    """Begin without what an earlier attempt left, and leave nothing half done."""
    shutil.rmtree(place, ignore_errors=True)
    try:
        yield
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _make_room(planned: Plan) -> None:
    """Raise TrailError when the copy does not fit: before any of it is made."""
    files = (planned.backup.active, *planned.backup.directory.rglob("*"))
    needed = sum(path.stat().st_size for path in files if path.is_file())
    free = shutil.disk_usage(planned.target.directory).free
    if needed > free:
        msg = f"{planned.target.directory}: the backup takes {needed:,} bytes, and {free:,} are free"
        raise TrailError(msg)


def _earlier(backup: Layout) -> list[Layout]:
    """Return the trails that a backup follows itself."""
    names = (name for name in sorted(names_in(backup.retired)) if not name.startswith("."))
    return [Layout(found) for name in names for found in trails_in(backup.retired / name)]


def _copy_whole(
    source: Layout, layout: Layout, about: dict[str, Any] | None, access: Access, progress: Progress | None
) -> Layout:
    """Copy a trail into `retired/`, in one step as seen from outside; return where it is. One that is there is kept."""
    with reading(source.active):
        origin = keys.read_origin(source) or "unnamed"
    name = origin.rpartition("/")[2]
    for other in names_in(layout.retired):
        there = Layout(layout.retired / other / layout.active.name)
        if other.partition(".")[0] == name and there.directory.is_dir() and says(there) == says(source):
            return there
    staged = Layout(layout.retired / STAGED / layout.active.name)
    durable.make_directory(staged.directory, access)
    _copy_files(source, staged, access, progress)
    if about is not None and layout.hmac_key.exists() and source.hmac_key.exists():
        _copy_file(source.hmac_key, staged.hmac_key, Access(), None)  # the trail's own is another one
    place = layout.retired / retire.free_name(layout, origin)
    (layout.retired / STAGED).rename(place)
    durable.sync_directory(layout.retired)
    return Layout(place / layout.active.name)


def _copy_files(source: Layout, target: Layout, access: Access, progress: Progress | None) -> None:
    directories = {target.active.parent, target.directory}
    if source.active.exists():
        _copy_file(source.active, target.active, access, progress)
    for root, folders, names in os.walk(source.directory):
        left = _LEFT_BEHIND if Path(root) == source.directory else frozenset[str]()
        folders[:] = [name for name in folders if name not in left]
        folder = target.directory / Path(root).relative_to(source.directory)
        durable.make_directory(folder, access, durable=False)
        directories.add(folder)
        for path in (Path(root, name) for name in names if name not in left):
            if path.is_file() and not path.is_symlink():
                _copy_file(path, folder / path.name, access, progress)
    durable.sync_directories(directories)


def _copy_file(source: Path, target: Path, access: Access, progress: Callable[[int], None] | None) -> None:
    """Copy a file and sync it."""
    with open(open_plain(source), "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor
        fd = durable.create_file(target, access)
        try:
            while chunk := file.read(CHUNK_BYTES):
                durable.write_all(fd, chunk)
                if progress is not None:
                    progress(len(chunk))
            durable.datasync(fd)
        finally:
            os.close(fd)


def _take_secrets(backup: Layout, layout: Layout, audit: AuditSettings) -> None:
    """Let a trail that begins here go on with the backup's keys: digests stay the same, and so does who signs."""
    wanted = [(backup.hmac_key, layout.hmac_key)]
    if audit.key_file is None and audit.key_env is None:
        wanted.append((backup.key, layout.key))
    for source, target in wanted:
        if source.exists() and not target.exists():
            with open(open_plain(source), "rb") as file:  # noqa: PTH123 - a descriptor
                durable.replace_file(target, file.read(keys.MAX_KEY_FILE_BYTES), Access())
