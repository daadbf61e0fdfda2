"""What a start finds open: the same from a hint, from an older hint, and from the files alone."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from indelible.config import AuditSettings
from indelible.events import MAX_LINE_BYTES
from indelible.trail import durable, files
from indelible.trail.layout import Layout
from indelible.trail.start import intents
from indelible.trail.start.keys import load_signer
from indelible.trail.start.opening import open_writer
from indelible.trail.start.recovery import read_checkpoint, resume
from tests.trails import SIGNER, Maker, operation

ACCESS = durable.access_for(None)

Step = tuple[str, int]

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["open", "open", "close", "close", "other", "mention", "rotate", "pack", "stop", "start"]
        ),
        st.integers(0, 3),
    ),
    max_size=40,
)


class History:
    """A trail, and what is open in it, kept the plain way."""

    def __init__(self, path: Path) -> None:
        self.maker = Maker(path)
        self.open: dict[str, int] = {}
        self.who: dict[str, int] = {}
        self.hints: list[bytes] = [b""]

    def _add(self, event_type: str, who: int, **more: Any) -> int:
        body = operation(self.maker.seq, event_type=event_type, **more)
        body["source"]["recorder"] = {"id": f"r{who}", "uid": 0, "pid": 1_000_000_000 + who}
        self.maker.add(body)
        return self.maker.seq - 1

    def step(self, what: str, who: int) -> None:
        if what == "open":
            event_id = f"intent-{self.maker.seq}"
            self.open[event_id] = self._add("mcp_operation_started", who, event_id=event_id)
            self.who[event_id] = who
        elif what == "close" and self.open:
            event_id = list(self.open)[who % len(self.open)]
            del self.open[event_id]
            self._add("mcp_operation", self.who[event_id], request__intent=event_id)
        elif what == "other":
            self._add("mcp_operation", who)
        elif what == "mention":  # a call whose arguments look like lines of ours
            words = ['"event_type":"audit_started"', '"mcp_operation_started"', '"audit_stopped"', "\u0001"]
            self._add("mcp_operation", who, request__args={"intent": next(iter(self.open), "x"), "t": words})
        elif what in ("rotate", "pack"):
            if what == "rotate" or self.maker.tree.size == self.maker.seq:  # only sealed files are compressed
                self.maker.rotate(compress=what == "pack")
        elif what == "stop":
            self._add("audit_stopped", who)
            self.open = {event_id: seq for event_id, seq in self.open.items() if self.who[event_id] != who}
        elif what == "start":
            about = {intents.LEFT_OPEN: len(self.open)} if self.open else {}
            self._add("audit_started", who, metadata=about)

    def seal(self) -> None:
        """Seal, and note the hint that a writer would leave."""
        self.maker.seal()
        intents.write_hint(self.maker.layout, self.maker.signer, self.maker.tree, self.open, [], ACCESS)
        self.hints.append(self.maker.layout.state.read_bytes())


@given(parts=st.lists(STEPS, min_size=1, max_size=4), tail=STEPS, back=st.integers(0, 4))
@example(parts=[[("open", 1)], [("stop", 1)]], tail=[], back=2)
@example(parts=[[("open", 1)], [("pack", 0), ("close", 0)]], tail=[("open", 2)], back=2)
def test_every_hint_and_none_say_the_same(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[Step]], tail: list[Step], back: int
) -> None:
    history = History(tmp_path_factory.mktemp("trail") / "audit.jsonl")
    for part in parts:
        for step in part:
            history.step(*step)
        history.seal()
    for step in tail:
        history.step(*step)
    layout = history.maker.layout
    layout.state.write_bytes(history.hints[max(0, len(history.hints) - 1 - back)])
    found = resume(layout, SIGNER, ACCESS)
    clean = not tail and not found.intents and found.clean
    still = {str(entry["event_id"]): entry["seq"] for entry in found.intents}
    assert still == ({} if clean else history.open)
    if found.resealed:  # killed before its first checkpoint, it has the next start read none of it again
        checkpoint = read_checkpoint(layout, SIGNER)
        hint = intents.read_hint(layout, SIGNER.verifier, checkpoint, lambda _: found.tree.root())
        assert hint is not None
        assert (hint.size, hint.intents) == (found.size, still)


def writer_killed_between_checkpoint_and_hint(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Leave a trail whose hint is one checkpoint old; return its hint, and the ids of the calls that are open."""
    writer = open_writer(
        path, AuditSettings(compress_rotated=True, max_size=4096, backup_count=100), "first"
    ).writer
    made = [
        json.dumps(operation(n, event_type="mcp_operation_started", event_id=f"c{n}")).encode()
        for n in range(60)
    ]
    for number, body in enumerate(made[:30]):
        writer.append(body, opens=f"c{number}")
    writer.seal()
    kept = writer.layout.state.read_bytes()
    writer.append(json.dumps(operation(100, request__intent="c3")).encode(), closes="c3")
    for number, body in enumerate(made[30:], 30):
        writer.append(body, opens=f"c{number}")
    writer.append(json.dumps(operation(101, request__intent="c40")).encode(), closes="c40")
    writer.seal()
    deadline = time.monotonic() + 60
    while not any(file.compressed for file in files.segments(writer.layout)):
        assert time.monotonic() < deadline, "nothing is compressed"
        time.sleep(0.01)
    writer._housekeeper.close()
    writer.close(good_bye=False)
    writer.layout.state.write_bytes(kept)
    return json.loads(kept), [f"c{number}" for number in range(60) if number not in (3, 40)]


