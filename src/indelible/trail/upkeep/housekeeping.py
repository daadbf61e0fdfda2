"""What follows a rotation and may take its time: links, compression, deletion; and orders. On a thread of its own.

Every step can be interrupted and is done again at the next rotation or start. A file is compressed or deleted only
when every line of it is under a checkpoint. What is deleted is in `pruning`; it is looked for after a rotation, and
with the first checkpoint after an hour (an idle trail makes one with each heartbeat): time alone makes a file due. A
look that is still due when the trail is closed is taken then, for `LAST_LOOK_S` at most, and stops between two files:
otherwise nobody would take it where each process records for a moment only.

Orders (see `duties`) are carried out on the same thread, one after the other, before anything else: nobody else works
on the closed files meanwhile. One that was begun is finished, also when the trail is being closed; one that was not is
answered with Ending then.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from indelible.config import KEEP_ALL
from indelible.errors import IndelibleError, TrailCorrupt, TrailError
from indelible.trail import durable, files
from indelible.trail.files import TrailFile
from indelible.trail.notice import Notice
from indelible.trail.shipping.backlog import shipping_of
from indelible.trail.upkeep.due import Rules, Stopped, ends
from indelible.trail.upkeep.orders import Ending, NotTaken
from indelible.trail.upkeep.pruning import Pruner
from indelible.trail.upkeep.twinning import TwinKeeper

if TYPE_CHECKING:
    from indelible.trail.upkeep.holds import HoldBook
    from indelible.trail.upkeep.orders import Asker, Order
    from indelible.trail.writer import Writer

log = logging.getLogger("indelible")

COMPRESSION_LEVEL: Final = 3

ERASE_AGAIN_S: Final = 60.0
"""After an erasure that could not be finished, how long until the next attempt: each reads and writes whole files."""

LOOK_S: Final = 3600.0
"""So long after a look the next one is due, though no file was closed."""

LAST_LOOK_S: Final = 0.5
"""So long files may be looked at while the trail is being closed: whoever ends us does not wait for long."""

MAX_ORDERS: Final = 8
"""Orders that wait for their turn."""

Answer = Callable[[dict[str, Any] | IndelibleError], None]
"""Called once, from another thread, with an order's result, or with why there is none."""


class Task:
    """An order that waits, or is being carried out."""

    def __init__(self, order: Order, asker: Asker, answer: Answer) -> None:
        self.order = order
        self.asker = asker
        self.answer = answer


