"""``indelible wrap``: put before a stdio server's command, it records every call.

The child starts first, and everything that costs time to import (this module imports next to nothing) is imported in a
thread while the child boots; so the options are read by hand. The configuration is read in that thread too: when it
turns out wrong, the child is ended before it has seen a call.
"""

from __future__ import annotations

import gc
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from indelible.capture.audit import Auditor
    from indelible.capture.stdio import Tap
    from indelible.config import Settings
    from indelible.recorder import Recorder

HELP: Final = """\
Usage: indelible wrap [OPTIONS] [--] COMMAND [ARGUMENT]...

  Run a stdio MCP server and record every call that is made to it. What the
  server and its client say to each other is not changed by a byte.

Options:
  --name NAME         What to call the server in the trail; by default a word
                      of its command.
  --trail PATH        The trail to record to; by default the configured one.
  --socket PATH       Record through the service that listens here ('indelible
                      record'), into its trail.
  -c, --config FILE   The configuration to read.
  --profile NAME      The profile of the configuration to use.
  --actor WHO         Who is behind the calls; by default the login name.
  --caller-type TYPE  human (default), agent, service or anonymous.
  -h, --help          Show this message and exit.

Exit status: the server's own; 2 for a mistake in the options or the
configuration, 3 when the server or the trail cannot be had.

Examples:
  indelible wrap -- npx -y @modelcontextprotocol/server-filesystem /srv
  indelible wrap --name git --actor ci --caller-type service -- uvx mcp-server-git
  indelible wrap --trail ./audit.jsonl -- python server.py

In a client's configuration, put it before the server's command:
  {"mcpServers": {"files": {"command": "indelible",
    "args": ["wrap", "--", "npx", "-y", "@modelcontextprotocol/server-filesystem", "/srv"]}}}
"""

GC_THRESHOLD: Final = 50_000
"""Objects made before a young collection. A call leaves none behind and no cycles, so collecting every 700 (Python's
default) takes a tenth of the time and frees nothing."""

CONFIG_S: Final = 60.0
"""A configuration that comes out of a pipe may keep us waiting so long: no call is answered before it is there, and
nobody but kill -9 ends a tap that has not begun."""

USAGE: Final = 2
IO: Final = 3

_OPTIONS: Final = {
    "--name": "name",
    "--trail": "trail",
    "--socket": "socket",
    "-c": "config",
    "--config": "config",
    "--profile": "profile",
    "--actor": "actor",
    "--caller-type": "caller_type",
}
_CALLER_TYPES: Final = ("human", "agent", "service", "anonymous")


class UsageError(Exception):
    """The command line is wrong; one line."""


class Options:
    """What the command line says."""

    def __init__(self) -> None:
        """Start with the defaults."""
        self.name: str | None = None
        self.trail: str | None = None
        self.socket: str | None = None
        self.config: str | None = None
        self.profile: str | None = None
        self.actor: str | None = None
        self.caller_type: Any = "human"
        self.command: list[str] = []
        self.help = False


def parse(args: list[str]) -> Options:
    """Read the options; the command begins at the first word that is none, or after ``--``."""
    options = Options()
    rest = list(args)
    while rest:
        word = rest.pop(0)
        if word == "--":
            break
        if word in ("-h", "--help"):
            options.help = True
            return options
        if not word.startswith("-") or word == "-":
            rest.insert(0, word)
            break
        key, equals, value = word.partition("=")
        if key not in _OPTIONS:
            raise UsageError(f"no such option: {key!r}{_nearest(key)}")
        if not equals:
            if not rest or rest[0] == "--":
                raise UsageError(f"option {key} needs a value")
            value = rest.pop(0)
        if not value or "\0" in value:
            raise UsageError(f"option {key} needs a value, found {value!r}")
        setattr(options, _OPTIONS[key], value)
    options.command = rest
    _check(options)
    return options


