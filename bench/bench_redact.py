"""What redaction costs: medians of CPU time a call, beside json.dumps of the same event.

Run it with ``python bench/bench_redact.py``; ``--json`` prints the numbers as one JSON object. The last rows
show that cost grows with size and no faster: the ratio is that of twice the size.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import timeit
from collections.abc import Callable
from typing import Any

import msgspec

from indelible.config import RedactionSettings
from indelible.events import Event, Request, Source, Target, new_id, now, outcome
from indelible.redact import Redactor, compile_marks

REPEATS = 7
PROSE = "the quick brown fox jumps over the lazy dog and so on until there are enough bytes"
CLEAN: dict[str, Any] = {
    "path": "/srv/data/report.txt",
    "encoding": "utf-8",
    "limit": 100,
    "query": PROSE,
    "nested": {"a": [1, 2, 3, 4, 5], "b": "hello world", "c": {"d": "more text in a nested place"}},
    "mode": "r",
    "recursive": True,
}
SECRET = {**CLEAN, "mode": "mail alice@example.com about it", "password": "hunter2"}
SOURCE = Source(caller="stdio", session_id="s1", client="probe/1.0", user_id="alice")
BLOCKS = {
    "prose": PROSE + "\n",
    "mails": "a.b@example.com, ",
    "digits": "4111 1111 1111 1111 ",
    "base64": "QUJDREVGR0hJSktMTU5PUA",
    "paths": "/srv/data/project/file-name_1.txt ",
    "pairs": "password=hunter2;x=1&",
    "quotes": 'password: "',
    "at": "@a",
    "slashes": "a://",
    "brackets": "token: [",
    "braces": '{"a":',
    "pem": "-----BEGIN PRIVATE KEY-----",
    "eyj": "eyJaaaaaa.",
    "plus": "+1 ",
    "alnum": "DE89AB12",
    "backslashes": 'key\\"',
}


def event(args: Any) -> Event:
    """Return an event as a capture makes it."""
    return Event(
        timestamp=now(),
        event_type="mcp_operation",
        event_id=new_id(),
        source=SOURCE,
        target=Target(backend="files", method="tools/call", type="tool", capability_name="read_file"),
        request=Request(request_id="0b8f7c1e-6c0e-4d4e-9d5d-3b2d6c1c8f1a", rpc_id="7", args=args),
        outcome=outcome("completed", 1.25),
    )


def measure(call: Callable[[], object], least: float = 0.05) -> float:
    """Return the median CPU microseconds of one call."""
    import time

    timer = timeit.Timer(call, timer=time.process_time)
    number = 1
    while (spent := timer.timeit(number)) < least and number < 1_000_000:
        number = max(number * 2, int(number * least / max(spent, 1e-6)))
    return statistics.median(timer.repeat(REPEATS, number)) / number * 1e6


def calls() -> dict[str, float]:
    """Measure single events of about 500 bytes."""
    redactor = Redactor(RedactionSettings(), hmac_key=b"k" * 32, hmac_key_id="k1")
    schema = {"properties": {"mode": {"type": "string"}, "key": {"writeOnly": True}}}
    redactor.learn("files", "read_file", compile_marks({}))
    marked = Redactor(RedactionSettings(), hmac_key=b"k" * 32, hmac_key_id="k1")
    marked.learn("files", "read_file", compile_marks(schema))
    plain = msgspec.to_builtins(event(CLEAN))
    raw = msgspec.Raw(json.dumps(CLEAN).encode())
    clean, secret, wire = event(CLEAN), event(SECRET), event(raw)
    intent = msgspec.structs.replace(clean, outcome=None)
    return {
        "json.dumps of the event": measure(lambda: json.dumps(plain)),
        "nothing found": measure(lambda: redactor.redact(clean)),
        "nothing found, intent": measure(lambda: redactor.redact(intent)),
        "nothing found, from the wire": measure(lambda: redactor.redact(wire)),
        "one key and one mail": measure(lambda: redactor.redact(secret)),
        "with marks in the schema": measure(lambda: marked.redact(clean)),
    }


def growth(size: int) -> dict[str, tuple[float, float]]:
    """Measure large texts: milliseconds for `size` characters, and the ratio of that to half as many."""
    redactor = Redactor(RedactionSettings(unknown_schema="keep"), hmac_key=b"k" * 32, hmac_key_id="k1")
    found = {}
    for name, block in BLOCKS.items():
        half, whole = (event({"text": block * (n // len(block))}) for n in (size // 2, size))
        small = measure(lambda e=half: redactor.redact(e), least=0.0)  # type: ignore[misc]
        large = measure(lambda e=whole: redactor.redact(e), least=0.0)  # type: ignore[misc]
        found[name] = (large / 1e3, large / small)
    return found


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--size", type=int, default=200_000, help="characters of the large texts")
    options = parser.parse_args()
    single, large = calls(), growth(options.size)
    if options.json:
        json.dump({"microseconds": single, "large": large}, sys.stdout)
        return
    base = single["json.dumps of the event"]
    for name, cost in single.items():
        sys.stdout.write(f"{name:32s}{cost:9.2f} µs{cost / base:7.2f} × json.dumps\n")
    for name, (cost, ratio) in large.items():
        sys.stdout.write(f"{options.size:,} characters of {name:12s}{cost:9.2f} ms{ratio:7.2f} × half of it\n")


if __name__ == "__main__":
    main()
