"""``indelible keygen``: a new signing key, or the public key of a trail."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click

from indelible.cli.common import Where, find_trails, where_options
from indelible.errors import ConfigError, TrailError

EPILOG: Final = """\b
Examples:
  indelible keygen --out signing.pem     a new Ed25519 key; set audit.key_file to use it
  indelible keygen --show                the key that the trail is signed with
  indelible keygen --show > trail.vkey   keep it elsewhere, and: indelible verify --vkey trail.vkey

A trail makes a key of its own at its first start; one from elsewhere is needed only
to keep the key off the trail's own directory.
"""


@click.command("keygen", epilog=EPILOG)
@click.option(
    "--out", metavar="FILE", help="Write a new private key here (PKCS#8 PEM, mode 0600); never overwrites."
)
@click.option("--show", is_flag=True, help="Print the trail's public key (a vkey), to pin with verify --vkey.")
@where_options
def command(
    where: Where,
    out: str | None,
    show: bool,  # noqa: FBT001 - click's signature
) -> int:
    """Make a signing key, or show a trail's public key."""
    if (out is None) == (not show):
        raise click.UsageError("say either --out FILE, for a new key, or --show")
    if out is not None:
        make_key(out)
        return 0
    paths = find_trails(where)
    for path in paths:
        vkey = read_vkey(path)
        click.echo(f"{vkey}" if len(paths) == 1 else f"{vkey}  {path}")
    return 0


def make_key(out: str) -> None:
    """Write a new private key, and say what to do with it. Raises ConfigError when the file is there."""
    if not out or "\0" in out:
        msg = "--out: expected a path"
        raise ConfigError(msg)
    path = Path(out)
    from indelible.trail.keys import generate_pem, load_signer

    pem = generate_pem()
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError as exc:
        msg = f"{path}: is there already; a signing key is never overwritten"
        raise ConfigError(msg) from exc
    except OSError as exc:
        msg = f"{path}: cannot be written: {exc.strerror}"
        raise TrailError(msg) from exc
    with os.fdopen(fd, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    public = load_signer(pem, "key").verifier.public.hex()
    click.echo(f"private key: {path}")
    click.echo(f"public key (Ed25519): {public}")
    click.echo("to sign a new trail with it, in indelible.yaml:")
    click.echo(f"  audit:\n    key_file: {path.absolute()}")
    click.echo("'indelible keygen --show' prints the trail's vkey once it is there; keep that elsewhere")


def read_vkey(path: Path) -> str:
    """Return the vkey beside a trail. Raises TrailError."""
    from indelible.errors import NoteError
    from indelible.trail.checkpoint import parse_vkey
    from indelible.trail.layout import Layout

    file = Layout(path).vkey
    try:
        return parse_vkey(file.read_text(encoding="utf-8")).vkey()
    except FileNotFoundError as exc:
        msg = f"{path}: there is no trail here, or it has no key yet"
        raise TrailError(msg) from exc
    except (OSError, UnicodeDecodeError, NoteError) as exc:
        msg = f"{file}: cannot be read as a key: {exc}"
        raise TrailError(msg) from exc
