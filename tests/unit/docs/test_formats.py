"""The page of formats says what formats do: its samples are theirs, its tables list the keys that they write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import pytest

from indelible.formats.back import EXPOSED_NAMES_ONLY, read_back
from indelible.formats.back_parts import CORE
from indelible.formats.found import read_found
from indelible.formats.names import NAMINGS
from indelible.formats.ocsf import VALUES as OCSF_VALUES
from indelible.formats.record import Options, Record
from indelible.formats.shapes import VALUES, Proof
from indelible.registry import FORMATS, make_format
from indelible.trail.entry import stamp
from indelible.trail.erased import erased_line
from tests.trails import at, encode, operation
from tests.unit.docs.pages import DOCS, blocks, codes, rows, section
from tests.unit.formats import events
from tests.unit.formats.readers import JSON_FORMATS, OPERATIONS_ONLY, strict

PAGE: Final = DOCS / "reference" / "formats.md"
TEXT: Final = PAGE.read_text()
OPTIONS: Final = Options(version="0.1.0", host="gateway.example")


def samples() -> dict[str, str]:
    """Return the page's JSON blocks by the format under whose heading they stand."""
    shown = [block.text.strip() for block in blocks(PAGE) if block.language == "json"]
    order = sorted(("indelible", *JSON_FORMATS), key=lambda name: TEXT.index(f"\n## `{name}`\n"))
    return dict(zip(order, shown, strict=True))


@pytest.mark.parametrize("name", ["indelible", *JSON_FORMATS])
def test_a_sample_is_what_the_format_makes_of_the_line_on_the_page(name: str) -> None:
    shown = samples()
    record = Record(shown["indelible"].encode(), events.ORIGIN)
    assert make_format(name, OPTIONS).render(record).decode() == shown[name]


def test_every_format_is_named() -> None:
    listed = [name for row in rows(TEXT.split("\n## ")[0]) for name in codes(row[0])]
    assert sorted(listed) == sorted(FORMATS)


def test_the_table_of_names_is_the_codes() -> None:
    shown = rows(section(PAGE, "Names, severities and signatures"))
    assert shown == [
        [
            f"`{naming.name}`",
            f"`{naming.hangar}`",
            naming.cef,
            naming.leef,
            *(
                str(level)
                for level in (naming.level.cef, naming.level.syslog, naming.level.otlp, naming.level.ocsf)
            ),
            naming.of,
        ]
        for naming in NAMINGS
    ]


def test_the_last_key_is_documented() -> None:
    shown = [row[0].strip("`") for row in rows(section(PAGE, "What every record says"))]
    assert shown == [field.encode_name for field in msgspec.structs.fields(Proof)]


def test_what_may_be_cut_is_named() -> None:
    text = section(PAGE, "Records that are too large").split(", the\nlongest")[0]
    assert {word for word in text.split("`")[1::2] if word != "ocsf"} == VALUES | OCSF_VALUES


# --- keys -------------------------------------------------------------------------------------------------

FULL: Final = events.with_text(
    "x",
    source={
        **{name: "x" for name in events.SOURCE if name not in ("recorder", "roles", "on_behalf_of")},
        "caller": "http",
        "client_ip": "192.0.2.7",
        "roles": ["x"],
        "on_behalf_of": ["x"],
    },
    request={
        **dict.fromkeys(events.REQUEST, "x"),
        "trace_id": "4b" * 16,
        "span_id": "0f" * 8,
        "args": {},
        "args_bytes": 1,
    },
    outcome={
        "status": "error",
        "kind": "tool_error",
        "latency_ms": 1.5,
        "error": "\ud800",
        "error_type": "x",
        "error_code": 1,
        "result_bytes": 1,
        "result": {},
    },
    cost={"centicents": 1, "model": "x", "input_tokens": 1, "output_tokens": 1},
    state={"from": "x", "to": "x", "reason": "x"},
    metadata={},
)


