"""``indelible keygen``: a new signing key, for a trail to come or for one that is there; a trail's public key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click

from indelible.cli.common import Where, find_trails, main_trail, note, print_json, settings_of, where_options
from indelible.cli.hints import placed
from indelible.errors import ConfigError, TrailError
from indelible.values import parse_duration

EPILOG: Final = """\b
Examples:
  indelible keygen --out signing.pem     a new Ed25519 key; set audit.key_file to use it
  indelible keygen --show                the key that the trail is signed with
  indelible keygen --show > trail.vkey   keep it elsewhere, and: indelible verify --vkey trail.vkey
  indelible keygen --rotate              a new key for the trail; the old one signs on for 7 days
  indelible keygen --rotate --overlap 1d
  indelible keygen --lost                the key is gone: a new trail begins, and names the old one

A trail makes a key of its own at its first start; one from elsewhere is needed only
to keep the key off the trail's own directory. A trail may be written meanwhile: whoever writes
it takes a new key up by itself.
"""


@click.command("keygen", epilog=EPILOG)
@click.option(
    "--out", metavar="FILE", help="Write a new private key here (PKCS#8 PEM, mode 0600); never overwrites."
)
@click.option("--show", is_flag=True, help="Print the trail's public key (a vkey), to pin with verify --vkey.")
@click.option("--rotate", is_flag=True, help="Give the trail a new key, which the old one names.")
@click.option("--overlap", metavar="TIME", help="--rotate: so long both keys sign. Default 7d.")
@click.option("--lost", is_flag=True, help="Give up a trail whose key is lost: begin a new one that names it.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@where_options
def command(
    where: Where,
    out: str | None,
    show: bool,  # noqa: FBT001 - click's signature
    rotate: bool,  # noqa: FBT001
    overlap: str | None,
    lost: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> int:
    """Make a signing key, rotate a trail's, or show its public half."""
    if (out is not None) + show + rotate + lost != 1:
        raise click.UsageError("say one of --out FILE, for a new key, --show, --rotate and --lost")
    if overlap is not None and not rotate:
        raise click.UsageError("--overlap goes with --rotate")
    if out is not None:
        make_key(out, as_json=as_json)
    elif rotate:
        rotate_key(where, overlap, as_json=as_json)
    elif lost:
        give_up(where, as_json=as_json)
    else:
        show_keys(where, as_json=as_json)
    return 0


def show_keys(where: Where, *, as_json: bool) -> None:
    """Print the public key of every trail that is meant."""
    paths = find_trails(where)
    if as_json:
        found = [{"trail": str(path), "vkey": read_vkey(path)} for path in paths]
        print_json(found[0] if len(found) == 1 else {"trails": found})
        return
    for path in paths:
        vkey = read_vkey(path)
        click.echo(f"{vkey}" if len(paths) == 1 else f"{vkey}  {path}")


def rotate_key(where: Where, overlap: str | None, *, as_json: bool) -> None:
    """Give the one trail that is meant a new key, and say so."""
    from indelible.trail.start import maintain
    from indelible.trail.start.keyring import DEFAULT_OVERLAP_S

    try:
        seconds = DEFAULT_OVERLAP_S if overlap is None else parse_duration(overlap)
    except ValueError as exc:
        msg = f"--overlap: {exc}, found {overlap!r}"
        raise ConfigError(msg) from None
    path = main_trail(where)
    try:
        done = maintain.rotate_key(path, settings_of(where, path), seconds)
    except KeyboardInterrupt:
        note("interrupted: a new key that is in the trail's key file is taken up by whoever writes the trail")
        raise
    if as_json:
        print_json({"trail": str(path), **done})
        return
    click.echo(f"new key: {done['to']}")
    click.echo(f"old key: {done['from']}")
    click.echo(f"both sign until {done['overlap_until']}; pin the new one until then: indelible verify --vkey")
    if not done["taken_up"]:
        note(f"{path}: nobody signs with the new key yet; the next checkpoint of whoever writes the trail will")


def give_up(where: Where, *, as_json: bool) -> None:
    """Set the one trail that is meant aside, since nobody can sign it any more, and say what follows it."""
    from indelible.trail.start import maintain

    path = main_trail(where)
    done = maintain.give_up_key(path, settings_of(where, path))
    if as_json:
        print_json({"trail": str(path), **done})
        return
    click.echo(
        placed(f"set aside: {done['origin']}, {done['size']} events sealed; 'indelible log' still lists them")
    )
    click.echo(f"new trail: {done['successor']}, whose first line names it")
    click.echo(placed("its key is another one: 'indelible keygen --show' prints it; keep that elsewhere"))


def make_key(out: str, *, as_json: bool = False) -> None:
    """Write a new private key, and say what to do with it. Raises ConfigError when the file is there."""
    if not out or "\0" in out:
        msg = "--out: expected a path"
        raise ConfigError(msg)
    path = Path(out)
    from indelible.trail.start.keys import generate_pem, load_signer

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
    if as_json:
        print_json({"file": str(path.absolute()), "public": public})
        return
    click.echo(f"private key: {path}")
    click.echo(f"public key (Ed25519): {public}")
    click.echo("to sign a new trail with it, in indelible.yaml:")
    click.echo(f"  audit:\n    key_file: {path.absolute()}")
    click.echo("'indelible keygen --show' prints the trail's vkey once it is there; keep that elsewhere")


def read_vkey(path: Path) -> str:
    """Return the vkey beside a trail. Raises TrailError."""
    from indelible.errors import NoteError
    from indelible.trail.layout import Layout
    from indelible.trail.proofs.checkpoint import parse_vkey

    file = Layout(path).vkey
    try:
        return parse_vkey(file.read_text(encoding="utf-8")).vkey()
    except FileNotFoundError as exc:
        msg = f"{path}: there is no trail here, or it has no key yet"
        raise TrailError(msg) from exc
    except (OSError, UnicodeDecodeError, NoteError) as exc:
        msg = f"{file}: cannot be read as a key: {exc}"
        raise TrailError(msg) from exc
