"""What is said of a receiver that answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.sinks.web.carrying import QUOTE, unquoted


@pytest.mark.parametrize(
    ("text", "record", "left"),
    [
        ("it answers 503: the queue is full", b'{"user_id":"alice"}', "it answers 503: the queue is full"),
        ("it answers 400: no user Alice@x.example!", b'{"user_id":"aLICE@x.example"}', "it answers 400: no user …!"),
        ("RESOURCE_EXHAUSTED: slow", b'{"resource_exhausted":1}', "RESOURCE_EXHAUSTED: slow"),
        ("it answers 400: alice", b'{"user_id":"alice"}', "it answers 400: alice"),
        ("it: \u01f0ohn Smithson", "\u01f0ohn Smithson".encode(), "it: in words that cannot be repeated here"),
        ("it answers 400", b"", "it answers 400"),
    ],
)  # fmt: skip
def test_a_receiver_is_not_quoted_where_it_quotes_a_record(text: str, record: bytes, left: str) -> None:
    assert unquoted(text, [b"another", record]) == left


@given(before=st.text(max_size=20), secret=st.text(min_size=QUOTE, max_size=30), after=st.text(max_size=20))
def test_nothing_of_a_record_that_is_long_enough_is_left(before: str, secret: str, after: str) -> None:
    record = f'{{"name":{secret}}}'.encode("utf-8", "replace")
    left = unquoted(f": {before}{secret}{after}".encode("utf-8", "replace").decode(), [record])
    assert secret.encode("utf-8", "replace").decode() not in left


def test_what_is_known_may_be_said() -> None:
    record = b'{"origin":"indelible/00","user_id":"somebody"}'
    text = "it answers 60: Table indelible.events of somebody does not exist"
    assert unquoted(text, [record], "http://h Indelible.events") == text.replace("somebody", "\u2026")
