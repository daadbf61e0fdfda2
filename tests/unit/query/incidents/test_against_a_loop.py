"""What `analyse` finds is what a plain loop over the lines finds, whatever the files look like."""

from __future__ import annotations

import functools
import json
import math
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import example, given, settings
from hypothesis import strategies as st

from indelible.query.incidents.reading import Analysis, Asked, analyse
from indelible.query.incidents.windows import Found
from tests.effort import examples
from tests.trails import Body, Maker, at, operation

WINDOW_S = 0.3
KEEP = 3
DAY_MS = 86_400_000

Event = dict[str, Any]

# --- trails -----------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """A line to be: when it is recorded, in milliseconds, and its body."""

    ms: int
    body: Body | bytes


def time(ms: float) -> str:
    return at(2 + ms / 1000)  # the first file was opened before


RECORDERS = st.sampled_from([{"id": "r1", "uid": 0, "pid": 1}, {"id": "r1", "uid": 0, "pid": 2}])
MOMENTS = st.builds(
    lambda day, ms: day * DAY_MS + ms,
    st.sampled_from([0, 1, 30, 31]),
    st.integers(0, 1200).map(lambda n: n * 5),
)
SESSIONS = st.sampled_from(["s1", "s2"])
BACKENDS = st.sampled_from(["files", "shop"])
TOOLS = st.sampled_from(["read", "write"])


class Call(NamedTuple):
    """A call to be; it has an intent, an outcome, or both."""

    began: int
    lasts: int
    session: str
    backend: str
    tool: str
    recorder: Body
    size: int
    ends: str | None
    intent: bool
    timed: bool
    delay: int

    def rows(self, number: int) -> Iterator[Row]:
        shared = {
            "timestamp": time(self.began),
            "source": {"session_id": self.session, "user_id": "ada", "recorder": self.recorder},
            "target": {"backend": self.backend, "type": "tool", "capability_name": self.tool},
        }
        request: Body = {"request_id": f"r{number}", "args": {"n": number}, "args_bytes": self.size}
        if self.intent or self.ends in (None, "interrupted"):
            body = operation(
                number, **shared, request=request, outcome=None, event_type="mcp_operation_started"
            )
            yield Row(self.began + self.delay % 2, {**body, "event_id": f"i{number}"})
            request = {**request, "intent": f"i{number}"}
        if self.ends is not None:
            outcome: Body = {"status": "success" if self.ends == "completed" else "error", "kind": self.ends}
            if self.ends != "interrupted" and self.timed:
                outcome["latency_ms"] = self.lasts + 0.25
            body = operation(number, **shared, request=request, outcome=outcome)
            yield Row(self.began + self.lasts + 1 + self.delay, {**body, "event_id": f"o{number}"})


class Sign(NamedTuple):
    """Something else that stands in a trail."""

    ms: int
    kind: str
    to: str
    why: str
    backend: str
    session: bool
    recorder: Body

    def rows(self) -> list[Row]:
        ms = self.ms
        if self.kind == "state":
            source = {"recorder": self.recorder} | ({"session_id": "s1"} if self.session else {})
            target: Body = {"backend": self.backend}
            state = {"from": "Ready", "to": self.to, "reason": self.why}
            return [Row(ms + 1, own("mcp_server_state_changed", ms, source=source, target=target, state=state))]
        if self.kind == "note":
            target = {"target": {"backend": "files"}} if self.session else {}
            return [Row(ms + 40, own("alert", ms, metadata={"incident": {"note": "down"}}, **target))]
        if self.kind == "gap":
            said = {"lost": 3, "reason": "disk", "since": time(ms - 20), "until": time(ms)}
            return [Row(ms, own("audit_gap", ms, metadata=said))]
        if self.kind == "recovered":
            found = own("audit_recovered", ms, metadata={"unsealed": 1, "torn": [], "interrupted": 0})
            return [Row(ms, found), Row(ms, own("audit_started", ms, metadata={"intent": "writes"}))]
        if self.kind == "garbage":
            return [Row(ms, self.why.encode() + b'{"seq":"x","kind":"interrupted"}')]
        return [Row(ms, own(f"audit_{self.kind}", ms, metadata={}))]


