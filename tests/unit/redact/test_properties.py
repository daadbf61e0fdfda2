"""What holds for any event whatever: hypothesis builds them, with secrets of every class inside."""

from __future__ import annotations

import base64
import json
import random
from typing import Any
from urllib.parse import quote

import msgspec
import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from indelible.config import RedactionSettings
from indelible.events import MAX_BODY_BYTES, Event, Outcome, Policy, Request, Source, State, Target
from indelible.redact.keys import KeyNames
from indelible.redact.texts import Texts
from tests import canaries
from tests.effort import examples
from tests.redacting import event, make

REDACTOR = make(record_results="full")
VALUES = REDACTOR._values
TEXTS = Texts(RedactionSettings())
NAMES = [
    *canaries.SENSITIVE_ARGUMENTS,
    "auth",
    "pin",
    "apiKeys",
    "user mail",
    "e-mail",
    "max_tokens",
    "n\nonce",
    "ünder",
]
WORDS = (
    *(
        "token",
        "key",
        "api",
        "password",
        "=",
        ":",
        "-",
        "--",
        "'",
        '"',
        "\\",
        "@",
        ".",
        "//",
        "[",
        "]",
        "{",
        "}",
        "+",
    ),
    *(
        "4111",
        "1111",
        "12",
        "é",
        "eyJ",
        "sk-",
        "Bearer",
        "is",
        "[EMAIL]",
        "[TOKEN]",
        "[REDACTED]",
        "&",
        "?",
        "sig=",
    ),
    *(
        "x@y.zz",
        "DE89",
        "3704",
        "0044",
        "\\u0040",
        "a",
        "B",
        "9",
        "%40",
        "%20",
        "%3a",
        " ",
        " ",
        " ",
        "\n",
        "\u00a0",
        "\u2028",
    ),
)

secret_texts = st.builds(
    lambda name, seed: canaries.CLASSES[name](random.Random(seed))[0],
    st.sampled_from(sorted(canaries.CLASSES)),
    st.integers(0, 10_000),
)
puzzles = st.lists(st.sampled_from(WORDS), max_size=12).map("".join)
texts = st.one_of(
    st.text(max_size=40), puzzles, secret_texts, st.tuples(puzzles, secret_texts, puzzles).map("".join)
)
wrapped = st.one_of(
    texts,
    st.builds(lambda key, text: json.dumps({key: [text]}), st.sampled_from(NAMES), texts),
    texts.map(lambda text: json.dumps(text, ensure_ascii=False)),
    texts.map(lambda text: base64.b64encode(text.encode("utf-8", "replace")).decode()),
    texts.map(lambda text: quote(text.encode("utf-8", "replace"))),
    texts.map(lambda text: text * 30),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([4111111111111111, 378282246310005, 2**53, 2**64]),
    st.floats(allow_nan=True),
    wrapped,
)
keys = st.one_of(st.sampled_from(NAMES), texts)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(keys, inner, max_size=5)),
    max_leaves=12,
)


class Odd:
    """Not JSON, and unfriendly."""

    def __str__(self) -> str:
        raise RuntimeError("nobody asks a stranger")

    def __repr__(self) -> str:
        return "password=hunter2"


CYCLE: list[Any] = []
CYCLE.append({"again": CYCLE})

odd = st.one_of(
    values,
    st.binary(max_size=40),
    st.text(alphabet=st.characters(), max_size=20),
    st.sampled_from(
        [Odd(), Odd, CYCLE, {1, 2}, (1, "x"), 10**5000, float("nan"), {None: 1, 2.5: 2, (1,): 3}, "\ud800"]
    ),
    st.binary(max_size=40).map(msgspec.Raw),
    values.map(lambda value: msgspec.Raw(json.dumps(value).encode())),
)