class Housekeeper:
    """Looks after the closed files of one writer."""

    def __init__(self, writer: Writer, pruned: list[tuple[int, int]]) -> None:
        self._writer = writer
        self.pruner = Pruner(writer, pruned)
        self.erasing = threading.RLock()
        """Held while a plan is carried out: two threads would write the same files."""
        self.twins = TwinKeeper(writer)
        """Sees to it that twins are made."""
        self._notice = Notice(good="")
        self._layout = writer.layout
        self._audit = writer.audit
        self._access = writer.access
        self._due = False
        self._look_at = time.monotonic() + LOOK_S
        self._closing = False
        self._turn = threading.Lock()
        self._running = self._again = False
        self._tasks: collections.deque[Task] = collections.deque()
        self._linking = threading.Lock()
        self._erase_at = 0.0
        self._thread: threading.Thread | None = None

    def rotated(self) -> None:
        """A file was closed, or the writer starts: set the links now, and do the rest after the next checkpoint."""
        with contextlib.suppress(OSError):
            self.link()
        self._due = True

    def sealed(self) -> None:
        """A checkpoint was made: what is due can be done, or is done once more by whoever is at it."""
        with self._turn:
            self._due = self._due or time.monotonic() >= self._look_at or self.twins.is_due()
            if self._running:
                self._again = True  # it may have looked before this checkpoint covered the last line of a file
            elif self._due and not self._closing:
                self._begin(look=True)

    def execute(self, order: Order, asker: Asker, answer: Answer) -> Task:
        """Carry an order out as soon as it is its turn. Raises NotTaken, also when the trail is being closed."""
        task = Task(order, asker, answer)
        with self._turn:
            if self._closing:
                raise Ending(self._too_late())
            if len(self._tasks) >= MAX_ORDERS:
                msg = f"{self._layout.active}: {MAX_ORDERS} orders wait already; try again later"
                raise NotTaken(msg)
            self._tasks.append(task)
            if not self._running:
                self._begin(look=False)
        return task

    def withdraw(self, task: Task) -> bool:
        """Drop an order that was not begun; tell whether it was not."""
        with self._turn:
            if task not in self._tasks:
                return False
            self._tasks.remove(task)
            return True

    def _too_late(self) -> str:
        return f"{self._layout.active}: the process that holds the trail is ending; try again"

    def _begin(self, *, look: bool) -> None:
        self._running = True
        self._thread = threading.Thread(
            target=self._run, args=(look,), name="indelible-housekeeper", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more; who waits with an order is told so."""
        with self._turn:
            self._closing = True
        self.twins.stop()
        self._dismiss()

    def _dismiss(self) -> None:
        with self._turn:
            tasks = list(self._tasks)
            self._tasks.clear()
        for task in tasks:
            task.answer(Ending(self._too_late()))

    def close(self) -> None:
        """Wait for what is under way, and begin nothing more but a last look: the next start does what is due."""
        self.stop()
        if self._thread is not None:
            self._thread.join()
        self._finish_erasure()  # a process that ends at once is a next start, too
        self._last_look()

    def _last_look(self) -> None:
        """Delete what is due, and warn of backlogs, when no checkpoint has let us do so."""
        if not self._due or self._writer.lost or self._audit.retention_rules == KEEP_ALL:
            return
        until = time.monotonic() + LAST_LOOK_S
        try:
            if files.segments(self._layout):
                self.prune(lambda: time.monotonic() >= until)
                self.link()
        except (OSError, IndelibleError) as exc:
            self._notice.bad(f"{self._layout.active}: closed files were not looked after: {exc}")

    def _run(self, look: bool = True) -> None:  # noqa: FBT001, FBT002 - a thread's argument
        again = True
        try:
            while again:
                self._carry_out()
                if look:
                    self._look_after()
                with self._turn:
                    look = self._again and not self._closing
                    again = self._running = look or bool(self._tasks)
                    self._again = False
        except BaseException:  # not foreseen: the next checkpoint begins anew
            self._running = False
            self._dismiss()
            raise

    def _carry_out(self) -> None:
        """Carry out all orders that wait."""
        from indelible.trail.upkeep.duties import carry_out  # it knows this module's users

        while True:
            with self._turn:
                if not self._tasks:
                    return
                task = self._tasks.popleft()
            result: dict[str, Any] | IndelibleError
            try:
                result = carry_out(self._writer, task.order, task.asker)
            except IndelibleError as exc:
                result = exc
            except OSError as exc:
                where = exc.filename or self._layout.active
                result = TrailError(f"{where}: the order was not carried out: {exc.strerror or exc}")
            except Exception as exc:  # a fault of ours costs the order, not the house
                log.exception("%s: an order was not carried out", self._layout.active)
                result = TrailError(f"internal error: {type(exc).__name__}: {exc}")
            task.answer(result)

    def _look_after(self) -> None:
        self._due, self._look_at = False, time.monotonic() + LOOK_S
        self._finish_erasure()
        try:
            self.prune()
            if self._audit.compress_rotated:
                self.compress()
            self.link()
            if not self._closing:
                self.twins.look()
            closed = files.segments(self._layout)
            if closed and ends(self._layout, closed)[-1] > self._writer.sealed:
                self._due = True  # closed after the last checkpoint
            self._notice.well()
        except (OSError, IndelibleError) as exc:
            self._notice.bad(f"{self._layout.active}: closed files were not looked after: {exc}")
            self._due = True

    def _finish_erasure(self) -> None:
        """Go on with an erasure that an earlier writer, or an earlier attempt, could not finish."""
        if time.monotonic() < self._erase_at:
            return
        from indelible.trail.upkeep import plans
        from indelible.trail.upkeep.erase import resume

        try:
            if not plans.path_of(self._layout).exists() and not plans.left_by_earlier(self._layout):
                return
            resume(self._writer)
        except (OSError, IndelibleError) as exc:
            self._erase_at = time.monotonic() + ERASE_AGAIN_S
            log.warning("%s", exc)

    # --- links -------------------------------------------------------------------------------------------------

    def link(self) -> None:
        """Point ``audit.jsonl.1`` (``.1.zst`` when compressed) at the newest segment, ``.2`` at the next, and so on."""
        with self._linking:
            self._link()

    def _link(self) -> None:
        newest_first = list(reversed(files.segments(self._layout)))[: self._audit.backup_count]
        wanted: dict[Path, str] = {}
        for number, file in enumerate(newest_first, 1):
            link = self._layout.link(number, compressed=file.compressed)
            wanted[link] = os.path.relpath(file.path, link.parent)
        own = set(files.links(self._layout))
        for link, target in wanted.items():
            if link in own or not os.path.lexists(link):  # somebody's own file or link is not ours to replace
                _point(link, target)
        for path in own.difference(wanted):
            path.unlink()

    # --- compression -------------------------------------------------------------------------------------------

    def compress(self) -> None:
        """Compress every sealed plain segment; the plain file goes when the compressed one reads back the same."""
        closed = files.segments(self._layout)
        for file, end in zip(closed, ends(self._layout, closed), strict=True):
            if self._closing:
                return
            if self._tasks:  # orders come first; whoever gave one waits
                self._due = self._again = True
                return
            if not file.compressed and end <= self._writer.sealed:
                self._compress(file)

    def _compress(self, file: TrailFile) -> None:
        import zstandard

        target = file.path.with_name(file.path.name + ".zst")
        beside = target.with_name(f".{target.name}.tmp")
        beside.unlink(missing_ok=True)
        digest = sha256()
        fd = durable.create_file(beside, self._access)
        with file.path.open("rb") as source, os.fdopen(fd, "wb") as sink:
            size = os.fstat(source.fileno()).st_size
            compressor = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL, write_checksum=True)
            with compressor.stream_writer(sink, size=size, closefd=False) as packed:
                while chunk := source.read(files.CHUNK_BYTES):
                    digest.update(chunk)
                    packed.write(chunk)
            sink.flush()
            durable.datasync(sink.fileno())
        if not _holds(TrailFile(beside, file.first_seq, compressed=True), digest.digest()):
            beside.unlink()
            msg = f"{file.path}: does not read back after compression; kept as it is"
            raise OSError(5, msg)
        beside.rename(target)
        durable.sync_directory(target.parent)
        file.path.unlink()
        durable.sync_directory(target.parent)

    # --- deletion ----------------------------------------------------------------------------------------------

    @property
    def pruned(self) -> list[tuple[int, int]]:
        """The ranges of seqs (first and last) whose files were deleted. Replaced, never changed."""
        return self.pruner.pruned

    @property
    def holds(self) -> HoldBook:
        """The legal holds of the trail."""
        return self.pruner.holds

    def prune(self, stop: Callable[[], bool] | None = None) -> None:
        """Delete what no hold, `retention` or `backup_count` keeps any more, until told to stop; see `pruning`."""
        stop = stop or (lambda: self._closing)
        rules = Rules(self._audit.retention_rules, self._audit.backup_count, shipping_of(self._audit))
        if rules.retention == KEEP_ALL:
            self.pruner.finish()
            return
        with contextlib.suppress(Stopped):  # the next look goes on
            self.pruner.prune(rules, stop)
        self._due = self._due or stop()


def _point(link: Path, target: str) -> None:
    with contextlib.suppress(OSError):
        if os.readlink(link) == target:  # noqa: PTH115 - as text, not resolved
            return
    beside = link.with_name(f".{link.name}.tmp")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    beside.rename(link)


def _holds(file: TrailFile, expected: bytes) -> bool:
    """Tell whether a file's content, decompressed, has this SHA-256."""
    digest = sha256()
    try:
        with files.open_file(file) as stream:
            while chunk := stream.read(files.CHUNK_BYTES):
                digest.update(chunk)
    except TrailCorrupt:
        return False
    return digest.digest() == expected
