"""The shell of `indelible sql`: a query ends with a semicolon or with an empty line, commands begin with a backslash.

The rules that live here:

- Ctrl-C ends the query that runs, or throws away the line that is typed; the shell goes on. Ctrl-D ends the shell.
- Every query sees the trail as it is then: the files are looked at again where one of them has changed.
- What was typed is kept, for its user alone, beside the default trail; a shell that cannot keep it works all the same.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from indelible import configfile
from indelible.cli.caps import bounded
from indelible.cli.common import Where, find_trails, note
from indelible.cli.sql import show
from indelible.errors import IndelibleError
from indelible.query.engine.asking import ALL, Asked
from indelible.query.engine.connection import Caps
from indelible.query.engine.guard import SqlError
from indelible.trail.layout import Layout
from indelible.trail.reader import with_earlier

if TYPE_CHECKING:
    from indelible.cli.rows import Form

PROMPT: Final = "indelible> "
MORE: Final = "      ...> "

HISTORY: Final = "sql_history"
MAX_HISTORY: Final = 1_000
"""Lines of history that are kept."""

HELP: Final = """\
A query ends with ; or an empty line.
\\d  lists the views and their columns
\\q  ends the shell, as Ctrl-D does
Ctrl-C ends a query that takes too long"""


class Shell:
    """Reads queries until there are no more."""

    def __init__(self, where: Where, caps: Caps, form: Form, *, with_twins: bool = True) -> None:
        self._with_twins = with_twins
        self._where = where
        self._caps = caps
        self._form = form
        self._asked: Asked | None = None
        self._state: object = None

    def run(self) -> int:
        """Read and answer. Raises TrailError when there is no trail, or no DuckDB."""
        self._look()
        click.echo("The views are logs and events; \\d lists their columns, \\? helps.", err=True)
        history = _history()
        try:
            goes_on = True
            while goes_on:
                with contextlib.suppress(KeyboardInterrupt):  # that comes as a query begins or ends
                    goes_on = self._next()
        finally:
            _keep(history)
            self._close()
        return 0

    def _next(self) -> bool:
        """Answer what is typed next; tell whether it was not the end."""
        typed = self._read()
        if typed is None or typed == "\\q":
            return False
        self._answer(typed)
        return True

    def _read(self) -> str | None:
        """Return what is typed up to a semicolon, an empty line or a command; None at the end."""
        lines: list[str] = []
        while True:
            try:
                line = input(MORE if lines else PROMPT)
            except EOFError:
                click.echo()
                return None
            except KeyboardInterrupt:
                click.echo()
                lines = []
                continue
            if not lines and line.strip().startswith("\\"):
                return line.strip()
            if line.strip() or lines:
                lines.append(line)
            if lines and (not line.strip() or line.rstrip().endswith(";")):
                return "\n".join(lines)

    def _answer(self, typed: str) -> None:
        match typed:
            case "\\d":
                self._columns()
            case "\\?" | "\\h":
                click.echo(HELP)
            case _ if typed.startswith("\\"):
                note(f"no command {typed}; \\? lists them")
            case _:
                self._ask(typed)

    def _ask(self, sql: str) -> None:
        try:
            with bounded(self._caps):
                show(self._look(), sql, self._form)
        except KeyboardInterrupt:
            self._close()  # it may have been ended in the midst of a look through a file
            note("the query was ended")
        except SqlError as exc:
            note(str(exc))
        except (IndelibleError, OSError) as exc:
            self._close()
            note(str(exc))

    def _columns(self) -> None:
        from indelible.query.columns import view_columns

        for view in ("logs", "events"):
            names = ", ".join(f"{name} {type_}" for name, type_ in view_columns(view))
            click.echo(f"{view}: {names}")

    # --- the trail ----------------------------------------------------------------------------------------

    def _look(self) -> Asked:
        """Return the trail, opened anew if anything has changed since."""
        paths = with_earlier(find_trails(self._where))
        state = [(path, _stat(path), _stat(Layout(path).segments)) for path in paths]
        if self._asked is None or state != self._state:
            self._close()
            self._asked = Asked(paths, ALL, self._caps, with_twins=self._with_twins)
            self._state = state
        return self._asked

    def _close(self) -> None:
        if self._asked is not None:
            self._asked.__exit__()
            self._asked = None


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _history() -> Path | None:
    """Read what was typed before; return where it is kept. None without readline."""
    try:
        import readline
    except ImportError:
        return None
    path = configfile.state_home() / "indelible" / HISTORY
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(MAX_HISTORY)
    return path


def _keep(path: Path | None) -> None:
    if path is None:
        return
    import readline

    old = os.umask(0o077)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        readline.write_history_file(path)
        path.chmod(0o600)
    except OSError as exc:
        click.echo(f"{path}: what was typed cannot be kept: {exc.strerror}", err=True)
    finally:
        os.umask(old)
    sys.stdout.flush()