CALLS = st.builds(
    Call, MOMENTS, st.sampled_from([0, 5, 50, 400, 5000, 2 * DAY_MS]), SESSIONS, BACKENDS, TOOLS, RECORDERS,
    st.integers(0, 1200), st.sampled_from(["completed", "tool_error", "backend_unavailable", "interrupted", None]),
    st.booleans(), st.booleans(), st.integers(0, 2),
)  # fmt: skip
SIGNS = st.builds(
    Sign, MOMENTS, st.sampled_from(["state", "note", "gap", "recovered", "started", "stopped", "garbage"]),
    st.sampled_from(["Failed", "Degraded", "Ready"]), st.sampled_from(["code 1", "code 2", "gone"]), BACKENDS,
    st.booleans(), RECORDERS,
)  # fmt: skip


def own(event_type: str, ms: float, **more: Any) -> Body:
    return {"timestamp": time(ms), "event_type": event_type, "event_id": f"{event_type} {ms}", **more}


def usual(count: int, day: int) -> Iterator[Row]:
    """Yield calls of one tool, enough of them to have a percentile, or not."""
    for number in range(1000, 1000 + count):
        body = operation(number, request__args_bytes=number % 37, target__capability_name="read")
        yield Row(day * DAY_MS + number % 5, body | {"timestamp": time(day * DAY_MS), "event_id": f"o{number}"})


def write(path: Path, rows: list[Row], breaks: dict[int, bool]) -> None:
    """Write a trail whose files end where `breaks` says, compressed or not."""
    maker = Maker(path)
    for index, (ms, body) in enumerate(rows):
        if index in breaks:
            maker.clock = 1 + ms / 1000  # times never go back; a second goes by with each line
            maker.rotate(compress=breaks[index])
        if isinstance(body, bytes):
            maker.raw(body + b"\n")
        else:
            maker.add(body, recorded_at=time(ms))


def read(path: Path) -> list[Event]:
    """Return what stands in the files, in order; an empty event where a line cannot be read."""
    import zstandard

    content = b""
    for segment in sorted((path.parent / f"{path.name}.d" / "segments").iterdir()):
        with segment.open("rb") as file:
            packed = segment.suffix == ".zst"
            content += zstandard.ZstdDecompressor().stream_reader(file).read() if packed else file.read()
    return [_event(line) for line in (content + path.read_bytes()).splitlines()]


def _event(line: bytes) -> Event:
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event.get("seq"), int) else {}


# --- the plain loop ---------------------------------------------------------------------------------------------


class Plain(NamedTuple):
    kind: str
    at: str
    seq: int | None
    event: Event
    interrupted: list[Event]


def kind_of(event: Event) -> str:
    return str(event.get("event_type"))


def is_interrupted(event: Event) -> bool:
    outcome = event.get("outcome", {})
    return kind_of(event) == "mcp_operation" and outcome.get("kind") == "interrupted" and "error" not in outcome


def plain_signs(events: list[Event]) -> Iterator[Plain]:  # noqa: C901, PLR0912 - one loop, to be read from top to bottom
    dying: dict[str, list[Event]] = {}
    following: list[Event] | None = None

    def settle() -> Iterator[Plain]:
        for left in dying.values():
            yield from by_minute(left)
        dying.clear()

    for index, event in enumerate(events):
        kind = kind_of(event)
        if is_interrupted(event):
            if following is not None:
                following.append(event)
            else:
                dying.setdefault(json.dumps(event["source"]["recorder"]), []).append(event)
            continue
        if kind in ("mcp_operation", "mcp_operation_started", "file_opened", "audit_stopped", "None"):
            continue
        if kind == "mcp_server_state_changed" and event["state"]["to"] == "Ready":
            yield from settle()
            continue
        yield from settle()
        earlier = [one for one in events[:index] if kind_of(one) != "file_opened"]
        before = earlier[-1] if earlier else None
        died = event["recorded_at"] if not before else before["recorded_at"]
        if kind == "audit_recovered":
            following = []
            yield Plain("recorder", died, event["seq"], event, following)
        elif kind == "audit_started":
            well = (
                following is not None
                or not before
                or kind_of(before) == "audit_stopped"
                or is_interrupted(before)
            )
            following = None
            if not well:
                yield Plain("recorder", died, event["seq"], event, [])
        elif kind == "mcp_server_state_changed":
            yield Plain("server", event["timestamp"], event["seq"], event, [])
        elif kind == "alert":
            yield Plain("noted", event["timestamp"], event["seq"], event, [])
        elif kind == "audit_gap":
            yield Plain("gap", event["metadata"]["since"], event["seq"], event, [])
    yield from settle()
    ends = [one for one in events if kind_of(one) != "file_opened"]
    if ends and ends[-1] and kind_of(ends[-1]) != "audit_stopped" and not is_interrupted(ends[-1]):
        yield Plain("recorder", ends[-1]["recorded_at"], None, {}, [])


