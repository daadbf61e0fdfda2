"""Lay a trail out as a C2SP tlog-tiles log: what an outsider's verifier reads.

Beside the trail's own `checkpoint` and `tile/`, such a log has entry bundles: `tile/entries/<N>[.p/<W>]`, 256
entries each, every entry with its length in 16 bits, big-endian, in front (C2SP tlog-tiles, "Log Entries").
They are made here from the trail's lines, so that nothing of the product vouches for itself.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import zstandard

BUNDLE = 256


def closed_files(trail: Path) -> dict[str, list[Path]]:
    """Return the closed files by their first seq, in order; while one is compressed it is there in both forms."""
    found: dict[str, list[Path]] = {}
    for path in sorted((trail.with_name(trail.name + ".d") / "segments").glob("[0-9]*.jsonl*")):
        found.setdefault(path.name.partition(".")[0], []).append(path)
    return found


def read_closed(forms: list[Path]) -> bytes:
    """Return a closed file's lines from whichever form is there: the plain one goes when the other is complete."""
    plain = forms[0].with_suffix("") if forms[0].suffix == ".zst" else forms[0]
    try:
        return plain.read_bytes()
    except FileNotFoundError:
        data = plain.with_name(plain.name + ".zst").read_bytes()
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)


def trail_lines(trail: Path) -> Iterator[bytes]:
    """Yield a trail's lines without their LF: closed files in the order of their names, then the active one."""
    for data in [*(read_closed(forms) for forms in closed_files(trail).values()), trail.read_bytes()]:
        assert data.endswith(b"\n"), f"{trail}: a file ends in the middle of a line"
        yield from data[:-1].split(b"\n")


def index_path(index: int) -> str:
    """Return ``x001/x234/067`` for 1234067 (C2SP tlog-tiles, "Merkle Tree")."""
    text = f"{index:03d}"
    text = text.zfill(-(-len(text) // 3) * 3)
    groups = [text[at : at + 3] for at in range(0, len(text), 3)]
    return "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])


def write_bundles(log: Path, lines: Sequence[bytes]) -> None:
    """Write the entry bundles of `lines` into the log at `log`."""
    for number, start in enumerate(range(0, len(lines), BUNDLE)):
        entries = lines[start : start + BUNDLE]
        suffix = "" if len(entries) == BUNDLE else f".p/{len(entries)}"
        path = log / "tile" / "entries" / f"{index_path(number)}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries))


def export(trail: Path, log: Path) -> int:
    """Lay `trail` out at `log`, up to its checkpoint; return how many entries that covers."""
    directory = trail.with_name(trail.name + ".d")
    log.mkdir()
    shutil.copyfile(directory / "checkpoint", log / "checkpoint")
    shutil.copytree(directory / "tile", log / "tile")
    size = int((log / "checkpoint").read_text().split("\n")[1])
    lines = list(trail_lines(trail))
    assert len(lines) >= size
    assert all(json.loads(lines[at])["seq"] == at for at in {0, size // 2, size - 1})
    write_bundles(log, lines[:size])
    return size
