"""A bundle of evidence: some lines of a trail, in a zip that shows by itself that the trail has sealed them.

    README.html     what this is, for people                  MANIFEST.json   what was asked, and every file's SHA-256
    lines.jsonl     the lines, byte for byte                  proof           of all of them: hashes, base64, one a line
    checkpoint      the signed checkpoint                     key.vkey        the key that has signed it
    rotations       the hand-overs that led to that key       verify.py       checks all of this, without Indelible
    SHA256SUMS      every other file's SHA-256

The rules that live here:

- The whole trail is verified while its lines are chosen (`choosing`), and the proof is compared with the signed root,
  before any name is given to what is made. A trail with a finding makes no bundle, unless that is asked for: then the
  findings are in it.
- One proof for all lines, not one for each: a line's own would be larger than the line, and no line can be taken out of
  the one without notice. Who wants to hand a single line on has `verify.py --line` make its own proof from it.
- The same lines, question, maker and moment give the same bytes: the order of the files and their times are fixed.
- What a crash leaves, and who settles it: `.<name>.tmp` beside the zip, which the next export of that name replaces.
  Lines and proof wait in files without a name. Nothing of the trail is touched.
"""

from __future__ import annotations

import base64
import contextlib
import io
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import orjson

from indelible.errors import ConfigError, NoteError, NotProven, TrailError
from indelible.query.evidence.choosing import Chooser, Counts, HeardSource, writing
from indelible.query.exports.place import find_target
from indelible.query.filters import Filter
from indelible.trail.checking.check import Progress, verify_alone
from indelible.trail.durable import Access, new_file
from indelible.trail.entry import line_seq
from indelible.trail.erased import erased_leaf
from indelible.trail.findings import VerifyResult
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import Verifier
from indelible.trail.proofs.merkle import leaf_hash
from indelible.trail.proofs.prove import TileMissing, blame
from indelible.trail.proofs.rotation import open_checkpoint, successors
from indelible.trail.proofs.stored import Sealed, StoredFiles, hand_overs, own_key, rotations_of, signer_of
from indelible.trail.proofs.subset import Leaf, show_subset, subset_hashes
from indelible.trail.proofs.tiles import StoredTiles
from indelible.trail.reader import Snapshot, names_in, reading

OPTION: Final = "--evidence"

EVIDENCE: Final = 1
"""The version of the bundle's layout, in its manifest."""

VERIFIER: Final = Path(__file__).with_name("verify.py")
"""What a bundle is checked with: a program of its own, which imports nothing of ours."""

MEMBER_TIME: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip can say: nobody takes it for the time of anything."""

MEMBER_MODE: Final = 0o100644 << 16
CHUNK_BYTES: Final = 1 << 20

PASSES: Final = 3
"""The chosen lines are read to make the proof, to check it, and to pack them."""


class Order(NamedTuple):
    """What is asked for."""

    path: Path
    """The trail's active file."""
    target: Path
    wanted: Filter
    about: dict[str, Any]
    """Who makes it, when, with what, why: the manifest begins with it."""
    vkey: Verifier | None = None
    replace: bool = False
    """What stands at `target` goes."""
    damaged: bool = False
    """Make it though the trail is not what was sealed."""


class Made(NamedTuple):
    """What was made."""

    counts: Counts
    result: VerifyResult
    manifest: dict[str, Any]
    sha256: str
    """Of the zip."""
    size: int


Page = Callable[[dict[str, Any], Iterator[bytes]], bytes]
"""Makes the page for people of the manifest, without the files, and of the lines."""


class Bundle:
    """One that is being made: `read`, then `write`. A context manager, which lets go of the files without a name."""

    def __init__(self, order: Order) -> None:
        """Raises ConfigError when something would be overwritten, or there is no such place; TrailError."""
        order = order._replace(target=_target(order))
        self._order = order
        self._result: VerifyResult | None = None
        self._sealed: Sealed | None = None
        self._lines = _unnamed(order)
        self._proof = _unnamed(order)
        self._chooser = Chooser(order.wanted, self._lines, order.target)

    def __enter__(self) -> Bundle:
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._lines, self._proof):
            with contextlib.suppress(OSError):  # what could not be written before cannot be now: that was said
                file.close()

    def read(self, progress: Progress | None = None) -> int:
        """Verify the trail, and choose its lines; return their bytes.

        Raises NotProven when no event matches, the trail is not what was sealed, or has sealed nothing; TrailError when
        something cannot be read or written.
        """
        order, heard = self._order, list[HeardSource]()

        def hear(snapshot: Snapshot, checkpoint: bytes | None, told: Progress | None) -> HeardSource:
            heard[:] = [HeardSource(snapshot, checkpoint, told, self._chooser)]
            return heard[0]

        self._result = verify_alone(order.path, order.vkey, progress, hear)
        self._chooser.finish()
        _check(order, self._result, self._chooser.counts)
        self._sealed = _sealed(order, heard[0].small("checkpoint") or b"")
        return os.fstat(self._lines.fileno()).st_size

    def write(self, page: Page, progress: Progress | None = None) -> Made:
        """Make the proof, and the zip. Raises as `read`, and ConfigError; then nothing is left.

        `progress` is told of `PASSES` times the bytes of the lines.
        """
        if self._result is None or self._sealed is None:
            msg = "nothing was read"
            raise RuntimeError(msg)
        order, sealed = self._order, self._sealed
        with writing(order.target):
            _prove(sealed, self._lines, self._proof, progress)
        manifest = _manifest(order, sealed, self._result, self._chooser.counts)
        small = {
            "README.html": page(manifest, _each(self._lines)),
            "checkpoint": sealed.note,
            **_keys(order, sealed),
            "verify.py": VERIFIER.read_bytes(),
        }
        large = {"lines.jsonl": self._lines, "proof": self._proof}
        _list_files(manifest, small, large)
        with writing(order.target):
            made = _write_zip(order, small, large, progress)
        return Made(self._chooser.counts, self._result, manifest, made["sha256"], made["size"])


