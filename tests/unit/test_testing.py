"""`indelible.testing`: a real trail for somebody's test, and an assertion that means something."""

import os
import re
from pathlib import Path

import pytest

import indelible
from indelible import testing
from indelible.errors import ConfigError, TrailError, TrailUnavailable
from indelible.events import Event, new_id, now
from indelible.query.library import Filters
from tests.trails import Maker
from tests.unit.docs.pages import DOCS, codes, prose, rows, section


def mail(audit: testing.Recorded, to: str) -> None:
    with audit.recorder.operation("tools/call", "send_mail", args={"to": to}, user_id="u1") as op:
        op.result("sent")


def test_what_was_recorded_is_there_at_once_and_redacted() -> None:
    with testing.recorded() as audit:
        mail(audit, "a@b.example")
        [event] = audit.events()
        assert [each["event_type"] for each in audit.events(events="all")] == [
            "file_opened", "audit_started", "mcp_operation_started", "mcp_operation",
        ]  # fmt: skip
        assert audit.events(user="u2") == []
    assert event["request"]["args"] == {"to": "[EMAIL]"}
    assert event["outcome"]["kind"] == "completed"
    assert not audit.path.parent.exists()


def test_a_configuration_counts_and_nothing_of_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "indelible.yaml").write_text("audit: {enabled: false}\n")
    monkeypatch.setenv("INDELIBLE_CONFIG", str(tmp_path / "indelible.yaml"))
    config = {"audit": {"path": "elsewhere.jsonl", "durability": "memory"}, "redaction": {"keys": ["iban"]}}
    with testing.recorded(config) as audit:
        with audit.recorder.operation("tools/call", "pay", args={"iban": "DE00", "note": "x"}):
            pass
        assert audit.events()[0]["request"]["args"] == {"iban": "[REDACTED]", "note": "x"}
    assert [path.name for path in tmp_path.iterdir()] == ["indelible.yaml"]
    with pytest.raises(ConfigError, match="did you mean 'redaction'"), testing.recorded({"redactoin": {}}):
        pass


def test_it_verifies_when_asked_and_is_closed_by_that() -> None:
    with testing.recorded() as audit:
        mail(audit, "a@b.example")
        result = audit.assert_verifies()
        assert (result.ok, result.unsealed, result.events) == (True, 0, 5)
        assert audit.assert_verifies().events == 5
        with pytest.raises(TrailUnavailable):
            audit.recorder.record(Event(timestamp=now(), event_type="alert", event_id=new_id()))


def tampered(folders: list[Path]) -> None:
    with testing.recorded() as audit:
        folders.append(audit.path.parent)
        mail(audit, "a@b.example")
        audit.recorder.close()
        audit.path.write_bytes(audit.path.read_bytes().replace(b"send_mail", b"lend_mail", 1))


def failing(folders: list[Path]) -> None:
    with testing.recorded() as audit:
        folders.append(audit.path.parent)
        audit.recorder.close()
        os.truncate(audit.path, 10)
        raise ZeroDivisionError


def test_a_block_that_ends_well_fails_when_the_trail_does_not_verify() -> None:
    folders: list[Path] = []
    with pytest.raises(AssertionError, match=r"does not verify, 1 finding:\n.*line altered"):
        tampered(folders)
    assert [folder.exists() for folder in folders] == [False]


def test_what_a_test_raises_is_what_it_fails_with() -> None:
    folders: list[Path] = []
    with pytest.raises(ZeroDivisionError):
        failing(folders)
    assert [folder.exists() for folder in folders] == [False]


def test_the_assertion_holds_for_any_trail(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(5).seal().add_many(2)
    assert testing.assert_verifies(maker.layout.active).unsealed == 2
    with pytest.raises(AssertionError, match="2 events are under no checkpoint"):
        testing.assert_verifies(maker.layout.active, sealed=True)
    lines = maker.layout.active.read_bytes().splitlines(keepends=True)
    maker.layout.active.write_bytes(b"".join(line.replace(b'"ada"', b'"eve"') for line in lines))
    with pytest.raises(AssertionError) as caught:
        testing.assert_verifies(str(maker.layout.active))
    assert str(caught.value).startswith(f"{maker.layout.active}: the trail does not verify, 5 findings:\n  ")
    assert str(caught.value).count("\n") == testing.SHOWN_FINDINGS
    with pytest.raises(TrailError):
        testing.assert_verifies(tmp_path / "none.jsonl")


def test_every_public_name_is_there_and_no_other_is_promised() -> None:
    assert sorted(indelible.__all__) == indelible.__all__
    for name in indelible.__all__:
        assert getattr(indelible, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'sersch'"):
        indelible.__getattr__("sersch")


def test_every_public_name_is_on_the_reference_page() -> None:
    page = DOCS / "reference" / "python.md"
    cells = [cell for row in rows(prose(page)) for cell in row]
    named = {re.split(r"\W", code)[0] for cell in cells for code in codes(cell)}
    assert set(indelible.__all__) <= named
    keywords = {name for row in rows(section(page, "`search`")) for name in codes(row[0])}
    assert keywords == {*Filters.__annotations__, "limit"}
