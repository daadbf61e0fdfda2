"""``indelible export --evidence``: some lines of a trail, for an auditor who has not got it."""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import click

from indelible import __version__
from indelible.cli.common import Where, note, one_trail, print_json
from indelible.cli.evidence_page import evidence_page
from indelible.cli.filtering import make_filter
from indelible.cli.progress import byte_bar, progress_bar
from indelible.cli.text import byte_count, counted, one_line
from indelible.errors import ConfigError
from indelible.events import format_time
from indelible.query.evidence.bundle import PASSES, VERIFIER, Bundle, Made, Order, earlier, spelled
from indelible.trail.checking.check import load_vkey
from indelible.trail.upkeep.holds import login_of
from indelible.values import user_path


class Asked(NamedTuple):
    """What the command line says beside the filters."""

    file: str
    vkey: str | None
    force: bool
    damaged: bool
    remark: str | None


def write(where: Where, asked: Asked, filters: dict[str, Any], *, as_json: bool) -> int:
    """Write a bundle, and say what is in it; the exit code is 1 when the trail has findings."""
    if not asked.file or "\0" in asked.file:
        msg = f"--evidence: expected the name of a file, found {asked.file!r}"
        raise ConfigError(msg)
    verifier = None if asked.vkey is None else load_vkey(asked.vkey)
    wanted, target = make_filter(**filters), user_path(asked.file).absolute()
    path = one_trail(where)
    order = Order(path, target, wanted, _about(asked.remark), verifier, asked.force, asked.damaged)
    with Bundle(order) as bundle:
        with progress_bar([path], "choosing and verifying") as progress:
            size = bundle.read(progress)
        with byte_bar(PASSES * size, "proving and packing") as progress:
            made = bundle.write(evidence_page, progress)
    if as_json:
        print_json({"file": str(target), "size": made.size, "sha256": made.sha256, "manifest": made.manifest})
    else:
        _print(target, made)
    _say_what_is_not_there(path, made)
    return 1 if made.result.findings else 0


def print_verifier() -> int:
    """Print the program that checks a bundle."""
    sys.stdout.flush()
    sys.stdout.buffer.write(VERIFIER.read_bytes())
    sys.stdout.buffer.flush()
    return 0


def _about(remark: str | None) -> dict[str, Any]:
    return {
        "made_at": format_time(time.time_ns()),
        "made_by": {"login": login_of(os.getuid()), "host": platform.node()},
        "made_with": f"indelible {__version__}",
        "note": None if remark is None else spelled(remark),
    }


def _print(target: Path, made: Made) -> None:
    counts, origin = made.counts, made.manifest["trail"]["origin"]
    beside = [
        counted(number, word)
        for number, word in ((counts.erased, "erased line"), (counts.records, "record of erasures"))
        if number
    ]
    more = f", and {' and '.join(beside)}" if beside else ""
    span = f"seq {counts.first_seq}" + (f" to {counts.last_seq}" if counts.lines > 1 else "")
    click.echo(one_line(f"{target}: {counted(counts.events, 'event')}{more} of {origin}, {span}"))
    click.echo(f"  {byte_count(made.size)}, SHA-256 {made.sha256}")


def _say_what_is_not_there(path: Path, made: Made) -> None:
    counts = made.counts
    if counts.unsealed:
        note(
            f"{counted(counts.unsealed, 'event')} that no checkpoint covers yet: not in the bundle, but counted there"
        )
    if counts.erased:
        note(f"{counted(counts.erased, 'erased line')}: whether they would match nobody can tell any more")
    before = earlier(path)
    if before:
        trails = "an earlier trail" if before == 1 else f"{before} earlier trails"
        note(
            f"{trails} below {path}: nothing of it is in the bundle; --trail names one for a bundle of its own"
        )
    if made.result.findings:
        more = len(made.result.findings) + made.result.omitted - 1
        others = f" (and {more} more)" if more else ""
        note(f"the trail is not what was sealed: {made.result.findings[0]}{others}; the bundle names it")