def by_minute(left: list[Event]) -> Iterator[Plain]:
    group: list[Event] = []
    for event in left:
        if group and apart(group[0]["recorded_at"], event["recorded_at"]) > 60:
            yield Plain("recorder", group[0]["recorded_at"], group[0]["seq"], group[0], group)
            group = []
        group.append(event)
    yield Plain("recorder", group[0]["recorded_at"], group[0]["seq"], group[0], group)


@functools.cache
def stamp(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def apart(one: str, other: str) -> float:
    return abs(stamp(one) - stamp(other))


def about(sign: Plain, call: Event) -> bool:
    event = sign.event
    if sign.kind == "recorder":
        return not (sign.interrupted and is_interrupted(event)) or (
            call["source"].get("recorder") == event["source"]["recorder"]
        )
    if sign.kind == "gap":
        return True
    backend, session = event.get("target", {}).get("backend"), event.get("source", {}).get("session_id")
    return backend in (None, call["target"]["backend"]) and session in (None, call["source"]["session_id"])


def of_backend(sign: Plain, call: Event) -> bool:
    if sign.kind in ("recorder", "gap"):
        return about(sign, call)
    return sign.event.get("target", {}).get("backend") in (None, call["target"]["backend"])


def ended_by(sign: Plain, call: Event) -> bool:
    source = sign.event.get("source", {})
    return (
        sign.kind == "server"
        and "session_id" in source
        and call["outcome"]["kind"] == "backend_unavailable"
        and call["source"].get("recorder") == source["recorder"]
        and about(sign, call)
    )


def identity(call: Event) -> str:
    """Return what a call is known by, however far it has come."""
    return str(call["request"].get("intent", call["event_id"]))


def plain_window(  # noqa: C901 - one loop
    sign: Plain, events: list[Event]
) -> tuple[set[str], list[str], list[Event]]:
    """Return the calls in flight, those before, and those before of the whole backend."""
    moment = stamp(sign.at)
    flying, before, beside = {identity(one) for one in sign.interrupted}, [], []
    outcomes = [one for one in events if kind_of(one) == "mcp_operation"]
    closed = {one["request"].get("intent") for one in outcomes}
    for call in outcomes:
        recorded = call["recorded_at"]
        if recorded > sign.at:
            if call["timestamp"] > sign.at or sign.kind == "recorder" or not about(sign, call):
                continue
            if stamp(recorded) > moment + 86_400 and "intent" not in call["request"]:
                continue  # so late nobody looks
            latency = call["outcome"].get("latency_ms")
            end = None if latency is None else stamp(call["timestamp"]) + latency / 1000
            if end is None and not is_interrupted(call):
                end = stamp(recorded)
            if end is None or end > moment + 1e-7 or ended_by(sign, call):
                flying.add(identity(call))
        elif ended_by(sign, call) and stamp(recorded) >= moment - 60:
            flying.add(identity(call))
        elif stamp(recorded) >= moment - WINDOW_S - 1e-7:
            if sign.kind == "recorder" and is_interrupted(call):
                continue
            if of_backend(sign, call):
                beside.append(call)
            if about(sign, call):
                before.append(call["event_id"])
    if sign.kind != "recorder" or sign.seq is None:
        flying |= {
            one["event_id"]
            for one in events
            if kind_of(one) == "mcp_operation_started"
            and one["event_id"] not in closed
            and max(one["timestamp"], one["recorded_at"]) <= sign.at
            and not is_older(sign, one)
            and about(sign, one)
        }
    return flying, before, beside


def is_older(sign: Plain, event: Event) -> bool:
    """Tell whether a line is from before the days that an incident is judged by."""
    return stamp(event["recorded_at"]) < stamp(sign.at) - 30 * 86_400 - 1e-7


def plain_p99(sign: Plain, events: list[Event], tool: tuple[str, str]) -> int | None:
    moment = stamp(sign.at)
    sizes = sorted(
        one["request"]["args_bytes"]
        for one in events
        if kind_of(one) == "mcp_operation"
        and (one["target"]["backend"], one["target"]["capability_name"]) == tool
        and "args_bytes" in one["request"]
        and not is_older(sign, one)
        and stamp(one["recorded_at"]) < moment - WINDOW_S - 1e-7
    )
    return None if len(sizes) < 100 else int(sizes[math.ceil(len(sizes) * 0.99) - 1])


# --- both -------------------------------------------------------------------------------------------------------


def found_by(path: Path, **asked: Any) -> Analysis:
    return analyse([path], [path], Asked(window_s=WINDOW_S, keep=KEEP, **asked))


def compare(found: Found, sign: Plain, events: list[Event]) -> None:
    window = found.window
    flying, before, beside = plain_window(sign, events)
    assert {call.intent or call.event_id for call in window.in_flight} == flying
    assert window.in_flight_count == len(flying)
    assert window.older_lines == sum(is_older(sign, one) for one in events if one)
    assert [call.event_id for call in window.before] == before[-KEEP:]
    assert window.before_count == len(before)
    for tool, tally in window.tallies.items():
        own_calls = [
            one for one in beside if (one["target"]["backend"], one["target"]["capability_name"]) == tool
        ]
        assert tally.calls == len(own_calls)
        assert tally.errors == sum(one["outcome"]["status"] == "error" for one in own_calls)
        p99 = plain_p99(sign, events, tool)
        said = found.p99[tool]["args_bytes"]
        assert (said is None) == (p99 is None)
        if p99 is None or said is None:
            continue
        assert p99 <= said <= p99 * 1.002
        sizes = {
            identity(one): one["request"]["args_bytes"]
            for one in events
            if kind_of(one).startswith("mcp_operation")
            and (one["event_id"] in before or identity(one) in flying)
            and "args_bytes" in one["request"]
            and (one["target"]["backend"], one["target"]["capability_name"]) == tool
        }
        large = sorted((size for size in sizes.values() if size > said), reverse=True)
        unusual = [one for one in found.unusual if one.tool == tool and one.measure == "args_bytes"]
        assert sum(one.above for one in unusual) == len(large)
        assert [call.args_bytes for one in unusual for call in one.calls] == large[:KEEP]


R1: Body = {"id": "r1", "uid": 0, "pid": 1}


@settings(max_examples=examples(60), deadline=None)
@example(  # an intent from just before the days that are read, no outcome, and a recorder that was killed
    calls=[
        Call(0, 0, "s1", "files", "read", R1, 0, None, False, False, 0),
        Call(30 * DAY_MS, 5000, "s1", "files", "read", R1, 0, "completed", False, False, 0),
    ],
    signs=[],
    many=(98, 0),
    breaks={1: False},
)
@example(  # the same, while the days of an older incident reach back to it
    calls=[
        Call(0, 0, "s1", "files", "read", R1, 0, None, False, False, 0),
        Call(31 * DAY_MS, 5, "s1", "files", "read", R1, 0, "completed", False, False, 0),
    ],
    signs=[Sign(DAY_MS, "note", "Failed", "gone", "files", False, R1)],
    many=(0, 0),
    breaks={},
)
@given(
    st.lists(CALLS, max_size=25),
    st.lists(SIGNS, max_size=5),
    st.tuples(st.sampled_from([0, 98, 101, 130]), st.sampled_from([0, 1, 30])),
    st.dictionaries(st.integers(1, 60), st.booleans(), max_size=3),
)
def test_every_incident_and_the_calls_around_it(
    calls: list[Call], signs: list[Sign], many: tuple[int, int], breaks: dict[int, bool]
) -> None:
    rows = [row for number, call in enumerate(calls) for row in call.rows(number)]
    rows += [row for sign in signs for row in sign.rows()] + list(usual(*many))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "audit.jsonl"
        write(path, sorted(rows, key=lambda row: row.ms), breaks)
        events = read(path)
        found = found_by(path, each=True)
        expected = {(one.kind, one.at, one.seq): one for one in plain_signs(events)}
        incidents = [one.window.incident for one in found.found]
        assert {(one.kind, one.at, one.seq) for one in incidents} == set(expected)
        assert [one.at for one in incidents] == sorted(one.at for one in expected.values())
        for one in found.found:
            incident = one.window.incident
            compare(one, expected[incident.kind, incident.at, incident.seq], events)
