"""``indelible export``: hand the trail to other people's tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from indelible.cli.common import Where, note, one_trail, print_json, where_options
from indelible.cli.progress import progress_bar
from indelible.cli.text import counted, one_line
from indelible.errors import ConfigError
from indelible.trail.checking.check import load_vkey
from indelible.trail.proofs.export import export_tiles
from indelible.values import user_path

if TYPE_CHECKING:
    from indelible.trail.proofs.export import Exported

SHOWN_RANGES: Final = 20

EPILOG: Final = """\b
Examples:
  indelible export --tiles log           checkpoint, tiles and entry bundles, up to the checkpoint
  indelible keygen --show > trail.vkey
  fsck --storage_url=file://$PWD/log/ --public_key=$PWD/trail.vkey --ui=false

What is written was checked against the signed root. Content that was erased or deleted cannot
be exported: its entry bundles are left out, and said; tiles and checkpoint are always whole.

Exit code 0: all of it is there; 1: something was left out, or the trail is not what was sealed
(then nothing is left in the directory); 2: wrong usage; 3: it cannot be read or written.
"""


@click.command("export", epilog=EPILOG)
@click.option(
    "--tiles",
    "directory",
    metavar="DIR",
    required=True,
    help="Write a C2SP tlog-tiles log here: a new directory, or an empty one.",
)
@click.option("--vkey", metavar="VKEY|FILE", help="The trail's public key, from a place that you trust.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as one JSON object.")
@where_options
def command(
    where: Where,
    directory: str,
    vkey: str | None,
    as_json: bool,  # noqa: FBT001 - click's signature
) -> int:
    """Write the trail as a static log that other verifiers read."""
    verifier = None if vkey is None else load_vkey(vkey)
    if not directory or "\0" in directory:
        msg = f"--tiles: expected a directory, found {directory!r}"
        raise ConfigError(msg)
    path, target = one_trail(where), user_path(directory).absolute()
    with progress_bar([path], "exporting") as progress:
        exported = export_tiles(path, target, verifier, progress)
    if as_json:
        left_out = [item._asdict() for item in exported.left_out]
        print_json({"directory": str(target), **exported._asdict(), "left_out": left_out})
    else:
        _print(target, exported)
    return 1 if exported.left_out else 0


def _print(target: Path, exported: Exported) -> None:
    what = ", ".join(
        counted(count, word) for count, word in ((exported.tiles, "tile"), (exported.bundles, "entry bundle"))
    )
    click.echo(one_line(f"{target}: {exported.size} events of {exported.origin}: checkpoint, {what}"))
    for item in exported.left_out[:SHOWN_RANGES]:
        note(
            f"seq {item.first} to {item.last} cannot be exported ({item.why}): their entry bundles are left out"
        )
    more = len(exported.left_out) - SHOWN_RANGES
    if more > 0:
        note(f"and {more} more ranges (--json lists all)")
