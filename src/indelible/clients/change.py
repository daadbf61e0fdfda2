"""A client's configuration is changed, and changed back: what is on the disk at each step.

`install`    ledger (what will be put where, and the backup's name)  →  backup  →  the file, in one rename
`uninstall`  the file, in one rename  →  the backups, when the file is what they hold  →  ledger

The rules that live here:

- Before the rename the file is what it was, after it what was meant; never anything between. A crash leaves one of
  the two. What it leaves beside (a ledger of what was not put, a backup without a change, a ``.tmp``) is settled by the
  next install or uninstall of that file.
- Just before the rename the file is read once more: when somebody has changed it meanwhile, all begins anew from what
  they wrote. (Between that look and the rename remain some microseconds, for which no file system has a lock that
  editors would heed.)
- A symbolic link stays one; the file that it leads to is changed, and keeps its mode, owner and extended attributes.
- No edit is written unless the result, read again, differs from what was there in exactly what was meant.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec

from indelible.clients import jsonedit, ledger, servers
from indelible.clients.jsonedit import JsonError, Node
from indelible.clients.ledger import Ledger, Step
from indelible.clients.places import Client
from indelible.clients.servers import Change, Pointer, Record, Server
from indelible.errors import ClientConfigError, ConfigError
from indelible.trail import durable

MAX_BYTES: Final = 64 << 20
"""A larger file is not a client's configuration; it is parsed as a whole."""
T = TypeVar("T")

ATTEMPTS: Final = 3
"""How often it is tried when somebody else writes the file at the same time (Claude Code does so after each answer)."""


class Config(NamedTuple):
    """A file as it was read."""

    path: Path
    """Where it is, links resolved."""
    data: bytes
    about: os.stat_result
    root: Node | None


class Plan(NamedTuple):
    """What would be done to a file."""

    config: Config
    servers: list[Server]
    changes: list[Change]
    records: list[Record]
    """Of an installation, one for each change; of the other what stays."""
    known: Ledger | None
    result: bytes

    @property
    def shown(self) -> list[tuple[Pointer, list[str], list[str]]]:
        """What somebody agrees to who has seen it."""
        return [(change.at, change.before, change.after) for change in self.changes]


class _Meanwhile(Exception):  # noqa: N818 - nobody's mistake
    """Somebody else wrote the file since it was read."""


def read(path: Path) -> Config:
    """Read a configuration. Raises ConfigError for what is none, FileNotFoundError, OSError."""
    real = path.resolve(strict=True)
    fd = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    about = os.fstat(fd)
    if not stat.S_ISREG(about.st_mode):
        os.close(fd)
        raise ConfigError(f"{path}: is not a file")
    with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_BYTES >> 20} MB; this is no client's configuration")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError(f"{path}: is UTF-16; save it as UTF-8")
    with _named(path):
        return Config(real, data, about, jsonedit.parse(data))


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except JsonError as exc:
        raise ConfigError(f"{path}: {exc}; nothing was changed") from exc


# --- what would be done -----------------------------------------------------------------------------------------


def plan_install(
    path: Path, keys: Iterable[Pointer], words: Callable[[Server], list[str]], only: frozenset[str]
) -> Plan:
    """Return what an installation would do; `words` are what goes before a server's command. Raises as `read` does."""
    config = read(path)
    with _named(path):
        found = servers.find(config.data, config.root, keys)
    _check_names(path, only, {server.name for server in found})
    done = [
        servers.wrap(config.data, server, words(server))
        for server in found
        if server.state == "open" and (not only or server.name in only)
    ]
    changes, records = [change for change, _ in done], [record for _, record in done]
    known = ledger.read(config.path)
    return Plan(config, found, changes, records, known, _result(config, changes))


def plan_uninstall(
    path: Path, client: Client, keys: Iterable[Pointer], only: frozenset[str], *, everything: bool
) -> Plan:
    """Return what would be given back: what the ledger knows, or everything that is wrapped. Raises as `read` does."""
    config = read(path)
    known = ledger.read(config.path)
    with _named(path):
        meant = {server.at for server in servers.find(config.data, config.root, keys)}
        found = servers.find(config.data, config.root, client.keys)
    _check_names(path, only, {server.name for server in found})
    records = {} if known is None else servers.match(found, known.records)
    changes, stay = [], []
    for server in found:
        record = records.get(server.at)
        is_meant = server.at in meant and (not only or server.name in only)
        if server.state != "wrapped" or (record is None and not everything):
            continue
        change = servers.unwrap(config.data, server, record) if is_meant else None
        if change is not None:
            changes.append(change)
        elif record is not None:
            stay.append(record)
    return Plan(config, found, changes, stay, known, _result(config, changes))


def _check_names(path: Path, only: frozenset[str], names: set[str]) -> None:
    for name in sorted(only - names):
        listed = ", ".join(sorted(names)) or "none"
        raise ConfigError(f"--server: {path} has no server {name!r}; there: {listed}")


