"""The reference pages say what the code has, all of it, and nothing that it has not."""

import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import yaml

from indelible import cli, events
from indelible import sink_settings as sinks
from indelible.anchor_settings import (
    COMMON_KEYS,
    DEFAULTS,
    MAX_ANCHORS,
    SYSLOG_PORT,
    SYSLOG_TLS_PORT,
    TYPE_KEYS,
    AnchorSettings,
)
from indelible.capture import methods
from indelible.cli.root import COMMANDS
from indelible.config import (
    AUDIT_KEYS,
    IDENTITY_KEYS,
    LATER_KEYS,
    MCP_KEYS,
    RECORD_KEYS,
    REDACTION_KEYS,
    TOP_KEYS,
    Settings,
)
from indelible.named_settings import MAX_TIMEOUT_S
from indelible.retention_settings import TIERS
from indelible.sink_settings import syslog
from indelible.trail import findings
from indelible.trail.entry import CLAIMED
from indelible.trail.layout import Layout
from indelible.values import DAY_S, DURATION_UNITS, MEGABYTE, age_text
from tests.unit.docs.pages import DOCS, ROOT, blocks, codes, headings, prose, rows, section

CONFIGURATION = DOCS / "reference" / "configuration.md"
EVENT = DOCS / "reference" / "event.md"
COMMANDS_PAGE = DOCS / "reference" / "commands.md"
TRAIL = DOCS / "reference" / "trail.md"

# --- configuration --------------------------------------------------------------------------------------


def documented(heading: str) -> dict[str, list[str]]:
    """Return the rows of a section's table, by the key in the first cell."""
    table = rows(section(CONFIGURATION, heading))
    keys = [codes(cells[0])[0] for cells in table]
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, table, strict=True))


@pytest.mark.parametrize(
    ("heading", "known"),
    [
        ("audit", AUDIT_KEYS),
        ("redaction", REDACTION_KEYS),
        ("record", RECORD_KEYS),
        ("identity", IDENTITY_KEYS),
        ("mcp", MCP_KEYS),
    ],
)
def test_every_key_is_documented_and_none_is_invented(heading: str, known: dict[str, Any]) -> None:
    assert set(documented(f"`{heading}`")) == set(known)


def test_the_top_is_documented() -> None:
    assert set(documented("The top of the file")) == set(TOP_KEYS)


def test_keys_of_later_versions_are_named_as_such() -> None:
    assert set(codes(section(CONFIGURATION, "Not in this version"))) >= LATER_KEYS


@pytest.mark.parametrize("heading", ["audit", "redaction", "record", "identity", "mcp"])
def test_defaults_are_the_codes(heading: str) -> None:
    """A default in a page is a value that the parser makes into the setting's own default; `none` is no value."""
    keys = {
        "audit": AUDIT_KEYS, "redaction": REDACTION_KEYS, "record": RECORD_KEYS, "identity": IDENTITY_KEYS,
        "mcp": MCP_KEYS,
    }[heading]  # fmt: skip
    defaults = getattr(Settings(), heading)
    for key, cells in documented(f"`{heading}`").items():
        field, parse = keys[key]
        default = getattr(defaults, field)
        written = codes(cells[2])
        if not written:
            assert default is None, f"{key}: the default is {default!r}, the page gives none"
            continue
        value = yaml.safe_load(written[0])
        assert parse(value) == default, f"{key}: the default is {default!r}, the page says {written[0]}"


def choices(parse: Any) -> list[str] | None:
    """Return the choices of a parser, as its own message lists them."""
    try:
        parse("no such choice, surely")
    except ValueError as exc:
        listed = re.fullmatch(r"expected ((?:\w+, )*\w+ or \w+)", str(exc))
        return re.split(r", | or ", listed[1]) if listed else None
    return None


@pytest.mark.parametrize("heading", ["audit", "redaction"])
def test_choices_are_the_codes(heading: str) -> None:
    keys = {"audit": AUDIT_KEYS, "redaction": REDACTION_KEYS}[heading]
    seen = 0
    for key, cells in documented(f"`{heading}`").items():
        wanted = choices(keys[key][1])
        if wanted is not None:
            seen += 1
            assert codes(cells[1]) == wanted, key
    assert seen >= 1


