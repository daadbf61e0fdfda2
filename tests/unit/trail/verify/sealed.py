"""What the tests of verification share."""

from collections.abc import Callable
from pathlib import Path

from indelible.trail.findings import Finding, VerifyResult

EVENTS = 700


def directory(trail: Path) -> Path:
    return trail.with_name(trail.name + ".d")


def segments(trail: Path) -> list[Path]:
    return sorted((directory(trail) / "segments").iterdir())


def only(result: VerifyResult) -> Finding:
    assert len(result.findings) == 1, [str(finding) for finding in result.findings]
    return result.findings[0]


def edit_lines(path: Path, edit: Callable[[list[bytes]], None]) -> None:
    lines = path.read_bytes().split(b"\n")[:-1]
    edit(lines)
    path.write_bytes(b"".join(line + b"\n" for line in lines))
