"""What the configuration does not take is refused in words that whoever wrote it has, and never in Python's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible import config
from indelible.alert_settings import ALERT_KEYS, BUILT_IN, CHANNELS
from indelible.errors import ConfigError
from indelible.sink_settings.sinks import COMMON_KEYS, TYPES
from indelible.values import shown
from tests.effort import examples

PYTHON = re.compile(
    r"\b(?:None|True|False|NoneType|dict|datetime|frozenset|tuple|str)\b|<class|\bb'|Error|object at"
    r"|invalid literal|not supported|unhashable|has no attribute|argument|unexpected keyword|must be real"
)

VALUES: list[Any] = [
    None, True, False, 0, 7, -1, 1.5, float("nan"), float("inf"), 10**30, "", " ", "nonsense", "none", "90d",
    "a\nb\x1b", [], [1], [None], [{}], ["x", "x"], [["x"]], {}, {"a": None}, {"tier": {"x": True}}, {"tier": "sas"},
    {1: 2}, {None: 1}, {True: []}, date(2026, 1, 2), datetime(2026, 1, 2, 3, 4), b"\0x", {"x"}, {"type": None},  # noqa: DTZ001
    [{"type": "file"}],
]  # fmt: skip


def places() -> Iterator[tuple[str, ...]]:
    """Yield the way to each key there is."""
    sections: dict[str, Mapping[str, Any]] = {
        "audit": config.AUDIT_KEYS,
        "redaction": config.REDACTION_KEYS,
        "record": config.RECORD_KEYS,
        "identity": config.IDENTITY_KEYS,
        "mcp": config.MCP_KEYS,
        "alerts": ALERT_KEYS,
    }
    yield from ((name,) for name in config.TOP_KEYS)
    yield from ((section, key) for section, keys in sections.items() for key in keys)
    yield from (("audit", "retention", key) for key in ("age", "size", "tier", "default", "classes"))
    yield from (("audit", key, "default") for key in ("record_args", "record_results"))
    yield from (("audit", "max_backlog", key) for key in ("size", "age"))
    yield from (("alerts", "rules", name) for name in BUILT_IN)
    yield from (("alerts", "channels", kind) for kind in CHANNELS)


def set_at(way: tuple[str, ...], value: object) -> dict[str, Any]:
    found: Any = value
    for key in reversed(way):
        found = {key: found}
    return dict(found)


def refused(data: object) -> str | None:
    try:
        config.parse(data, where="x.yaml", env={})
    except ConfigError as exc:
        return str(exc)
    return None


def is_said(message: str) -> bool:
    said = re.sub(r"'[^']*'", "''", message)  # what is quoted is what was written
    return "\n" not in message and "\x1b" not in message and PYTHON.search(said) is None


@pytest.mark.parametrize("way", list(places()), ids=".".join)
def test_a_wrong_value_of_any_key(way: tuple[str, ...]) -> None:
    messages = [(value, found) for value in VALUES if (found := refused(set_at(way, value))) is not None]
    assert messages
    assert [one for one in messages if not is_said(one[1])] == []


@pytest.mark.parametrize("kind", TYPES)
def test_a_wrong_value_of_any_key_of_a_sink(kind: str) -> None:
    whole = {"file": {"path": "x"}, "kafka": {"brokers": "a:1", "topic": "t"}, "s3": {"bucket": "bucket"}}
    messages = []
    for key in {**COMMON_KEYS, **TYPES[kind].keys}:
        for value in VALUES:
            sink = {"type": kind, **whole.get(kind, {}), key: value}
            messages.append((key, value, refused({"audit": {"sinks": [sink]}})))
    assert [one for one in messages if one[2] is not None and not is_said(one[2])] == []


TREES = st.recursive(
    st.sampled_from(VALUES) | st.text(max_size=5) | st.integers() | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4) | st.none() | st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(way=st.sampled_from(list(places())), value=TREES)
@settings(max_examples=examples(200), deadline=None)
def test_any_value_of_any_key(way: tuple[str, ...], value: object) -> None:
    found = refused(set_at(way, value))
    assert found is None or is_said(found)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"tier": "sas", "age": None}, "{tier: sas, age: nothing}"), ([1, True, "a b"], "[1, true, a b]"),
        (None, "nothing"), ("a\nb", "'a\\nb'"), ({"x": "a: b"}, "{x: 'a: b'}"), (date(2026, 1, 2), "2026-01-02"),
        ({"a": {"b": {"c": {"d": 1}}}}, "{a: {b: {c: {}}}}"), (b"x", "binary data"), ("x" * 99, "'" + "x" * 58 + "…"),
    ],
)  # fmt: skip
def test_values_are_shown_as_a_file_has_them(value: object, said: str) -> None:
    assert shown(value) == said