def test_every_key_of_an_anchor_is_documented_and_none_is_invented() -> None:
    """The tables stand in the order of the code's: what all take, then each type's own."""
    text = section(CONFIGURATION, "Anchors")
    keys = [codes(cells[0])[0] for cells in rows(text)]
    assert keys == [*COMMON_KEYS, *(key for own in TYPE_KEYS.values() for key in own)]
    assert next(codes(cells[1]) for cells in rows(text)) == list(TYPE_KEYS)
    defaults = {codes(cells[0])[0]: codes(cells[2]) for cells in rows(text)}
    anchor = AnchorSettings(type="file", name="x")
    assert (defaults["every"], defaults["timeout"]) == ([f"{anchor.every:g}s"], [f"{anchor.timeout:g}s"])
    assert {key: [value] for own in DEFAULTS.values() for key, value in own.items()}.items() <= defaults.items()
    for said in (f"at most {MAX_ANCHORS}", f"{SYSLOG_PORT}", f"{SYSLOG_TLS_PORT}", f"{MAX_TIMEOUT_S:g} s"):
        assert said in text


SMALLEST: dict[str, dict[str, Any]] = {
    "file": {"path": "/x"}, "syslog": {"address": "h"}, "kafka": {"brokers": ["h"], "topic": "t"},
    "http": {"url": "https://h.example"}, "s3": {"bucket": "bkt"}, "clickhouse": {"url": "https://h.example"},
}  # fmt: skip
"""What a sink of a type cannot be without."""


def check_keys(cells: Iterator[list[str]], kind: str, keys: Iterable[str]) -> None:
    """Check the next rows of a table: one for each key, in order; whoever writes a default gets what he has without."""
    smallest = {"type": kind, **SMALLEST.get(kind, {})}
    for key in keys:
        row = next(cells)
        assert codes(row[0]) == [key]
        written = codes(row[2])
        if len(written) == 1 and written != ["{}"] and "from" not in row[2]:
            given = {**smallest, key: yaml.safe_load(written[0])}
            assert sinks.parse_sinks([given]) == sinks.parse_sinks([smallest]), key


def test_every_key_of_a_sink_is_documented_and_none_is_invented() -> None:
    """The tables stand in the order of the code's: what all take, then each type's own."""
    text = section(CONFIGURATION, "Sinks").partition("### ")[0]
    assert next(codes(cells[1]) for cells in rows(text)) == list(sinks.TYPES)
    cells = iter(rows(text))
    check_keys(cells, "stdout", sinks.COMMON_KEYS)
    for name, kind in sinks.TYPES.items():
        check_keys(cells, name, kind.keys)
    assert not list(cells)
    for said in (
        f"at most {sinks.MAX_SINKS}",
        f"of `syslog`: {syslog.STREAM_BYTES}, over UDP {syslog.DATAGRAM_BYTES}",
    ):
        assert said in text
    filters = section(CONFIGURATION, "Filters of a sink")
    assert {codes(cells[0])[0] for cells in rows(filters)} == set(sinks.FILTER_KEYS)


def test_the_whole_example_sets_every_key() -> None:
    [whole] = [block for block in blocks(CONFIGURATION) if "# every key" in block.text]
    data = yaml.safe_load(whole.text)
    assert set(data) == set(TOP_KEYS)
    assert set(data["audit"]) | {"file"} == set(AUDIT_KEYS)
    assert set(data["redaction"]) == set(REDACTION_KEYS)
    assert set(data["record"]) == set(RECORD_KEYS)
    assert set(data["identity"]) == set(IDENTITY_KEYS)


def test_durations_and_sizes() -> None:
    text = section(CONFIGURATION, "Values")
    assert set(DURATION_UNITS) == {unit for cells in rows(text) for unit in codes(cells[0])}
    assert f"{MEGABYTE:,} bytes" in text


# --- the event ------------------------------------------------------------------------------------------

PARTS: dict[str, type[msgspec.Struct]] = {
    "source": events.Source,
    "source.recorder": events.RecorderId,
    "target": events.Target,
    "request": events.Request,
    "policy": events.Policy,
    "outcome": events.Outcome,
    "cost": events.Cost,
    "state": events.State,
}
STAMPS = ["seq", "schema", "recorded_at"]


def fields(struct: type[msgspec.Struct], prefix: str = "") -> list[str]:
    return [prefix + field.encode_name for field in msgspec.structs.fields(struct)]


def every_field() -> set[str]:
    top = {name for name in fields(events.Event) if name not in PARTS}
    inner = {name for part, struct in PARTS.items() for name in fields(struct, f"{part}.")}
    return {*STAMPS, *top, *(inner - set(PARTS))}


def documented_fields() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for cells in rows(section(EVENT, "Fields")):
        for name in codes(cells[0]):
            assert name not in found, f"{name} stands there twice"
            found[name] = cells
    return found


def test_every_field_is_documented_and_none_is_invented() -> None:
    assert set(documented_fields()) == every_field()


WORDS = {
    "source.caller": events.Caller,
    "source.caller_type": events.CallerType,
    "source.auth_method": events.AuthMethod,
    "target.effects": events.Effects,
    "policy.decision": events.Decision,
    "outcome.status": events.Status,
}


