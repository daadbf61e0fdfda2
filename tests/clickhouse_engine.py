"""ClickHouse's own engine (chdb), alone in a process: half a gigabyte that no test's process should carry.

Speaks frames on its standard input and output: four bytes of length, then JSON. See `tests.clickhouse`.
"""

from __future__ import annotations

import json
import os
import re
import struct
import sys
from typing import Any

from chdb.session import Session

_CODE = re.compile(r"Code: (\d+)\. DB::")


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever the engine prints is no answer
    session = Session(sys.argv[1])  # type: ignore[no-untyped-call] # it has no types
    while head := sys.stdin.buffer.read(4):
        asked = json.loads(sys.stdin.buffer.read(struct.unpack(">I", head)[0]))
        data = json.dumps(answer(session, asked)).encode()
        answers.write(struct.pack(">I", len(data)) + data)
        answers.flush()


def answer(session: Session, asked: dict[str, str]) -> dict[str, Any]:
    try:
        found = session.query(asked["sql"], asked["format"])  # type: ignore[no-untyped-call] # it has no types
    except RuntimeError as exc:
        code = _CODE.search(str(exc))
        return {"code": int(code[1]) if code else 0, "text": str(exc)}
    return {"text": found.bytes().decode("utf-8") if found is not None and found.size() else ""}


if __name__ == "__main__":
    main()