def _list_files(manifest: dict[str, Any], small: dict[str, bytes], large: dict[str, IO[bytes]]) -> None:
    """Add the list of files to the manifest, and the manifest and the digests to the files."""
    files = {name: _entry(len(data), sha256(data).hexdigest()) for name, data in small.items()}
    files |= {name: _digest(file) for name, file in large.items()}
    manifest["files"] = dict(sorted(files.items()))
    small["MANIFEST.json"] = orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    sums = {name: entry["sha256"] for name, entry in files.items()}
    sums["MANIFEST.json"] = sha256(small["MANIFEST.json"]).hexdigest()
    small["SHA256SUMS"] = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()


# --- what stands in the way -----------------------------------------------------------------------------------------


def _target(order: Order) -> Path:
    """Return the file that is meant. Raises ConfigError, TrailError, where none may be written."""
    target = find_target(OPTION, str(order.target), trails=[order.path]).path
    if os.path.lexists(target) and not order.replace:
        raise ConfigError(_there_already(target))
    return target


def _there_already(target: Path) -> str:
    return f"{target}: is there already; nothing is overwritten without --force"


def _unnamed(order: Order) -> IO[bytes]:
    """Return a file for what is on its way: beside the bundle, where there has to be room, and nowhere else."""
    try:
        return tempfile.TemporaryFile(dir=order.target.parent)
    except OSError as exc:
        msg = f"{order.target}: cannot be written: {exc.strerror or exc}"
        raise TrailError(msg) from exc


def _check(order: Order, result: VerifyResult, counts: Counts) -> None:
    """Raise NotProven when there is nothing to show, or the trail is not what was sealed; TrailError: not now."""
    if result.to_erase:
        msg = (
            f"{order.path}: an erasure is under way, of {result.to_erase} events that are still there: no bundle is"
            " made until whoever writes the trail has finished it"
        )
        raise TrailError(msg)
    if result.findings and not order.damaged:
        more = len(result.findings) + result.omitted - 1
        others = f" (and {more} more)" if more else ""
        msg = (
            f"the trail is not what was sealed, so no bundle is made: {result.findings[0]}{others}; 'indelible verify'"
            " says more, --damaged makes a bundle that names the findings"
        )
        raise NotProven(msg)
    if not counts.events:
        msg = f"{order.path}: no event matches{_apart(counts)}; no bundle is made"
        raise NotProven(msg)


def _apart(counts: Counts) -> str:
    """Return what there is to say of what was not chosen."""
    said = []
    if counts.unsealed:
        said.append(f"{counts.unsealed} would that no checkpoint covers yet: try again in a second")
    if counts.erased:
        said.append(f"of {counts.erased} that were erased nobody can tell")
    return f" ({'; '.join(said)})" if said else ""


def _sealed(order: Order, note: bytes) -> Sealed:
    """Return what the look was about, its signature checked. Raises NotProven."""
    layout = Layout(order.path.absolute())
    with reading(layout.active):
        key = order.vkey or own_key(layout)
        try:
            checkpoint = open_checkpoint(note, successors(key, rotations_of(layout)))
        except NoteError as exc:
            msg = f"{layout.checkpoint}: {exc}; nothing in a bundle could be proved"
            raise NotProven(msg) from exc
        if checkpoint.origin != key.name:
            msg = f"{layout.checkpoint}: it is of {checkpoint.origin!r}, its key is that of {key.name!r}"
            raise NotProven(msg)
        files = StoredFiles(layout, note)
        tiles = StoredTiles(files.tile, files.partial_widths, checkpoint.size, checkpoint.root)
    return Sealed(layout, note, checkpoint, tiles)


# --- the proof ------------------------------------------------------------------------------------------------------