@pytest.mark.parametrize("field", WORDS)
def test_words_of_a_fixed_vocabulary_are_all_named(field: str) -> None:
    assert set(get_args(WORDS[field])) <= set(codes(documented_fields()[field][1]))


def test_event_types_are_documented_and_those_that_nothing_makes_are_said_to_come_later() -> None:
    table = rows(section(EVENT, "Event types"))
    names = [codes(cells[0])[0] for cells in table]
    assert sorted(names) == sorted(get_args(events.EventType))
    made = {name for name in names if is_made(name)}
    said = {codes(cells[0])[0] for cells in table if "not in this version" not in cells[1]}
    assert said == made


def is_made(event_type: str) -> bool:
    """Tell whether some module that records names the type (the schema, queries and commands name them all)."""
    source = ROOT / "src" / "indelible"
    recording = [
        path
        for folder in ("capture", "trail", "trail/upkeep", "redact")
        for path in (source / folder).glob("*.py")
    ]
    recording += [source / "operation.py", source / "recorder.py"]
    readers = {"findings.py", "verify.py", "walk.py", "check.py", "reader.py", "limits.py", "fields.py"}
    texts = [path.read_text(encoding="utf-8") for path in recording if path.name not in readers]
    return any(f'"{event_type}"' in text for text in texts)


def test_every_kind_has_a_cause_and_its_status() -> None:
    table = rows(section(EVENT, "What became of a call"))
    kinds = {kind for cells in table for kind in codes(cells[0])}
    assert kinds == set(events.STATUS_OF_KIND)
    for cells in table:
        [kind] = codes(cells[0])
        assert codes(cells[1]) == [events.STATUS_OF_KIND[kind]], kind  # type: ignore[index]


def test_housekeeping_and_calls_are_listed() -> None:
    text = section(EVENT, "Which messages are calls")
    assert set(codes(text)) >= methods.HOUSEKEEPING
    assert set(methods.CALLS) <= set(codes(text))
    assert set(methods.SERVER_CALLS) <= set(codes(text))


_NOTED = re.compile(
    r'add_metadata\(\{"(\w+)"|metadata(?: = |=)\{"(\w+)"|notes\["(\w+)"\]|_note\(notes, "(\w+)"|"(\w+)": cut\}'
    r'|"metadata": \{"(\w+)"'
)
_COUNTED = re.compile(r'_count(?:_foreign)?\("(\w+)"')


def noted(pattern: re.Pattern[str]) -> set[str]:
    """Return the keys that the source puts into the metadata of a call, or counts by."""
    source = ROOT / "src" / "indelible"
    texts = [
        path.read_text(encoding="utf-8")
        for part in ("capture", "redact")
        for path in (source / part).glob("*.py")
    ]
    return {name for text in texts for found in pattern.finditer(text) for name in found.groups() if name}


def test_our_own_keys_of_metadata_are_documented() -> None:
    text = section(EVENT, "Metadata")
    assert {name for cells in rows(text) for name in codes(cells[0])} == noted(_NOTED) | {CLAIMED}
    counts = set(codes(text.rpartition("|")[2]))
    assert noted(_COUNTED) <= counts


