"""Where an export, a report or a bundle goes: places that are refused, and how a file gets its name when it is whole.

The rules that live here:

- Nothing of a trail is ever written over: not its active file, not a numbered link, nothing in its directory.
- A file is made in a directory of its own beside its place, private, and renamed when all of it is on the disk. What
  was there before is there until then. Databases may put their journals into that directory, too.
- What a crash leaves, and who settles it: that directory, which the next export to the same name removes. It is
  locked while somebody is at work in it, so that of two at once one is refused.
- A link is followed when it is our own or root's, and the file that it names is replaced, never the link: where
  others may make links, they could have us replace anything otherwise.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from indelible.errors import ConfigError, TrailError
from indelible.trail.durable import datasync, sync_directory
from indelible.trail.layout import DIRECTORY_SUFFIX, Layout
from indelible.values import user_path

STDOUT: Final = "-"
FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o700
MAX_LINKS: Final = 40
"""As many as the kernel follows."""

ATTEMPTS: Final = 3
"""How often a directory is made again that somebody else removed as a leftover."""

_DESCRIPTORS: Final = Path("/proc/self/fd")
"""Linux: where a directory's descriptor leads into it."""

_STDOUTS: Final = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
_STREAMS = re.compile(r"/dev/(stderr|fd/[0-9]+)|/proc/.*")
_NUMBERED = re.compile(r"(.+)\.[0-9]+(\.zst)?")


class Target(NamedTuple):
    """Where one export goes."""

    said: str
    """What the user calls it."""
    path: Path
    is_stream: bool = False
    """It is written to as it stands, and cannot be replaced: a pipe, a device; ``-`` is standard output."""


def find_target(
    option: str, name: str, *, streams: bool = False, stdout: bool = False, trails: Iterable[Path] = ()
) -> Target:
    """Return where something goes that an option names; nothing is written yet. Raises ConfigError, TrailError.

    With `stdout` that may be standard output, with `streams` a pipe or a device, too. `trails` are those that it is
    about: they are not written over, whatever they look like.
    """
    if (streams or stdout) and (name == STDOUT or name in _STDOUTS):
        return Target("standard output", Path(STDOUT), is_stream=True)
    if name == STDOUT:
        raise ConfigError(f"{option}: -: does not go to standard output; name a file")
    if not name or "\0" in name:
        raise ConfigError(f"{option}: expected the name of a file, found {name!r}")
    path = user_path(name).absolute()
    if path.is_dir() or name.endswith("/"):
        raise ConfigError(f"{option}: {name}: is a directory; expected the name of a file")
    if not _is_stream(path):
        path = _followed(option, path)
    if _is_stream(path):
        if not streams:
            raise ConfigError(f"{option}: {name}: not a plain file; a pipe or a device cannot be replaced")
        return Target(name, path, is_stream=True)
    if not path.parent.is_dir():
        raise ConfigError(f"{option}: {path.parent}: there is no such directory")
    path = path.parent.resolve() / path.name
    if _is_of_trail(path) or any(_is_within(path, Layout(one.absolute())) for one in trails):
        raise ConfigError(f"{option}: {name}: belongs to a trail, and is not written over; choose another name")
    _check_owner(option, name, path)
    return Target(name, path)


def _is_stream(path: Path) -> bool:
    if str(path) in _STDOUTS or _STREAMS.fullmatch(str(path)):
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _followed(option: str, path: Path) -> Path:
    """Return the file that a link names in the end."""
    for _ in range(MAX_LINKS):
        try:
            found = path.lstat()
            if not stat.S_ISLNK(found.st_mode):
                return path
            if found.st_uid not in (os.geteuid(), 0):
                raise ConfigError(f"{option}: {path}: a link of another user's; name the file itself")
            path = path.parent / path.readlink()
        except FileNotFoundError:
            return path
        except OSError as exc:
            raise TrailError(f"{option}: {path}: cannot be written: {exc.strerror}") from exc
    raise ConfigError(f"{option}: {path}: links that lead nowhere")


def _is_of_trail(path: Path) -> bool:
    """Tell whether it is a trail's active file, a link to a closed one, or anything in its directory."""
    numbered = _NUMBERED.fullmatch(path.name)
    actives = [path, *([path.with_name(numbered[1])] if numbered else [])]
    actives += [
        parent.with_name(parent.name.removesuffix(DIRECTORY_SUFFIX))
        for parent in path.parents
        if parent.name.endswith(DIRECTORY_SUFFIX) and parent.name != DIRECTORY_SUFFIX
    ]
    return any(os.path.lexists(Layout(active).origin) for active in actives)


def _is_within(path: Path, layout: Layout) -> bool:
    """Tell the same of one trail, which may be named by a link."""
    return path == layout.active.resolve() or layout.directory.resolve() in path.parents


def _check_owner(option: str, name: str, path: Path) -> None:
    try:
        owner = path.lstat().st_uid
    except FileNotFoundError:
        return
    except OSError as exc:
        raise TrailError(f"{option}: {name}: cannot be written: {exc.strerror}") from exc
    if owner != os.geteuid():
        raise ConfigError(
            f"{option}: {name}: belongs to another user (uid {owner}); remove it or choose another name"
        )


class Workroom:
    """A private directory beside a place, in which its file is made; a context manager, which leaves nothing."""

    def __init__(self, target: Target) -> None:
        """Raises ConfigError when something is in the way, TrailError when another export is at work, OSError."""
        self._target = target
        self.directory = target.path.with_name(f".{target.path.name}.exporting")
        self.file = self.directory / "export"
        """What is to be made."""
        self._lock = self._made()

    def __enter__(self) -> Workroom:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        os.close(self._lock)

    def _made(self) -> int:
        for _ in range(ATTEMPTS):
            with contextlib.suppress(FileExistsError):
                self.directory.mkdir(mode=DIRECTORY_MODE)
            lock = self._locked()
            if lock is None:
                continue
            if not any(self.directory.iterdir()):
                return lock
            shutil.rmtree(self.directory)  # what a crash left
            os.close(lock)
        raise TrailError(f"{self._target.said}: another export to it is under way")

    def _locked(self) -> int | None:
        """Return the directory, locked; None when it is gone already."""
        try:
            lock = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except NotADirectoryError as exc:
            raise ConfigError(f"{self.directory}: is in the way; remove it") from exc
        try:
            if os.fstat(lock).st_uid != os.geteuid():
                raise ConfigError(f"{self.directory}: is in the way, and another user's; remove it")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise TrailError(f"{self._target.said}: another export to it is under way") from exc
            if os.path.samestat(os.fstat(lock), self.directory.lstat()):
                return lock
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)
        return None

    def spelled(self, name: str) -> str:
        """Return a path of the room that any program takes, whatever its place is called: no patterns, always UTF-8."""
        by_descriptor = _DESCRIPTORS / str(self._lock)
        return str((by_descriptor if _DESCRIPTORS.is_dir() else self.directory) / name)

    def settle(self) -> None:
        """Bring the file to the disk, readable for its owner alone."""
        fd = os.open(self.file, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.fchmod(fd, FILE_MODE)
            datasync(fd)
        finally:
            os.close(fd)

    def publish(self, journals: tuple[str, ...] = ()) -> None:
        """Give the file its name. `journals` are endings of files that would change what a reader sees of it."""
        path = self._target.path
        for ending in journals:  # of the database that was there: they would be taken for the new one's
            path.with_name(path.name + ending).unlink(missing_ok=True)
        self.file.rename(path)
        sync_directory(path.parent)
