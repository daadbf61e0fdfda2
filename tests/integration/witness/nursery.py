"""Starts witnesses fast: for each line on stdin, one in a process of its own, forked when all is imported.

    python nursery.py STATE-DIRECTORY VKEY

answers each line with "<pid> <port>". A witness that was killed is reaped before the next one begins. Ends with stdin.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from indelible.trail.proofs.checkpoint import parse_vkey
from indelible.witness.server import Witness, WitnessServer
from indelible.witness.state import StateDirectory
from tests.witnesses import COSIGNER


def serve(folder: Path, vkey: str) -> None:
    key = parse_vkey(vkey)
    state = StateDirectory(folder, COSIGNER.key)
    server = WitnessServer(("127.0.0.1", 0), Witness({key.name: [key]}, COSIGNER, state))
    print(os.getpid(), server.server_port, flush=True)
    server.serve_forever()


def main(folder: Path, vkey: str) -> None:
    COSIGNER.line("warm\n", 1)  # the library is loaded once, here
    child = 0
    for _ in sys.stdin:
        if child:
            os.waitpid(child, 0)
        child = os.fork()
        if not child:
            serve(folder, vkey)
    if child:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
