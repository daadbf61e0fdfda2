"""What redaction costs: `python -m bench.bench_redact [--json FILE]`.

CPU time of one call, the median of several rounds, beside json.dumps of the same event measured in the same round.
The last rows show that cost grows with size and no faster: each is the ratio of a megabyte to a tenth of it.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from bench.report import Goal, Report
from indelible.config import RedactionSettings
from indelible.events import Event, Policy, Request, Source, Target, new_id, now, outcome
from indelible.redact import Redactor, compile_marks
from indelible.redact.limits import MAX_ARGS_BYTES
from indelible.redact.marks import MarkTree

ROUNDS = 15
CALLS = 400
LARGE = 1_000_000
"""Characters of the large texts."""
PART = 10
PAIRS = 3
LINEAR = Goal.at_most(13)
"""Ten times as much may cost thirteen times as long: caches are smaller than a megabyte."""

# Recording may cost 2.5 times json.dumps when nothing is found and 5 times otherwise (bench_record measures that, on
# the caller's thread). What is measured here is the redactor alone, so its goals leave room for what recording does
# beside it: sealing, the queue, the write. They are bounds of ours, not a share that was measured.
NOTHING_FOUND = Goal.at_most(1.8)
SOMETHING_FOUND = Goal.at_most(3.8)

ARGUMENTS = Goal.at_most(2)
"""Of json.dumps of the arguments: parsing, digest, and looking for secrets."""

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
SMALL = {"path": "/srv/data/report.txt", "limit": 100}
ANSWER = {"content": [{"type": "text", "text": "fine"}], "isError": False}
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
    "escapes": "a%20b",
    "escaped escapes": "%2525252540",
    "percent signs": "%",
    "escaped JSON": "%7B%22password%22%3A%22x%22%7D ",
    "named values": '{"name":"token","value":"x"},',
    "elements": "<password>x</password>",
    "open elements": "<password>",
    "form data": 'form-data; name="password"\r\n\r\n',
    "tuples": '("password", "x"), ',
    "commands": "curl -u a:b ",
    "entities": "&#x70;&quot;",
    "signs without width": "p\u200ba\u00adss:\u00a0",
    "secrets in entities": "&quot;password&quot;:&quot;x&quot;,",
    "manifests": "kind: Secret\ndata:\n  a: b\n",
    "settings": "ENV X_TOKEN ",
    "quotes of a shell": "password='\"'\"'x'\"'\"' ",
    "doubled quotes": "password=''x'' ",
    "secrets that are piped": "echo x | sudo -S id\n",
    "lines of routers": "enable secret 5 x\n",
    "keys in JSON": '{"kty":"oct","k":"x"},',
    "manifests in JSON": '{"kind":"Secret","data":{"a":"b"}},',
    "open braces of Secrets": '"kind":"Secret","data":{',
    "codes in URLs": "?code=a1b2c3d4e5f6g7h8&",
}


def event(args: Any, **result: Any) -> Event:
    """Return an event as a capture makes it."""
    return Event(
        timestamp=now(),
        event_type="mcp_operation",
        event_id=new_id(),
        source=SOURCE,
        target=Target(backend="files", method="tools/call", type="tool", capability_name="read_file"),
        request=Request(request_id="0b8f7c1e-6c0e-4d4e-9d5d-3b2d6c1c8f1a", rpc_id="7", args=args),
        policy=Policy(decision="allow"),
        outcome=outcome("completed", 1.25, **result),
    )


def raw(value: Any) -> msgspec.Raw:
    """Return a value as it comes over the wire."""
    return msgspec.Raw(json.dumps(value, separators=(",", ":")).encode())


def once(call: Callable[[], object], calls: int) -> float:
    """Return the CPU microseconds of one call."""
    started = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - started) / calls * 1e6


def redactor(schema: Any, unknown: Any = "digest") -> Redactor:
    """Return a redactor that knows the tool."""
    made = Redactor(RedactionSettings(unknown_schema=unknown), hmac_key=b"k" * 32, hmac_key_id="k1")
    made.learn("files", "read_file", compile_marks(schema))
    return made


def single(report: Report) -> None:
    """Measure single events of about 500 bytes, and the small call of the wire."""
    plain, marked = redactor({}), redactor({"properties": {"mode": {}, "key": {"writeOnly": True}}})
    clean, secret, wire = event(CLEAN), event(SECRET), event(raw(CLEAN))
    intent = msgspec.structs.replace(clean, outcome=None)
    small, same = event(raw(SMALL), result=raw(ANSWER)), msgspec.to_builtins(event(SMALL, result=ANSWER))
    sized = event(CLEAN, result_bytes=7_000_000)
    for name, base, call, goal in (
        ("nothing found", clean, lambda: plain.redact(clean), NOTHING_FOUND),
        ("nothing found, intent", intent, lambda: plain.redact(intent), NOTHING_FOUND),
        ("nothing found, from the wire", clean, lambda: plain.redact(wire), NOTHING_FOUND),
        ("nothing found, size of the result known", clean, lambda: plain.redact(sized), NOTHING_FOUND),
        ("small arguments and result from the wire", same, lambda: plain.redact(small), None),
        ("one key and one mail", secret, lambda: plain.redact(secret), SOMETHING_FOUND),
        ("with marks in the schema", clean, lambda: marked.redact(clean), SOMETHING_FOUND),
    ):
        compare(report, name, msgspec.to_builtins(base), call, goal)


def arguments(report: Report) -> None:
    """Measure arguments of some 500 bytes alone, without the event around them."""
    made, tree = redactor({}), MarkTree(compile_marks({"properties": {"key": {"writeOnly": True}}}))
    take = made._payloads.take
    for name, given, marks in (
        ("nothing found", {**CLEAN, "more": PROSE}, None),
        ("nothing found, with marks", {**CLEAN, "more": PROSE, "key": "x"}, tree),
        ("one key and one mail", {**SECRET, "more": PROSE}, None),
    ):
        size = len(json.dumps(given, separators=(",", ":")))
        goal = ARGUMENTS if name == "nothing found" else None
        compare(
            report,
            f"arguments of {size} bytes, {name}",
            given,
            partial(take, given, "full", MAX_ARGS_BYTES, marks),
            goal,
        )


def compare(report: Report, name: str, base: Any, call: Callable[[], object], goal: Goal | None) -> None:
    """Add the cost of a call, and its ratio to json.dumps of `base`."""
    costs, ratios = [], []
    for _ in range(ROUNDS):
        floor = once(lambda: json.dumps(base), CALLS)
        costs.append(once(call, CALLS))
        ratios.append(costs[-1] / floor)
    report.add(f"{name}, µs", statistics.median(costs))
    report.add("  of json.dumps", statistics.median(ratios), goal)


def start(report: Report) -> None:
    """Measure what a process pays before its first event."""
    report.add(
        "making a redactor, ms", statistics.median(once(lambda: redactor({}), 1) / 1e3 for _ in range(5))
    )


def growth(report: Report) -> None:
    """Measure large texts, and the ratio of each to a part of it."""
    keeps = redactor({}, "keep")
    for name, block in BLOCKS.items():
        part, whole = (event({"text": block * (size // len(block))}) for size in (LARGE // PART, LARGE))
        pairs = [
            (once(partial(keeps.redact, part), 1), once(partial(keeps.redact, whole), 1)) for _ in range(PAIRS)
        ]
        report.add(f"{LARGE:,} characters of {name}, ms", statistics.median(large for _, large in pairs) / 1e3)
        report.add("  of a tenth of it", statistics.median(large / small for small, large in pairs), LINEAR)


def main() -> int:
    """Measure, print, and tell whether the goals are met."""
    report = Report("redaction")
    arguments(report)
    single(report)
    start(report)
    growth(report)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
