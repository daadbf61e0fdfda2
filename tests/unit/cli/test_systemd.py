"""What a service says to its supervisor, over a real socket; and when it says nothing."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from indelible.cli.systemd import Watchdog, notify, watchdog_s

LIMIT_S = 10.0


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """Listen as a supervisor does; what is returned gives all that was said so far."""
    path, said = tmp_path / "notify", list[str]()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))

        def hear() -> list[str]:
            try:
                while True:
                    said.append(sock.recv(4096).decode())
            except BlockingIOError:
                return said

        yield hear


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_lines_go_together(heard: Callable[[], list[str]]) -> None:
    notify("READY=1", "STATUS=well")
    assert heard() == ["READY=1\nSTATUS=well"]


def test_an_abstract_address(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"indelible-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name)
        sock.settimeout(LIMIT_S)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        notify("READY=1")
        assert sock.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "nonsense", "/no/such/socket"])
def test_nobody_to_tell_is_no_failure(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify("READY=1")


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [("2000000", "", 2.0), ("2000000", "own", 2.0), ("2000000", "1", None), ("0", "", None), ("x", "", None)],
)
def test_how_often(usec: str, pid: str, seconds: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)
    assert watchdog_s() == seconds


def test_pings_come_while_all_is_well_and_only_then(heard: Callable[[], list[str]]) -> None:
    well, failures = threading.Event(), list[str]()
    well.set()
    checked = 0

    def check(_: float) -> None:
        nonlocal checked
        checked += 1
        if not well.is_set():
            raise OSError(28, "No space left on device")

    watchdog = Watchdog(0.03, check, lambda exc: failures.append(str(exc)))
    wait_until(lambda: len(heard()) > 3)
    well.clear()
    wait_until(lambda: failures)
    before, seen = len(heard()), checked
    wait_until(lambda: checked > seen + 5)
    assert len(heard()) == before
    assert len(failures) == 1  # said once, while it lasts
    well.set()
    wait_until(lambda: len(heard()) > before + 1)
    watchdog.stop()


def test_a_check_that_hangs_hangs_the_ping(heard: Callable[[], list[str]]) -> None:
    hanging, go_on = threading.Event(), threading.Event()

    def check(_: float) -> None:
        hanging.set()
        go_on.wait(LIMIT_S)

    watchdog = Watchdog(0.03, check, lambda _: None)
    assert hanging.wait(LIMIT_S)
    assert heard() == []
    go_on.set()
    wait_until(heard)
    watchdog.stop()
