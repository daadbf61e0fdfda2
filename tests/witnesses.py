"""A witness as its users run it, a trail with its checkpoints, and what a log says to a witness."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from indelible.trail.proofs.checkpoint import Checkpoint, Signer
from indelible.trail.proofs.cosignature import Cosigner, WitnessKey, parse_witness_vkey
from indelible.trail.proofs.merkle import TILE_WIDTH, Tile, TileTree, leaf_hash
from indelible.trail.proofs.prove import consistency_proof, root_at
from indelible.trail.proofs.submission import PATH, Submission
from indelible.trail.proofs.tiles import StoredTiles
from indelible.trail.start.keys import generate_pem
from indelible.witness.server import Witness, WitnessServer
from indelible.witness.state import StateDirectory
from tests.trails import ORIGIN, SIGNER

NAME = "witness.example/w1"
COSIGNER = Cosigner(NAME, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
START_S = 60


class History:
    """A log in memory: its leaves, and the checkpoint and proof of any size."""

    def __init__(self, leaves: list[bytes], signer: Signer = SIGNER, origin: str = ORIGIN) -> None:
        self.signer = signer
        self.origin = origin
        tree = TileTree()
        filled = tree.extend(map(leaf_hash, leaves))
        self._files = {f"{tile.level}/{tile.number}": tile for tile in [*filled, *tree.partial_tiles()]}
        self._tree = tree
        self.size = tree.size
        self._all = StoredTiles(self._load, lambda *_: range(1, TILE_WIDTH + 1), self.size, tree.root())

    def _load(self, path: str) -> bytes | None:
        _, level, number, *partial = path.split("/")
        tile: Tile | None = self._files.get(f"{level}/{int(number.removesuffix('.p'))}")
        width = int(partial[0]) if partial else TILE_WIDTH
        return None if tile is None or tile.width != width else tile.data()

    def checkpoint(self, size: int) -> Checkpoint:
        return Checkpoint(self.origin, size, root_at(self._all, size))

    def note(self, size: int) -> bytes:
        return self.signer.sign(self.checkpoint(size).text()).encode()

    def proof(self, old: int, size: int) -> list[bytes]:
        tiles = StoredTiles(self._load, lambda *_: range(1, TILE_WIDTH + 1), size, self.checkpoint(size).root)
        return consistency_proof(tiles, old) if old else []

    def submission(self, old: int, size: int) -> Submission:
        return Submission(old, tuple(self.proof(old, size)), self.note(size))


def history(count: int, branch: str = "", fork_at: int | None = None) -> History:
    """Return a log of `count` leaves; from `fork_at` on they are those of `branch`."""
    at = count if fork_at is None else fork_at
    return History([f"{branch if number >= at else ''} {number}".encode() for number in range(count)])


# --- a thread -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def serving(server: http.server.HTTPServer, host: str = "127.0.0.1") -> Iterator[str]:
    """Let a server answer while the block lasts; its address, ``host:port``."""
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"{host}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def witness_server(state: Path) -> Iterator[WitnessServer]:
    """Return the server of a witness that keeps its state there, and knows the log of `tests.trails`."""
    kept = StateDirectory(state, COSIGNER.key)
    try:
        yield WitnessServer(("127.0.0.1", 0), Witness({ORIGIN: [SIGNER.verifier]}, COSIGNER, kept))
    finally:
        kept.close()


# --- a process ------------------------------------------------------------------------------------------


class Running(NamedTuple):
    """A witness at work."""

    process: subprocess.Popen[bytes]
    url: str
    key: WitnessKey

    @property
    def address(self) -> str:
        return self.url.removeprefix("http://")


def start_witness(folder: Path, vkeys: list[str], name: str = NAME, port: int = 0) -> Running:
    """Start ``indelible witness`` with its state in `folder`, and wait until it listens."""
    key = folder / "witness.pem"
    if not key.exists():
        key.write_bytes(generate_pem())
    command = [sys.executable, "-m", "indelible", "witness", "--key", str(key), "--name", name, "--json"]
    command += ["--state", str(folder / "state"), "--listen", f"127.0.0.1:{port}"]
    for vkey in vkeys:
        command += ["--log", vkey]
    with (folder / "witness.log").open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        process.wait(START_S)
        raise AssertionError((folder / "witness.log").read_text())
    about = json.loads(line)
    return Running(process, about["url"], parse_witness_vkey(about["vkey"]))


def end(running: Running) -> int:
    """End a witness as its operator does; return its exit code."""
    running.process.terminate()
    assert running.process.stdout is not None
    running.process.stdout.close()
    return running.process.wait(START_S)


@contextlib.contextmanager
def witness(folder: Path, vkeys: list[str], name: str = NAME, port: int = 0) -> Iterator[Running]:
    """Run a witness while the block lasts."""
    running = start_witness(folder, vkeys, name, port)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            end(running)


class Answer(NamedTuple):
    status: int
    content_type: str
    body: bytes


def post(address: str, body: bytes, path: str = f"/{PATH}") -> Answer:
    """Say something to a witness. Raises OSError or HTTPException when it does not answer."""
    connection = http.client.HTTPConnection(address, timeout=START_S)
    try:
        connection.request("POST", path, body)
        response = connection.getresponse()
        return Answer(response.status, response.headers.get("Content-Type", ""), response.read())
    finally:
        connection.close()


def get(address: str, path: str) -> Answer:
    """Ask a witness."""
    connection = http.client.HTTPConnection(address, timeout=START_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return Answer(response.status, response.headers.get("Content-Type", ""), response.read())
    finally:
        connection.close()
