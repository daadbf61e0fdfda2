"""`log` in the words of another system: every event that the format holds, and a count of those that it does not."""

import json
import sys
from collections.abc import Callable
from hashlib import sha256
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from indelible import registry
from indelible.cli.root import root
from indelible.errors import ConfigError
from indelible.formats.record import Options, Record
from tests.trails import Maker, operation

OTHER_ORIGIN = "indelible/ffeeddccbbaa99887766554433221100"

Log = Callable[..., Result]


class Plain:
    """A third party's format: of calls alone, what a record can be checked with."""

    holds = frozenset({"mcp_operation"})

    def __init__(self, options: Options) -> None:
        self.host = options.host

    def render(self, record: Record) -> bytes:
        if record.entry.target.capability_name == "raise":
            raise RuntimeError("cannot")
        if record.entry.target.capability_name == "split":
            return b"one\ntwo"
        return json.dumps([record.entry.seq, record.origin, record.leaf, bool(self.host)]).encode()


@pytest.fixture
def log_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    point = EntryPoint("plain", f"{__name__}:Plain", registry.GROUP_FORMATS)
    monkeypatch.setattr(registry, "entry_points", lambda group: (point,) if group == point.group else ())

    def run(*args: str) -> Result:
        return CliRunner().invoke(root, ["log", "--trail", str(tmp_path), *args], standalone_mode=False)

    return run


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "audit.jsonl")


def records(result: Result) -> list[list[object]]:
    assert result.return_value == 0, result.exception
    assert result.stdout.endswith("\n")
    return [json.loads(line) for line in result.stdout.split("\n")[:-1]]


def test_each_record_is_a_line_and_names_the_trail_that_it_is_of(
    log_of: Log, maker: Maker, tmp_path: Path
) -> None:
    other = Maker(tmp_path / "other.jsonl", origin=OTHER_ORIGIN)
    mine = [maker.add(operation(n)) for n in range(3)]
    maker.rotate(compress=True)
    mine.append(maker.add(operation(3)))
    theirs = other.add(operation(1))
    found = records(log_of("--format", "plain"))
    expected = [[n, maker.origin, sha256(b"\0" + line).hexdigest(), True] for n, line in enumerate(mine, 1)]
    expected[-1][0] = 5  # after the new file's own first line
    assert [one for one in found if one[1] == maker.origin] == expected
    assert [one for one in found if one[1] == OTHER_ORIGIN] == [
        [1, OTHER_ORIGIN, sha256(b"\0" + theirs).hexdigest(), True]
    ]


def test_an_earlier_trail_s_records_have_its_name(log_of: Log, maker: Maker) -> None:
    earlier = Maker(maker.layout.retired / "one" / "audit.jsonl", origin=OTHER_ORIGIN)
    earlier.add(operation(0))
    maker.add(operation(1))
    assert [one[1] for one in records(log_of("--format", "plain"))] == [OTHER_ORIGIN, maker.origin]


def test_what_a_format_does_not_hold_is_left_out_and_counted(log_of: Log, maker: Maker) -> None:
    maker.add(operation(0))
    maker.add(operation(1, event_type="mcp_operation_started"))
    maker.raw(b'{"seq":3,"erased":"00000000-0000-4000-8000-000000000000","leaf":"%s"}\n' % (b"0" * 64))
    maker.raw(b'{"seq":4,"schema":1,"event_type":"mcp_operation","outcome":{"status":7,"kind":[]}}\n')
    maker.raw(b'{"seq":5,"torn\n')
    result = log_of("--format", "plain", "--events", "all")
    assert [one[0] for one in records(result)] == [1]
    left_out, corrupt = result.stderr.splitlines()
    assert left_out.startswith("indelible: 4 events left out, for which 'plain' has no shape: 1 ")
    assert corrupt.startswith("indelible: 1 line could not be read, the first: ")