def test_a_writer_that_died_before_its_hint_costs_only_what_it_had_sealed_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.jsonl"
    hint, still_open = writer_killed_between_checkpoint_and_hint(path)
    assert any(file.compressed for file in files.segments(Layout(path)))
    monkeypatch.setattr(intents, "_last_start", lambda *_: pytest.fail("read the trail back to its last start"))
    opened = open_writer(path, AuditSettings(backup_count=100), "second")
    opened.writer.close()
    found = [json.loads(line) for line in path.read_bytes().splitlines()]
    ends = [e["request"]["intent"] for e in found if e.get("outcome", {}).get("kind") == "interrupted"]
    assert sorted(ends) == sorted(still_open)
    assert hint["size"] < found[0]["seq"] + len(found)


def signed(layout: Layout, hint: Any) -> Any:
    """Return a hint as the trail's own key would have signed it."""
    if not isinstance(hint, dict):
        return hint
    signer = load_signer(layout.key.read_bytes(), layout.origin.read_text().strip())
    hint = {key: value for key, value in hint.items() if key != "signed"}
    text = intents._hint_text(signer.verifier.name, hint)
    return {**hint, "signed": signer.sign(text).removeprefix(text + "\n")}


def interrupted_with(path: Path, hint: Any) -> list[str]:
    """Start with a hint; return the calls that the start calls interrupted."""
    Layout(path).state.write_text(json.dumps(hint))
    open_writer(path, AuditSettings(backup_count=100), "second").writer.close()
    found = [json.loads(line) for line in path.read_bytes().splitlines()]
    return sorted(e["request"]["intent"] for e in found if e.get("outcome", {}).get("kind") == "interrupted")


@pytest.mark.parametrize(
    "change",
    [
        lambda hint: {**hint, "root": "00" * 32},
        lambda hint: {**hint, "size": hint["size"] + 1},
        lambda hint: {**hint, "size": 10**9},
        lambda hint: {**hint, "size": -1},
        lambda hint: {**hint, "open": []},
        lambda _: [],
    ],
)
def test_a_hint_that_does_not_belong_to_the_trail_is_not_believed(tmp_path: Path, change: Any) -> None:
    path = tmp_path / "audit.jsonl"
    hint, still_open = writer_killed_between_checkpoint_and_hint(path)
    assert interrupted_with(path, signed(Layout(path), change({**hint, "open": {}}))) == sorted(still_open)


@pytest.mark.parametrize(
    "forge",
    [
        lambda hint, _: {**hint, "open": {}},
        lambda hint, _: {key: value for key, value in hint.items() if key != "signed"} | {"open": {}},
        lambda hint, _: {**hint, "open": {}, "signed": ""},
        lambda hint, _: {**hint, "open": {}, "signed": None},
        lambda hint, other: {**hint, "open": {}, "signed": signed(other, {**hint, "open": {}})["signed"]},
    ],
)
def test_a_hint_that_the_trails_key_has_not_signed_is_not_believed(tmp_path: Path, forge: Any) -> None:
    path, other = tmp_path / "audit.jsonl", tmp_path / "other.jsonl"
    hint, still_open = writer_killed_between_checkpoint_and_hint(path)
    open_writer(other, AuditSettings(), "another key").writer.close()
    assert interrupted_with(path, forge(hint, Layout(other))) == sorted(still_open)


def test_a_hint_that_is_signed_is_believed(tmp_path: Path) -> None:
    """What the tests above forge would otherwise count."""
    path = tmp_path / "audit.jsonl"
    hint, still_open = writer_killed_between_checkpoint_and_hint(path)
    found = interrupted_with(path, signed(Layout(path), {**hint, "open": {}}))
    assert set(found) < set(still_open)


@given(
    st.lists(st.sampled_from([b"plain", b"has PART", b"PART PART", b"", b"x" * 50, b"PA", b"RT"]), max_size=30),
    st.booleans(),
    st.integers(1, 20),
)
def test_lines_with_a_part_are_found_wherever_the_reads_end(lines: list[bytes], ends: bool, chunk: int) -> None:
    data = b"\n".join(lines) + (b"\n" if ends and lines else b"")
    whole = data.split(b"\n")[:-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CHUNK_BYTES", chunk)
        found = list(files.lines_with(io.BytesIO(data), lambda d, start, end: d.find(b"PART", start, end)))
    assert found == [line for line in whole if b"PART" in line]


def test_a_line_without_an_end_is_not_held_in_memory() -> None:
    class Endless(io.RawIOBase):
        left = 200

        def read(self, size: int = -1) -> bytes:
            self.left -= 1
            return b"x" * size if self.left else b""

    longest = 0

    def find(data: bytes, start: int, end: int) -> int:
        nonlocal longest
        longest = max(longest, len(data))
        return data.find(b"PART", start, end)

    assert list(files.lines_with(Endless(), find)) == []  # type: ignore[arg-type]
    assert longest <= files.CHUNK_BYTES + MAX_LINE_BYTES
