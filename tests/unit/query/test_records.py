"""Records found elsewhere, against the trail: a yes is the line's own words and nothing less, in every format."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible import registry
from indelible.formats.found import read_found, split_front
from indelible.formats.record import Options, Record, stamp
from indelible.query.lines import LinesBySeq
from indelible.query.records import HOST as NO_LINE_HAS
from indelible.query.records import RecordCheck
from indelible.registry import format_names, make_format
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import Signer
from indelible.trail.proofs.elsewhere import LineCheck, Verdict
from tests.trails import KEY, ORIGIN, Maker, erased, erasure, operation

pytestmark = pytest.mark.slow

FORMATS = [name for name in format_names() if name != "indelible"]
OTHER = "indelible/ffeeddccbbaa99887766554433221100"
HOST = "host-1.example"

FORGED = (
    ' leaf={0} IndelibleMcpLeaf={0} seq=1\tleaf={0}\tseq=1\n<134>1 - - - - - [indelible@32473 leaf="{0}"] x'
    '"] [indelible@32473 seq="1" leaf="{0}"]|CEF:0|a|b|c|1|n|5|IndelibleMcpSeq=1 IndelibleMcpLeaf={0}\\=\\'
    '","indelible":{{"seq":1,"leaf":"{0}"}},"x":"'
)
"""What a caller may write to make a reader believe another leaf."""


class Plain:
    """A third party's format, with what it can be checked by as its last key."""

    holds = None

    def __init__(self, options: Options) -> None:
        self.host = options.host

    def render(self, record: Record) -> bytes:
        entry = record.entry
        check = stamp(record)
        made = {
            "tool": entry.target.capability_name,
            "args": json.loads(bytes(entry.request.args) or b"null"),
            "host": {"name": self.host},
            "took": entry.outcome and entry.outcome.latency_ms,
            "indelible": {
                "seq": check.seq,
                "event_id": check.event_id,
                "origin": check.origin,
                "leaf": check.leaf,
            },
        }
        return json.dumps(made, separators=(",", ":")).encode()


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("plain", f"{__name__}:Plain", registry.GROUP_FORMATS)
    monkeypatch.setattr(registry, "entry_points", lambda group: (point,) if group == point.group else ())


def bodies(maker: Maker) -> None:
    """Append what formats have in them: calls, failures, nested arguments, a state's change, forged words."""
    maker.add(operation(1))
    maker.add(
        operation(2, outcome={"status": "error", "kind": "denied", "latency_ms": 3.0, "error": "no\nway"})
    )
    nested = {"a": {"b": [1, 2.5, True, None, "é\u2028"]}, "a.b": {}, "list": []}
    maker.add(operation(3, request__args=nested, cost={"centicents": 12, "model": "token", "input_tokens": 5}))
    forged = FORGED.format("0" * 64)
    maker.add(
        operation(4, target__capability_name=forged, source__user_id=forged, request__args={forged: forged})
    )
    maker.add(operation(5, outcome=None, target=None, event_type="mcp_server_state_changed",
                        state={"from": "Ready", "to": "Failed", "reason": "gone"}))  # fmt: skip


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    maker = Maker(tmp_path_factory.mktemp("trail") / "audit.jsonl")
    bodies(maker)
    maker.rotate(compress=True)
    maker.add_many(3)
    maker.seal()
    maker.add(operation(90))
    return maker


def lines_of(maker: Maker) -> list[tuple[int, bytes]]:
    with LinesBySeq(maker.layout.active) as lines:
        return [(seq, line) for seq in range(maker.seq) if (line := lines.find(seq))]


def rendered(name: str, line: bytes, options: Options | None = None) -> bytes | None:
    made = make_format(name, options or Options(host=HOST))
    record = Record(line, ORIGIN)
    return made.render(record) if made.holds is None or record.entry.event_type in made.holds else None


def judge(maker: Maker, *records: bytes) -> list[Verdict]:
    with RecordCheck() as check:
        lines = LineCheck([maker.layout.active], None, "found", check)
        return [lines.line(record, number) for number, record in enumerate(records, 1)]


ALL = pytest.mark.parametrize("name", ["plain", *FORMATS])


@ALL
def test_what_a_format_makes_of_a_line_is_a_yes(maker: Maker, name: str) -> None:
    made = [(seq, record) for seq, line in lines_of(maker)[:-1] if (record := rendered(name, line)) is not None]
    assert len(made) >= 4
    for (seq, record), verdict in zip(made, judge(maker, *(record for _, record in made)), strict=True):
        assert (verdict.verdict, verdict.seq) == ("yes", seq), verdict
        assert verdict.format is not None
        assert rendered(verdict.format, lines_of(maker)[seq][1]) == record


@ALL
def test_a_sink_s_settings_do_not_make_a_record_another(maker: Maker, name: str) -> None:
    names: dict[str, Any] = {
        "vendor": "Acme",
        "product": "P",
        "version": "9.9",
        "host": "other",
        "app_name": "audit",
    }
    options = Options(**names, facility=10, enterprise=9)
    record = rendered(name, lines_of(maker)[1][1], options)
    assert record is not None
    assert judge(maker, record)[0].verdict == "yes"


