"""Standard output whose errors say that it was standard output: a full disk there is none under the trail."""

from __future__ import annotations

import io
import os
import sys

NAME = "standard output"


class _Named(io.FileIO):
    def write(self, data: object) -> int | None:  # type: ignore[override] # whatever has a buffer, as below
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as exc:
            exc.filename = exc.filename or NAME
            raise


def name_errors() -> None:
    """Put a stream in the place of `sys.stdout` that is the same, but for the name in its errors."""
    out = sys.stdout
    if out is None:  # closed before we came: nobody wants to read
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - as long as the process
    if type(out) is not io.TextIOWrapper:  # a test's
        return
    raw = getattr(out.buffer, "raw", out.buffer)
    if type(raw) is not io.FileIO:
        return
    out.flush()
    named = _Named(raw.fileno(), "wb", closefd=False)
    buffer = (
        named if out.buffer is raw else io.BufferedWriter(named)
    )  # the same when it is unbuffered: python -u
    sys.stdout = io.TextIOWrapper(
        buffer,
        encoding=out.encoding,
        errors=out.errors,
        line_buffering=out.line_buffering,
        write_through=out.write_through,
    )
