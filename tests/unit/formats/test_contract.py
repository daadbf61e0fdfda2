"""The contract of formats: each of ours keeps it, and who breaks a rule is told which."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Any, get_args

import cefp
import pytest

from indelible.events import EventType
from indelible.formats.record import Format, Options, Record
from indelible.registry import FORMATS, make_format
from indelible.testing import check_format
from tests.unit.formats import leefread


def json_keys(record: bytes) -> Collection[str]:
    value = json.loads(record)
    assert isinstance(value, dict)
    return value.keys()


READERS: dict[str, Callable[[bytes], Collection[str]]] = {
    "cef": lambda record: cefp.parse(record.decode())["extension"].keys() - {"IndelibleMcpClientIp", "src"},
    "leef": lambda record: leefread.read(record).attributes.keys() - {"clientIp", "src"},
}
"""Of the others the top level is JSON, but of syslog, which tests/judges/test_syslog_records.py reads."""


@pytest.mark.parametrize("name", FORMATS)
def test_ours_keep_it(name: str) -> None:
    read = None if name == "syslog" else READERS.get(name, json_keys)
    judged = check_format(lambda options: make_format(name, options), read)
    holds = make_format(name, Options()).holds
    everything = {*get_args(EventType), "of_a_later_version", ""}
    assert set(judged) == (everything if holds is None else everything & holds)


class Good:
    """JSON of what identifies a record, and one field."""

    holds: Any = None

    def __init__(self, options: Options) -> None:
        self.count = 0
        self.options = options

    def values(self, record: Record) -> dict[str, Any]:
        entry = record.entry
        user = (entry.source.user_id or "")[:100]
        return {
            "id": entry.event_id,
            "seq": entry.seq,
            "origin": record.origin,
            "leaf": record.leaf,
            "user": user,
        }

    def render(self, record: Record) -> bytes:
        return json.dumps(self.values(record)).encode()


class Splits(Good):
    def render(self, record: Record) -> bytes:
        return super().render(record) + f" user={record.entry.source.user_id}".encode()


class Forges(Good):
    def render(self, record: Record) -> bytes:
        user = record.entry.source.user_id or ""
        shown = "".join(sign for sign in user if sign.isprintable())
        return super().render(record)[:-1] + f', "name": "{shown}"}}'.encode()


class Counts(Good):
    def render(self, record: Record) -> bytes:
        self.count += 1
        return super().render(record)[:-1] + f', "n": {self.count}, "me": {id(self)}}}'.encode()


class Nameless(Good):
    def values(self, record: Record) -> dict[str, Any]:
        return {key: value for key, value in super().values(record).items() if key != "leaf"}


class Latin(Good):
    def render(self, record: Record) -> bytes:
        return super().render(record) + b" \xe4"


class Boundless(Good):
    def values(self, record: Record) -> dict[str, Any]:
        return {**super().values(record), "args": bytes(record.entry.request.args).decode()}


class Silent(Good):
    holds = frozenset({"nothing"})


class Empty(Good):
    def render(self, record: Record) -> bytes:
        return b""


def test_a_good_one_passes() -> None:
    assert "mcp_operation" in check_format(Good, json_keys)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (Splits, "line end in a record"),
        (Counts, "other bytes"),
        (Nameless, "leaf is missing"),
        (Latin, "not UTF-8"),
        (Boundless, "max_bytes 4096"),
        (Silent, "holds no event"),
        (Empty, "no bytes"),
    ],
)
def test_a_broken_rule_is_named(made: Callable[[Options], Format], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_format(made)


def test_a_forged_field_is_seen_by_who_can_read_the_format() -> None:
    def lenient(record: bytes) -> Collection[str]:
        try:
            return json_keys(record)
        except json.JSONDecodeError:
            return ("broken",)

    check_format(Forges)
    with pytest.raises(AssertionError, match="other fields than with plain text"):
        check_format(Forges, lenient)