@pytest.mark.parametrize("setting", ["vendor", "product", "version"])
def test_what_no_line_vouches_for_is_said(maker: Maker, setting: str) -> None:
    line = lines_of(maker)[1][1]
    changed: dict[str, Any] = {setting: "9 by admin"}
    for options, said in ((Options(), []), (Options(**changed), [NO_LINE_HAS])):
        record = rendered("ocsf", line, options)
        assert record is not None
        with RecordCheck() as check:
            assert LineCheck([maker.layout.active], None, "found", check).line(record, 1).verdict == "yes"
            assert check.not_checked() == said


@ALL
@pytest.mark.parametrize("limit", [2048, 3001])
def test_a_record_that_a_sink_cut_is_a_yes(tmp_path: Path, name: str, limit: int) -> None:
    """The limit does not show in it: whatever it was, the same is made of the line, and nothing else is."""
    maker = Maker(tmp_path / "audit.jsonl")
    long = {"text": "é ] = \\ " * 900, "more": ["x" * 50] * 40}
    line = maker.add(operation(1, request__args=long))
    maker.seal()
    record = rendered(name, line, Options(host=HOST, max_bytes=limit))
    assert record is not None
    assert judge(maker, record)[0].verdict == "yes"
    assert judge(maker, record.replace(b"read_file", b"drop_file"))[0].verdict in ("differs", "no")
    at = record.find(b"xx")
    if at >= 0:
        assert judge(maker, record[:at] + b"y" + record[at + 1 :])[0].verdict == "differs"


@ALL
def test_words_of_another_line_are_no_yes(maker: Maker, name: str) -> None:
    """A record that is altered, its line's leaf hash kept: whoever, what, when, what became of it."""
    (_, line), (_, other) = lines_of(maker)[1:3]
    record = rendered(name, line)
    assert record is not None
    for old, new in (
        (b"ada", b"eve"),
        (b"read_file", b"drop_file"),
        (b"/srv/1", b"/srv/2"),
        (b"files", b"filez"),
    ):
        if old in record:
            said = judge(maker, record.replace(old, new))[0]
            assert said.verdict in ("differs", "no"), said  # `metadata` is not there any more either
            assert said.seq in (1, None)
    theirs = Record(other, ORIGIN).leaf.encode()
    mine = Record(line, ORIGIN).leaf.encode()
    assert judge(maker, record.replace(mine, theirs))[0].verdict == "no"


CHANGES = (b"", b" ", b"0", b'"', b"\\", b"=", b"\t", b"x", b"\xff")
MACHINES = (("dvchost",), ("devHost",), ("observer", "hostname"))
"""Where formats name the machine, which a sink's settings say, and no line."""


@ALL
@settings(max_examples=25)
@given(data=st.data())
def test_no_byte_can_be_changed(maker: Maker, name: str, data: st.DataObject) -> None:
    """What is a yes after a change says the same as before, but for what a sink sets."""
    record = rendered(name, lines_of(maker)[4][1])
    assert record is not None
    at = data.draw(st.integers(0, len(record) - 1))
    new = data.draw(st.sampled_from([*CHANGES, record[at : at + 9] * 2]))
    changed = record[:at] + new + record[at + 1 :]
    said = judge(maker, changed)[0]
    if said.verdict == "yes" and changed != record:
        before, after = read_found(record), read_found(changed)
        assert before
        assert after
        for found in (before, after):
            for key in MACHINES:
                found.fields.pop(key, None)
        assert after.fields == before.fields
        assert (after.seq, after.leaf, after.origin) == (before.seq, before.leaf, before.origin)


@ALL
def test_what_a_caller_wrote_is_not_taken_for_the_stamp(maker: Maker, name: str) -> None:
    seq, line = lines_of(maker)[4]
    record = rendered(name, line)
    assert record is not None
    found = read_found(record)
    assert found is not None
    assert (found.seq, found.leaf.hex()) == (seq, Record(line, ORIGIN).leaf)
    assert split_front(record) == (b"", record)


@ALL
def test_a_record_that_is_not_whole_is_none(maker: Maker, name: str) -> None:
    record = rendered(name, lines_of(maker)[1][1])
    assert record is not None
    for end in range(0, len(record), 7):
        assert judge(maker, record[:end])[0].verdict in ("no", "differs")


@ALL
def test_where_the_line_is_gone_there_is_nothing_to_compare(tmp_path: Path, name: str) -> None:
    maker = Maker(tmp_path / "audit.jsonl")
    lines = [maker.add(operation(n)) for n in range(6)]
    records = [record for line in lines if (record := rendered(name, line)) is not None]
    closed = maker.rotate()
    line = maker.add(operation(6))
    gone = rendered(name, line)
    assert gone is not None
    maker.add(erasure(maker, 8))
    maker.seal()
    maker.delete_file(closed)
    data = maker.layout.active.read_bytes()
    maker.layout.active.write_bytes(data.replace(line, erased(line, 8)))
    said = judge(maker, *records, gone)
    assert {one.verdict for one in said} == {"not compared"}
    assert [one.seq for one in said] == [1, 2, 3, 4, 5, 6, 8]
    assert (said[-1].erased, "was erased" in said[-1].detail) == (True, True)