def loads(body: bytes) -> Any:
    """Parse strictly, by two parsers that must agree."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    one, other = orjson.loads(body), json.loads(body, parse_constant=refuse)
    assert one == other
    return one


def check(body: bytes) -> dict[str, Any]:
    assert body.startswith(b"{")
    assert len(body) <= MAX_BODY_BYTES
    assert b"\n" not in body
    assert b"\r" not in body
    found = loads(body)
    assert "redaction_failed" not in found.get("metadata", {})
    integers = [found]
    while integers:
        value = integers.pop()
        if isinstance(value, dict | list):
            integers.extend(value.values() if isinstance(value, dict) else value)
        elif isinstance(value, int):
            assert abs(value) < 2**53
    return dict(found)


@given(odd, odd, odd)
@settings(deadline=None)
@example(Odd(), "\ud800", float("inf"))
def test_any_content_makes_a_line(args: Any, result: Any, metadata: Any) -> None:
    body = REDACTOR.redact(
        event(args, outcome=Outcome(status="error", kind="tool_error", result=result), metadata={"x": metadata})
    )
    check(body)
    check(REDACTOR.redact(event(args, metadata=metadata)))


parts = st.one_of(st.none(), odd)


@given(st.lists(parts, min_size=30, max_size=30))
@settings(deadline=None, max_examples=examples(40), suppress_health_check=[HealthCheck.too_slow])
def test_any_field_of_any_type_makes_a_line(given_values: list[Any]) -> None:
    it = iter(given_values)
    check(
        REDACTOR.redact(
            Event(
                timestamp=next(it),
                event_type=next(it),
                event_id=next(it),
                source=Source(
                    caller=next(it),
                    session_id=next(it),
                    client=next(it),
                    user_id=next(it),
                    roles=next(it),
                    tenant=next(it),
                    on_behalf_of=next(it),
                    recorder=None,
                ),
                target=Target(backend=next(it), method=next(it), capability_name=next(it), type=next(it)),
                request=Request(request_id=next(it), rpc_id=next(it), trace_id=next(it), args=next(it)),
                policy=Policy(decision=next(it), reason=next(it)),
                outcome=Outcome(
                    status=next(it),
                    kind=next(it),
                    latency_ms=next(it),
                    error=next(it),
                    error_code=next(it),
                    result=next(it),
                ),
                state=State(from_=next(it), reason=next(it)),
                metadata=next(it),
            )
        )
    )


@given(values)
@settings(deadline=None)
def test_redacting_again_changes_nothing(value: Any) -> None:
    once = orjson.loads(REDACTOR.redact(event(value)))["request"].get("args")
    assert orjson.loads(REDACTOR.redact(event(once)))["request"].get("args") == once


@given(wrapped, st.integers(10, 80))
@settings(deadline=None)
def test_a_short_text_stays_short_and_stable(text: str, limit: int) -> None:
    once = REDACTOR.text(text, limit)
    assert len(once) <= limit
    assert "\ud800" not in once


def is_pair(item: object) -> bool:
    return isinstance(item, list) and len(item) == 2 and isinstance(item[0], str)


@given(st.lists(values, min_size=1, max_size=4))
@settings(deadline=None)
@example([["use%20sk-ant-api03-0UAqFzWsDK4FrUMp48Y3tT3QDgAL47D1qXIaSyZP%20pleasetoken", 0]])
def test_neighbours_do_not_matter(items: list[Any]) -> None:
    def kept(value: Any) -> Any:
        return orjson.loads(REDACTOR.redact(event(value)))["request"]["args"]

    # What depends on where it stands: a flag's value, and a name with its value in an array of such. See test_values.
    plain = [item for item in items if item is not None and not str(item).startswith("-") and not is_pair(item)]
    if len(orjson.dumps(kept(plain))) < 30_000:
        assert kept(plain) == [kept(item) for item in plain]


@given(st.dictionaries(keys, values, max_size=6))
@settings(deadline=None)
def test_the_prefilter_flags_whatever_the_rules_change(value: dict[str, Any]) -> None:
    """The fast path splices arguments that the prefilter passes: nothing in them may be due for redaction."""
    encoded = orjson.dumps(
        orjson.loads(json.dumps(value, default=str).replace("NaN", "1").replace("Infinity", "1"))
    )
    if TEXTS.flagged(encoded):
        return
    everything = TEXTS.plan(range(TEXTS._escaped))

    def walk(item: Any) -> None:
        if isinstance(item, str):
            assert TEXTS._pass(item, 0, everything) == (item, None)
        elif isinstance(item, dict):
            for key, member in item.items():
                assert not TEXTS.names.sensitive(key)
                walk(key)
                walk(member)
        elif isinstance(item, list):
            for member in item:
                walk(member)

    walk(orjson.loads(encoded))


@given(texts)
@settings(deadline=None, max_examples=examples(400))
def test_hints_lose_nothing(text: str) -> None:
    """Each rule alone: where its hint is silent on the encoded text, the rule changes nothing."""
    text = text.encode("utf-8", "replace").decode()
    for encoded in (orjson.dumps(text), orjson.dumps([1, {"a": text}])):
        may = TEXTS._match(encoded) or []
        if TEXTS._escaped in may:
            continue
        for index, rule in enumerate(TEXTS._rules):
            if index not in may:
                assert rule.apply(text.encode()) == text.encode(), rule.name
        plan = TEXTS.plan(may)
        if plan.finds(text) is None:
            assert TEXTS.redact(text) == text
        if TEXTS._named not in may:
            assert TEXTS._pairs.apply(text.encode()) == text.encode()
        if TEXTS._prose not in may:
            assert TEXTS._pairs.apply(text.encode(), named=False, prose=True) == text.encode()
        if TEXTS._base64 not in may:
            assert TEXTS._inside_base64(text.encode(), 0) == text.encode()


pieces = st.sampled_from(
    sorted({w for name in NAMES for w in name.split()} | {"api", "key", "pass", "word", "x", "s"})
)
joints = st.sampled_from(["", "_", "-", ".", " ", "\n", "\t", '"', "\\", "\x00", "é", "\u200b", "2", "::"])


@given(st.lists(st.tuples(pieces, joints, st.sampled_from([str.lower, str.upper, str.title, str])), max_size=4))
@settings(deadline=None, max_examples=examples(400))
def test_sensitive_keys_of_any_spelling_are_flagged(parts: list[Any]) -> None:
    name = "".join(change(piece) + joint for piece, joint, change in parts)
    if KeyNames().sensitive(name):
        assert TEXTS.flagged(orjson.dumps({name: 1}))
        assert TEXTS.flagged(orjson.dumps({"a": json.dumps({name: 1})}))
        assert TEXTS.flagged(orjson.dumps({"a": json.dumps({name: 1}, ensure_ascii=False)}))


def plant(value: Any, secret: str, rng: random.Random) -> Any:
    """Put a secret somewhere into a JSON value: as a member, an item, a key, or inside a text."""
    if isinstance(value, dict):
        if value and rng.random() < 0.6:
            key = rng.choice(list(value))
            return {**value, key: plant(value[key], secret, rng)}
        return {**value, **({secret: 1} if rng.random() < 0.5 else {"note": secret})}
    if isinstance(value, list):
        if value and rng.random() < 0.6:
            index = rng.randrange(len(value))
            return [*value[:index], plant(value[index], secret, rng), *value[index + 1 :]]
        return [*value, secret]
    return secret


@given(values, st.randoms(use_true_random=False), st.sampled_from(sorted(canaries.CLASSES)))
@settings(deadline=None, max_examples=examples(200))
def test_planted_secrets_are_never_found(value: Any, rng: random.Random, name: str) -> None:
    secret, fragments = canaries.CLASSES[name](random.Random(rng.random()))
    body = REDACTOR.redact(event(plant(value, secret, rng)))
    assert not canaries.found(fragments, body)


@pytest.mark.parametrize("where", ["args", "result", "metadata"])
@pytest.mark.parametrize(
    "big",
    [
        {f"k{i}": "x" * 400 for i in range(2_000)},
        ["y" * 499] * 3_000,
        {"a": {"b": {"c": [{"d": "z" * 450}] * 500}}},
        {"\x01" * 400 + str(i): "\x01" * 450 for i in range(300)},
        [[[i] * 50] * 50 for i in range(50)],
        "q" * 3_000_000,
        {"small": 1, "large": list(range(50_000)), "also": "kept"},
        {"password" + str(i): "hunter2" for i in range(3_000)},
        ["a@b.co"] * 4_000,
        {f"{i}@example.com": i for i in range(3_000)},
    ],
    ids=range(10),
)
def test_everything_fits_a_line(big: Any, where: str) -> None:
    given_parts: dict[str, Any] = {
        "args": {"args": big},
        "result": {"outcome": Outcome(status="success", kind="completed", result=big)},
        "metadata": {"metadata": {"m": big}},
    }[where]
    found = check(REDACTOR.redact(event(**given_parts)))
    if where == "args":
        assert found["request"]["args_bytes"] == len(orjson.dumps(big))
    assert b"hunter2" not in REDACTOR.redact(event(**given_parts))


def test_small_members_stay_and_large_ones_are_cut(args: Any) -> None:
    kept = args(
        {"first": 1, "large": list(range(50_000)), "last": "kept", "wide": {str(i): i for i in range(9_000)}}
    )
    assert kept["first"] == 1
    assert kept["last"] == "kept"
    assert kept["large"][:3] == [0, 1, 2]
    assert "[TRUNCATED]" in kept["large"][-1]
    assert "[TRUNCATED]" in kept["wide"]
    assert 30_000 < len(orjson.dumps(kept)) <= 40_000


def test_everything_at_once_still_fits() -> None:
    name = "\x01" * 20_000
    full = Event(
        timestamp="2026-11-21T05:38:34.123456Z",
        event_type="mcp_operation",
        event_id=name,
        source=Source(caller="http", session_id=name, client_ip=name, client=name, user_id=name, roles=[name] * 100,
                      tenant=name, auth_key_id=name, issuer=name, on_behalf_of=[name] * 100),
        target=Target(backend=name, method=name, type=name, capability_name=name, original_name=name,
                      server_version=name, protocol_version=name, tool_sha256=name),
        request=Request(request_id=name, rpc_id=name, continues=name, args={"a": [name] * 100}),
        policy=Policy(decision="deny", rule=name, reason=name),
        outcome=Outcome(status="error", kind="denied", error=name, error_type=name, result=[name] * 100),
        state=State(from_=name, to=name, reason=name),
        metadata={name: [name] * 100},
    )  # fmt: skip
    found = check(REDACTOR.redact(full))
    assert found["metadata"]["cut"] == ["outcome.result", "request.args", "metadata", "names"]
    assert found["request"]["args_bytes"] > 1_000_000
    assert len(found["request"]["args_hmac"]) == 64


@pytest.mark.parametrize("depth", [63, 64, 65, 200, 254, 255, 500, 10_000])
def test_nesting(depth: int) -> None:
    value: Any = "carol@example.com"
    for _ in range(depth):
        value = [value]
    raw = msgspec.Raw(b"[" * depth + b'"carol@example.com"' + b"]" * depth)
    for given_value in (value, raw):
        body = REDACTOR.redact(event(given_value))
        found = check(body)
        assert b"carol" not in body
        assert found["request"]["args_bytes"] > 0
        assert len(found["request"]["args_hmac"]) == 64
