"""Whether a place is fit for a trail, and what stands there is the trail's own: before anything is written or made.

The rule that lives here: a writer that finds something else than its own trail refuses, in one line that says what to
do, and leaves every byte as it is. A reader only reads, and says what it finds.

Who may write a directory on the way to the trail can put another one in its place, and a link can lead to another
user's file: so neither is walked into. A directory of everybody's with the sticky bit, such as /tmp, is safe as far as
what lies in it is one's own. One without it (a Kubernetes emptyDir is one) nothing makes safe, no directory of one's
own in it either: that can be moved away between two starts, and then looks as if there had been no trail yet. Only who
knows that nobody else can reach it can say so (`audit.trust_directory`).

root could write another user's trail, and would leave files there which that user's own processes cannot write any
more: so root refuses, too.
"""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from indelible import events
from indelible.errors import ConfigError, TrailCorrupt, TrailError
from indelible.trail import files
from indelible.trail.entry import line_recorded_at, parse_line

if TYPE_CHECKING:
    from indelible.trail.layout import Layout

BEGUN: Final = ".active.tmp"
"""The name under which a new active file is written: a crash may leave it linked to the file that it became."""


def check_place(layout: Layout, trusted: str | None = None) -> None:
    """Raise ConfigError when the trail's path leads where no trail can be, or another user can lead it elsewhere.

    `trusted` is a directory of everybody's of which the configuration says that whoever can write it may.
    """
    _check_file(layout)
    _check_directory(layout.directory)
    _check_way(layout.active.parent, trusted)
    if _look(layout.directory) is None:  # a file without its directory: nothing is made beside it
        check_own(layout, None)
        _check_not_somebody_elses(layout.active)


def _check_file(layout: Layout) -> None:
    path = layout.active
    about = _look(path)
    if about is None:
        return
    if stat.S_ISDIR(about.st_mode):
        msg = f"{path}: is a directory; name a file, such as audit.jsonl in it"
    elif stat.S_ISLNK(about.st_mode):
        msg = f"{path}: is a symbolic link; name the file that it points to"
    elif not stat.S_ISREG(about.st_mode):
        msg = f"{path}: is a device, a pipe or a socket; a trail is a plain file"
    elif about.st_nlink > 1 and not _is_begun(layout, about):
        msg = (
            f"{path}: has {about.st_nlink} names (hard links), so what is written would show under the others, too;"
            " remove those, or copy the trail"
        )
    else:
        _check_owner(path, about)
        return
    raise ConfigError(msg)


def _is_begun(layout: Layout, about: os.stat_result) -> bool:
    """Tell whether the second name is what a writer left that was killed while it made the file."""
    begun = _look(layout.directory / BEGUN)
    return begun is not None and about.st_nlink == 2 and os.path.samestat(begun, about)


def _check_directory(directory: Path) -> None:
    about = _look(directory)
    if about is None:
        return
    if not stat.S_ISDIR(about.st_mode):
        what = "a symbolic link" if stat.S_ISLNK(about.st_mode) else "no directory"
        msg = f"{directory}: is {what}; the trail keeps its checkpoint there, in a directory of its own"
        raise ConfigError(msg)
    _check_owner(directory, about)
    if about.st_mode & stat.S_IWOTH:
        msg = f"{directory}: everybody may write it; take that away (chmod o-w), and verify the trail"
        raise ConfigError(msg)


def _check_owner(path: Path, about: os.stat_result) -> None:
    if about.st_uid == os.geteuid():
        return
    try:
        name = f"{pwd.getpwuid(about.st_uid).pw_name}, uid {about.st_uid}"
    except KeyError:
        name = f"uid {about.st_uid}"
    msg = f"{path}: belongs to another user ({name}); run this as that user, or name another trail"
    raise ConfigError(msg)


def _check_way(directory: Path, trusted: str | None) -> None:
    """Go down to the trail's directory: every link on the way is one's own or root's, and no directory everybody's."""
    for place in (*reversed(directory.parents), directory):
        about = _look(place)
        if about is None:
            break
        if stat.S_ISLNK(about.st_mode) and about.st_uid not in (os.geteuid(), 0):
            msg = f"{place}: is a symbolic link of another user (uid {about.st_uid}); name the directory it points to"
            raise ConfigError(msg)
    real = Path(os.path.realpath(directory))
    for place in (*reversed(real.parents), real):
        about = _look(place)
        if about is None:
            break
        if trusted is not None and place == Path(os.path.realpath(trusted)):
            continue
        if stat.S_ISDIR(about.st_mode) and about.st_mode & stat.S_IWOTH and not about.st_mode & stat.S_ISVTX:
            msg = (
                f"{place}: everybody may write it, and so put another trail in the place of this one; take that away"
                " (chmod o-w, or chmod +t), choose another directory, or, when nobody else can reach it, say so:"
                f" audit.trust_directory: {place}"
            )
            raise ConfigError(msg)


def _look(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


# --- what stands there --------------------------------------------------------------------------------------------


def check_own(layout: Layout, origin: str | None) -> None:
    """Raise TrailCorrupt when the newest file is of another trail than its directory; TrailError for a newer schema."""
    for file in files.newest_first(layout):
        if not file.compressed:
            _check_first_line(file.path, layout, origin)
        return


def _check_not_somebody_elses(path: Path) -> None:
    """A writer makes the directory first: what stands there without one is nothing that it may clear away."""
    about = _look(path)
    if about is not None and about.st_size:
        msg = f"{path}: is there already, and is no trail; name another file, or move it away; nothing was written"
        raise ConfigError(msg)


def _check_first_line(path: Path, layout: Layout, origin: str | None) -> None:
    with path.open("rb") as file:
        line = file.readline(events.MAX_LINE_BYTES + 1).removesuffix(b"\n")
    entry = parse_line(line) if line_recorded_at(line) else None
    if entry is None or entry.get("event_type") != "file_opened":
        return  # torn, or no line of a trail: recovery says what becomes of it
    schema = entry.get("schema")
    if isinstance(schema, int) and schema > events.SCHEMA:
        msg = (
            f"{path}: was written by a newer version of Indelible (schema {schema}, this one writes {events.SCHEMA});"
            " update, or name another trail"
        )
        raise TrailError(msg)
    metadata = entry.get("metadata")
    named = metadata.get("origin") if isinstance(metadata, dict) else None
    if named == origin:
        return
    if origin is None:
        msg = (
            f"{path}: is of the trail {named}, whose directory {layout.directory} has no origin; put the directory"
            " back, or move the file away; nothing was written"
        )
    else:
        msg = (
            f"{path}: is of another trail, {named}; the one whose directory lies here is {origin}; put the right one"
            " back; nothing was written"
        )
    raise TrailCorrupt(msg)
