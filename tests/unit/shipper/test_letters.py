"""Dead letters: kept whole, found again, and erased."""

from __future__ import annotations

import threading
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from indelible.trail.durable import Access
from indelible.trail.layout import Layout
from indelible.trail.shipping import letters
from indelible.trail.shipping.letters import letter

TEN = range(10)


def test_what_is_no_text_is_kept_as_well(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "a")
    sent = [b"text \xc3\xa4", b"\xff\x00no text", b""]
    letters.add(layout, [letter("s", "o", at, "e", "r", data) for at, data in enumerate(sent)], Access())
    assert [one.data for one in letters.read(layout)] == sent


@given(st.binary(max_size=50), st.text(max_size=20))
def test_any_record_comes_back(record: bytes, reason: str) -> None:
    assert letter("s", "o", 1, "e", reason, record).data == record


def test_a_torn_line_counts_for_nothing_and_spoils_nothing(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "a")
    letters.add(layout, [letter("s", "o", 1, "e", "r", b"one")], Access())
    with letters.path_of(layout).open("ab") as file:
        file.write(b'{"sink":"s","ori')
    letters.add(layout, [letter("s", "o", 2, "e", "r", b"two")], Access())
    assert [one.seq for one in letters.read(layout)] == [1, 2]
    letters.remove(layout, {("s", "o", 1)}, Access())
    assert [one.seq for one in letters.read(layout)] == [2]


def test_one_that_was_refused_twice_counts_once(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "a")
    for _ in range(2):
        letters.add(
            layout, [letter("s", "o", 1, "e", "r", b"one"), letter("t", "o", 1, "e", "r", b"one")], Access()
        )
    assert letters.counts(layout) == {"s": 1, "t": 1}
    assert letters.counts(Layout(tmp_path / "b")) == {}


def test_adding_and_taking_out_at_once_loses_none(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "a")

    def add(sink: str) -> None:
        for seq in TEN:
            letters.add(
                layout,
                [letter(sink, "o", seq, "e", "r", b"x"), letter(sink, "p", seq, "e", "r", b"x")],
                Access(),
            )
            letters.remove(layout, {(sink, "p", seq)}, Access())

    threads = [threading.Thread(target=add, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(one.key for one in letters.read(layout)) == [
        (name, "o", seq) for name in "abc" for seq in TEN
    ]
