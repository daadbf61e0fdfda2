"""Where questions are answered: in processes of their own, which can be ended whatever they are doing.

The rules that live here:

- Whoever answers holds nothing but trails that it reads. It may be killed at any moment, and nothing is broken by that.
- It ends with the process that asked it, also when that was killed.
- What goes wrong is a reply, of one line; a fault of ours says no more than that to whoever asked.
"""

from __future__ import annotations

import atexit
import functools
import os
import signal
import sys
import threading
import time
from types import ModuleType
from typing import Final, NamedTuple

from indelible.errors import IndelibleError
from indelible.inquiry.answers import Shown
from indelible.inquiry.plain import plain
from indelible.inquiry.questions import Question, answer
from indelible.inquiry.roles import NotAllowed
from indelible.query.kept import Kept

LOOK_S: Final = 0.5
"""How often it is looked whether the process that asked is still there, and what is kept may be kept on."""

MAX_ERROR: Final = 1_000

_KEPT: Final = Kept()

NO_MEMORY: Final = "the answer needs more memory than it may have; ask for less"


class Reply(NamedTuple):
    """An answer, or why there is none."""

    body: Shown | None = None
    summary: str = ""
    denied: bool = False
    fault: str = ""
    """What the log of the server says of a fault of ours."""


def work(question: Question) -> Reply:
    """Answer one question; never raises."""
    _settle(os.getppid())
    try:
        found = answer(question._replace(kept=_KEPT))
    except NotAllowed as exc:
        return Reply(summary=plain(str(exc), MAX_ERROR), denied=True)
    except IndelibleError as exc:
        return Reply(summary=plain(str(exc), MAX_ERROR))
    except MemoryError:
        return Reply(summary=NO_MEMORY)
    except Exception as exc:  # noqa: BLE001 - one question, and the server goes on
        said = "the question could not be answered: a fault of this server's, which its log names"
        return Reply(summary=said, fault=f"{question.tool}: {type(exc).__name__}: {exc}")
    return Reply(found.body, plain(found.summary, MAX_ERROR))


@functools.cache
def _settle(parent: int) -> None:
    """Leave Ctrl-C to the process that asked, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.modules.setdefault("__main__", ModuleType("__main__"))  # DuckDB looks into it, and there is none here
    atexit.register(_KEPT.close)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_S)
        _KEPT.look()
    os._exit(3)
