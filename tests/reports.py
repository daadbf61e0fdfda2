"""A trail with something to see in every section of a report, made of the same events each time."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.trails import Body, Maker, encode, erased, erasure

UNTIL = datetime(2026, 11, 21, tzinfo=UTC)
SINCE = UNTIL - timedelta(days=20)
PERIOD = ("--since", "2026-11-01", "--until", "2026-11-21")
"""What the trail is about, as options of a command."""

LONG = "a_tool_with_a_name_that_is_so_long_that_no_column_has_room_for_it_" * 3 + "end-of-name"
HOSTILE = [
    "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "a\nb\x1b[31mred", "\u202egnp.exe", "${jndi:ldap}",
    "'; DROP TABLE logs; --", "=1+1", "Δοκιμή-проверка", "{{7*7}}", "&amp;", LONG,
]  # fmt: skip


def text(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"


def call(when: datetime, user: str | None, name: str, kind: str = "completed", **more: Any) -> Body:
    """Return a call; `more` is a whole part, or ``part__key`` of one."""
    body: Body = {
        "timestamp": text(when),
        "event_type": "mcp_operation",
        "event_id": "x",
        "source": {"caller": "stdio", "user_id": user, "session_id": f"s-{user}", "auth_method": "os"},
        "target": {"backend": "files", "type": "tool", "capability_name": name, "effects": "read_only"},
        "outcome": {"status": "success" if kind == "completed" else "error", "kind": kind, "latency_ms": 2.5},
    }
    for key, value in more.items():
        part, _, field = key.partition("__")
        if field:
            body.setdefault(part, {})[field] = value
        else:
            body[part] = value
    return body


def service(when: datetime, event_type: str, **metadata: Any) -> Body:
    return {"timestamp": text(when), "event_type": event_type, "event_id": "y", "metadata": metadata}


def bodies() -> list[tuple[datetime, Body]]:
    """Return the events by their times: forty days of two people's habits, and what does not fit them."""
    chance, found = random.Random(7), list[tuple[datetime, Body]]()
    for day in range(40):
        for hour, user in ((9, "ada"), (10, "bob"), (14, "ada")):
            for _ in range(chance.randrange(3, 9)):
                when = UNTIL - timedelta(days=40 - day) + timedelta(hours=hour, seconds=chance.randrange(3600))
                kind = "tool_error" if chance.random() < 0.2 and user == "bob" else "completed"
                tool = "search" if user == "bob" else "read_file"
                latency, price = round(chance.expovariate(0.01), 2), chance.randrange(1, 40_000)
                found.append(
                    (when, call(when, user, tool, kind, outcome__latency_ms=latency, cost__centicents=price))
                )
    for number, name in enumerate(HOSTILE):
        when = UNTIL - timedelta(hours=5, minutes=number)
        refused = call(when, name, name, "denied", policy={"decision": "deny", "rule": name})
        refused["target"] |= {"effects": "destructive", "backend": name, "tool_sha256": f"{number:x}" * 64}
        found.append((when, refused))
    burst = UNTIL - timedelta(days=3, hours=2, minutes=30)
    found += [
        (burst + timedelta(seconds=4 * n), call(burst + timedelta(seconds=4 * n), "robot", "poll"))
        for n in range(620)
    ]
    night = UNTIL - timedelta(days=2, hours=21, minutes=10)
    found.append((night, call(night, "ada", "delete_file", target__effects="destructive")))
    warned = UNTIL - timedelta(hours=3)
    found.append((warned, call(warned, "bob", "send", policy__decision="warn", policy__rule="outside")))
    for hours, event_type, metadata in (
        (480, "audit_gap", {"lost": 3, "reason": "no room <b>on</b> the disk"}),
        (100, "audit_stopped", {}),
        (97, "audit_started", {"version": "0"}),
        (60, "audit_recovered", {"unsealed": 2, "torn": [], "interrupted": 1}),
        (60, "audit_started", {"version": "0"}),
        (30, "clock_stepped", {"step_s": -3600.5}),
        (29, "auth_rejected", {"count": 40, "status": 401}),
    ):  # fmt: skip
        when = UNTIL - timedelta(hours=hours)
        found.append((when, service(when, event_type, **metadata)))
    found += [(UNTIL - timedelta(hours=n), service(UNTIL - timedelta(hours=n), "audit_heartbeat"))
              for n in range(1, 960) if n not in (98, 99) and not 200 < n < 208]  # fmt: skip
    return sorted(found, key=lambda pair: pair[0])


def make_trail(path: Path) -> Path:
    """Write the trail, sealed, with one erased line; return its path."""
    maker = Maker(path)
    for when, body in bodies():
        maker.add(body, text(when))
    first = path.read_bytes().splitlines()[1]
    maker.add(erasure(maker, 1))
    maker.seal()
    path.write_bytes(path.read_bytes().replace(first, erased(first, 1)))
    return path


def encoded() -> list[bytes]:
    return [encode(body) for _, body in bodies()]
