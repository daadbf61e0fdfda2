"""A child that works beside a recorder leaves the processors to it."""

from __future__ import annotations

import io
import os
import threading

import pytest

from indelible.cli import priority

PATIENCE_S = 60.0


class Session(io.RawIOBase):
    """A session that Linux lets be changed after so many tries, or not at all."""

    def __init__(self, busy: int = 0, refuses: type[OSError] | None = None) -> None:
        super().__init__()
        self.busy = busy
        self.refuses = refuses
        self.said: list[bytes] = []
        self.done = threading.Event()

    def open(self, _mode: str, buffering: int) -> Session:
        assert buffering == 0, "what a buffer is kept from writing is an error of another kind"
        if self.refuses is not None:
            raise self.refuses
        return self

    def close(self) -> None:
        """Be there for the next one."""

    def write(self, data: bytes) -> int | None:  # type: ignore[override] # what it is told is bytes
        if self.busy:
            self.busy -= 1
            return None  # EAGAIN
        self.said.append(data)
        self.done.set()
        return len(data)


@pytest.fixture
def niced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return what this process was niced by, which leads its session; and is not niced."""
    found: list[int] = []
    monkeypatch.setattr(os, "nice", found.append)
    monkeypatch.setattr(os, "getsid", lambda _pid: os.getpid())
    monkeypatch.setattr(priority, "AGAIN_S", 0.001)
    return found


@pytest.mark.parametrize("busy", [0, 1, 7])
def test_a_session_is_made_nice_when_its_turn_comes(
    niced: list[int], monkeypatch: pytest.MonkeyPatch, busy: int
) -> None:
    """Others change theirs: ordinary users' sessions are one in a tenth of a second."""
    session = Session(busy)
    monkeypatch.setattr(priority, "_SESSION", session)
    priority.be_nice(5)
    assert session.done.wait(PATIENCE_S)
    assert (niced, session.said) == ([5], [b"5"])


@pytest.mark.parametrize("refuses", [FileNotFoundError, PermissionError])
def test_where_there_are_no_such_groups_it_is_nice_by_itself(
    niced: list[int], monkeypatch: pytest.MonkeyPatch, refuses: type[OSError]
) -> None:
    monkeypatch.setattr(priority, "_SESSION", Session(refuses=refuses))
    threads = threading.active_count()
    priority.be_nice(5)
    assert niced == [5]
    assert threading.active_count() == threads


def test_a_session_that_others_are_in_is_left_alone(niced: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session()
    monkeypatch.setattr(priority, "_SESSION", session)
    monkeypatch.setattr(os, "getsid", lambda _pid: os.getpid() + 1)
    priority.be_nice(5)
    assert (niced, session.said) == ([5], [])
