"""What holds for every test: how hypothesis draws its examples, and where its files are.

The quick run repeats exactly, so that a red build is the change's doing; the long one looks where none has looked.
Neither judges how fast an example was: the machine may be busy with something else.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_timeout
from hypothesis import HealthCheck, settings

from indelible import loglines
from indelible.trail import space
from tests.effort import FAULT_STRIDE, LONG, examples

if TYPE_CHECKING:
    from tests.clickhouse import Engine

MOST_USED = 70.0
"""Percent: above this the trails of the tests come too near to the disk's thresholds."""

MEMORY = Path("/dev/shm")
ROOM = 2 << 30
"""Bytes that must be free there; the tests need less than a tenth of it."""

COMMON = settings(
    max_examples=examples(100),
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("quick", COMMON, derandomize=True, database=None)
settings.register_profile("long", COMMON)
settings.load_profile("long" if LONG else "quick")

# Whoever starts the tests in the background may have them ignore these (`nohup`, a shell's `&`), and every process that
# a test starts would inherit that: Ctrl-C could not be shown to end anything.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for ignored in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
    if signal.getsignal(ignored) is signal.SIG_IGN:
        signal.signal(ignored, signal.SIG_DFL)

if space.measure(Path(tempfile.gettempdir())).percent > MOST_USED:
    roomy = str(Path(__file__).with_name("roomy"))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (roomy, os.environ.get("PYTHONPATH"))))
    from tests.roomy import sitecustomize  # noqa: F401 - in this process, too


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--in-memory", action="store_true", help="make tmp_path in memory if there is room")


def pytest_configure(config: pytest.Config) -> None:
    """Put the files of tests that make every fault themselves where no disk is waited for: it has none to add."""
    if config.getoption("in_memory") and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


STARTED = pytest.StashKey[set[int]]()
"""The processes that a worker had started when a test began."""


def _children() -> set[int]:
    found = set()
    for task in list(Path("/proc/self/task").iterdir()):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended
            found |= set(map(int, (task / "children").read_text().split()))
    return found


def pytest_timeout_set_timer(item: pytest.Item) -> None:
    """Remember what runs before a test; its own processes end with it when its time is over."""
    item.stash[STARTED] = _children()


def _end_with_its_processes(item: pytest.Item, settings: Any) -> None:
    """Fail a test that takes too long. A `with` that waits for its process would go on doing so."""
    before = item.stash[STARTED]
    for pid in _children() - before:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _end(item, settings)


_end, pytest_timeout.timeout_sigalrm = pytest_timeout.timeout_sigalrm, _end_with_its_processes


@pytest.fixture(autouse=True)
def _said_as_text() -> Iterator[None]:
    """A recorder that exports to standard error has its process speak JSON from then on: not the next test."""
    yield
    if loglines.is_json():
        loglines.begin()


@pytest.fixture
def fault_stride() -> int:
    """Every how many-th operation is made to fail: all of them in the long run, a sample in the quick one."""
    return FAULT_STRIDE


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Return ClickHouse's engine, one for all tests: each makes a database of its own."""
    from tests.clickhouse import Engine

    engine = Engine(tmp_path_factory.mktemp("clickhouse"))
    yield engine
    engine.close()
