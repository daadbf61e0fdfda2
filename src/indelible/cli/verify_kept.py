"""``indelible verify --checkpoint`` and ``--witness``: trails against what was kept elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from indelible.cli.common import read_input
from indelible.cli.progress import byte_bar
from indelible.errors import ConfigError, NoteError

if TYPE_CHECKING:
    from indelible.trail.findings import VerifyResult
    from indelible.trail.proofs.checkpoint import Verifier
    from indelible.trail.proofs.cosignature import WitnessKey
    from indelible.trail.proofs.kept import Quorum

MAX_KEPT_BYTES: Final = 64 << 20
"""Some quarter of a million checkpoints. Each is compared by a proof of its own, which takes a millisecond or some."""


class Asked(NamedTuple):
    """What the trails are to be compared with."""

    files: list[tuple[str, bytes]]
    """Name and content of each file; none: the checkpoints that are kept beside the trails."""
    quorum: Quorum


def asked(checkpoints: tuple[str, ...], witnesses: tuple[str, ...], needed: int | None) -> Asked | None:
    """Read what the options name, or return None when they name nothing. Raises ConfigError, UsageError."""
    from indelible.trail.proofs.kept import quorum_of

    quorum = quorum_of([load_witness(text) for text in witnesses], needed)
    if needed is not None and needed > len(quorum.keys):
        msg = f"--witnesses {needed}: only {len(quorum.keys)} are named with --witness"
        raise click.UsageError(msg)
    if not checkpoints and not witnesses:
        return None
    return Asked([(name, _read(name)) for name in dict.fromkeys(checkpoints)], quorum)


def _read(name: str) -> bytes:
    data = read_input("--checkpoint", name, MAX_KEPT_BYTES + 1)
    if len(data) > MAX_KEPT_BYTES:
        msg = f"--checkpoint: {name}: more than {MAX_KEPT_BYTES >> 20} MB; compare with a part of it at a time"
        raise ConfigError(msg)
    return data


def load_witness(text: str) -> WitnessKey:
    """Parse a witness's vkey, or the file that holds one. Raises ConfigError, which repeats neither."""
    from indelible.trail.proofs.cosignature import parse_witness_vkey
    from indelible.trail.reader import read_small

    try:
        data = read_small(Path(text)) if os.path.lexists(text) else None
    except (OSError, ValueError):
        data = None
    try:
        return parse_witness_vkey(text if data is None else data.decode("utf-8", "replace"))
    except NoteError as exc:
        why = "neither a witness's vkey nor a file with one" if data is None else f"{text}: {exc}"
        msg = f"--witness: {why}; 'indelible witness --show' prints a witness's vkey"
        raise ConfigError(msg) from exc


def compare(results: list[VerifyResult], what: Asked, vkey: Verifier | None) -> None:
    """Compare, and add to the results what there is to say."""
    from indelible.trail import findings as words
    from indelible.trail.findings import Finding
    from indelible.trail.layout import Layout
    from indelible.trail.proofs.kept import Comparison
    from indelible.trail.proofs.stored import witnessed_notes

    comparison = Comparison(results, vkey, what.quorum)
    with byte_bar(sum(len(data) for _, data in what.files), "comparing") as progress:
        for name, data in what.files:
            comparison.add("standard input" if name == "-" else name, data, progress)
    if not what.files:
        for result in results:
            layout = Layout(Path(result.trail))
            try:
                kept = witnessed_notes(layout)
            except (OSError, NoteError) as exc:
                detail = f"what witnesses cosigned cannot be read: {exc}"
                result.add(Finding(words.CHECKPOINT_INVALID, str(layout.witnessed), detail=detail))
                continue
            for name, data in kept:
                comparison.add(name, data)
    comparison.finish()