def _result(config: Config, changes: list[Change]) -> bytes:
    """Return the file's new content. Raises ClientConfigError when that is not what was meant."""
    result = jsonedit.apply(config.data, (edit for change in changes for edit in change.edits))
    try:
        wrong = servers.differs(config.root, jsonedit.parse(result), changes)
    except JsonError as exc:
        wrong = str(exc)
    if wrong is not None:
        raise ClientConfigError(f"{config.path}: cannot be changed safely ({wrong}); nothing was changed")
    return result


# --- doing it ---------------------------------------------------------------------------------------------------


def install(client: Client, plan: Plan, again: Callable[[], Plan]) -> Path | None:
    """Do what was planned, and return the backup; None when there is nothing to do.

    `again` plans anew when the file changes meanwhile. Raises ClientConfigError when it keeps changing, or what was
    agreed to is not what would be done any more; OSError.
    """
    return _attempt(plan, again, lambda now: _install(client, now))


def uninstall(plan: Plan, again: Callable[[], Plan]) -> tuple[Path, ...]:
    """Give back what was planned, and return the backups that stay since the file was edited. Raises as `install`."""
    return _attempt(plan, again, _uninstall) or ()


def _attempt(plan: Plan, again: Callable[[], Plan], do: Callable[[Plan], T]) -> T:
    with ledger.locked():
        for attempt in range(ATTEMPTS):
            now = plan if attempt == 0 and _still_holds(plan) else again()
            if now.shown != plan.shown:
                break
            try:
                return do(now)
            except _Meanwhile:
                continue
    raise ClientConfigError(
        f"{plan.config.path}: somebody else changed it meanwhile; close what writes it, and try again"
    )


def _still_holds(plan: Plan) -> bool:
    """Tell whether all is as when it was planned; then the file, which may be large, need not be parsed once more."""
    path = plan.config.path
    return _content(path) == plan.config.data and ledger.read(path) == plan.known


def _install(client: Client, plan: Plan) -> Path | None:
    if not plan.changes:
        return None
    config, known = plan.config, plan.known
    steps = list(known.steps) if known else []
    before = ledger.digest(config.data)
    if steps and steps[-1].before == before:  # it was never done, or taken out by hand: one backup is enough
        backup = Path(steps.pop().backup)
    else:
        backup = _backup_name(config.path)
    step = Step(backup=str(backup), at=_now(), before=before, after=ledger.digest(plan.result))
    mine = {record.at for record in plan.records}
    kept = [record for record in known.records if record.at not in mine] if known else []
    new = Ledger(
        client=client.name, file=str(config.path), records=(*kept, *plan.records), steps=(*steps, step)
    )
    try:
        ledger.write(config.path, new)
        mode = stat.S_IMODE(config.about.st_mode) & 0o600
        with _writing(backup):
            durable.replace_file(backup, config.data, durable.Access(file_mode=mode))
        _put(config, plan.result)
    except BaseException:
        with contextlib.suppress(OSError):
            _take_back(plan, backup)
        raise
    return backup


def _take_back(plan: Plan, backup: Path) -> None:
    """After a failure: what was not put into the file is not known of it, either."""
    known = plan.known
    if _content(plan.config.path) == plan.result:
        return  # the rename was done, whatever was said of it
    if known is None or all(step.backup != str(backup) for step in known.steps):
        _discard(backup)
    ledger.write(plan.config.path, known)


def _uninstall(plan: Plan) -> tuple[Path, ...]:
    config, known = plan.config, plan.known
    if plan.changes:
        _put(config, plan.result)
    else:
        durable.sweep(config.path)
    if known is None:
        ledger.write(config.path, None)  # what a crash left of one
        return ()
    if plan.records:
        ledger.write(config.path, msgspec.structs.replace(known, records=tuple(plan.records)))
        return ()
    backups = dict.fromkeys(Path(step.backup) for step in known.steps)
    as_before = bool(known.steps) and ledger.digest(plan.result) == known.steps[0].before
    if as_before:
        ours = {step.before for step in known.steps}
        for backup in backups:
            if not backup.exists() or ledger.digest(backup.read_bytes()) in ours:
                _discard(backup)
    ledger.write(config.path, None)
    return tuple(backup for backup in backups if backup.exists())


def _put(config: Config, data: bytes) -> None:
    """Give the file its new content. Raises _Meanwhile when it is not what was read any more, OSError."""
    if config.about.st_nlink > 1:
        count = config.about.st_nlink
        raise ClientConfigError(
            f"{config.path}: has {count} names (hard links), of which only one would change; make it a file of its own"
        )

    def look() -> None:
        if _content(config.path) != config.data:
            raise _Meanwhile

    with _writing(config.path):
        durable.rewrite_file(config.path, data, config.about, look)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise ClientConfigError(f"{path}: cannot be written: {exc.strerror}") from exc


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _discard(backup: Path) -> None:
    durable.sweep(backup)
    backup.unlink(missing_ok=True)
    durable.sync_directory(backup.parent)


def _now() -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


def _backup_name(path: Path) -> Path:
    """Return a name beside the file that nobody has."""
    stem = f"{path.name}.indelible-{_now()}"
    names = (path.with_name(f"{stem}{more}.bak") for more in ("", *(f"-{count}" for count in range(2, 1000))))
    return next(name for name in names if not name.exists())