class Line(events.Event, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line as a strict reader of this version sees it."""

    seq: int
    schema: int
    recorded_at: str


def test_example_lines_are_events() -> None:
    examples = [block for block in blocks(EVENT) if block.language == "json"]
    assert examples
    for block in examples:
        value = json.loads(block.text)
        line = msgspec.convert(value, Line)
        assert list(value)[:3] == STAMPS, "the writer's stamps stand first"
        order = [field.encode_name for field in msgspec.structs.fields(events.Event)]
        assert list(value)[3:] == [name for name in order if name in value], block.name
        for part, struct in PARTS.items():
            if part in value:
                assert list(value[part]) == [name for name in fields(struct) if name in value[part]], part
        if line.outcome is not None:
            assert line.outcome.status == events.STATUS_OF_KIND[line.outcome.kind]


# --- commands -------------------------------------------------------------------------------------------

_OPTION = re.compile(r"(?<![\w-])--?[A-Za-z][\w-]*")


def helped(command: str, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """Return the options in the real --help of a command."""
    assert cli.main([*command.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Usage: indelible")
    options = text.partition("Options:\n")[2].partition("\n\n")[0]
    heads = [line for line in options.splitlines() if re.match(r"  -", line)]
    assert heads
    # Names stand in front of the value's name; what follows two spaces is the description.
    return {name for line in heads for name in _OPTION.findall(re.split(r"(?<=\S)  ", line.strip())[0])}


GROUPS = {
    "alerts": ("test",),
    "config": ("check",),
    "hold": ("add", "list", "release"),
    "incident": ("add",),
    "redact": ("test", "scan"),
    "schema": ("clickhouse",),
}
NAMES = [name for name in COMMANDS if name not in GROUPS]
NAMES += ["incident"]  # a command by itself, too
NAMES += [f"{group} {name}" for group, names in GROUPS.items() for name in names]
NAMES.append("alerts")


def test_every_command_has_a_section() -> None:
    assert {text.strip("`") for level, text in headings(COMMANDS_PAGE) if level == 2 and "`" in text} == set(
        NAMES
    )


@pytest.mark.parametrize("command", NAMES)
def test_options_are_those_of_the_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = section(COMMANDS_PAGE, f"`{command}`")
    table = {name for cells in rows(text) for code in codes(cells[0]) for name in _OPTION.findall(code)}
    shared = set()
    if "[filters](#filters)" in text:
        shared |= {
            name for cells in rows(section(COMMANDS_PAGE, "Filters")) for name in _OPTION.findall(cells[0])
        }
    if "[common options](#common-options)" in text:
        found = rows(section(COMMANDS_PAGE, "Common options"))
        shared |= {name for cells in found for name in _OPTION.findall(cells[0])}
    assert table | shared | {"--help", "-h"} == helped(command, capsys)


def test_every_option_that_prose_or_a_block_names_exists(capsys: pytest.CaptureFixture[str]) -> None:
    known = set().union(*(helped(command, capsys) for command in NAMES)) | {"--version", "--help", "-h"}
    assert set(re.findall(r"`(--[a-z][a-z-]*)", prose(COMMANDS_PAGE))) <= known


def test_what_a_page_runs_uses_only_options_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    known = {command: helped(command, capsys) for command in NAMES}
    for page in sorted(DOCS.rglob("*.md")):
        for block in blocks(page):
            for words in indelible_lines(block.text) if block.language == "sh" else []:
                command = (
                    " ".join(words[:2]) if words[1:2] and words[1] in GROUPS.get(words[0], ()) else words[0]
                )
                if command.startswith("-"):
                    continue
                assert command in known, f"{block.name}: no command {command!r}"
                mine = words[: words.index("--")] if "--" in words else words
                used = {word.partition("=")[0] for word in mine if re.match(r"--?[a-z]", word)}
                assert used <= known[command], block.name


def indelible_lines(text: str) -> list[list[str]]:
    """Return the words after each `indelible` that a block calls, up to the end of that command."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        for call in re.split(r"\|\|?|&&|;|\$\(", line.partition("  #")[0]):
            words = call.split()
            if "indelible" in words:
                after = words[words.index("indelible") + 1 :]
                if after:
                    found.append([word.rstrip(")") for word in after if not word.startswith((">", "2>"))])
    return found


# --- the trail ------------------------------------------------------------------------------------------


def test_every_place_on_disk_is_documented() -> None:
    layout = Layout(Path("/t/audit.jsonl"))
    places = {value.name for value in vars(layout).values() if isinstance(value, Path)}
    text = section(TRAIL, "On disk")
    assert "audit.jsonl.d" in places
    for place in places:
        assert place in text, place


def test_every_finding_is_documented() -> None:
    words = {value for name, value in vars(findings).items() if name.isupper() and isinstance(value, str)}
    listed = [codes(cells[0])[0] for cells in rows(section(TRAIL, "What `verify` finds"))]
    assert sorted(listed) == sorted(words)


def test_an_example_checkpoint_parses() -> None:
    from indelible.trail.proofs import checkpoint

    [example] = [
        block for block in blocks(TRAIL) if block.text.startswith("indelible/") and "\n— " in block.text
    ]
    text, signatures = checkpoint.split_note(example.text.encode())
    said = checkpoint.parse(text)
    assert [signature.name for signature in signatures] == [said.origin]
    [vkey] = [
        block for block in blocks(TRAIL) if block.text.startswith("indelible/") and "+" in block.text.split()[0]
    ]
    assert checkpoint.open_note(example.text.encode(), [checkpoint.parse_vkey(vkey.text)]) == text


def test_retention_tiers() -> None:
    table = rows(section(CONFIGURATION, "Retention tiers"))
    assert {codes(row[0])[0]: (codes(row[1])[0], codes(row[2])[0], bool(row[3])) for row in table} == {
        name: (age_text(tier.age), age_text(tier.minimum), tier.locked) for name, tier in TIERS.items()
    }
    days = math.ceil(TIERS["sox"].age / DAY_S)
    assert f"(for `7y` {days})" in section(CONFIGURATION, "Retention tiers")
