"""The small room where durability lives: every fsync, rename and mode of the trail is here.

What the rest of the trail relies on:

- After `datasync` returned, the file's data and length survive power loss. After it failed, nothing is known of
  the pages written since the last success, and the descriptor is not to be used again: the kernel has reported
  the error once and may have marked the pages clean.
- After `replace_file` returned, the name holds the whole new content, across power loss; when it raises, the name
  holds the old content or the new, never a mixture.
- Making or renaming a file survives power loss only after `sync_directory` of its directory.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from indelible.errors import ConfigError

_FULLFSYNC: Final[int | None] = getattr(fcntl, "F_FULLFSYNC", None)
"""macOS: fsync there leaves the data in the drive's cache, this does not."""


class Access(NamedTuple):
    """Who may read: modes for files and directories, and the group to give them, if any."""

    file_mode: int = 0o600
    directory_mode: int = 0o700
    gid: int = -1


def access_for(group: str | None) -> Access:
    """Return the modes for a trail: private, or readable for `group`. Raises ConfigError for an unknown one."""
    if group is None:
        return Access()
    try:
        return Access(0o640, 0o750, grp.getgrnam(group).gr_gid)
    except KeyError as exc:
        msg = f"audit.group: there is no group {group!r} on this machine"
        raise ConfigError(msg) from exc


def datasync(fd: int) -> None:
    """Bring the file's data and length to the disk. On OSError, stop using `fd` (see the module's rules)."""
    if _FULLFSYNC is not None:  # pragma: no cover - macOS
        fcntl.fcntl(fd, _FULLFSYNC)
    else:
        os.fdatasync(fd)


def close(fd: int) -> None:
    """Close a descriptor of which nothing more is awaited: what was to be on the disk was synced, and that told.

    The descriptor is gone whatever close(2) says ("Dealing with error returns from close()"), so nobody can do anything
    about it, and the caller's own work is done.
    """
    with contextlib.suppress(OSError):
        os.close(fd)


def sync_directory(path: Path | str) -> None:
    """Bring a directory's names to the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_directories(paths: Iterable[Path | str]) -> None:
    """Bring the names of several directories to the disk, each once."""
    for path in sorted(set(paths)):
        sync_directory(path)


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`; a short write goes on where it stopped, until done or OSError."""
    written = os.write(fd, data)
    if written < len(data):
        view = memoryview(data)
        while written < len(data):
            written += os.write(fd, view[written:])


def make_directory(path: Path, access: Access, *, durable: bool = True) -> None:
    """Make a directory and its missing parents, 0700 unless `access` says otherwise; keep one that is there."""
    if path.is_dir():
        return
    missing = [path]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=access.directory_mode)
            try:
                _give(directory, access, access.directory_mode)
                if durable:
                    sync_directory(directory.parent)
            except OSError:
                with contextlib.suppress(OSError):
                    directory.rmdir()  # else the next attempt would find it, and not sync its name
                raise
    if not path.is_dir():
        raise NotADirectoryError(20, os.strerror(20), str(path))


def _give(path: Path, access: Access, mode: int) -> None:
    if access.gid != -1:
        os.chown(path, -1, access.gid)
        path.chmod(mode)  # the umask may have taken the group's bits


def _create_anew(path: str, access: Access) -> int:
    """Create a file of our own; what an earlier attempt left there is removed first."""
    try:
        return create_file(path, access)
    except FileExistsError:
        os.unlink(path)  # noqa: PTH108 - this room is on the way of every checkpoint: no Path is made
        return create_file(path, access)


