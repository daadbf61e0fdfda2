"""``indelible verify --proof`` and ``--line``: what somebody holds in their hands, without or against a trail."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from indelible.cli.common import open_input, print_json, read_input
from indelible.cli.text import one_line
from indelible.cli.verify import print_findings, print_keys, print_not_checked, verdict
from indelible.errors import ConfigError, NoteError
from indelible.events import MAX_LINE_BYTES
from indelible.formats.found import MAX_RECORD_BYTES
from indelible.query.records import RecordCheck
from indelible.trail import findings as words
from indelible.trail.checking.verify import KEY_NOT_PINNED
from indelible.trail.findings import AcceptedKey, Finding, VerifyResult
from indelible.trail.proofs.checkpoint import MAX_NOTE_BYTES
from indelible.trail.proofs.elsewhere import LineCheck, forms, leaf_of
from indelible.trail.proofs.kept import count_cosignatures
from indelible.trail.proofs.proof import OpenedProof, open_proof
from indelible.trail.reader import Lines

if TYPE_CHECKING:
    from indelible.trail.proofs.checkpoint import Verifier
    from indelible.trail.proofs.elsewhere import Verdict
    from indelible.trail.proofs.kept import Quorum

SHAPE_ONLY: Final = (
    "any content: without --line only the shape of the proof and the checkpoint's signature were judged"
)
HISTORY: Final = (
    "whether the trail still holds this, or has another history beside it: 'verify --checkpoint' says"
)
SHOWN_LINES: Final = 20


# --- a proof --------------------------------------------------------------------------------------------


def check_proof(
    proof: str, line: str | None, vkey: Verifier, quorum: Quorum | None = None, *, as_json: bool
) -> int:
    """Check a proof's file, with or without the line that it is about, and who has cosigned its checkpoint."""
    data = read_input("--proof", proof, MAX_NOTE_BYTES + 1)
    content = None if line is None else _the_line(line)
    result = VerifyResult(proof)
    said = ""
    about: dict[str, int | bool | None] = {"index": None, "line": None}
    try:
        opened = open_proof(data, vkey)
    except NoteError as exc:
        result.add(Finding(words.PROOF_INVALID, proof, expected="a proof under the given key", detail=str(exc)))
    else:
        checkpoint = opened.checkpoint
        result.origin, result.size, result.root = checkpoint.origin, checkpoint.size, checkpoint.root
        about["index"] = opened.proof.index
        signed = set(opened.signed_by)
        if len(opened.keys) > 1:
            result.keys = [
                AcceptedKey(one.verifier.vkey(), one.size, one.verifier in signed) for one in opened.keys
            ]
        if quorum is not None:
            count_cosignatures(opened.proof.note, opened.checkpoint.size, quorum, result)
        if content is None:
            said = "the shape is right, the checkpoint signed" if result.ok else ""
            result.not_checked.append(SHAPE_ONLY)
        else:
            said = _judge_line(opened, content, line or "", result)
            about["line"] = bool(said)
    result.not_checked.append(HISTORY)
    if as_json:
        print_json({**result.as_dict(), "proof": about})
    else:
        _print_proof(result, about["index"], said, shape_only=content is None)
    return 0 if result.ok else 1


def _the_line(name: str) -> bytes:
    """Return the one line of a file, with what ends it. Raises ConfigError when there are more."""
    data = read_input("--line", name, MAX_LINE_BYTES + 3)
    inner = data.find(b"\n")
    if 0 <= inner < len(data) - 1:
        msg = f"--line: {name}: more than one line; a proof is about one"
        raise ConfigError(msg)
    return data


