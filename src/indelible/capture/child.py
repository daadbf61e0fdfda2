"""A child process whose whole group ends with us, even when we are killed.

Order matters. The watchdog is forked first, the child next; the child waits at a gate until the watchdog has been
told its group. So there is no instant at which a kill -9 of this process would leave the child's group behind: the
watchdog sees its pipe close, and ends the group. It is in a session of its own, holds nothing open but that pipe,
and always ends: when told so, or when the pipe closes.

Imported before anything else of `wrap`, so that the child boots while the rest is imported: standard library only,
and little of it.
"""

from __future__ import annotations

import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn

TERM_GRACE_S: Final = 1.5
"""From SIGTERM to SIGKILL. MCP clients wait 2 s after their own SIGTERM before they kill: we must be done by then."""

WATCHDOG_GRACE_S: Final = 0.5
"""The same when we were killed ourselves: the child's stdin has closed by then, too."""

_GATE_OPEN: Final = b"g"
_ALL_IS_WELL: Final = b"."
_POLL_S: Final = 0.01


class SpawnError(Exception):
    """The command could not be started; the message is one line."""


class Child:
    """A running child: its group is `pid`. `stdin` and `stdout` are our ends of its pipes, not blocking."""

    def __init__(self, pid: int, stdin: int, stdout: int, watchdog: int, leash: int) -> None:
        """Made by `spawn`."""
        self.pid = pid
        self.stdin = stdin
        self.stdout = stdout
        self.status: int | None = None
        """What `os.waitpid` said of it, once it has ended."""
        self._watchdog = watchdog
        self._leash = leash

    def reap(self) -> bool:
        """Tell whether the child has ended, without waiting for it."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
        return self.status is not None

    def signal(self, number: int, *, group: bool) -> None:
        """Send a signal to the child, or to its group; it is no error when nobody is left."""
        try:
            if group:
                os.killpg(self.pid, number)
            elif self.status is None:
                os.kill(self.pid, number)
        except (ProcessLookupError, PermissionError):
            pass

    def release(self) -> None:
        """End what is left of the group, and the watchdog. The child itself must have been reaped."""
        end_group(self.pid, TERM_GRACE_S)
        try:
            os.write(self._leash, _ALL_IS_WELL)
        except OSError:
            pass  # somebody ended the watchdog
        os.close(self._leash)
        try:
            os.waitpid(self._watchdog, 0)
        except ChildProcessError:
            pass

    def describe_end(self) -> str:
        """Return how the child ended, in words."""
        if self.status is None:
            return "still running"
        if os.WIFSIGNALED(self.status):
            return f"killed by signal {os.WTERMSIG(self.status)}"
        return f"exited with code {os.WEXITSTATUS(self.status)}"


def spawn(command: list[str]) -> Child:
    """Start a command in a process group of its own, its stderr ours; raises SpawnError."""
    watched, leash = os.pipe()
    watchdog = os.fork()
    if not watchdog:
        _run_watchdog(watched)
    os.close(watched)
    stdin, to_child = os.pipe()
    from_child, stdout = os.pipe()
    gate, opener = os.pipe()
    failure, report = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(opener)
        _run_child(command, stdin, stdout, gate, report)
    for descriptor in (stdin, stdout, gate, report):
        os.close(descriptor)
    _make_group(pid)
    os.write(leash, b"%d\n" % pid)
    os.write(opener, _GATE_OPEN)
    os.close(opener)
    why = os.read(failure, 16)
    os.close(failure)
    child = Child(pid, to_child, from_child, watchdog, leash)
    if why:
        os.waitpid(pid, 0)
        child.release()
        raise SpawnError(f"cannot start {command[0]!r}: {os.strerror(int(why))}")
    os.set_blocking(to_child, False)
    os.set_blocking(from_child, False)
    return child


def _make_group(pid: int) -> None:
    try:
        os.setpgid(pid, pid)  # the child does the same: whoever comes first
    except (ProcessLookupError, PermissionError):
        pass


def _run_child(command: list[str], stdin: int, stdout: int, gate: int, report: int) -> NoReturn:
    """Become the command, once the gate opens; nothing of it has run if we die before."""
    try:
        os.setpgid(0, 0)
        if os.read(gate, 1) != _GATE_OPEN:
            os._exit(1)
        os.dup2(stdin, 0)
        os.dup2(stdout, 1)
        for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores them; a command expects the default
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        os.execvp(command[0], command)  # noqa: S606 - the very command that the user gave
    except OSError as exc:
        os.write(report, b"%d" % (exc.errno or 0))
    except BaseException:  # noqa: BLE001, S110 - nothing may escape into a second copy of the program
        pass
    os._exit(127)


def _run_watchdog(watched: int) -> NoReturn:
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        os.dup2(watched, 0)
        os.closerange(1, os.sysconf("SC_OPEN_MAX"))
        heard = b""
        while data := os.read(0, 64):
            heard += data
        group, _, verdict = heard.partition(b"\n")
        if group and verdict != _ALL_IS_WELL:
            end_group(int(group), WATCHDOG_GRACE_S)
    except BaseException:  # noqa: BLE001, S110
        pass
    os._exit(0)


def end_group(group: int, grace: float) -> None:
    """End every process of a group: SIGTERM, then SIGKILL after `grace` seconds; at once when it is empty."""
    deadline = time.monotonic() + grace
    try:
        os.killpg(group, signal.SIGTERM)
        os.killpg(group, signal.SIGCONT)  # a stopped process cannot end itself
        while time.monotonic() < deadline:
            time.sleep(_POLL_S)
            os.killpg(group, 0)
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return  # nobody is left (macOS says EPERM of a group of zombies)


def exit_like(status: int) -> int:
    """Return the exit code of a child that ended with `status`; one that a signal ended, ends us the same way."""
    if not os.WIFSIGNALED(status):
        return os.WEXITSTATUS(status)
    number = os.WTERMSIG(status)
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the child has dumped its core, ours would be noise
    try:
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    except (OSError, ValueError):
        pass  # SIGKILL
    os.kill(os.getpid(), number)
    return 128 + number
