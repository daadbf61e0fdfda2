"""What is logged while a command runs is one line that says whose it is."""

from __future__ import annotations

import subprocess
import sys

LOGGING = """
import logging
from indelible.cli.logged import name_log_lines
name_log_lines()
log = logging.getLogger("indelible")
log.warning("%s: a line\\nand no other", "here")
try:
    raise ValueError("why")
except ValueError:
    log.exception("it went wrong")
"""


def run(debug: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOGGING],
        capture_output=True,
        text=True,
        check=True,
        env={"INDELIBLE_DEBUG": debug},
    )
    return done.stderr.splitlines()


def test_a_record_is_one_line_with_our_name() -> None:
    assert run("") == [
        "indelible: here: a line\\nand no other",
        "indelible: it went wrong: ValueError: why; INDELIBLE_DEBUG=1 shows more",
    ]


def test_a_traceback_is_for_who_asks_for_it() -> None:
    said = run("1")
    assert said[1:3] == ["indelible: it went wrong", "Traceback (most recent call last):"]
    assert said[-1] == "ValueError: why"