def test_what_a_format_fails_at_is_left_out_and_counted(log_of: Log, maker: Maker) -> None:
    for number, name in enumerate(("raise", "split", "fine")):
        maker.add(operation(number, target__capability_name=name))
    maker.seal()
    result = log_of("--format", "plain")
    assert [record[0] for record in records(result)] == [maker.seq - 1]
    [said] = result.stderr.splitlines()
    assert "2 events left out, of which 'plain' made no record: seq " in said
    assert "it has a line end in it" in said


def test_records_without_a_name_of_their_trail_are_not_made(log_of: Log, tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl.d").mkdir()
    line = b'{"seq":1,"schema":1,"recorded_at":"2026-11-21T00:00:00.000000Z","event_type":"mcp_operation"}'
    (tmp_path / "audit.jsonl").write_bytes(line + b"\n")
    result = log_of("--format", "plain")
    assert (result.return_value, result.stdout) == (0, "")
    assert "whose name is gone" in result.stderr
    assert log_of("--json").stdout.encode() == line + b"\n"


def test_the_format_of_the_trail_is_its_lines_byte_for_byte(log_of: Log, maker: Maker) -> None:
    maker.add_many(3)
    assert (
        log_of("--format", "indelible", "--events", "all").stdout.encode() == maker.layout.active.read_bytes()
    )
    assert log_of("--format", "indelible").stdout == log_of("--json").stdout
    assert log_of("--format", "indelible", "--json").stdout == log_of("--json").stdout


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--format", "plan"], "no format 'plan'; did you mean 'plain'?"),
        (["--format", ""], "no format ''"),
        (
            ["--format", "plain", "--json"],
            "--json prints the stored lines, --format plain other ones: say which",
        ),
    ],
)
def test_a_format_that_cannot_be_is_said_in_one_line(
    log_of: Log, maker: Maker, args: list[str], expected: str
) -> None:
    maker.add(operation(0))
    result = log_of(*args)
    assert result.exit_code
    assert str(getattr(result.exception, "message", result.exception)).startswith(expected)


class Quits(Plain):
    def render(self, record: Record) -> bytes:
        sys.exit(f"quits at {record.entry.seq}")


class Text(Plain):
    def render(self, record: Record) -> str:  # type: ignore[override]
        return record.leaf


@pytest.mark.parametrize(
    ("kind", "said"), [("Quits", "SystemExit: quits at 1"), ("Text", "TypeError: its record is str, not bytes")]
)
def test_a_format_that_makes_no_record_costs_no_other_and_not_the_command(
    log_of: Log, maker: Maker, monkeypatch: pytest.MonkeyPatch, kind: str, said: str
) -> None:
    point = EntryPoint("bad", f"{__name__}:{kind}", registry.GROUP_FORMATS)
    monkeypatch.setattr(registry, "entry_points", lambda group: (point,) if group == point.group else ())
    maker.add(operation(0))
    result = log_of("--format", "bad")
    assert (result.return_value, result.stdout) == (0, "")
    assert f"1 event left out, of which 'bad' made no record: seq 1: {said}" in result.stderr


def _quits(_options: Options) -> Plain:
    sys.exit("no licence")


def _raises(_options: Options) -> Plain:
    raise RuntimeError("no\nlicence")


def _shapeless(_options: Options) -> object:
    return object()


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("_quits", "cannot be made: SystemExit('no licence')"),
        ("_raises", r"cannot be made: RuntimeError('no\nlicence')"),
        ("_shapeless", "has no 'holds', which a format needs"),
    ],
)
def test_a_format_that_cannot_be_made_is_one_clear_line(
    log_of: Log, maker: Maker, monkeypatch: pytest.MonkeyPatch, made: str, said: str
) -> None:
    point = EntryPoint("bad", f"{__name__}:{made}", registry.GROUP_FORMATS)
    monkeypatch.setattr(registry, "entry_points", lambda group: (point,) if group == point.group else ())
    maker.add(operation(0))
    result = log_of("--format", "bad")
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception) == f"format 'bad' of {point.value} {said}"
