"""What the library logs while a command runs: one line on stderr, as everything that a command says there."""

from __future__ import annotations

import copy
import logging

from indelible import loglines
from indelible.cli import debugging
from indelible.cli.hints import placed
from indelible.cli.text import one_line


def name_log_lines() -> None:
    """From now on each begins with ``indelible: ``: a wrapped server and its clients write to the same stderr.

    Where records stand there, too, each is a JSON line (see `indelible.loglines`).
    """
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_Line())


_JSON = loglines.JsonLines()


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return the record on one line; with ``INDELIBLE_DEBUG=1`` a traceback follows."""
        message = placed(record.getMessage())
        if loglines.is_json():
            said = copy.copy(record)  # it is others' too
            said.msg, said.args = message, None
            return _JSON.format(said)
        text = f"indelible: {one_line(message)}"
        exc = record.exc_info[1] if record.exc_info else None
        if exc is None:
            return text
        if debugging():
            return f"{text}\n{self.formatException((type(exc), exc, exc.__traceback__))}"
        return f"{text}: {one_line(f'{type(exc).__name__}: {exc}')}; INDELIBLE_DEBUG=1 shows more"