def create_file(path: Path | str, access: Access) -> int:
    """Create a file that must not be there yet, and return a descriptor that appends to it."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(path, flags, access.file_mode)
    if access.gid != -1:
        os.fchown(fd, -1, access.gid)
        os.fchmod(fd, access.file_mode)
    return fd


def replace_file(path: Path, data: bytes, access: Access, *, durable: bool = True) -> None:
    """Give a file new content in one step (write beside it, sync, rename, sync the directory).

    With `durable` false the syncs are left out: the content is whole for every reader and after kill -9, and
    may be the old one, or empty, after power loss.
    """
    beside = _beside(path)
    fd = _create_anew(str(beside), access)
    try:
        write_all(fd, data)
        if durable:
            datasync(fd)
    finally:
        os.close(fd)
    beside.rename(path)
    if durable:
        sync_directory(path.parent)


@contextlib.contextmanager
def new_file(path: Path, access: Access, *, replace: bool) -> Iterator[int]:
    """Make a file of what is written to the descriptor: it has its name when it is whole and on the disk, not before.

    Whatever is raised, nothing is left; a crash may leave what `sweep` removes, and the next call for the same name.
    Without `replace`, raises FileExistsError rather than take what is there away. Two at once for one name: one fails.
    """
    beside = _beside(path)
    fd = _create_anew(str(beside), access)
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_APPEND)  # a zip is written to and fro
    try:
        yield fd
        datasync(fd)
        if not os.path.samestat(os.fstat(fd), beside.lstat()):
            raise FileExistsError(errno.EEXIST, "somebody else is writing it", str(path))
        if replace:
            beside.rename(path)
        else:
            _name_once(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(fd), beside.lstat()):
                beside.unlink()
        raise
    finally:
        os.close(fd)
    sync_directory(path.parent)


def _name_once(beside: Path, path: Path) -> None:
    try:
        path.hardlink_to(beside)
    except FileExistsError:
        raise
    except (
        OSError
    ):  # a file system without hard links, such as a memory stick's: as well as it can be done there
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        beside.rename(path)
    else:
        beside.unlink()


def rewrite_file(path: Path, data: bytes, like: os.stat_result, confirm: Callable[[], None]) -> None:
    """Give a file of somebody else's program new content in one step, with mode, owner and attributes as they are.

    `confirm` is called when the new content is on the disk and nothing but the rename is left; what it raises leaves
    the file as it was. Whatever is raised, nothing is left beside it; a crash may leave what `sweep` removes.
    """
    beside = _beside(path)
    try:
        fd = _create_anew(str(beside), Access())
        try:
            write_all(fd, data)
            _make_like(fd, path, like)
            datasync(fd)
        finally:
            os.close(fd)
        confirm()
        beside.rename(path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
    sync_directory(path.parent)


def _make_like(fd: int, path: Path, like: os.stat_result) -> None:
    mine = os.fstat(fd)
    if (mine.st_uid, mine.st_gid) != (like.st_uid, like.st_gid):
        os.fchown(fd, like.st_uid, like.st_gid)
    if sys.platform == "linux":  # access lists are among them
        for name in os.listxattr(path):
            with contextlib.suppress(OSError):  # some are the kernel's own to set
                os.setxattr(fd, name, os.getxattr(path, name))
    os.fchmod(fd, stat.S_IMODE(like.st_mode))


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp")


def sweep(path: Path) -> None:
    """Remove what a crash in the middle of replacing this file may have left beside it."""
    _beside(path).unlink(missing_ok=True)


def write_once(files: Iterable[tuple[str, bytes]], access: Access) -> None:
    """Write files whose content never changes (tiles), then sync them and their directories once each.

    A file that is there already (an earlier attempt's, before or after a crash) is replaced.
    """
    directories: set[str] = set()
    written: list[tuple[str, str, int]] = []
    try:
        for name, data in files:
            directory, _, last = name.rpartition("/")
            beside = f"{directory}/.{last}.tmp"
            try:
                fd = _create_anew(beside, access)
            except FileNotFoundError:
                make_directory(Path(directory), access)
                fd = _create_anew(beside, access)
            directories.add(directory)
            written.append((beside, name, fd))
            write_all(fd, data)
        for _, _, fd in written:  # all are written before the first sync waits
            datasync(fd)
    finally:
        for _, _, fd in written:
            os.close(fd)
    for beside, name, _ in written:
        os.rename(beside, name)  # noqa: PTH104 - see `_create_anew`
    sync_directories(directories)


# --- file systems ------------------------------------------------------------------------------------------

NETWORK_FILE_SYSTEMS: Final = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "coda", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "gfs2",
        "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "smb2", "smb3", "smbfs",
    }
)  # fmt: skip
"""Where flock, fsync or rename do not keep their word between machines: a trail is refused there."""


def file_system_of(path: Path, mountinfo: str) -> str | None:
    """Return the file system type of the mount that holds `path`, from the text of /proc/self/mountinfo.

    (proc_pid_mountinfo(5): field 5 is the mount point, with octal escapes, the type follows `` - ``.) The longest
    mount point wins, and of several at one point the last, which hides the others.
    """
    best: tuple[int, str] | None = None
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 5:
            continue
        point = Path(os.fsdecode(_unescape(fields[4])))
        if (point == path or point in path.parents) and (best is None or len(point.parts) >= best[0]):
            best = (len(point.parts), after.split(" ")[0])
    return best[1] if best else None


def _unescape(field: str) -> bytes:
    head, *rest = field.encode("utf-8", "surrogateescape").split(b"\\")
    return head + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in rest)


def refuse_network_file_system(directory: Path) -> None:
    """Raise ConfigError when an existing directory lies on a network file system."""
    if sys.platform != "linux":
        return
    try:
        mountinfo = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    except OSError:
        return  # a sandbox without /proc: nothing can be said
    kind = file_system_of(directory.resolve(), mountinfo)
    if kind in NETWORK_FILE_SYSTEMS:
        msg = f"{directory}: a trail cannot live on a network file system ({kind}); choose a local path"
        raise ConfigError(msg)