def _prove(sealed: Sealed, lines: IO[bytes], proof: IO[bytes], progress: Progress | None) -> None:
    """Write the proof of the lines, and compare it with the signed root. Raises NotProven."""
    try:
        for value in subset_hashes(sealed.tiles, (seq for seq, _ in _leaves(lines, progress))):
            proof.write(base64.b64encode(value) + b"\n")
        proof.flush()
        hashes = (base64.b64decode(line) for line in _each(proof))
        root = show_subset(sealed.checkpoint.size, _leaves(lines, progress), hashes).root
    except (TileMissing, NoteError, ValueError):
        root = b""
    if root != sealed.checkpoint.root:
        msg = f"{blame(sealed.tiles, next(_leaves(lines))[0])}; no proof can rest on it, 'indelible verify' says more"
        raise NotProven(msg)


def _each(file: IO[bytes], progress: Progress | None = None) -> Iterator[bytes]:
    """Yield a file's lines without their LF."""
    file.seek(0)
    told = 0
    for line in file:
        yield line[:-1]
        told += len(line)
        if progress is not None and told > CHUNK_BYTES:
            progress(told)
            told = 0


def _leaves(lines: IO[bytes], progress: Progress | None = None) -> Iterator[Leaf]:
    for line in _each(lines, progress):
        yield line_seq(line) or 0, erased_leaf(line) or leaf_hash(line)


# --- the zip --------------------------------------------------------------------------------------------------------


def _manifest(order: Order, sealed: Sealed, result: VerifyResult, counts: Counts) -> dict[str, Any]:
    checkpoint = sealed.checkpoint
    return {
        "evidence": EVIDENCE,
        **order.about,
        "asked": asked(order.wanted),
        "trail": {
            "origin": checkpoint.origin,
            "size": checkpoint.size,
            "root": base64.b64encode(checkpoint.root).decode(),
            "verified": result.ok,
            "findings": [finding.as_dict() for finding in result.findings],
            "findings_omitted": result.omitted,
            "not_checked": result.not_checked,
            "erased": result.erased,
            "pruned": result.pruned,
        },
        "lines": counts.as_dict(),
        "left_out": {"unsealed": counts.unsealed, "not_sealed_so": counts.not_sealed_so},
    }


def asked(wanted: Filter) -> dict[str, Any]:
    """Return what was asked for, as JSON: what was not asked is left out."""
    said: dict[str, Any] = {"events": "all" if wanted.events is None else sorted(wanted.events)}
    for name in wanted.__struct_fields__:
        value = getattr(wanted, name)
        if name != "events" and value:
            said[name] = sorted(map(spelled, value)) if isinstance(value, frozenset) else value
    return said


def spelled(text: str) -> str:
    """Return a text from a command line as JSON can have it: bytes that are no UTF-8 are escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _keys(order: Order, sealed: Sealed) -> dict[str, bytes]:
    """Return the key that has signed, and the notes that lead to it."""
    with reading(sealed.layout.active):
        signer = signer_of(sealed, order.vkey)
        notes = hand_overs(sealed.layout, signer)
    keys = {"key.vkey": (signer.vkey() + "\n").encode()}
    return {**keys, "rotations": notes} if notes else keys


def _entry(size: int, digest: str) -> dict[str, Any]:
    return {"size": size, "sha256": digest}


def _digest(file: IO[bytes]) -> dict[str, Any]:
    file.seek(0)
    digest, size = sha256(), 0
    while data := file.read(CHUNK_BYTES):
        digest.update(data)
        size += len(data)
    return _entry(size, digest.hexdigest())


ORDER: Final = (
    "README.html",
    "MANIFEST.json",
    "lines.jsonl",
    "proof",
    "checkpoint",
    "key.vkey",
    "rotations",
    "verify.py",
    "SHA256SUMS",
)
"""The files of a bundle; all but the rotations are always there."""


def _write_zip(
    order: Order, small: dict[str, bytes], large: dict[str, IO[bytes]], progress: Progress | None
) -> dict[str, Any]:
    """Write the zip, and return its size and digest."""
    try:
        with (
            new_file(order.target, Access(), replace=order.replace) as fd,
            os.fdopen(os.dup(fd), "w+b") as file,
        ):
            with zipfile.ZipFile(file, "w") as archive:
                for name in (name for name in ORDER if name in small or name in large):
                    _write_member(archive, name, large.get(name) or io.BytesIO(small[name]), progress)
            return _digest(file)
    except FileExistsError as exc:
        raise ConfigError(_there_already(order.target)) from exc


def _write_member(archive: zipfile.ZipFile, name: str, file: IO[bytes], progress: Progress | None) -> None:
    info = zipfile.ZipInfo(name, MEMBER_TIME)
    info.create_system, info.external_attr = 3, MEMBER_MODE  # Unix, wherever it is made
    info.compress_type = zipfile.ZIP_DEFLATED
    info.file_size = file.seek(0, os.SEEK_END)  # of a large one the header has to have room for more digits
    file.seek(0)
    with archive.open(info, "w") as member:
        while data := file.read(CHUNK_BYTES):
            member.write(data)
            if progress is not None and name == "lines.jsonl":
                progress(len(data))


def earlier(path: Path) -> int:
    """Return how many trails were set aside below this one: a bundle holds nothing of them."""
    return sum(not name.startswith(".") for name in names_in(Layout(path.absolute()).retired))