def _judge_line(opened: OpenedProof, data: bytes, name: str, result: VerifyResult) -> str:
    """Compare the line with the proof; return what there is to say of it."""
    line = data.removesuffix(b"\n")
    notes = [] if data.endswith(b"\n") else ["there is no line feed at its end: taken as it stands"]
    for form, note in forms(line):
        leaf, erased = leaf_of(form)
        if len(form) <= MAX_LINE_BYTES and opened.shows(leaf):
            result.events = 1
            if erased:
                result.erased = 1
                result.not_checked.append("the content of the erased line: its leaf hash was checked")
            return "; ".join(["the line is the leaf", *([note] if note else []), *notes])
    if line.endswith(b"\r"):
        notes.append("nor is it without the carriage return at its end")
    detail = "; ".join(["the line is not the one that the proof is about, or the proof was altered", *notes])
    expected = f"the line at index {opened.proof.index}"
    result.add(Finding(words.PROOF_INVALID, name, 1, expected=expected, detail=detail))
    return ""


def _print_proof(result: VerifyResult, index: object, said: str, *, shape_only: bool) -> None:
    summary = "no proof of anything"
    if index is not None:
        summary = f"index {index} in the tree of {result.size} events of {result.origin}"
        summary += f": {said}" if said else ""
    word = (
        click.style("shape only", fg="yellow", bold=True) if shape_only and result.ok else verdict(ok=result.ok)
    )
    click.echo(f"{one_line(result.trail)}: {word}: {one_line(summary)}")
    print_keys(result)
    print_findings(result)
    print_not_checked(result)


# --- lines ----------------------------------------------------------------------------------------------


def check_lines(paths: list[Path], name: str, vkey: Verifier | None, *, as_json: bool) -> int:
    """Look lines up that were found elsewhere, and records of lines; empty ones are passed over."""
    with open_input("--line", name) as file, RecordCheck() as records:
        check = LineCheck(paths, vkey, "standard input" if name == "-" else name, records)
        try:
            _feed(check, Lines(file, limit=MAX_RECORD_BYTES), as_json=as_json)
        except OSError as exc:
            msg = f"--line: {name}: cannot be read: {exc.strerror}"
            raise ConfigError(msg) from exc
    result = check.finish()
    result.not_checked[:0] = records.not_checked()
    if vkey is None:
        result.not_checked.insert(0, KEY_NOT_PINNED)
    if as_json:
        print_json({**result.as_dict(), "counts": dict(check.counts), "lines": check.lines})
    else:
        _print_lines(result, check)
    return 0 if result.ok else 1


def _feed(check: LineCheck, lines: Lines, *, as_json: bool) -> None:
    number = shown = 0
    for some, _ in lines:
        for line in some:
            number += 1
            shown += _one(check, line, number, show=not as_json and shown < SHOWN_LINES)
    if lines.rest:
        _one(check, lines.rest, number + 1, show=not as_json and shown < SHOWN_LINES)


def _one(check: LineCheck, line: bytes, number: int, *, show: bool) -> bool:
    if not line.strip(b"\r"):
        return False
    said = check.line(line, number)
    if show:
        _print_line(number, said)
    return True


def _print_line(number: int, said: Verdict) -> None:
    colour = "green" if said.verdict == "yes" else "red"
    where = f"seq {said.seq}" if said.seq is not None else ""
    erased = "its content was erased" if said.erased else ""
    trail = f"in {said.trail}" if said.trail else ""
    words = f"what '{said.format}' makes of it" if said.format else ""
    detail = ", ".join(part for part in (where, trail, erased, words, said.detail) if part)
    click.echo(f"line {number}: {click.style(said.verdict, fg=colour, bold=True)}: {one_line(detail)}")


def _print_lines(result: VerifyResult, check: LineCheck) -> None:
    total = sum(check.counts.values())
    if total > SHOWN_LINES:
        click.echo(f"and {total - SHOWN_LINES} more lines (--json lists the first {len(check.lines)})")
    counts = (
        ", ".join(f"{count} {word}" for word, count in sorted(check.counts.items(), reverse=True)) or "no lines"
    )
    click.echo(f"{one_line(result.trail)}: {verdict(ok=result.ok)}: {counts}")
    if total > SHOWN_LINES or not total:
        print_findings(result)
    print_not_checked(result)