def _check(options: Options) -> None:
    if options.caller_type not in _CALLER_TYPES:
        raise UsageError(f"--caller-type: expected {', '.join(_CALLER_TYPES)}, found {options.caller_type!r}")
    if options.trail is not None and options.socket is not None:
        raise UsageError("say either --trail, for a trail of your own, or --socket, for a service's")
    if not options.command or not options.command[0]:
        raise UsageError("no command to wrap; example: indelible wrap -- npx -y some-mcp-server")
    if any("\0" in word for word in options.command):
        raise UsageError("the command holds a NUL byte")


def _nearest(word: str) -> str:
    import difflib

    close = difflib.get_close_matches(word, list(_OPTIONS), n=1)
    return f"; did you mean '{close[0]}'?" if close else "; see indelible wrap --help"


def main(argv: list[str] | None = None) -> int:
    """Run the command; `argv` is what follows ``wrap``. Returns the exit code, or dies of the child's signal."""
    started = time.time_ns()
    parent = os.getppid()
    try:
        options = parse(sys.argv[2:] if argv is None else argv)
    except UsageError as exc:
        return _fail(str(exc), USAGE)
    if options.help:
        print(HELP, end="")  # noqa: T201
        return 0
    if os.name != "posix":
        return _fail("Windows is not supported yet", USAGE)
    try:
        if options.socket is None and not _may_have_config(options):
            _check_directory(_trail_path(options))
        return _run(options, parent, started)
    except UsageError as exc:
        return _fail(str(exc), USAGE)
    except OSError as exc:
        return _fail(str(exc), IO)


def _fail(message: str, code: int) -> int:
    if "'indelible " in message:  # a command that is named asks this trail
        from indelible.cli.hints import placed

        message = placed(message)
    if not message.isprintable():  # a name with a line feed or an escape sequence in it
        from indelible.cli.text import one_line

        message = one_line(message)
    from indelible import loglines

    loglines.for_recorder()
    print(loglines.line(message, "ERROR" if code else "WARNING"), file=sys.stderr)  # noqa: T201
    return code


# --- before the child: cheap checks -------------------------------------------------------------------------


def _may_have_config(options: Options) -> bool:
    """Tell whether there is any configuration to read; the same places as `configfile.find`."""
    if options.config or options.profile or os.environ.get("INDELIBLE_CONFIG"):
        return True
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111
    users = os.path.join(home, "indelible", "indelible.yaml")  # noqa: PTH118
    return os.path.exists("indelible.yaml") or os.path.exists(users)  # noqa: PTH110


def _load(options: Options) -> Settings:
    from indelible import configfile
    from indelible.errors import IndelibleError

    try:
        settings = configfile.load(
            options.config, profile=options.profile, trail=options.trail, within_s=CONFIG_S
        )
        return settings if options.socket is None else configfile.through(settings, options.socket)
    except IndelibleError as exc:
        raise UsageError(str(exc)) from exc
    except RuntimeError as exc:  # no home directory
        raise UsageError(f"{exc}; name a trail with --trail") from exc


def _trail_path(options: Options) -> str:
    if options.trail is not None:
        return os.path.abspath(os.path.expanduser(options.trail))  # noqa: PTH100, PTH111
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")  # noqa: PTH111
    return os.path.abspath(os.path.join(state, "indelible", "audit.jsonl"))  # noqa: PTH100, PTH118


def _check_directory(path: str) -> None:
    """Find out, without writing anything, whether a trail could be made at `path`."""
    if os.path.isdir(path):  # noqa: PTH112
        raise UsageError(
            f"{path}: is a directory; name the trail's file, such as {path.rstrip('/')}/audit.jsonl"
        )
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113
        raise UsageError(f"{path}: is a device, a pipe or a socket; a trail is a plain file")
    above = os.path.dirname(path)  # noqa: PTH120
    while not os.path.lexists(above):
        above = os.path.dirname(above)  # noqa: PTH120
    if not os.path.isdir(above):  # noqa: PTH112
        raise OSError(f"{path}: cannot be a trail: {above} is not a directory")
    if not os.access(above, os.W_OK | os.X_OK):
        read_only = os.statvfs(above).f_flag & os.ST_RDONLY
        why = "Read-only file system" if read_only else f"no permission to write to {above}"
        raise OSError(f"{path}: cannot be written: {why}")


