"""The command line. `main` runs a command, and nothing below it ends in a traceback; `entry` is a process of its own.

Exit codes: 0 done; 1 the answer is "no"; 2 wrong usage or configuration; 3 could not (I/O); 130 interrupted; 141
nobody reads any more. ``INDELIBLE_DEBUG=1`` lets exceptions through.

Start-up counts here: `wrap` stands between a client and its server, and comes before click is imported; each
command's module is imported when it is run.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

INTERRUPTED = 130
BROKEN_PIPE = 141

SQL_OPTIONS = {"--where", "--sort", "--group-by", "--sum"}
"""Those of ``log`` that DuckDB answers."""

ASKING = ("log", "sql")
"""Commands that only read, and have nothing left to do once they have printed their answer."""


def entry() -> NoReturn:
    """Run the command line of this process, and end it.

    After a question at once: to take apart what Python and DuckDB hold in memory takes as long as many a question.
    """
    _take_standard_descriptors()
    _find_our_own_first()
    code = main()
    if sys.argv[1:2] and sys.argv[1] in ASKING:
        _end(code)
    sys.exit(code)


def _take_standard_descriptors() -> None:
    """Let no other file have the number of a standard descriptor that was closed before we came (``<&-``, ``2>&-``).

    A pipe to a server, or the trail, would be read as our input, or be written to by whoever has something to say. What
    stands there now fails as a closed one does: it cannot be read as input, nor written to as output. What is said on
    standard error goes nowhere, and not to standard output, where `print` puts it without one.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if descriptor else os.O_WRONLY)  # the lowest number that is free
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - as long as the process


def _find_our_own_first() -> None:
    """Have what we import found where we are installed, before PYTHONPATH and the directory that we were started in.

    `wrap` has the environment of the server that it stands before. A PYTHONPATH there is meant for that server: with
    packages of other versions, or for another Python, and modules that happen to be called ``click`` or ``queue``.
    """
    library = os.path.dirname(os.__file__)  # noqa: PTH120 - to import pathlib takes time
    if library in sys.path:
        first = sys.path.index(library)
        sys.path[:] = sys.path[first:] + sys.path[:first]


def _end(code: int) -> NoReturn:
    """End without the interpreter's own end; whoever has asked to be told of it is, and what was printed goes out."""
    import atexit

    atexit._run_exitfuncs()  # noqa: SLF001 - os._exit leaves them out
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(
            OSError, ValueError, AttributeError
        ):  # nobody reads, or there is no such stream
            stream.flush()
    os._exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    if sys.platform == "win32":
        return _fail("Windows is not supported yet; use Linux, macOS or WSL", 2)
    return _guarded(lambda: _run(args))


def _run(args: list[str]) -> int:
    if args[:1] == ["wrap"]:
        from importlib import import_module

        return int(import_module("indelible.cli.wrap").main(args[1:]))
    if _asks_sql(args):
        from indelible.query.engine.starting import begin

        begin()
    from indelible.cli.root import run

    return run(args)


def _asks_sql(args: Sequence[str]) -> bool:
    """Tell whether DuckDB will surely be needed, which takes as long to start as all that is imported before."""
    names = {arg.partition("=")[0] for arg in args[1:]}
    if names & {"--help", "-h", "--columns"}:
        return False
    return args[:1] == ["sql"] or (args[:1] == ["log"] and bool(names & SQL_OPTIONS))


def _guarded(command: Callable[[], int]) -> int:
    """Turn what a command dies of into one line and an exit code."""
    from indelible.errors import IndelibleError

    try:
        code = command()
        _flush()
    except IndelibleError as exc:
        if debugging():
            raise
        return _fail(str(exc), exc.exit_code)
    except BrokenPipeError:
        _discard_output()
        return BROKEN_PIPE
    except KeyboardInterrupt:
        _discard_output()
        return INTERRUPTED
    except OSError as exc:
        if debugging():
            raise
        where = f"{exc.filename}: " if exc.filename is not None else ""
        return _fail(f"{where}{exc.strerror or exc}", 3)
    except Exception as exc:  # the last line of defence: a bug of ours, still not a traceback
        if debugging():
            raise
        return _fail(f"internal error: {type(exc).__name__}: {exc}; INDELIBLE_DEBUG=1 shows more", 3)
    return code


def debugging() -> bool:
    """Tell whether whoever runs this wants to see tracebacks."""
    return os.environ.get("INDELIBLE_DEBUG", "") not in ("", "0")


def _fail(message: str, code: int) -> int:
    from indelible import loglines
    from indelible.cli.hints import placed
    from indelible.cli.text import one_line

    try:
        _flush()
    except OSError:  # what was printed so far goes nowhere; that is no reason to be silent
        _discard_output()
    try:
        print(loglines.line(one_line(placed(message))), file=sys.stderr, flush=True)  # noqa: T201
    except OSError:  # nobody can be told
        pass
    return code


def _flush() -> None:
    if sys.stdout is not None:  # None when it was closed before we came: ``>&-``
        sys.stdout.flush()


def _discard_output() -> None:
    """Nobody reads, or cares: keep the interpreter from complaining when it flushes at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
