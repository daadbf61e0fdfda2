"""``indelible record``: the trail as a service, for recorders of other users."""

from __future__ import annotations

import grp
import os
import select
import signal
from typing import TYPE_CHECKING, Final

import click

from indelible.cli.common import Where, note, where_options
from indelible.cli.systemd import Watchdog, notify, watchdog_s
from indelible.errors import ConfigError, TrailError
from indelible.values import parse_mode, user_path

if TYPE_CHECKING:
    import socket

    from indelible.config import RecordSettings, Settings
    from indelible.served import Served
    from indelible.trail.sharing import sockets

EPILOG: Final = """\b
Examples:
  indelible record --listen /run/indelible/record.sock --trail /var/log/indelible/audit.jsonl
  indelible record --listen record.sock --group mcp --mode 0660
  indelible record -c /etc/indelible/indelible.yaml

Recorders write through the socket: audit.socket in their configuration, or wrap --socket. They can add to the trail,
and can neither read nor rewrite it. It runs until SIGTERM or Ctrl-C; everything that was taken is then written and
sealed. Under systemd: packaging/systemd/indelible-record.service and .socket.

Exit code 0: it was told to end; 2: wrong usage or configuration; 3: somebody else writes the trail, or the socket
cannot be made.
"""

LOOK_S: Final = 1.0
"""How often it is looked whether the trail is still this process's."""


@click.command("record", epilog=EPILOG)
@click.option("--listen", metavar="SOCKET", help="The Unix socket to make; systemd may hand one over instead.")
@click.option(
    "--group", metavar="NAME", help="Whose members may connect; by default the group of this process."
)
@click.option("--mode", metavar="MODE", help="Mode of the socket; by default 0660: this user and the group.")
@where_options
def command(where: Where, listen: str | None, group: str | None, mode: str | None) -> int:
    """Hold the trail, and record for other users until told to stop."""
    settings = where.settings
    if settings.audit.socket is not None:
        msg = "audit.socket: this configuration records through a service, so it cannot be one; name a trail instead"
        raise ConfigError(msg)
    if not settings.audit.enabled:
        raise ConfigError("audit.enabled is false: there is nothing to hold")
    stop = _catch_signals()
    door = _Door(settings.record, listen, group, mode)
    from indelible.served import Served

    door.prepare()  # whatever is wrong with the socket is said before a trail is made
    try:
        served = Served(settings)
        try:
            served.listen(door.open())
            _serve(served, settings, door, stop)
        finally:
            notify("STOPPING=1")
            door.close()
            served.close()
    finally:
        door.drop()
    return 0


def _catch_signals() -> int:
    """Return a descriptor from which the signals can be read that came, a byte each."""
    out, into = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def handler(number: int, _frame: object) -> None:
        try:
            os.write(into, bytes([number]))
        except BlockingIOError:  # it is full of this news already
            pass

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, handler)
    return out


def _serve(served: Served, settings: Settings, door: _Door, stop: int) -> None:
    """Answer for the trail until it is time to end. Raises TrailError when another process may have it."""
    every_s = watchdog_s()
    watchdog = None
    if every_s is not None:
        watchdog = Watchdog(every_s, served.check, lambda exc: note(f"the trail cannot be written: {exc}"))
    notify("READY=1", f"STATUS=recording to {settings.audit.path}")
    note(f"recording to {settings.audit.path} what comes over {door.name}", "INFO")
    while not _is_told_to_end(stop, served):
        if served.lost:
            msg = f"{settings.audit.path}: another process may write this trail now; start anew"
            raise TrailError(msg)
    if watchdog is not None:
        watchdog.stop()


def _is_told_to_end(stop: int, served: Served) -> bool:
    """Wait a moment; tell whether it is time to end. SIGHUP is the shipper's, where there is one."""
    if not select.select([stop], [], [], LOOK_S)[0]:
        return False
    return os.read(stop, 1)[0] != signal.SIGHUP or not served.reload_sinks()


class _Door:
    """The socket: made here, or handed over."""

    def __init__(
        self, settings: RecordSettings, listen: str | None, group: str | None, mode: str | None
    ) -> None:
        """Check everything that can be checked before the trail is opened. Raises ConfigError."""
        from indelible.trail.sharing import sockets

        try:
            self._given = sockets.inherited()
            self._mode = settings.mode if mode is None else parse_mode(mode)
        except ValueError as exc:
            where = "" if str(exc).startswith("LISTEN_FDS") else "--mode: "
            raise ConfigError(f"{where}{exc}") from None
        self._group = group or settings.group
        self._gid = _gid(self._group, "record.group" if group is None else "--group")
        path = listen or settings.listen
        if self._given is None and path is None:
            raise ConfigError(
                "record: say where to listen: --listen SOCKET, or record.listen in the configuration"
            )
        if path is not None and "\0" in path:
            raise ConfigError("--listen: expected a path")
        self._path = None if self._given is not None else user_path(str(path)).absolute()
        self._prepared: sockets.Prepared | None = None
        self._made: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """What to call it."""
        if self._given is not None:
            return str(self._given.getsockname() or "the socket that was handed over")
        return str(self._path)

    def prepare(self) -> None:
        """Make the socket, where nobody sees it yet. Raises TrailError."""
        if self._path is None:
            return
        from indelible.trail.sharing import sockets

        try:
            self._prepared = sockets.Prepared(self._path, self._mode, self._gid)
        except PermissionError as exc:
            raise TrailError(self._not_allowed(exc)) from exc
        except OSError as exc:
            raise TrailError(self._cannot(exc)) from exc

    def open(self) -> socket.socket:
        """Return the listener: from now on others can connect. Raises TrailError."""
        if self._given is not None:
            return self._given
        assert self._prepared is not None  # noqa: S101 - `prepare` comes before
        assert self._path is not None  # noqa: S101 - one of the two is there
        try:
            listener = self._prepared.appear()
            about = self._path.lstat()
        except OSError as exc:
            raise TrailError(self._cannot(exc)) from exc
        self._prepared = None
        self._made = (about.st_dev, about.st_ino)
        return listener

    def drop(self) -> None:
        """Take away what was prepared, if it was not opened."""
        if self._prepared is not None:
            self._prepared.drop()

    def _cannot(self, exc: OSError) -> str:
        return f"{self._path}: cannot listen here: {exc.strerror or exc}"

    def _not_allowed(self, exc: PermissionError) -> str:
        """Say whether it is the directory or the group that this user may not use."""
        if self._gid in (-1, os.getegid(), *os.getgroups()) or os.geteuid() == 0:
            return self._cannot(exc)
        name = self._group
        return (
            f"{self._path}: cannot be given to the group {name!r}: this process is no member of it; add its user to the"
            " group, or name another one"
        )

    def close(self) -> None:
        """Take the socket away, if it is still the one that was made here."""
        if self._path is None or self._made is None:
            return
        try:
            about = self._path.lstat()
            if (about.st_dev, about.st_ino) == self._made:
                self._path.unlink()
        except OSError:
            pass


def _gid(group: str | None, where: str) -> int:
    if group is None:
        return -1
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        msg = f"{where}: there is no group {group!r} on this machine"
        raise ConfigError(msg) from None