def every_kind() -> Iterator[Record]:
    """Yield events that have, together, everything that there can be."""
    for target in ("tool", "resource", "prompt", "completion"):
        about = {**FULL["target"], "type": target}
        yield Record(events.line_of({**FULL, "target": about}), events.ORIGIN)
    for event_type in ("mcp_server_state_changed", "alert"):
        yield Record(events.line_of({**FULL, "event_type": event_type}), events.ORIGIN)
    nobody = {"source": {"caller": "stdio"}, "request": {}}
    yield Record(events.line_of({**FULL, **nobody}), events.ORIGIN)
    yield Record(erased_line(3, "0b8f7c1e-6c0e-4d4e-9d5d-3b2d6c1c8f1a", b"\1" * 32), events.ORIGIN)


def keys(value: Any, leaves: tuple[str, ...], above: str = "") -> set[str]:
    """Return the paths of all keys but what stands under `leaves`."""
    found: set[str] = set()
    for key, inner in value.items():
        path = f"{above}.{key}" if above else key
        if isinstance(inner, dict) and path not in leaves:
            found |= keys(inner, leaves, path)
        else:
            found.add(path)
    return found


LEAVES: Final = {
    "ocsf": ("unmapped.indelible", "unmapped.metadata", "api.request.data", "api.response.data"),
    "cloudevents": ("data",),
    "ecs": (),
}
OWN: Final = ("indelible", "metadata", "args")
"""What other systems' shapes hold whole."""


def written(name: str) -> set[str]:
    made = make_format(name, OPTIONS)
    found: set[str] = set()
    for record in every_kind():
        if name in OPERATIONS_ONLY and record.entry.event_type != "mcp_operation":
            continue
        value = strict(made.render(record))
        found |= (
            otlp_keys(value)
            if name == "otlp"
            else keys(value, LEAVES.get(name, ("indelible", "metadata", "args")))
        )
    return found


def otlp_keys(value: Any) -> set[str]:
    log = value["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]
    attributes = {pair["key"]: pair["value"] for pair in log["attributes"]}
    own = {pair["key"] for pair in attributes["indelible"]["kvlistValue"]["values"]}
    return {*log, *attributes, *(f"indelible.{key}" for key in own)}


@pytest.mark.parametrize("name", JSON_FORMATS)
def test_every_key_is_documented_and_none_is_invented(name: str) -> None:
    text = section(PAGE, f"`{name}`")
    shown = [row[0].strip("`") for row in rows(text)]
    if name == "otlp":
        own = {row[0].strip("`") for row in rows(text[text.index("| key of `indelible`") :])}
        rest = [key for key in shown if key not in own]
        shown = [*rest, *(f"indelible.{key}" for key in own)]
    assert len(shown) == len(set(shown))
    assert set(shown) == written(name)


def test_the_sample_is_a_line_that_a_trail_may_have() -> None:
    shown = samples()["indelible"]
    entry = json.loads(shown)
    body = {key: value for key, value in entry.items() if key not in ("seq", "schema", "recorded_at")}
    assert events.line_of(body, entry["seq"], entry["recorded_at"]).decode() == shown


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"indelible", "jsonlines", "json-lines"}))
def test_which_filters_a_format_answers_is_what_its_records_do(name: str) -> None:
    body = operation(7, target__method="tools/call", policy={"decision": "allow"})
    found = read_found(
        make_format(name, Options()).render(Record(stamp(7, at(7), encode(body)), events.ORIGIN))
    )
    assert found is not None
    text = section(PAGE, "What can be asked of a record")
    listed = {one: set(codes(cells[1])) for cells in rows(text) for one in codes(cells[0])}
    answered = {"--" + filter_.replace("_", "-") for filter_ in read_back(found).says - CORE}
    assert listed[name] == answered
    common = {"--" + filter_.replace("_", "-") for filter_ in CORE}
    assert common <= set(codes(text.partition("| format |")[0]))
    exposed = next(line for line in text.splitlines() if "exposed under" in line)
    assert set(codes(exposed)) == set(EXPOSED_NAMES_ONLY)
