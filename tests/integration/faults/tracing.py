"""Runs under strace: started, attached to, spoiled at a chosen system call, and read.

`Recorders` is the process that forks them (`fixed_run`). `Recorders.run` attaches strace to one before it does
anything, and returns what it said and what strace saw.
"""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.integration.faults.fixed_run import Case, encode

ROOT = Path(__file__).parents[3]

GENEROUS_S = 60.0
"""How long anything may take on a machine that is busy with something else."""

_LINE = re.compile(
    r"(?P<pid>\d+) +(?P<name>\w+)\((?P<args>.*)\) += (?P<result>-?\d+|\?|0x[0-9a-f]+)(?P<rest>.*)"
)
_RESUMED = re.compile(r"(?P<pid>\d+) +<\.\.\. (?P<name>\w+) resumed>(?P<args>.*)")
_UNFINISHED = re.compile(r"(?P<pid>\d+) +(?P<head>\w+\(.*) <unfinished \.\.\.>")


@dataclass
class Call:
    """One system call, as strace wrote it."""

    pid: int
    name: str
    args: str
    result: int | None
    """None for one that never returned."""
    rest: str = ""

    @property
    def injected(self) -> bool:
        """Whether strace spoiled it."""
        return "(INJECTED)" in self.rest or "(DELAYED)" in self.rest

    @property
    def descriptor(self) -> int:
        """The descriptor that the call was given; -1 when it was none."""
        found = re.match(r"(\d+)", self.args)
        return int(found[1]) if found else -1

    @property
    def path(self) -> str:
        """The path of the descriptor that it was given (strace -y), or the first path among its arguments."""
        found = re.match(r"\d+<([^>]*)>", self.args) or re.search(r'"([^"]*)"', self.args)
        return found[1] if found else ""


@dataclass
class Outcome:
    """What a run said, and how it ended."""

    said: list[str] = field(default_factory=list)
    status: int = 0
    """As of waitpid(2)."""
    trace: Path | None = None

    def names(self, what: str) -> list[str]:
        """Return the events of which it said so."""
        return [words[1] for words in (line.split(" ") for line in self.said) if words[0] == what]

    @property
    def killed(self) -> bool:
        """Whether a signal ended it."""
        return os.WIFSIGNALED(self.status) and os.WTERMSIG(self.status) == signal.SIGKILL

    def calls(self) -> list[Call]:
        """Return what strace saw, in the order in which the calls returned."""
        assert self.trace is not None
        return parse(self.trace.read_text(errors="surrogateescape"))


class Recorders:
    """Starts recorders, one at a time. A context manager."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch

    def __enter__(self) -> Self:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(GENEROUS_S)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.faults.fixed_run", str(self._scratch)],
            stdin=theirs.fileno(),
            cwd=ROOT,
        )
        theirs.close()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._control.close()
        assert self._process.wait(GENEROUS_S) == 0

    def run(self, case: Case, options: Sequence[str], trace: Path) -> Outcome:
        """Run a case under strace with these options."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(GENEROUS_S)
        with ours:
            with theirs:
                socket.send_fds(self._control, [encode(case)], [theirs.fileno()])
                pid = int(self._control.recv(64))
            assert ours.recv(64) == b"ready"  # and makes no call of which nobody knows whether strace sees it
            outcome = Outcome(trace=trace)
            with strace(pid, options, trace):
                ours.send(b"go")
                while message := ours.recv(65536):
                    outcome.said.append(message.decode())
                outcome.status = int(self._control.recv(64))
        return outcome


class strace:  # noqa: N801 - reads as what it is: with strace(...)
    """strace, attached to a process for as long as that lasts; with `detach`, as the block lasts."""

    def __init__(self, pid: int, options: Sequence[str], trace: Path, *, detach: bool = False) -> None:
        self._detach = detach
        self._arguments = ["strace", "-f", "-p", str(pid), "-o", str(trace), *options]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._arguments, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        stream = self._process.stderr
        assert stream is not None
        assert select.select([stream], [], [], GENEROUS_S)[0], "strace does not attach"
        said = stream.readline()
        assert "attached" in said, f"strace: {said}"
        return self

    def __exit__(self, *_exc: object) -> None:
        deadline = time.monotonic() + GENEROUS_S
        if not any(_exc) and not self._detach:
            self._process.communicate(timeout=max(0.1, deadline - time.monotonic()))
        else:
            self._process.terminate()
            self._process.communicate(timeout=GENEROUS_S)


def parse(text: str) -> list[Call]:
    """Return the calls of a trace that was written with -f and -o."""
    calls: list[Call] = []
    begun: dict[str, str] = {}
    for line in text.splitlines():
        if unfinished := _UNFINISHED.match(line):
            begun[unfinished["pid"]] = unfinished["head"]
            continue
        if resumed := _RESUMED.match(line):
            line = f"{resumed['pid']} {begun.pop(resumed['pid'], resumed['name'] + '(')}{resumed['args']}"  # noqa: PLW2901
        if found := _LINE.match(line):
            result = None if found["result"] == "?" else int(found["result"], 0)
            calls.append(Call(int(found["pid"]), found["name"], found["args"], result, found["rest"]))
    return calls
