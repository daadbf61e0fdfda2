"""``indelible witness``: cosign the checkpoints of trails, on a machine that theirs cannot reach back into."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from indelible.cli.common import print_json
from indelible.cli.text import counted, one_line
from indelible.errors import ConfigError, NoteError, TrailError
from indelible.values import user_path

if TYPE_CHECKING:
    from indelible.trail.proofs.checkpoint import Verifier
    from indelible.trail.proofs.cosignature import Cosigner

DEFAULT_LISTEN: Final = "127.0.0.1:7380"
MAX_LOGS_BYTES: Final = 1 << 20
"""Some thousand vkeys."""

EPILOG: Final = """\b
Examples:
  indelible keygen --out witness.pem                         its key, once
  indelible witness --key witness.pem --name witness.example/w1 --show
                                                             its vkey, for audit.anchors and verify --witness
  indelible witness --key witness.pem --name witness.example/w1 --state /var/lib/witness --log trail.vkey
  indelible witness … --listen 192.0.2.7:7380 --log a.vkey --log b.vkey

A trail hands its checkpoints over with an anchor of type http, and the witness cosigns each
that extends the one before; a rollback or a fork it refuses for good. What it cosigned last is
in the state directory: never put an older one back. Put a proxy with TLS before it on the
open network. Ctrl-C or SIGTERM ends it. Exit code 2: a mistake in the options or keys; 3: the
state or the address cannot be had.
"""


@click.command("witness", epilog=EPILOG)
@click.option("--key", metavar="FILE", required=True, help="The witness's private key (Ed25519, PKCS#8 PEM).")
@click.option(
    "--name",
    metavar="NAME",
    required=True,
    help="The witness's name, such as witness.example/w1; never changes.",
)
@click.option("--state", metavar="DIR", help="Where it keeps what it cosigned last; made when missing.")
@click.option(
    "--log", "logs", metavar="VKEY|FILE", multiple=True, help="A trail that it knows; a FILE may hold several."
)
@click.option(
    "--listen", metavar="HOST:PORT", default=DEFAULT_LISTEN, show_default=True, help="Port 0 is any free one."
)
@click.option("--show", is_flag=True, help="Print the witness's vkey, and end.")
@click.option("--json", "as_json", is_flag=True, help="Print what it says at its start as one JSON object.")
def command(
    key: str,
    name: str,
    state: str | None,
    logs: tuple[str, ...],
    listen: str,
    show: bool,  # noqa: FBT001 - click's signature
    as_json: bool,  # noqa: FBT001
) -> int:
    """Cosign checkpoints of trails; never a rollback, never a fork."""
    cosigner = _cosigner(key, name)
    vkey = cosigner.key.vkey()
    if show:
        if as_json:
            print_json({"name": name, "vkey": vkey})
        else:
            click.echo(vkey)
        return 0
    if state is None or not logs:
        raise click.UsageError("--state DIR and at least one --log VKEY are needed, or --show")
    from indelible.trail.start.keys import exposed

    known = _known(logs)
    danger = exposed(_path("--key", key))
    return _serve(cosigner, known, state, _address(listen), danger, as_json=as_json)


def _cosigner(key: str, name: str) -> Cosigner:
    from indelible.trail.proofs.cosignature import Cosigner
    from indelible.trail.start.keys import load_private, read_key

    path = _path("--key", key)
    try:
        return Cosigner(name, load_private(read_key(path), str(path)))
    except NoteError as exc:
        msg = f"--name: {exc}"
        raise ConfigError(msg) from exc


def _path(option: str, text: str) -> Path:
    if not text or "\0" in text:
        msg = f"{option}: expected a path"
        raise ConfigError(msg)
    return user_path(text)


def _known(logs: tuple[str, ...]) -> dict[str, list[Verifier]]:
    """Return the keys of the trails, by origin. Raises ConfigError."""
    from indelible.trail.proofs.checkpoint import parse_vkey

    known: dict[str, list[Verifier]] = {}
    for given in logs:
        for text in _vkeys(given):
            try:
                key = parse_vkey(text)
            except NoteError as exc:
                # what is no file is not repeated: somebody may have pasted a private key
                is_file = "\0" not in given and os.path.lexists(given)
                why = f"{given}: {exc}" if is_file else "neither a trail's vkey nor a file with one"
                msg = f"--log: {why}; 'indelible keygen --show' prints a trail's"
                raise ConfigError(msg) from exc
            keys = known.setdefault(key.name, [])
            if key not in keys:
                keys.append(key)
    return known


def _vkeys(given: str) -> list[str]:
    """Return the vkey, or those in the file of that name: one a line, with lines that begin with # left out."""
    from indelible.trail.reader import read_small

    try:
        data = read_small(Path(given), MAX_LOGS_BYTES)
    except ValueError:  # a NUL
        data = None
    except OSError as exc:
        if exc.filename is None or "+" in given:
            return [given]
        msg = f"--log: {given}: cannot be read: {exc.strerror}"
        raise ConfigError(msg) from exc
    if data is None:
        return [given]
    lines = [line.strip() for line in data.decode("utf-8", "replace").splitlines()]
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        msg = f"--log: {given}: holds no vkey; 'indelible keygen --show' prints a trail's"
        raise ConfigError(msg)
    return found


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        msg = f"--listen: expected HOST:PORT, found {listen!r}"
        raise ConfigError(msg)
    return host, int(port)


def _serve(
    cosigner: Cosigner, known: dict[str, list[Verifier]], state: str, address: tuple[str, int], danger: str | None,
    *, as_json: bool,
) -> int:  # fmt: skip
    from indelible.witness.server import Witness, WitnessServer
    from indelible.witness.state import StateDirectory

    _log_to_stderr()
    directory = StateDirectory(_path("--state", state), cosigner.key)
    try:
        server = WitnessServer(address, Witness(known, cosigner, directory))
    except (OSError, OverflowError) as exc:
        directory.close()
        why = exc.strerror if isinstance(exc, OSError) else "no such port"
        msg = f"--listen: {address[0]}:{address[1]}: {why}"
        raise TrailError(msg) from exc
    if danger is not None:
        logging.getLogger("indelible").warning("%s", danger)
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    url = f"http://{host}:{server.server_port}"
    if as_json:
        print_json({"url": url, "name": cosigner.key.name, "vkey": cosigner.key.vkey(), "logs": sorted(known)})
    else:
        click.echo(f"witness {one_line(cosigner.key.name)} at {url}, for {counted(len(known), 'log')}")
        click.echo(f"vkey: {one_line(cosigner.key.vkey())}")
    sys.stdout.flush()  # whoever starts it waits for this
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    try:
        server.serve_forever(poll_interval=0.5)
    finally:
        server.server_close()
        directory.close()
    return 0


def _log_to_stderr() -> None:
    """A line a submission: its log, and what became of it."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("%(asctime)s %(message)s"))
    logger = logging.getLogger("indelible")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


class _OneLine(logging.Formatter):
    """Nothing that came over the network begins a line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record on one line."""
        return one_line(super().format(record))
