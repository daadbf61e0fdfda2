"""``indelible verify``: check trails against their signed checkpoints."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from indelible.cli.common import Where, find_trails, print_json, where_options
from indelible.cli.text import byte_count, one_line
from indelible.trail.check import Progress, load_vkey, verify_trail

if TYPE_CHECKING:
    from indelible.trail.findings import Previous, VerifyResult

SHOW_PROGRESS_AFTER_S: Final = 1.0
SHOWN_FINDINGS: Final = 20
"""A person reads so many; `--json` has them all."""

EPILOG: Final = """\b
Examples:
  indelible verify                       the configured trail, and those beside it
  indelible verify --trail /var/log/indelible
  indelible verify --vkey trail.vkey     against a key that was kept elsewhere
  indelible verify --json | jq .findings

Exit code 0: nothing is wrong with what could be checked; 1: there are findings;
3: there is no trail, or it cannot be read. `indelible keygen --show` prints the key to keep.
"""


@click.command("verify", epilog=EPILOG)
@click.option("--vkey", metavar="VKEY|FILE", help="The trail's public key, from a place that you trust.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@where_options
def command(
    where: Where,
    vkey: str | None,
    as_json: bool,  # noqa: FBT001 - click's signature
) -> int:
    """Check every line, tile and checkpoint; say exactly where something does not agree."""
    if vkey is not None:
        load_vkey(vkey)  # before anything is read: a wrong option is no answer about a trail
    paths = find_trails(where)
    with progress_bar(paths) as progress:
        results = [verify_trail(path, vkey, progress) for path in paths]
    if as_json:
        print_json(results[0].as_dict() if len(results) == 1 else combine(results))
    else:
        for result in results:
            print_result(result)
    return 0 if all(result.ok for result in results) else 1


def combine(results: list[VerifyResult]) -> dict[str, Any]:
    """Return several trails' results in the form of one; `trails` has each by itself."""
    parts = [result.as_dict() for result in results]
    total: dict[str, Any] = {
        "ok": all(part["ok"] for part in parts),
        "events": sum(part["events"] for part in parts),
        "files": sum(part["files"] for part in parts),
        "checkpoint": None,
        "findings": [finding for part in parts for finding in part["findings"]],
        "not_checked": sorted({text for part in parts for text in part["not_checked"]}),
    }
    return {**total, "trails": parts}


def print_result(result: VerifyResult) -> None:
    """Print a result for people: the verdict first, then each finding, then what was not checked."""
    size = "none" if result.size is None else f"{result.size} events"
    summary = f"{result.events} events, {result.files} file{'s' * (result.files != 1)}, checkpoint over {size}"
    extras = [
        f"{count} {word}" for count, word in ((result.erased, "erased"), (result.pruned, "pruned")) if count
    ]
    mark = click.style("ok", fg="green", bold=True) if result.ok else click.style("NOT OK", fg="red", bold=True)
    click.echo(f"{one_line(result.trail)}: {mark}: {', '.join([summary, *extras])}")
    for finding in result.findings[:SHOWN_FINDINGS]:
        click.echo(f"  {click.style('finding', fg='red')}: {one_line(str(finding))}")
    more = len(result.findings) - SHOWN_FINDINGS + result.omitted
    if more > 0:
        click.echo(f"  and {more} more findings (--json lists the first {len(result.findings)})")
    for earlier in result.previous:
        click.echo(f"  previous trail: {one_line(_describe(earlier))}")
    for text in result.not_checked:
        click.echo(f"  {click.style('not checked', fg='yellow')}: {one_line(text)}")


def _describe(earlier: Previous) -> str:
    what = f"{earlier.origin}: {earlier.end} of {earlier.size} events were left"
    if earlier.ok is None:
        return f"{what}; it is not there"
    return f"{what}, {'as they were sealed' if earlier.ok else 'not as they were sealed'}: {earlier.trail}"


# --- progress -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def progress_bar(paths: list[Path]) -> Iterator[Progress | None]:
    """Show on a terminal how far the reading is, once it has taken a second."""
    if not sys.stderr.isatty():
        yield None
        return
    bar = _Bar(sum(_size(path) for path in paths))
    try:
        yield bar.add
    finally:
        bar.close()


def _size(path: Path) -> int:
    """Return the bytes of a trail's files; compressed ones count as ten times their size, as a guess."""
    total = 0
    folder = path.with_name(path.name + ".d") / "segments"
    for file in [path, *(folder.iterdir() if folder.is_dir() else [])]:
        with contextlib.suppress(OSError):
            total += file.stat().st_size * (10 if file.suffix == ".zst" else 1)
    return total


class _Bar:
    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._due = time.monotonic() + SHOW_PROGRESS_AFTER_S
        self._progress: Any = None
        self._task: Any = None

    def add(self, count: int) -> None:
        self._done += count
        if self._progress is None:
            if time.monotonic() < self._due:
                return
            self._start()
        done = min(self._done, self._total)
        self._progress.update(self._task, completed=done, sizes=self._sizes(done))

    def _sizes(self, done: int) -> str:
        return f"{byte_count(done)} of {byte_count(self._total)}"

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("verifying"),
            BarColumn(),
            TextColumn("{task.fields[sizes]}"),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._progress.start()
        self._task = self._progress.add_task("", total=self._total, sizes=self._sizes(0))

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
