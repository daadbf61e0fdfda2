#!/usr/bin/env python3
"""Checks a bundle of evidence from a trail of Indelible, the audit trail for MCP. Python 3.8 or later, nothing else.

    python3 verify.py [--vkey VKEY|FILE] [BUNDLE]    BUNDLE: the .zip, or the folder that it was unpacked to
    python3 verify.py --line SEQ [BUNDLE]            writes that line, too, and a proof of it alone, to hand on

It checks, in this order, that (1) the files are those that SHA256SUMS and MANIFEST.json list, (2) the checkpoint is
signed by the trail's key, (3) each line stands at its place in the tree under the checkpoint's root hash, and (4) each
erased line is on record. Whose key it is no program can tell: get the key from its owner, and give it with --vkey.

Exit code 0: all of it holds; 1: something does not; 2: wrong usage, or there is nothing to read.
Take this program from a place that you trust, too: whoever alters a bundle can alter what came in it.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import re
import stat
import struct
import sys
import zipfile
from pathlib import Path
from typing import IO, Any, Iterator, NamedTuple  # noqa: UP035 - where Python 3.8 has it

FILES = [
    "README.html",
    "MANIFEST.json",
    "lines.jsonl",
    "proof",
    "checkpoint",
    "key.vkey",
    "rotations",
    "verify.py",
]
FILES += ["SHA256SUMS"]
OPTIONAL = {"rotations"}  # how the key was changed, if it was
UNLISTED = {"MANIFEST.json", "SHA256SUMS"}  # the manifest lists all others, SHA256SUMS the manifest as well
MAX_SMALL = 1 << 24  # bytes of a file that is held in memory
MAX_LINE = 65535  # bytes of a line of the trail, without its line feed


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """Something in the bundle is not as it should be."""


# --- Ed25519: RFC 8032, section 5.1. A point is (X, Y, Z, T) with x = X/Z, y = Y/Z, x*y = T/Z -------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def add(p: Any, q: Any) -> Any:
    """Add two points (section 5.1.4)."""
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(k: int, p: Any) -> Any:
    """Return k times a point."""
    q: Any = (0, 1, 1, 0)
    while k:
        q, p, k = add(q, p) if k & 1 else q, add(p, p), k >> 1
    return q


def equal(p: Any, q: Any) -> bool:
    """Tell whether two points are the same."""
    return not ((p[0] * q[2] - q[0] * p[2]) % P or (p[1] * q[2] - q[1] * p[2]) % P)


def decode_point(data: bytes) -> Any:
    """Return a point from its 32 bytes (section 5.1.3), or None. There is one spelling of each point and no other."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if len(data) != 32 or y >= P or (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = decode_point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether a signature is right (section 5.1.7). A key of small order fits any text, so it is none."""
    a, r, s = decode_point(public), decode_point(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or len(signature) != 64 or s >= L or equal(multiply(8, a), (0, 1, 1, 0)):
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    return equal(multiply(s, BASE), add(r, multiply(k, a)))


# --- signed notes: c2sp.org/signed-note, c2sp.org/tlog-checkpoint -----------------------------------------------------


class Key(NamedTuple):
    """A public key under a name; as text, ``name+id+key``."""

    name: str
    public: bytes

    def id(self) -> bytes:
        """Return the 4 bytes by which a signature names it."""
        return hashlib.sha256(self.name.encode() + b"\n\x01" + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id().hex()}+{base64.b64encode(b'%c' % 1 + self.public).decode()}"


def unbase64(text: str) -> bytes:
    """Decode base64 in its one canonical spelling."""
    data = base64.b64decode(text.encode("ascii"), validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("not canonical base64")
    return data


def parse_key(text: str) -> Key:
    """Return the key that a text spells."""
    name, _, rest = text.strip().partition("+")
    key = Key(name, unbase64(rest.partition("+")[2])[1:])
    if str(key) != text.strip() or not name or len(key.public) != 32:
        raise ValueError("not an Ed25519 key, spelled name+id+key")
    return key


def open_note(note: str, keys: list[Key]) -> list[str]:
    """Return a note's lines, if at least one of the keys has signed it, and no signature by any of them is wrong."""
    body, gap, block = note.rpartition("\n\n")
    known, found = {(key.name, key.id()): key for key in keys}, False
    for line in block.split("\n")[:-1]:
        dash, name, encoded = line.split(" ")
        value = unbase64(encoded)
        key = known.get((name, value[:4]))
        if dash != "\u2014" or (key and not is_signed(key.public, f"{body}\n".encode(), value[4:])):
            raise Refused(f"the signature by {name} is wrong")
        found = found or key is not None
    if not found or not gap or not block.endswith("\n"):
        raise Refused("a note is not signed by " + " or ".join(map(str, keys)))
    return body.split("\n")


def accepted_keys(pinned: Key, notes: str) -> dict[Key, int]:
    """Return the pinned key, and those to which it has handed over, each with the size from which on it counts."""
    found, accepted = re.findall("(?:[^\n]+\n){6}\n(?:\u2014 [^\n]+\n)+", notes), {pinned: 0}
    if "".join(found) != notes:
        raise Refused("rotations: not notes by which one key hands over to the next")
    for note in found:
        origin, kind, size, _until, *spelled = note.split("\n")[:6]
        old, new = map(parse_key, spelled)
        for key in (old, new):
            open_note(note, [key])
        if kind != "key rotation" or {old.name, new.name} != {origin}:
            raise Refused("rotations: a note of another kind")
        if old in accepted:
            accepted.setdefault(new, int(size))
    return accepted


class Checkpoint(NamedTuple):
    """What a trail has signed: so many lines under one root hash."""

    origin: str
    size: int
    root: bytes


def open_checkpoint(note: str, accepted: dict[Key, int]) -> Checkpoint:
    """Return what the checkpoint says, if a key that counts at its size has signed it."""
    lines = open_note(note, list(accepted))
    checkpoint = Checkpoint(lines[0], int(lines[1]), unbase64(lines[2]))
    open_note(note, [key for key, size in accepted.items() if size <= checkpoint.size])
    if str(checkpoint.size) != lines[1] or {key.name for key in accepted} != {checkpoint.origin}:
        raise Refused("the checkpoint is not one of the key's trail")
    return checkpoint


# --- the tree: RFC 6962, section 2.1 ----------------------------------------------------------------------------------


class Line(NamedTuple):
    """A line of the trail: its place, its leaf hash (all that is left of an erased one), and who had it erased."""

    seq: int
    leaf: bytes
    text: bytes
    erasure: str | None


ERASED = re.compile(rb'\{"seq":(0|[1-9][0-9]{0,15}),"erased":"([0-9a-f-]{36})","leaf":"([0-9a-f]{64})"\}')
LIVING = re.compile(rb'\{"seq":(0|[1-9][0-9]{0,15}),')


def read_lines(file: IO[bytes]) -> Iterator[Line]:
    """Yield the lines, whose seqs ascend."""
    last = -1
    for line in iter(lambda: file.readline(MAX_LINE + 2), b""):
        text, erased, living = line[:-1], ERASED.fullmatch(line[:-1]), LIVING.match(line)
        match = erased or living
        if line[-1:] != b"\n" or match is None or int(match[1]) <= last:
            raise Refused(f"lines.jsonl, after seq {last}: no line of a trail, or not in its turn")
        last = int(match[1])
        if erased:
            yield Line(last, bytes.fromhex(erased[3].decode()), text, erased[2].decode())
        else:
            yield Line(last, hashlib.sha256(b"\0" + text).digest(), text, None)


def read_hashes(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the proof's hashes."""
    for line in iter(lambda: file.readline(46), b""):
        value = unbase64(line[:-1].decode("ascii"))
        if line[-1:] != b"\n" or len(value) != 32:
            raise Refused("proof: not a hash a line")
        yield value


class Walk:
    """Goes through the tree from left to right. Where no line of ours stands, the proof has the subtree's hash."""

    def __init__(self, lines: Iterator[Line], hashes: Iterator[bytes], wanted: int | None) -> None:
        """Of the line with the seq `wanted`, what proves it alone is kept in `path`."""
        self.lines, self.hashes, self.wanted = lines, hashes, -1 if wanted is None else wanted
        self.next = next(lines, None)
        self.path: list[bytes] = []
        self.found: Line | None = None

    def root(self, low: int, high: int) -> bytes:
        """Return the hash of the subtree over the leaves from `low` up to, without, `high`."""
        line = self.next
        if line is None or line.seq >= high:
            for value in self.hashes:
                return value
            raise Refused("proof: too few hashes: a line was taken out, or the proof is another's")
        if high - low == 1:
            self.found = line if low == self.wanted else self.found
            self.next = next(self.lines, None)
            return line.leaf
        middle = low + (1 << ((high - low - 1).bit_length() - 1))
        left, right = self.root(low, middle), self.root(middle, high)
        if low <= self.wanted < high:
            self.path.append(right if self.wanted < middle else left)
        return hashlib.sha256(b"\1" + left + right).digest()

    def check(self, checkpoint: Checkpoint) -> None:
        """Raise Refused unless lines and proof lead to the signed root."""
        root = self.root(0, checkpoint.size) if checkpoint.size and self.next else b""
        if self.next is not None or next(self.hashes, None) is not None:
            raise Refused(
                "lines beyond the checkpoint, or too many hashes: lines and proof are not of one bundle"
            )
        if root != checkpoint.root:
            raise Refused("the lines do not lead to the signed root: one was altered, or is of another trail")


class Watch:
    """Counts the lines that pass by, and holds erased ones against the events that put their erasure on record."""

    def __init__(self) -> None:
        self.count = self.erased = 0
        self.first = self.last = -1
        self.owed: dict[str | None, list[int]] = {}

    def lines(self, lines: Iterator[Line]) -> Iterator[Line]:
        """Yield them on."""
        for line in lines:
            self.first, self.last = line.seq if not self.count else self.first, line.seq
            self.count, self.erased = self.count + 1, self.erased + (line.erasure is not None)
            if line.erasure is not None:
                self.owed.setdefault(line.erasure, []).append(line.seq)
            elif self.owed and b'"entry_erased"' in line.text:
                self.settle(json.loads(line.text.decode()))
            yield line

    def settle(self, entry: dict[str, Any]) -> None:
        """Take a record, unless it is about an earlier trail."""
        said = entry.get("metadata", {})
        if entry["event_type"] == "entry_erased" and "origin" not in said and entry["event_id"] in self.owed:
            owed, pairs = self.owed[entry["event_id"]], said["erased"]
            owed[:] = [seq for seq in owed if not any(low <= seq <= high for low, high in pairs)]


# --- the bundle -------------------------------------------------------------------------------------------------------


class Folder:
    """A bundle that was unpacked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names = [name for name in FILES if os.path.lexists(path / name)]

    def open(self, name: str) -> IO[bytes]:
        """Open a file, which has to be a plain one."""
        if not stat.S_ISREG((self.path / name).lstat().st_mode):
            raise Refused(f"{name}: not a plain file")
        return (self.path / name).open("rb")


class Zip:
    """A bundle as it was written. Nothing is unpacked, and a name in it is used for nothing."""

    def __init__(self, path: Path) -> None:
        self.zip = zipfile.ZipFile(path)
        self.names = [info.orig_filename for info in self.zip.infolist()]
        end = 0
        with path.open("rb") as file:
            for info in self.zip.infolist():  # any other program is to see in it what is checked here
                file.seek(info.header_offset + 26)
                written = (
                    info.flag_bits,
                    info.date_time,
                    info.create_system,
                    info.external_attr,
                    info.header_offset,
                )
                if written != (0, (1980, 1, 1, 0, 0, 0), 3, 0o100644 << 16, end) or info.comment:
                    raise Refused(
                        "the zip is not as it was written (packed anew?): unpack it, and check the folder"
                    )
                end += 30 + sum(struct.unpack("<HH", file.read(4))) + info.compress_size
            rest = file.seek(0, os.SEEK_END) - end
        rest -= sum(46 + len(info.orig_filename) + len(info.extra) for info in self.zip.infolist())
        if end != self.zip.start_dir or self.zip.comment or rest not in (22, 98):
            raise Refused("the zip has something beside its files")

    def open(self, name: str) -> IO[bytes]:
        """Open a member."""
        return self.zip.open(name)


def read_small(bundle: Any, name: str) -> str:
    """Return a small file's text; of one that is not there, none."""
    if name not in bundle.names:
        return ""
    with bundle.open(name) as file:
        data: bytes = file.read(MAX_SMALL + 1)
    if len(data) > MAX_SMALL:
        raise Refused(f"{name}: too large")
    return data.decode("utf-8")


def digest(bundle: Any, name: str) -> tuple[int, str]:
    """Return a file's size and SHA-256."""
    sha256, size = hashlib.sha256(), 0
    with bundle.open(name) as file:
        for data in iter(lambda: file.read(1 << 20), b""):
            sha256.update(data)
            size += len(data)
    return size, sha256.hexdigest()


def check_files(bundle: Any) -> dict[str, Any]:
    """Compare the files with both lists of them; return the manifest."""
    names = set(bundle.names)
    if len(names) != len(bundle.names) or not set(FILES) - OPTIONAL <= names <= set(FILES):
        missing, others = sorted(set(FILES) - OPTIONAL - names), sorted(names - set(FILES))
        wrong = (
            f"files are missing: {missing}" if missing else f"files that are not of it, or one twice: {others}"
        )
        raise Refused(wrong[:500])
    found = {name: digest(bundle, name) for name in names}
    sums = {f"{found[name][1]}  {name}" for name in names - {"SHA256SUMS"}}
    listed = read_small(bundle, "SHA256SUMS").split("\n")
    for line in sorted(sums ^ set(listed[:-1])):
        raise Refused(f"{line[66:]}: not what SHA256SUMS says")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise Refused("MANIFEST.json: a key stands there twice")
        return dict(pairs)

    manifest: dict[str, Any] = json.loads(read_small(bundle, "MANIFEST.json"), object_pairs_hook=once)
    if manifest["evidence"] != 1:
        raise Refused("MANIFEST.json: of a later version, which takes a later verifier")
    said = {name: (entry["size"], entry["sha256"]) for name, entry in manifest["files"].items()}
    if said != {name: found[name] for name in names - UNLISTED} or len(listed) != len(sums) + 1 or listed[-1]:
        raise Refused("the files are not those that MANIFEST.json and SHA256SUMS list")
    return manifest


def check(bundle: Any, pinned: Key | None, wanted: int | None) -> tuple[str, Walk]:
    """Check all of a bundle; return what there is to say. Raises Refused, or whatever hostile bytes lead to."""
    manifest, own, watch = check_files(bundle), parse_key(read_small(bundle, "key.vkey")), Watch()
    accepted = accepted_keys(pinned or own, read_small(bundle, "rotations"))
    if own not in accepted:
        raise Refused(f"key.vkey is {own}, and no hand-over leads to it from {pinned}")
    checkpoint = open_checkpoint(read_small(bundle, "checkpoint"), accepted)
    with bundle.open("lines.jsonl") as lines, bundle.open("proof") as proof:
        walk = Walk(watch.lines(read_lines(lines)), read_hashes(proof), wanted)
        walk.check(checkpoint)
    for seqs in watch.owed.values():
        for seq in seqs:
            raise Refused(f"seq {seq} is erased, and no line says who had it erased: somebody blanked it")
    said = [manifest["trail"][key] for key in ("origin", "size", "root")]
    said += [manifest["lines"][key] for key in ("count", "erased", "first_seq", "last_seq")]
    found = [checkpoint.origin, checkpoint.size, base64.b64encode(checkpoint.root).decode()]
    if said != [*found, watch.count, watch.erased, watch.first, watch.last]:
        raise Refused("MANIFEST.json says something else of lines or checkpoint than they are")
    missing = watch.last - watch.first + 1 - watch.count
    text = f"{lined(watch.count)} of {checkpoint.origin}, seq {watch.first} to {watch.last}"
    text += f"\n  not chosen: {lined(missing)} in between" if missing else "\n  no line in between is missing"
    text += f"\n  erased, on record: {lined(watch.erased)}, whose content is gone" if watch.erased else ""
    text += f"\n  each as it was sealed, under the root of {lined(checkpoint.size)} that is signed by {own}"
    if manifest["trail"]["findings"]:
        text += "\n  BUT the trail that they are of was altered elsewhere: see README.html"
    return text, walk


def lined(count: int) -> str:
    """Return a number of lines as people say it."""
    return f"{count} line{'s' * (count != 1)}"


def hand_on(walk: Walk, note: str, notes: str) -> str:
    """Write one line and its proof alone (c2sp.org/tlog-proof) to the current folder; return the names."""
    if walk.found is None:
        raise Refused(f"the bundle has no line with seq {walk.wanted}")
    extra = [f"extra {base64.b64encode(notes.encode()).decode()}"] if notes else []
    hashes = [base64.b64encode(value).decode() for value in walk.path]
    proof = "\n".join(["c2sp.org/tlog-proof@v1", *extra, f"index {walk.wanted}", *hashes, "", note])
    names = [f"line-{walk.wanted}.json", f"line-{walk.wanted}.tlog-proof"]
    for name, data in ((names[0], walk.found.text + b"\n"), (names[1], proof.encode())):
        with Path(name).open("xb") as file:
            file.write(data)
    return " and ".join(names)


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "bundle", nargs="?", type=Path, default=Path(__file__).resolve().parent, metavar="BUNDLE"
    )
    parser.add_argument("--vkey", help="the trail's public key, name+id+key, or a file that holds it")
    parser.add_argument(
        "--line", type=int, metavar="SEQ", help="write this line and its proof to the current folder"
    )
    asked, pinned = parser.parse_args(arguments), None
    try:
        if asked.vkey is not None:
            is_file = len(asked.vkey) < 1000 and Path(asked.vkey).is_file()
            pinned = parse_key(Path(asked.vkey).read_text(encoding="utf-8") if is_file else asked.vkey)
    except (OSError, ValueError) as exc:
        return say(2, f"--vkey: {exc}")
    try:
        bundle = Folder(asked.bundle) if asked.bundle.is_dir() else Zip(asked.bundle)
        text, walk = check(bundle, pinned, asked.line)
        if asked.line is not None:
            names = hand_on(walk, read_small(bundle, "checkpoint"), read_small(bundle, "rotations"))
            text += f"\n  written: {names}"
    except Refused as exc:
        return say(1, f"NOT OK: {exc}")
    except OSError as exc:
        return say(2, f"{exc.filename or asked.bundle}: {exc.strerror or exc}")
    except Exception as exc:  # noqa: BLE001 - whatever hostile bytes lead to, the answer is no
        return say(1, f"NOT OK: the bundle is damaged: {type(exc).__name__}: {exc}")
    unpinned = (
        "\n  NOT CHECKED: whose key that is. It came with the bundle: get it from its owner, and use --vkey"
    )
    return say(0, f"OK: {text}{'' if pinned else unpinned}")


def say(code: int, text: str) -> int:
    """Print a text in which nothing can move a terminal's cursor; return the exit code."""
    shown = "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)
    (sys.stderr if code else sys.stdout).write(shown.encode("ascii", "backslashreplace").decode() + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