# --- the child, and everything else while it boots ----------------------------------------------------------


class _Boot:
    """What is opened in a thread: the recorder and the audit, or the reason why not."""

    def __init__(self, options: Options, started: int) -> None:
        self._options = options
        self._started = started
        self.recorder: Recorder | None = None
        self.audit: Auditor | None = None
        self.problem: tuple[str, int] | None = None

    def open(self) -> None:
        """Open the recorder; never raises."""
        try:
            self._open()
        except UsageError as exc:
            self.problem = (str(exc), USAGE)
        except OSError as exc:
            self.problem = (str(exc), IO)
        except Exception as exc:  # noqa: BLE001 - the child must be ended whatever it is
            code = getattr(exc, "exit_code", IO)
            self.problem = (str(exc) or type(exc).__name__, code)

    def _open(self) -> None:
        from indelible import loglines
        from indelible.capture.wrapped import open_audit
        from indelible.cli import hints
        from indelible.cli.logged import name_log_lines

        hints.about(self._options.config, self._options.profile, self._options.trail)
        loglines.for_recorder()
        name_log_lines()
        settings = _load(self._options)
        loglines.settle(settings.audit.sinks, settings.audit.ship)
        for warning in settings.warnings:
            _fail(warning, 0)
        if not settings.audit.enabled:
            _fail("audit.enabled is false: calls are forwarded and not recorded", 0)
            return
        if settings.audit.socket is None:
            _check_directory(str(settings.audit.path))
        self.recorder, self.audit = open_audit(
            settings,
            name=self._name(),
            actor=self._options.actor,
            caller_type=self._options.caller_type,
        )
        if self.recorder.notice:
            _fail(self.recorder.notice, 0)
        self.audit.started(self._started)
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD)

    def _name(self) -> str:
        from indelible.cli.naming import clean, server_name

        if self._options.name is not None:
            return clean(self._options.name) or "server"
        return server_name(self._options.command)


def _run(options: Options, parent: int, started: int) -> int:
    from indelible.capture import child, ourselves, stdio

    try:
        server = child.spawn(options.command)
    except child.SpawnError as exc:
        return _fail(str(exc), IO)
    pipe = ourselves.catch_signals()
    boot = _Boot(options, started)
    tap = stdio.Tap(server, wake=pipe, parent=parent)
    tap.on_wake = lambda: _booted(tap, boot)
    _open_in_thread(boot, pipe)
    tap.run()
    server.release()
    if boot.audit is not None:
        boot.audit.ended(server.describe_end())
    if boot.recorder is not None:
        boot.recorder.close()
    if boot.problem is not None:
        return _fail(*boot.problem)
    return child.exit_like(server.status or 0)


def _open_in_thread(boot: _Boot, pipe: tuple[int, int]) -> None:
    import _thread

    from indelible.capture import ourselves

    def work() -> None:
        boot.open()
        ourselves.wake(pipe)

    sys.setswitchinterval(0.0005)  # so that neither imports nor checkpoints hold up an answer for longer
    _thread.start_new_thread(work, ())


def _booted(tap: Tap, boot: _Boot) -> None:
    if boot.problem is not None:
        tap.stop()
    else:
        tap.attach(boot.audit)
        _pass_reload_on(boot.recorder)


def _pass_reload_on(recorder: Recorder | None) -> None:
    """Let SIGHUP, which goes to the server as before, reach the process that ships, too."""
    import signal

    if (
        recorder is None
        or not recorder.settings.audit.sinks
        or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    ):
        return
    reload_sinks = recorder.reload_sinks
    signal.signal(signal.SIGHUP, lambda *_: reload_sinks())
