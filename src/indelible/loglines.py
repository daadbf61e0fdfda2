"""What we say on standard error: a line each; JSON lines where records of events stand there, too.

The rule that lives here: **whoever reads a stream of records reads nothing of ours that is no record and no JSON.**
Where the environment's export or a sink of type `stderr` writes to this process's standard error, each of our lines is
one JSON object, with `timestamp`, `level`, `logger`, `message`, and `request_id` inside a call. Elsewhere it is text
for people. What others write there (a wrapped server, an application with logging of its own) is theirs.

It is decided once: by the environment for what records (`for_recorder`), and by the sinks as soon as they are known
(`settle`).
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol

from indelible.context import current_request_id, loggable

MAX_CHARS: Final = 2_000
"""Of a message."""

LOGGER: Final = "indelible"

Part = Literal["reads", "records", "ships"]
Level = Literal["INFO", "WARNING", "ERROR"]

_HALF: Final = re.compile("[\ud800-\udfff]")


class _Sink(Protocol):
    @property
    def type(self) -> str: ...


class _State:
    """Of this process."""

    part: Part = "reads"
    as_json = False


def begin() -> None:
    """Begin anew, as text: a command begins, which may be one of several in this process."""
    _State.part, _State.as_json = "reads", False
    logging.captureWarnings(capture=False)


def for_recorder(part: Part = "records") -> None:
    """Say that this process writes records where it is told to: its environment counts, and its sinks.

    Without it, settings that name a sink say nothing of this process: a reader writes no records.
    """
    _State.part = part
    if part == "records" and _environment_asks():
        use_json()


def settle(sinks: Iterable[_Sink], ship: str) -> None:
    """Take in which sinks there are; `ship` is `audit.ship`."""
    shipped = _State.part == "ships" or (_State.part == "records" and ship != "off")
    if shipped and any(sink.type == "stderr" for sink in sinks):
        use_json()


def use_json() -> None:
    """From now on each line is JSON; in a command those of Python's warnings, too."""
    _State.as_json = True
    if _State.part != "reads":
        logging.captureWarnings(capture=True)


def is_json() -> bool:
    """Tell whether lines are JSON."""
    return _State.as_json


def _environment_asks() -> bool:
    """Tell whether the environment's export writes to standard error; one that it asks for in vain does not."""
    if not os.environ.get("MCP_COMPLIANCE_FORMAT"):  # before a module is imported for it
        return False
    from importlib import import_module

    from indelible.errors import ConfigError

    try:
        sink = import_module("indelible.compliance").compliance_sink(os.environ)
    except ConfigError:
        return False
    return sink is not None and sink.type == "stderr"


def line(text: str, level: Level = "ERROR") -> str:
    """Return what is to be written of a message that is one line already, without a line end."""
    if not _State.as_json:
        return f"indelible: {text}"
    return _encode(datetime.now(UTC), level, LOGGER, text)


def _encode(at: datetime, level: str, logger: str, text: str, **more: str) -> str:
    """Return a JSON object on one line: ASCII, so that no terminal and no framing reads anything into it."""
    if len(text) > MAX_CHARS:
        text = text[: MAX_CHARS - 1] + "…"
    said: dict[str, Any] = {
        "timestamp": at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "level": level,
        "logger": logger,
        "message": text,
    }
    request_id = current_request_id()
    if request_id:
        said["request_id"] = loggable(request_id)
    encoded = json.dumps({key: _HALF.sub("\ufffd", value) for key, value in {**said, **more}.items()})
    return encoded.replace("\x7f", "\\u007f")


class JsonLines(logging.Formatter):
    """Log records as JSON lines; an exception is a field, with `traceback` where tracebacks are asked for."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record on one line."""
        more = {}
        if record.exc_info and record.exc_info[1] is not None:
            exc = record.exc_info[1]
            more["error"] = f"{type(exc).__name__}: {exc}"[:MAX_CHARS]
            if os.environ.get("INDELIBLE_DEBUG", "") not in ("", "0"):
                more["traceback"] = self.formatException((type(exc), exc, exc.__traceback__))
        at = datetime.fromtimestamp(record.created, UTC)
        return _encode(at, record.levelname, record.name, record.getMessage(), **more)


class _Unheard(logging.Handler):
    """Writes what nobody else does: an application that set logging up hears our loggers by its own handlers."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.setFormatter(JsonLines())

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether no other handler gets this record."""
        return _State.as_json and not self._is_heard(record.name)

    def _is_heard(self, name: str) -> bool:
        logger: logging.Logger | None = logging.getLogger(name)
        while logger is not None:
            if any(one is not self and not isinstance(one, logging.NullHandler) for one in logger.handlers):
                return True
            logger = logger.parent if logger.propagate else None
        return False

    def emit(self, record: logging.LogRecord) -> None:
        """Write it, if there is anywhere to."""
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):  # closed, or none at all
            pass


def in_a_program() -> None:
    """See to it that what our loggers say is JSON in a program of somebody else's, where it set no logging up."""
    use_json()
    logger = logging.getLogger(LOGGER)
    if not any(isinstance(one, _Unheard) for one in logger.handlers):
        logger.addHandler(_Unheard())
