"""What stands in the place of a secret: never the secret, the same for the same, and the same when it is done again."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import re
from typing import Any

import orjson
import pytest
from hypothesis import given, settings

from indelible import config
from indelible.errors import ConfigError
from indelible.events import RecorderId
from indelible.redact import Redactor, compile_marks
from indelible.redact.again import Again, Rules
from indelible.redaction_settings import CLASSES, STRATEGIES, RedactionSettings
from tests import canaries
from tests.effort import examples
from tests.redacting import KEY, event, make
from tests.unit.redact.test_properties import values

TOKEN_KEY = b"the key of the tokens, 32 bytes."
ALL = (*CLASSES, "key", "mark")
USED = ("full", "partial", "hash", "tokenize", "drop")


def redactor(strategies: dict[str, Any] | None = None, **more: Any) -> Redactor:
    made = RedactionSettings(strategies=strategies or {}, unknown_schema="keep", **more)
    return make(made, token_key=TOKEN_KEY)


def every(strategy: str, **more: Any) -> Redactor:
    """Return one that does the same with everything, but for what may not be."""
    allowed = {name: strategy for name in ALL if (name, strategy) != ("SSN", "partial")}
    return redactor(allowed, **more)


def kept(made: Redactor, args: Any) -> Any:
    return orjson.loads(made.redact(event(args)))["request"].get("args")


BY_STRATEGY = {strategy: every(strategy) for strategy in USED}
MIXED = redactor(
    {
        "EMAIL": "tokenize",
        "CARD": "partial",
        "PHONE": "drop",
        "TOKEN": "hash",
        "key": "tokenize",
        "key:password": "drop",
        "E": "partial",
    },
    patterns={"E": "EMP-[0-9]{6}"},
)

PARTIAL = [
    ("card 4111 1111 1111 1111 ok", "card [CARD last:1111] ok"),
    ("4111111111111111 5500000000000004", "[CARD last:1111] [CARD last:0004]"),
    ("mail Ada.Byron@Example.COM", "mail [EMAIL at:example.com]"),
    ("mail ada@4111111111111111.example.com", "mail [EMAIL]"),
    ("call +49 170 1234567", "call [PHONE last:67]"),
    ("DE89 3704 0044 0532 0130 00", "[IBAN last:3000]"),
    ("ssn 078-05-1120", "ssn [SSN]"),
    ("Bearer abcdefghij1234567890", "Bearer [TOKEN last:7890]"),
    ("sk-abc123", "[TOKEN]"),
    ("password=hunter2", "password=[REDACTED]"),
    ("password=hunter2hunter2hu!!", "password=[REDACTED]"),
    ("password=hunter2hunter2hunter2", "password=[REDACTED last:ter2]"),
]


@pytest.mark.parametrize(("text", "left"), PARTIAL)
def test_a_part_that_does_not_tell(text: str, left: str) -> None:
    assert kept(BY_STRATEGY["partial"], {"v": text}) == {"v": left}


def test_of_a_value_under_a_key_a_quarter_is_shown_at_most() -> None:
    partly = BY_STRATEGY["partial"]
    for size in range(40):
        value = "".join(random.Random(size).choices("abcdefghij", k=size))
        left = kept(partly, {"password": value})["password"]
        shown = re.fullmatch(r"\[REDACTED(?: last:(.+))?\]", left)
        assert shown, left
        assert len(shown[1] or "") <= size / 4
        assert size < 16 or value.endswith(shown[1])
    for other in (None, True, 12345, [1, "x" * 40], {"a": "x" * 40}):
        assert kept(partly, {"password": other}) == {"password": "[REDACTED]"}


def test_hashes_and_tokens_are_keyed_and_of_other_domains() -> None:
    """What they are is said in the reference, so that whoever holds the keys can ask; nobody else can."""
    value = "hunter2"
    digest = hmac.new(KEY, b"hash\0" + value.encode(), hashlib.sha256).hexdigest()[:32]
    token = hmac.new(TOKEN_KEY, value.encode(), hashlib.sha256).hexdigest()[:32]
    assert kept(BY_STRATEGY["hash"], {"password": value}) == {"password": f"[REDACTED hmac:{digest}]"}
    assert kept(BY_STRATEGY["tokenize"], {"password": value}) == {"password": f"[REDACTED tok:{token}]"}
    plain = {hashlib.new(name, value.encode()).hexdigest()[:32] for name in ("md5", "sha1", "sha256")}
    assert not {digest, token} & plain
    other = make(RedactionSettings(strategies={"key": "tokenize"}), token_key=b"x" * 32)
    assert token not in other.redact(event({"password": value})).decode()
    without = make(RedactionSettings(strategies={"key": "tokenize"}))
    assert kept(without, {"password": value}) == {"password": "[REDACTED]"}


@pytest.mark.parametrize(
    "spellings",
    [
        ["mail ada@example.com", "ADA@example.com!", "x%20ada%40example.com%20y", ("email", "Ada@Example.com")],
        ["card 4111111111111111", "4111-1111-1111-1111", ("card_number", "4111 1111 1111 1111")],
        ["call +49 170 1234567", "+49-170-1234567", ("phone", "+491701234567")],
        ["DE89370400440532013000", "DE89 3704 0044 0532 0130 00", ("iban", "DE89 3704 0044 0532 0130 00")],
        ["password=hunter2", "--password hunter2 now", '{"password": "hunter2"}', ("passwd", "hunter2")],
        ["token: abcdefghij1234567890", ("token", "abcdefghij1234567890"), ["--token", "abcdefghij1234567890"]],
    ],
)
def test_a_secret_has_one_token_wherever_it_stands(spellings: list[Any]) -> None:
    tokens = set()
    for spelling in spellings:
        args = {spelling[0]: spelling[1]} if type(spelling) is tuple else {"v": spelling}
        tokens |= set(re.findall("tok:([0-9a-f]{32})", json.dumps(kept(BY_STRATEGY["tokenize"], args))))
    assert len(tokens) == 1


def test_two_secrets_never_have_one_token() -> None:
    """A value that lost a part has none: what is left of two may be the same."""
    half = redactor({"key": "tokenize"})
    assert kept(half, {"v": "token=ghp_abcdefghij0123456789"}) == {"v": "token=[REDACTED]"}
    seen = {json.dumps(kept(BY_STRATEGY["tokenize"], {"password": f"x{n}"})) for n in range(500)}
    assert len(seen) == 500


def test_what_is_dropped_is_not_there() -> None:
    drops = BY_STRATEGY["drop"]
    args = {"password": "x", "a": ["--token", "abc", {"pin": 1, "b": 2}], "t": "to ada@example.com or else"}
    assert kept(drops, args) == {"a": ["--token", None, {"b": 2}], "t": "to [] or else"}
    assert kept(drops, {"j": '{"secret": 1, "b": 2}', "p": "password=x y"}) == {
        "j": '{"b":2}',
        "p": "password=[] y",
    }
    drops.learn(
        "files",
        "read",
        compile_marks({"properties": {"m": {"sensitive": True}, "l": {"items": {"sensitive": True}}}}),
    )
    assert kept(drops, {"m": "x", "l": ["y", "z"], "b": 2}) == {"l": [None, None], "b": 2}


def test_marks_and_keys_have_their_own_and_the_stricter_counts() -> None:
    made = redactor({"mark": "tokenize", "key:pin": "drop", "key": "partial"})
    made.learn(
        "files", "read", compile_marks({"properties": {"m": {"sensitive": True}, "pin": {"sensitive": True}}})
    )
    left = kept(made, {"m": "x", "pin": 12, "user_pin": "1234567812345678abcd"})
    assert left["m"].startswith("[REDACTED tok:")
    assert "pin" not in left
    assert left["user_pin"] == "[REDACTED last:abcd]"


def test_what_is_kept() -> None:
    made = redactor({"EMAIL": "keep", "PHONE": "keep", "key:email": "keep"})
    args = {
        "email": "ada@example.com",
        "user_email": "x",
        "n": "ada@example.com +49 170 1234567 4111111111111111",
    }
    left = {**args, "user_email": "[REDACTED]", "n": "ada@example.com +49 170 1234567 [CARD]"}
    assert kept(made, args) == left


@pytest.mark.parametrize(
    ("strategies", "said"),
    [
        ({"EMIAL": "full"}, "'EMIAL' is no class, pattern, key:NAME, key or mark; did you mean 'EMAIL'?"),
        ({"EMAIL": "hide"}, "EMAIL: expected one of full, partial, hash, tokenize, drop, keep"),
        ({"CARD": "keep"}, "CARD: keep: a card's number is never kept readable"),
        ({"TOKEN": "keep"}, "TOKEN: keep: a token opens doors"),
        ({"key": "keep"}, "key: keep: that would switch off all names"),
        ({"mark": "keep"}, "mark: keep: what a schema marks is never kept"),
        ({"SSN": "partial"}, "SSN: partial: it is too short"),
        ({"OWN": "keep"}, "OWN: keep: leave the pattern out instead"),
        ({"key:": "full"}, "is no class"),
        (["EMAIL"], "expected a mapping of names to texts"),
    ],
)
def test_what_a_file_may_not_say(strategies: Any, said: str) -> None:
    data = {"redaction": {"patterns": {"OWN": "x+"}, "strategies": strategies}}
    with pytest.raises(ConfigError) as caught:
        config.parse(data, where="indelible.yaml", env={})
    assert str(caught.value).startswith("indelible.yaml: redaction.strategies: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_class_has_every_strategy_or_is_refused() -> None:
    """One table for the parser and the redactor: a class that one knows and the other does not would stay readable."""
    for name in CLASSES:
        for strategy in STRATEGIES:
            data = {"redaction": {"strategies": {name: strategy}, "unknown_schema": "keep"}}
            try:
                parsed = config.parse(data, where="f", env={}).redaction
            except ConfigError:
                assert strategy == "keep" or (name, strategy) == ("SSN", "partial")
                continue
            assert (name in parsed.kept_classes) == (strategy == "keep")
            found = json.dumps(kept(make(parsed, token_key=TOKEN_KEY), {"v": _EXAMPLES[name]}))
            assert (_EXAMPLES[name] in found) == (strategy == "keep")


_EXAMPLES = {
    "EMAIL": "ada@example.com",
    "CARD": "4111111111111111",
    "IBAN": "DE89370400440532013000",
    "PHONE": "+49 170 1234567",
    "SSN": "078-05-1120",
    "TOKEN": "ghp_abcdefghij0123456789",
}


MANIFEST = "kind: Secret\ndata:\n  db: aHVudGVyMg==\n"
GIVEN_AWAY: list[tuple[Any, str]] = [
    ("docker login -p hunter2 -u ada hub", "docker login -p {} -u ada hub"),
    ("mysql -phunter2 shop", "mysql -p{} shop"),
    ("sshpass -p 'hunter2' ssh h", "sshpass -p '{}' ssh h"),
    ("curl -u ada:hunter2 h", "curl -u {} h"),
]
WORDS: list[tuple[list[Any], int]] = [
    (["docker", "login", "-p", "hunter2", "hub"], 3), (["mysql", "-phunter2", "shop"], 1),
    (["sshpass", "-p", "hunter2", "ssh", "h"], 2),
]  # fmt: skip


@pytest.mark.parametrize("name", ["key", "key:password"])
@pytest.mark.parametrize("strategy", ["full", "hash", "tokenize", "drop"])
def test_what_a_command_gives_away_is_the_value_of_a_key(name: str, strategy: str) -> None:
    made = redactor({name: strategy})
    under_a_key = kept(made, {"password": "hunter2"}).get("password")
    instead = under_a_key or "[]"
    for text, left in GIVEN_AWAY:
        of_user = (
            instead if "ada:" not in text else kept(made, {"password": "ada:hunter2"}).get("password", "[]")
        )
        assert kept(made, {"n": text}) == {"n": left.format(of_user)}
    for words, at in WORDS:
        new = f"-p{instead}" if words[at][:2] == "-p" else under_a_key
        assert kept(made, {"n": words})["n"] == [*words[:at], new, *words[at + 1 :]]


@pytest.mark.parametrize("name", ["key", "key:secret"])
@pytest.mark.parametrize("strategy", ["full", "hash", "tokenize", "drop"])
def test_what_a_manifest_holds_is_the_value_of_a_key(name: str, strategy: str) -> None:
    made = redactor({name: strategy})
    under_a_key = kept(made, {"secret": "aHVudGVyMg=="}).get("secret")
    data = {} if under_a_key is None else {"db": under_a_key}
    assert kept(made, {"n": MANIFEST}) == {"n": MANIFEST.replace("aHVudGVyMg==", under_a_key or "[]")}
    assert kept(made, {"kind": "Secret", "data": {"db": "aHVudGVyMg=="}}) == {"kind": "Secret", "data": data}


@pytest.mark.parametrize("strategy", USED)
def test_commands_and_manifests_done_again_are_the_same(strategy: str) -> None:
    made = redactor({"key": strategy})
    several = (
        "sshpass -p 'hunter2hunter2hunter2' mysql -phunter2hunter2hunter2; redis-cli -a x ping | zip -P y z"
    )
    for args in ({"n": several}, {"n": MANIFEST}, *({"n": words} for words, _ in WORDS)):
        once = kept(made, args)
        assert kept(made, once) == once
        assert "hunter2h" not in str(once)


@pytest.mark.parametrize("strategy", ["hash", "tokenize", "drop"])
@pytest.mark.parametrize("name", sorted(canaries.CLASSES))
def test_no_canary_is_left(name: str, strategy: str) -> None:
    value, fragments = canaries.CLASSES[name](random.Random(0))
    args = {"note": value, "a": [{"b": value}], value: 1, "j": json.dumps({"x": [value]})}
    line = BY_STRATEGY[strategy].redact(event(args))
    assert canaries.found(fragments, line) == []


@pytest.mark.parametrize("made", [*BY_STRATEGY.values(), MIXED], ids=[*BY_STRATEGY, "mixed"])
@given(args=values)
@settings(max_examples=examples(30), deadline=None)
def test_done_again_it_is_the_same(made: Redactor, args: Any) -> None:
    once = kept(made, args)
    if once is None or '"[' not in json.dumps(once) or "TRUNCATED" in json.dumps(once):
        return
    assert kept(made, once) == once


@pytest.mark.parametrize("strategy", sorted(BY_STRATEGY))
@pytest.mark.parametrize(
    "text", ["PassWD%3D{}", "a=1&password%3D{} and", "{}%20password%3D{}", "%41=1&token%3D{}"]
)
def test_what_stands_behind_an_escape_has_one_marker(text: str, strategy: str) -> None:
    """Its digest and token are the value's own, by which it is followed; one that was put there is no value."""
    secret = "hunter2hunter2hunter2"
    plain = kept(BY_STRATEGY[strategy], {"x": f"token={secret}"})["x"].removeprefix("token=")
    escaped = kept(BY_STRATEGY[strategy], {"x": text.replace("{}", secret)})
    assert escaped["x"].replace("%20", " ").endswith(text.rpartition("%3D")[2].replace("{}", plain))
    assert escaped["x"].count("REDACTED") <= text.count("{}")
    assert kept(BY_STRATEGY[strategy], escaped) == escaped


