"""Tessera's fsck, asked about a log in a directory."""

import subprocess
from pathlib import Path

TIMEOUT_S = 60


def fsck(program: str, log: Path, vkey: Path, timeout_s: float = TIMEOUT_S) -> tuple[bool, str]:
    """Return fsck's verdict and what it printed.

    Its exit code is 0 whatever it found, and on some damage it never ends: only the line in which it says that
    it succeeded counts, and not having ended in time is a failure.
    """
    command = [program, "-N", "4", f"--storage_url=file://{log}/", f"--public_key={vkey}", "--ui=false"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return False, f"fsck did not end within {timeout_s} seconds"
    said = done.stdout + done.stderr
    return "Successfully fsck'd" in said and "fsck failed" not in said, said