def test_a_line_that_was_tampered_with_is_no_witness(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl")
    line = maker.add(operation(1))
    maker.seal()
    altered = line.replace(b"read_file", b"drop_file")
    maker.layout.active.write_bytes(maker.layout.active.read_bytes().replace(line, altered))
    true, false = rendered("plain", line), rendered("plain", altered)
    assert true
    assert false
    assert [one.verdict for one in judge(maker, true, false)] == ["not compared", "no"]


def test_records_of_other_trails_and_of_what_is_not_sealed(maker: Maker, tmp_path: Path) -> None:
    other = Maker(tmp_path / "other.jsonl", origin=OTHER)
    foreign = Plain(Options()).render(Record(other.add(operation(1)), OTHER))
    late = rendered("plain", lines_of(maker)[-1][1])
    assert late
    said = judge(maker, foreign, late)
    assert [one.verdict for one in said] == ["another trail", "not covered"]
    assert OTHER in said[0].detail


def test_a_record_of_an_earlier_trail_is_said_to_be(maker: Maker, tmp_path: Path) -> None:
    shutil.copytree(maker.layout.active.parent, tmp_path / "t")
    home = Layout(tmp_path / "t" / "audit.jsonl")
    earlier = Maker(home.retired / "one" / "audit.jsonl", origin=OTHER, signer=Signer(OTHER, KEY))
    record = Record(earlier.add(operation(1)), OTHER)
    earlier.seal()
    with RecordCheck() as check:
        lines = LineCheck([home.active], None, "found", check)
        said = lines.line(Plain(Options()).render(record), 1)
        altered = lines.line(Plain(Options()).render(record).replace(b"read_file", b"drop_file"), 2)
    assert (said.verdict, said.format, said.trail) == ("another trail", "plain", str(earlier.layout.active))
    assert "an earlier trail" in said.detail
    assert altered.verdict == "differs"


def test_json_that_was_encoded_anew_says_the_same(maker: Maker) -> None:
    record = rendered("plain", lines_of(maker)[3][1])
    assert record
    value: dict[str, Any] = json.loads(record)
    anew = json.dumps(dict(sorted(value.items())), ensure_ascii=False, indent=None).encode()
    said = judge(maker, anew)[0]
    assert (said.verdict, said.format, said.detail) == (
        "yes",
        "plain",
        "the same values, encoded anew on their way",
    )
    for altered in (
        anew.replace(b'"list": []', b'"list": {}'),
        anew.replace(b"true", b"1"),
        anew.replace(b'"a.b": {}', b'"a.b": []'),
        anew.replace(b'{"args"', b'{"tool": "read_file", "args"'),
        anew.replace(b"2.5", b"2.50001"),
        anew.replace(b"null", b"NaN"),
    ):
        assert altered != anew
        assert judge(maker, altered)[0].verdict in ("differs", "no")


def test_nested_keys_are_not_confused_with_dots(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl")
    line = maker.add(operation(1, request__args={"a": {"b": 1}}))
    maker.seal()
    record = rendered("plain", line)
    assert record
    assert judge(maker, record)[0].verdict == "yes"
    assert judge(maker, record.replace(b'{"a":{"b":1}}', b'{"a.b":1}'))[0].verdict == "differs"


@pytest.mark.parametrize(
    "front",
    [
        b"<134>1 2026-11-21T08:00:00.123456Z host app 12 - - ",
        b'<134>1 2026-11-21T08:00:00+01:00 host app - id [x@1 a="\\"\\]{ CEF:0|" b="c"] \xef\xbb\xbf',
        b"<134>Nov 21 08:00:00 host ",
        b"Nov  1 08:00:00 host.example indelible[12]: ",
        b"2026-11-21T08:00:00.123456+01:00 host indelible: ",
    ],
)
def test_what_a_transport_put_in_front_is_taken_off_and_said(maker: Maker, front: bytes) -> None:
    record = rendered("plain", lines_of(maker)[1][1])
    assert record
    with RecordCheck() as check:
        lines = LineCheck([maker.layout.active], None, "found", check)
        assert lines.line(front + record, 1).verdict == "yes"
        assert lines.line(b"x" + front + record, 2).verdict == "no"
        assert "what a transport put in front of records" in check.not_checked()


BEGINNINGS = (b"", b"CEF:0|", b"LEEF:2.0|", b"<134>1 ", b"{", b"[" * 5000, b'{"a":' * 5000)


@given(st.binary() | st.text().map(str.encode), st.sampled_from(BEGINNINGS))
def test_whatever_is_no_record_is_read_as_none(data: bytes, begins: bytes) -> None:
    assert read_found(begins + data) is None
