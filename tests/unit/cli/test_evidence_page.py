"""The page of a bundle: text of callers is text, nothing is loaded, and it says what the bundle does not show."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.cli import evidence_page as evidence_page_module
from indelible.cli.evidence_page import COLUMNS, MAX_CELLS, evidence_page
from indelible.query.filters import Filter
from tests.effort import examples
from tests.trails import Maker, at, erased, erasure, operation
from tests.unit.query.evidence.bundles import files_of, make
from tests.unit.trail.verify.sealed import edit_lines

HOSTILE = "<script>alert(1)</script>\"'&amp;</td></table><img src=x onerror=y>\u202e\x1b[31m\x00\r\nnext"


class Seen(HTMLParser):
    """What a browser makes of a page."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page.decode("utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if "td" in self.open:
            self.rows[-1][-1] += data


def page_of(tmp_path: Path, maker: Maker, **options: Any) -> bytes:
    make(maker.layout.active, tmp_path / "e.zip", replace=True, **options)
    return files_of(tmp_path / "e.zip")["README.html"]


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "t" / "audit.jsonl")


def test_what_callers_chose_is_text_and_visible(maker: Maker, tmp_path: Path) -> None:
    maker.add(
        operation(
            1,
            source__user_id=HOSTILE,
            target={"backend": HOSTILE, "type": "tool", "capability_name": HOSTILE},
            request__args={HOSTILE: HOSTILE},
            outcome={"status": "error", "kind": HOSTILE, "latency_ms": HOSTILE},
        )
    )
    page = page_of(tmp_path, maker.seal(), wanted=Filter(user=frozenset({HOSTILE})))
    seen = Seen(page)
    assert {tag for tag, _ in seen.tags} <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "em", "strong", "ul", "li", "table", "thead",
        "tbody", "tr", "th", "td", "bdi", "code", "pre",
    }  # fmt: skip
    assert not [
        attrs for _, attrs in seen.tags if set(attrs) & {"src", "href", "onerror", "srcset", "background"}
    ]
    assert (
        "<script>alert(1)</script>\"'&amp;</td></table><img src=x onerror=y>\\u202e\\x1b[31m\\x00\\r\\nnext"
        in seen.text
    )
    assert not set(page.decode()) & {"\u202e", "\x1b", "\x00", "\r"}
    assert seen.open == []


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("m")
    maker = Maker(folder / "t" / "audit.jsonl").add_many(1).seal()
    return make(maker.layout.active, folder / "e.zip").manifest


@settings(max_examples=examples(60), deadline=None)
@given(texts=st.lists(st.text(max_size=30), min_size=5, max_size=5))
def test_any_text_stays_in_its_cell(manifest: dict[str, Any], texts: list[str]) -> None:
    user, backend, name, kind, args = texts
    target = {"backend": backend, "type": "tool", "capability_name": name or "x"}
    made = operation(1, source__user_id=user, target=target, outcome={"kind": kind}, request__args={"a": args})
    line = json.dumps({"seq": 1, "schema": 1, "recorded_at": at(2), **made}).encode()
    seen = Seen(evidence_page(manifest, [line]))
    row = dict(zip([key for key, _ in COLUMNS], seen.rows[-1], strict=True))
    for key, value in (("user", user), ("backend", backend), ("name", name or "x"), ("outcome", kind)):
        if value.isprintable() and value.isascii():
            assert row[key] == value
    assert (row["seq"], row["time"]) == ("1", at(1).replace("T", " ")[:23])


def test_it_loads_nothing_and_forbids_the_browser_to(maker: Maker, tmp_path: Path) -> None:
    page = page_of(tmp_path, maker.add_many(3).seal())
    policies = [attrs for tag, attrs in Seen(page).tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert [attrs["content"] for attrs in policies] == [
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    ]
    assert b"url(" not in page
    assert b"@import" not in page


def test_it_says_whether_lines_may_be_missing_in_between(maker: Maker, tmp_path: Path) -> None:
    maker.add_many(9).seal()
    whole = Seen(page_of(tmp_path, maker)).text
    assert "none in between is missing" in whole
    assert "What came before the first line and after the last." in whole
    chosen = Seen(page_of(tmp_path, maker, wanted=Filter(request_id=frozenset({"r3", "r7"})))).text
    assert "3 in between were not chosen" in chosen
    assert "That these are all." in chosen
    assert "calls; request id r3 or r7" in chosen


def test_it_says_what_was_erased_and_left_out(maker: Maker, tmp_path: Path) -> None:
    maker.add_many(9)
    maker.add(erasure(maker, 4))
    maker.seal().add_many(2)
    edit_lines(maker.layout.active, lambda lines: lines.__setitem__(4, erased(lines[4], 4)))
    seen = Seen(page_of(tmp_path, maker))
    assert "1: content erased on somebody's order" in seen.text
    assert "2 that were not sealed yet" in seen.text
    [row] = [row for row in seen.rows if row and row[0] == "4"]
    assert row[2] == "erased"


def test_long_values_are_cut_and_many_lines_are_counted(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence_page_module, "MAX_ROWS", 50)
    maker.add(operation(1, request__args={"text": "x" * 9_000}))
    maker.add_many(60).seal()
    seen = Seen(page_of(tmp_path, maker))
    assert "The first 50 of 62 lines" in seen.text
    rows = [row for row in seen.rows if len(row) == len(COLUMNS) and row[0].isdigit()]
    assert len(rows) == 50
    assert max(len(cell) for row in rows for cell in row) == MAX_CELLS


def test_findings_stand_at_the_top(maker: Maker, tmp_path: Path) -> None:
    maker.add_many(60).seal()
    edit_lines(
        maker.layout.active,
        lambda lines: lines.__setitem__(slice(3, 58), [line.replace(b"ada", b"eve") for line in lines[3:58]]),
    )
    page = page_of(tmp_path, maker, damaged=True)
    text = Seen(page).text
    assert text.index("is not what was sealed") < text.index("What it shows")
    assert text.count("line altered: ") == 50
    assert "And 5 more" in text


def test_a_page_of_anything_that_a_manifest_may_say(maker: Maker, tmp_path: Path) -> None:
    """The page is made before the bundle has a name: nothing in a line may make it fail."""
    maker.add_many(1).seal()
    made = make(maker.layout.active, tmp_path / "e.zip")
    for line in (
        b"",
        b"[]",
        b"{}",
        b'{"seq":1}',
        b'{"seq":1,"source":[],"target":7,"outcome":null,"request":"x"}',
        b"\xff",
        b'{"seq":1,"event_type":"x","source":{"user_id":"\\ud800"},"request":{"args":{"a":"\\udfff"}}}',
    ):
        assert Seen(evidence_page(made.manifest, [line])).open == []
    manifest = json.loads(json.dumps(made.manifest)) | {"note": HOSTILE}
    assert "<script>alert(1)" in Seen(evidence_page(manifest, [])).text
