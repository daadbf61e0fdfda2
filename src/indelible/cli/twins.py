"""``indelible twins``: make, check and remove the columns that questions are answered from."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from indelible.cli.common import Where, find_trails, print_json, where_options
from indelible.cli.hints import placed
from indelible.cli.priority import be_idle
from indelible.cli.text import byte_count, counted, one_line
from indelible.errors import TrailError

if TYPE_CHECKING:
    from indelible.query.engine.making import Progress
    from indelible.trail.durable import Access

EPILOG: Final = """\b
Examples:
  indelible twins                    make those that are due, of the configured trail
  indelible twins --check            do they say what their lines say?
  indelible twins --rebuild          make all of them anew
  indelible twins --remove           questions are answered from the lines alone
  indelible twins --json | jq .trails[0].bytes

A twin has the lines of a closed file, or of 4 MB of the active one, once more, as columns
(Parquet), so that 'indelible sql' and 'indelible log' need not read them. Whoever records makes
them in the background where the package duckdb is installed ('twins: off' in the configuration
ends that). They can be removed at any time: nothing is lost. Exit code 1: --check has found a
twin that says something else than its lines.
"""

BEGAN: Final = time.monotonic()

RESTS: Final = 3
"""Times as long as a recorder's child was at work for a twin it rests before the next one. So it is at work a quarter
of the time: also with what is left over one is in the way, since Linux fetches no other's waiting thread to where
something runs already. It is enough for some 6 MB of lines a second."""

LONGEST_REST_S: Final = 60.0

LOOK_S: Final = 0.1


@click.command("twins", epilog=EPILOG)
@click.option("--rebuild", is_flag=True, help="Make all of them anew.")
@click.option("--check", is_flag=True, help="Compare each with its lines; make none.")
@click.option("--remove", is_flag=True, help="Remove all of them.")
@click.option("--attached", is_flag=True, hidden=True)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@where_options
def command(
    where: Where,
    rebuild: bool,  # noqa: FBT001 - click's signature
    check: bool,  # noqa: FBT001
    remove: bool,  # noqa: FBT001
    attached: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> int:
    """Make the twins of a trail that are due: its lines as columns, to be asked quickly."""
    if rebuild + check + remove > 1:
        raise click.UsageError("--rebuild, --check and --remove: which of them?")
    if attached:
        return _attached(where)
    from indelible.trail.reader import with_earlier

    do = _check if check else _remove if remove else _rebuild if rebuild else _make
    done = [do(path) for path in with_earlier(find_trails(where))]
    if as_json:
        print_json({"ok": not any(one.get("findings") for one in done), "trails": done})
    else:
        for one in done:
            _print(one)
    return 1 if any(one.get("findings") for one in done) else 0


def _attached(where: Where) -> int:
    """Make what is due, as the child of a recorder: with what the machine has left over, while that one lives."""
    from indelible.query.engine import making

    be_idle()
    gone, began = threading.Event(), BEGAN

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(sys.stdin.fileno(), 1):
                pass
        gone.set()

    threading.Thread(target=watch, name="indelible-parent", daemon=True).start()
    for path in find_trails(where):
        with _told(path):
            while making.make(path, _access(path), most=1, stop=gone.is_set).made:
                gone.wait(min(RESTS * (time.monotonic() - began), LONGEST_REST_S))
                began = time.monotonic()  # more may be due by now
    return 0


def _make(path: Path, *, rebuild: bool = False) -> dict[str, Any]:
    from indelible.cli.progress import byte_bar
    from indelible.query.engine import making

    with _told(path), contextlib.ExitStack() as stack:

        def begin(total: int) -> Progress:
            add = stack.enter_context(byte_bar(total, "making twins"))
            return add if add is not None else lambda _: None

        done = making.make(path, _access(path), rebuild=rebuild, progress=begin)
    made = [one for one in done.made if one.rows is not None]
    return {
        **_standing(path),
        "made": len(made),
        "made_bytes": sum(one.rows.size for one in made if one.rows is not None),
        "removed": done.removed,
    }


def _rebuild(path: Path) -> dict[str, Any]:
    return _make(path, rebuild=True)


def _remove(path: Path) -> dict[str, Any]:
    from indelible.trail import twins
    from indelible.trail.layout import Layout

    layout = Layout(path)
    removed = 0
    with _told(path):
        if layout.twins.is_dir():
            with twins.alone(layout, _access(path), twins.PATIENCE_S):
                removed = twins.sweep(layout, [])
    return {**_standing(path), "removed": removed}


def _check(path: Path) -> dict[str, Any]:
    from indelible.cli.progress import byte_bar
    from indelible.query.engine import judging

    with _told(path), contextlib.ExitStack() as stack:

        def begin(total: int) -> Progress:
            add = stack.enter_context(byte_bar(total, "checking twins"))
            return add if add is not None else lambda _: None

        found = judging.check(path, begin)
    return {**_standing(path), "checked": found.checked, "findings": found.findings}


def _standing(path: Path) -> dict[str, Any]:
    """Return what there is now."""
    from indelible.query.engine import making

    standing = making.standing(path)
    return {"trail": str(path), **standing._asdict()}


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Make one line of what the system says."""
    try:
        yield
    except PermissionError as exc:
        raise TrailError(
            f"{exc.filename or path}: only who may write the trail makes and removes twins: {exc.strerror}"
        ) from exc
    except OSError as exc:
        raise TrailError(f"{exc.filename or path}: {exc.strerror or exc}") from exc


def _access(path: Path) -> Access:
    """Return the modes of the trail as it stands, whatever the configuration here says."""
    from indelible.trail.durable import Access
    from indelible.trail.layout import Layout

    try:
        found = Layout(path).directory.stat()
    except FileNotFoundError:
        return Access()
    return Access(0o640, 0o750, found.st_gid) if found.st_mode & 0o070 else Access()


def _print(one: dict[str, Any]) -> None:
    size = f"{one['twins']} of {counted(one['events'], 'event')}, {byte_count(one['bytes'])}"
    share = f", {one['bytes'] / one['line_bytes']:.1%} of their lines" if one["line_bytes"] else ""
    said = f"{size}{share}" if one["twins"] else "none that fit" if one["unfit"] else "none"
    click.echo(one_line(f"{one['trail']}: twins: {said}"))
    if one["unfit"]:
        others = "of lines that are others now, or of another version"
        click.echo(one_line(placed(f"  {one['unfit']} not asked, {others}; 'indelible twins' makes them anew")))
    if "made" in one:
        click.echo(one_line(f"  {one['made']} made, {byte_count(one['made_bytes'])}"))
    if one.get("removed"):
        click.echo(one_line(f"  {counted(one['removed'], 'file')} removed"))
    if one["by_line"]:
        click.echo(one_line(f"  to be read line by line: {counted(one['by_line'], 'range')} of lines"))
    for finding in one.get("findings", ()):
        click.echo(one_line(f"  {finding['file']}: {finding['problem']}"))
    if "checked" in one and not one["findings"]:
        each = "each says what its lines say" if one["checked"] else "there is none that fits"
        click.echo(one_line(f"  {one['checked']} checked: {each}"))
