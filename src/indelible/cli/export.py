"""``indelible export``: hand the trail, or some of it, to other people and their tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from indelible.cli.common import Where, note, one_trail, print_json, where_options
from indelible.cli.filtering import filter_options
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
  indelible export --evidence case-12.zip --since 2026-11-01 --until 2026-12-01 --user ada
  indelible export --evidence day.zip --since 1d --events all --note "asked by ACME Auditors"
  python3 verify.py --vkey trail.vkey    in the folder that a bundle was unpacked to
  indelible export --tiles log           checkpoint, tiles and entry bundles, up to the checkpoint
  indelible keygen --show > trail.vkey
  fsck --storage_url=file://$PWD/log/ --public_key=$PWD/trail.vkey --ui=false

A bundle of evidence holds the lines that the filters choose, a proof of them, the signed
checkpoint, the key, a page for people, and a verifier that needs nothing but Python. The whole
trail is verified while they are chosen.

What is written was checked against the signed root. Content that was erased or deleted cannot
be exported with --tiles: its entry bundles are left out, and said.

Exit code 0: all of it is there; 1: no event matches, something was left out, or the trail is not
what was sealed (then nothing is left, unless --damaged asks for it); 2: wrong usage; 3: it cannot
be read or written.
"""


@click.command("export", epilog=EPILOG)
@click.option(
    "--evidence", metavar="FILE.zip", help="Write a bundle for an auditor here: the lines that match."
)
@click.option(
    "--tiles", metavar="DIR", help="Write a C2SP tlog-tiles log here: a new directory, or an empty one."
)
@click.option("--verifier", is_flag=True, help="Print the program that a bundle is checked with.")
@filter_options
@click.option("--note", "remark", metavar="TEXT", help="With --evidence: why it is made; stands in the bundle.")
@click.option("--force", is_flag=True, help="With --evidence: replace a file that is there.")
@click.option(
    "--damaged", is_flag=True, help="With --evidence: make it though the trail is not what was sealed."
)
@click.option("--vkey", metavar="VKEY|FILE", help="The trail's public key, from a place that you trust.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as one JSON object.")
@where_options
def command(
    where: Where,
    vkey: str | None,
    as_json: bool,  # noqa: FBT001 - click's signature
    **rest: Any,
) -> int:
    """Write some of the trail for an auditor, or all of it as a static log that other verifiers read."""
    evidence, tiles, verifier = (rest.pop(name) for name in ("evidence", "tiles", "verifier"))
    if (evidence is not None) + (tiles is not None) + verifier != 1:
        raise click.UsageError("say what to write: --evidence FILE.zip, --tiles DIR, or --verifier")
    if evidence is None:
        given = [name for name, value in rest.items() if value]
        if given:
            option = "--note" if given[0] == "remark" else "--" + given[0].replace("_", "-")
            raise click.UsageError(f"{option} goes with --evidence")
        return _export_tiles(where, tiles, vkey, as_json=as_json) if tiles is not None else _print_verifier()
    from indelible.cli.export_evidence import Asked, write

    force, damaged, remark = (rest.pop(name) for name in ("force", "damaged", "remark"))
    return write(where, Asked(evidence, vkey, force, damaged, remark), rest, as_json=as_json)


def _print_verifier() -> int:
    from indelible.cli.export_evidence import print_verifier

    return print_verifier()


def _export_tiles(where: Where, directory: str, vkey: str | None, *, as_json: bool) -> int:
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