@pytest.mark.parametrize("strategy", sorted(BY_STRATEGY))
@pytest.mark.parametrize("value", [2**64, [-(2**63) - 1], {"a": [2**70, "x"]}])
def test_numbers_of_more_than_64_bits_cost_no_event(value: Any, strategy: str) -> None:
    left = kept(BY_STRATEGY[strategy], {"password": value, "path": "/srv"})
    assert left["path"] == "/srv"
    assert str(2**64)[:12] not in json.dumps(left)
    assert "9223372036854775809" not in json.dumps(left)


@pytest.mark.parametrize("theirs", ["full", "tokenize", "hash", "drop"])
def test_a_service_leaves_what_its_clients_have_made(theirs: str) -> None:
    """Digests and tokens, whatever its own strategies are; what they show in part, only where it would itself."""
    who = RecorderId(id="files", uid=1, pid=2)
    for ours in ("full", "tokenize"):
        rules = Rules(RedactionSettings(strategies=dict.fromkeys(ALL, ours), unknown_schema="keep"))
        again = Again(rules, who, (KEY, "k1"), TOKEN_KEY)
        line = BY_STRATEGY[theirs].redact(event({"password": "hunter2", "n": "mail ada@example.com"}))
        args = orjson.loads(line)["request"]["args"]
        assert orjson.loads(again.check(line).body)["request"]["args"] == args
    partly = every("partial").redact(event({"password": "hunter2hunter2hunter2"}))
    strict = Again(Rules(RedactionSettings(unknown_schema="keep")), who, (KEY, "k1"))
    assert orjson.loads(strict.check(partly).body)["request"]["args"] == {"password": "[REDACTED]"}


def test_users_of_one_service_have_keys_of_their_own() -> None:
    """The rules are compiled once for all; what one client's tokens are under is not another's."""
    rules = Rules(RedactionSettings(strategies={"EMAIL": "tokenize", "key": "tokenize"}, unknown_schema="keep"))
    left = []
    clients = [Again(rules, RecorderId(id="a", uid=n, pid=1), (KEY, "k1"), bytes([n]) * 32) for n in (1, 2)]
    for client in clients:
        left.append(kept(client, {"password": "x", "n": "ada@example.com", "j": '{"password": "x"}'}))
    assert left[0] != left[1]
    assert [re.findall("tok:(.{32})", json.dumps(args)) for args in left] != []
    for args in left:
        found = re.findall("tok:(.{32})", json.dumps(args))
        assert len(found) == 3
        assert found[0] == found[2]
