"""What a record costs: `python -m bench.bench_formats [--json FILE]`.

CPU time of reading a line and rendering it in each format, the median of several rounds, beside json.dumps of the same
event measured in the same round. The goal is for the formats that are text; those that are JSON stand beside them.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any, Final

import msgspec

from bench.bench_redact import CLEAN, compare, event, redactor
from bench.report import Goal, Report
from indelible.events import Cost, Source, Target
from indelible.formats.record import Options, Record
from indelible.registry import FORMATS, make_format
from indelible.trail.entry import stamp

TEXT: Final = ("cef", "leef", "syslog")
TEXT_GOAL: Final = Goal.at_most(2)
HOSTILE: Final = 'a|b=c\\d"e]f\tg\nh\x1b[31m é\u2028 '

ORIGIN: Final = "indelible/00112233445566778899aabbccddeeff"


def line_of(changes: dict[str, Any]) -> bytes:
    """Return the line of a call that says all that a call through a gateway may say."""
    call = msgspec.structs.replace(event(CLEAN), **changes)
    return stamp(12_345, "2026-11-21T05:38:35.000001Z", redactor({}).redact(call))


def main() -> int:
    """Measure, print, and tell whether the goals are met."""
    report = Report("formats")
    known = Source(
        caller="http",
        session_id="s1",
        client_ip="192.0.2.7",
        user_id="alice",
        caller_type="agent",
        roles=["dev"],
    )
    spent = Cost(centicents=120, model="token", input_tokens=300, output_tokens=40)
    hostile = Target(backend=HOSTILE, method="tools/call", type="tool", capability_name=HOSTILE)
    lines = {
        "a call": line_of({}),
        "a call with its caller and cost": line_of({"source": known, "cost": spent}),
        "a call full of what must be escaped": line_of({"target": hostile}),
    }
    names = {target: name for name, target in reversed(FORMATS.items())}  # a format has one of its names
    for what, line in lines.items():
        base = json.loads(line)
        for name in sorted(names.values(), key=lambda name: (name not in TEXT, name)):
            made = make_format(name, Options(version="1.0", host="gateway.example"))
            call = partial(render, made, line)
            goal = (
                TEXT_GOAL if name in TEXT and line is not lines["a call full of what must be escaped"] else None
            )
            compare(report, f"{what}, {name}", base, call, goal)
    return report.finish()


def render(made: Any, line: bytes) -> bytes:
    """Read a line and render it, as the shipper does."""
    result: bytes = made.render(Record(line, ORIGIN))
    return result


if __name__ == "__main__":
    raise SystemExit(main())
