"""``indelible prove``: write the proof that one event is in the trail."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import click

from indelible.cli.common import Where, find_trails, note, one_trail, where_options
from indelible.errors import ConfigError, NotProven, TrailError
from indelible.trail.checking.check import load_vkey
from indelible.trail.proofs.stored import not_covered, open_sealed, prove
from indelible.trail.reader import with_earlier

MAX_SEQ_DIGITS: Final = 19
"""More cannot be a seq; whatever has more is beyond every checkpoint."""

EPILOG: Final = """\b
Examples:
  indelible prove 7                      the event with seq 7, to standard output
  indelible prove 7 -o mail.tlog-proof
  indelible prove 5f0c36a1-7f7e-4f34-8a0e-0d0f0f6b0c11 -o mail.tlog-proof

The proof is a C2SP tlog-proof: hashes and the signed checkpoint, no content; with the lines
of the witnesses that have cosigned it, and the notes by which keys were changed. Hand it out
with the line itself and, once, the key ('indelible keygen --show'); who has the three needs
nothing else: indelible verify --proof mail.tlog-proof --line mail.json --vkey trail.vkey

Exit code 0: it is written; 1: the trail cannot show it (not covered by the checkpoint yet,
no such event, a tile that was altered); 2: wrong usage; 3: there is no trail, or it cannot be read.
"""


@click.command("prove", epilog=EPILOG)
@click.argument("event", metavar="SEQ|EVENT_ID")
@click.option(
    "-o", "--output", metavar="FILE", help="Write it here; a file that is there is never overwritten."
)
@click.option("--vkey", metavar="VKEY|FILE", help="The trail's public key, from a place that you trust.")
@where_options
def command(where: Where, event: str, output: str | None, vkey: str | None) -> int:
    """Write a proof that an event is in the trail, for somebody who has not got the trail."""
    verifier = None if vkey is None else load_vkey(vkey)
    if not event or "\0" in event:
        raise click.UsageError("expected a seq or an event_id")
    if event.isascii() and event.isdigit():
        path, leaf = one_trail(where), None
        digits = event.lstrip("0") or "0"
        if len(digits) > MAX_SEQ_DIGITS:
            raise NotProven(not_covered(open_sealed(path, verifier), digits))
        seq = int(digits)
    else:
        from indelible.query.find import find_event
        from indelible.trail.proofs.merkle import leaf_hash

        found = find_event(with_earlier(find_trails(where)), event)
        path, seq, leaf = found.path, found.seq, leaf_hash(found.line)
    proof = prove(path, seq, verifier, leaf)
    _write(proof.data(), output)
    if output is not None:
        by = proof.cosigners()
        cosigned = f", cosigned by {', '.join(by)}" if by else ""
        note(f"seq {seq} of {path}: {output}, {len(proof.data())} bytes{cosigned}")
    return 0


def _write(data: bytes, output: str | None) -> None:
    if output is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        return
    if not output or "\0" in output:
        msg = "--output: expected a path"
        raise ConfigError(msg)
    path = Path(output)
    try:
        with path.open("xb") as file:
            try:
                file.write(data)
                file.flush()
            except OSError:
                os.unlink(path)  # noqa: PTH108 - half a proof is none
                raise
    except FileExistsError as exc:
        msg = f"{path}: is there already; nothing is overwritten"
        raise ConfigError(msg) from exc
    except OSError as exc:
        msg = f"{path}: cannot be written: {exc.strerror}"
        raise TrailError(msg) from exc
