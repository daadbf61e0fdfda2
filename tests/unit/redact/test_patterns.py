"""What a value looks like: secrets of every class go, and what only resembles one stays."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from indelible.config import RedactionSettings
from indelible.errors import ConfigError
from tests import canaries
from tests.redacting import event, make

Args = Callable[[Any], Any]

HARMLESS = """
3f786850e387550fdab836ed7e6dc881de23001b
e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
d41d8cd98f00b204e9800998ecf8427e
sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
0b8f7c1e-6c0e-4d4e-9d5d-3b2d6c1c8f1a
12345678-1234-1234-1234-123456789012
41111111-1111-4111-8111-111111111111
978-3-16-148410-0
9783161484100
ISBN 9780306406157 in stock
order 12345-67890 and invoice INV-2026-000123
order number 1234567890
1763703514123
1763703514123456
1763703514123456789
20261121053834
20261121053834123
2026-11-21T05:38:34.123456Z
2026-11-21 05:38:34
from 2026-01-01 to 2026-12-31 and 2027-01-01
2019 2020 2021 2022 2023
0000000000000017
4111111111111112
5105105105105101
order 9876543210987654
175928847299117064
1763703514123456788
3.14159265358979323
52.520006599999999, 13.404953999999975
1.2.3-rc.1+build.20261121
v2.10.0
192.168.100.200 10.0.0.1:8080
2001:db8:85a3::8a2e:370:7334
@modelcontextprotocol/server-filesystem@2026.1.14
lodash@4.17.21
git@github.com:owner/repo.git
ssh://git@github.com/owner/repo.git
icon@2x.png
npx -y @scope/package --verbose
/srv/data/project/src/components/authentication/LoginForm.test.tsx
/usr/lib/python3.11/site-packages/orjson/__init__.py
C:\\Users\\Public\\Documents\\report.docx
https://example.com/a/b?page=2&limit=50&sort=name#section-3
file:///srv/data/report.txt
const total = items.reduce((a, b) => a + b.price * b.count, 0);
def add(left: int, right: int) -> int:
SELECT name, count(*) FROM orders WHERE created_at > '2026-01-01' GROUP BY 1
the quick brown fox jumps over the lazy dog
basic information about the basic plan
task-management risk-assessment disk-encryption
sk-toggleable__label sk-top-container
version 555-1234
10-20-30-40
100 200 300 400 500
0xDEADBEEF 0x7fff5fbff8c0
aGVsbG8gd29ybGQgdGhpcyBpcyBub3RoaW5n
sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==
AKIA and ASIA are prefixes
npm_config_registry npm_package_name
pypi-mirror
C++ (since 2011) +1 -1 +12
utf-8 en-US de_DE
TODO: fix; NOTE: see below
key: value
a=b&c=d
rgb(255, 128, 0) #ff8800
4 out of 5, 16 of 20, 80 %
±5 °C, 20–30 km, “quoted” — naïve café 日本語 テスト 🎉
{"a": 1, "b": [true, null, "text"], "c": {"d": "e"}}
[1, 2, 3]
""".strip().split("\n")


PROSE = """
def login(user: str, password: str) -> Session:
bearer authentication is required
a bearer token is missing
unexpected token at position 5
your token has expired
max_tokens=100 token_count: 5
enter your password to continue
phone support is open
the secret of success
<div class="card email-card">text</div>
password is required
""".strip().split("\n")
"""Harmless as values; as names of members, their words count."""


@pytest.mark.parametrize("text", PROSE)
def test_harmless_prose(text: str, args: Args) -> None:
    assert args([text]) == [text]


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless(text: str, args: Args) -> None:
    assert args(text) == text
    assert args({"a": [text]}) == {"a": [text]}
    assert args({text: 1}) == {text: 1}


@pytest.mark.parametrize(
    "text",
    [
        "5495767779132",  # an EAN that passes Luhn's check
        "626-6031961-2335324",  # an order number of which the end does
        "20141127-105532",
        "+40.2044-123.9876/",  # a position by ISO 6709
        "e5:9c:ca:cc:ed:14",
        "fe80::d19a:d418:27cc:afc3",
        "    if token:\n        new = node.clone()",
        "while self.password:\n    retry = 1",
        "self.tokens = {}   # by number",
        "password:%s",
        "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAIAAAACDbGyAAAAW0lEQVR4nAFQAK//",  # has what ends keys of Azure
        "MyCompanyInternalServices.create.someVeryLongNameOfAMethodThatDoesThings",
        "live_configuration_of_the_second_stage_2",
        "fw_update_configuration_table_entries",
        "https://example.com/e?code=ERR_CERT_AUTHORITY_INVALID",
        "https://example.com/shop?code=black-friday-2024",
        "benchmark_test_results disk_test_image1 task_prod_queue",
        "new PrivateKeyJwtProvider().key; apiKeyJson.load()",
        "sk-ssh-ed25519 or sk-ecdsa-sha2-nistp256",
        "ATGACCATGATTACGGATTCACTGGCCGTCGTTTTACAACGTCGTGACTGGG",
        "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAIDAGPAVAIPATTLLSHLRSK",
    ],
)
def test_harmless_but_much_like_it(text: str, args: Args) -> None:
    assert args(text) == text


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("4067029683252", "4067029683252"),  # a card of 13 digits begins so, a barcode too
        ("x cc:4111 y", "4111"),
        ("a:cc:4111111111111111", "4111111111111111"),
        ("password:\n  hunter2", "hunter2"),
        ("the token:\n  abc123", "abc123"),
        ("{ tokens = {a: 'hunter2'} }", "hunter2"),
        ("+49.8912-345.6789", "345"),
        ("benchmark_test_4eC39HqLyjWDarjtT1zdp7dc", "zdp7dc"),
        ("keyeyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln", "hbGci"),
        ("KEYAKIAIOSFODNN7EXAMPLE", "FODNN7"),
        ("/cb?code=0.AXoAk2p8xQz1.AgABAAIAAAD--Q4j", "k2p8xQz1"),
        ("/cb?code=M.C105_BL2.2.U.8c1e03ab-77f2", "8c1e03ab"),
        ("/cb?code=0b8f7c1e-6c0e-4d4e-9d5d-3b2d6c1c8f1a.9d5d4d4e-0000.77aa", "77aa"),
    ],
)
def test_what_is_almost_harmless(text: str, gone: str, args: Args) -> None:
    assert gone not in str(args(text))


@pytest.mark.parametrize(
    "number", [0, 1, -5, 1763703514123, 1763703514123456, 20261121053834, 9783161484100, 1.5, 1e300]
)
def test_harmless_numbers(number: float, args: Args) -> None:
    assert args({"n": number}) == {"n": number}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a@b.co", "[EMAIL]"),
        (
            "2 validation errors for X\npin\n  Field required [type=missing, input_value={'value': 'us...Xw7z'}, "
            "input_type=dict]\n    For more\nb\n  Bad [type=int_parsing, input_value='4711', input_type=str]",
            "2 validation errors for X\npin\n  Field required [type=missing, input_value=[REDACTED], "
            "input_type=dict]\n    For more\nb\n  Bad [type=int_parsing, input_value=[REDACTED], input_type=str]",
        ),
        ("Bad [type=missing, input_value={'va", "Bad [type=missing, input_value=[REDACTED]"),
        ("Bob <bob.o'neil+tag@mail.example.co.uk>, ok", "Bob <[EMAIL]>, ok"),
        ("mailto:bob@example.com?subject=x", "mailto:[EMAIL]?subject=x"),
        ("bob@münchen.de", "[EMAIL]"),
        ("4111 1111 1111 1111", "[CARD]"),
        ("4111-1111-1111-1111.", "[CARD]."),
        ("1234 5678 9012 3456", "[CARD]"),
        ("card=4111111111111111 exp 12 2030", "card=[CARD] exp 12 2030"),
        ("378282246310005", "[CARD]"),
        ("3782 822463 10005", "[CARD]"),
        ("4222222222222", "[CARD]"),
        ("4111\u00a01111\u00a01111\u00a01111", "[CARD]"),
        ("4111 1111 1111 1111 123", "[CARD] 123"),
        ("Bearer abc.def-ghi_123", "Bearer [TOKEN]"),
        ("BEARER AbCdEfGhIjKlMnOp", "BEARER [TOKEN]"),
        ("ghp_abcdef123456", "[TOKEN]"),
        ("x=sk-abc123def456;", "x=[TOKEN];"),
        ("xoxb-123456-abcdef", "[TOKEN]"),
        ("https://user:pass@example.com/x", "https://[REDACTED]@example.com/x"),
        ("https://token@example.com/x", "https://[REDACTED]@example.com/x"),
        ("postgres://u:p%40ss@db/x", "postgres://[REDACTED]@db/x"),
        ("https://x.example/?token=abc&page=2", "https://x.example/?token=[REDACTED]&page=2"),
        (
            "https://x.example/?page=2&X-Amz-Signature=abcdef&x=1",
            "https://x.example/?page=2&X-Amz-Signature=[REDACTED]&x=1",
        ),
        ("password=hunter2", "password=[REDACTED]"),
        ("password: hunter2, next", "password: [REDACTED] next"),
        ('password = "correct horse" x', 'password = "[REDACTED]" x'),
        ("--password hunter2 --verbose", "--password [REDACTED] --verbose"),
        ("--api-key=abc --x", "--api-key=[REDACTED] --x"),
        ("Server=x;Password=a b;Uid=c", "Server=x;Password=[REDACTED];Uid=c"),
        ("Cookie: a=b; c=d\nHost: x", "Cookie: [REDACTED]\nHost: x"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: [REDACTED]"),
        ('curl -H "X-API-Key: abc" x', 'curl -H "X-API-Key: [REDACTED]" x'),
        (
            'log: {"user": "x", "password": "y z", "n": 1} end',
            'log: {"user": "x", "password": "[REDACTED]", "n": 1} end',
        ),
        ("123-45-6789", "[SSN]"),
        ("+1 415 555 2671", "[PHONE]"),
        ("+4915112345678", "[PHONE]"),
        ("(415) 555-2671", "[PHONE]"),
        ("415-555-2671", "[PHONE]"),
        ("1-800-555-0199 x", "[PHONE] x"),
        ("+44 (0)20 7946 0958", "[PHONE]"),
        ("GB82 WEST 1234 5698 7654 32", "[IBAN]"),
        ("to DE89370400440532013000!", "to [IBAN]!"),
    ],
)
def test_replacements(text: str, kept: str, args: Args) -> None:
    assert args(text) == kept


@pytest.mark.parametrize(
    "token",
    [
        "xoxc-1234567890-abcdefghijkl",
        "xoxd-abcDEF123ghijkl",
        "dckr_pat_abcdefghijklmnop12345",
        "sbp_0123456789abcdef0123456789abcdef01234567",
        "sb_secret_abcdefghijklmnop12",
        "r8_abcdefghijklmnopqrstuvwxyz0123456789",
        "pcsk_abc123_ABCdefGHIjkl",
        "lsv2_pt_0123456789abcdef0123456789abcdef_0123456789",
        "xkeysib-0123456789abcdef0123456789abcdef-abcdef",
        "CCIPAT_abc123def456",
        "ops_eyJzaWduSW5BZGRyZXNzIjoibXkuMXBhc3N3b3JkLmNvbSJ9",
        "HRKU-AAabcdef0123456789",
        "abcdefghijklmn.atlasv1.abcdefghijklmnopqrstuvwxyz0123456789",
        "abc8Q~0123456789abcdefghijABCDEFGHIJ_.~x",
        "patAbCdEfGhIjKlMn.0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "ABSKQmVkcm9ja0FQSUtleS1hYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0NTY3ODk",
        "sk_org_live_abcdef0123456789ABCDEF",
        "pi_3MtwBwLkdIwHu7ix28a3tqPa_secret_YrKJUKribcBjcG8HVhfZluoGH",
        "ATCTT3xFfGN0abcdefghij0123456789ABCDEF",
        "0123456789abcdef0123456789abcdef0123FFFFNRAL",
        "0123456789abcdef0123456789abcdef-us12",
        "sqp_0123456789abcdef0123456789abcdef01234567",
        "dt0c01.ABCDEFGHIJKLMNOPQRSTUVWX.ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ01",
        "nvapi-abcdefghijklmnopqrstuvwxyz0123456789",
        "tvly-dev-abcdefghijklmnopqrstuvwxyz01",
        "pat-na1-01234567-89ab-cdef-0123-456789abcdef",
        "access-production-01234567-89ab-cdef-0123-456789abcdef",
        "re_ABCdef12_abcdefghijklmnopqrst0123",
        "1//0gAbCdEfGhIjKlMnOpQrStUvWxYz0123456789_-abcdef",
        "MTAxMjM0NTY3ODkwMTIzNDU2Nzg.GabcDE.abcdefghijklmnopqrstuvwxyz0123456789AB",
        "$2b$12$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234",
        "$6$rounds=5000$saltsalt$abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789./",
        "pbkdf2_sha256$600000$abcdefghijkl$ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdef=",
        "abcdefghij" * 5 + "abJQQJ99BAACYeBjFXJ3w3AAABACOGabcd",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789" * 2 + "abcd+AStabcdeA==",
        "https://example.webhook.office.com/webhookb2/a-b@c-d/IncomingWebhook/0123456789abcdef/e-f",
        "123456789:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bc",
        "https://api.telegram.org/bot123456789:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bc/getMe",
    ],
)
def test_tokens_by_their_prefixes(token: str, args: Args) -> None:
    for text in (token, f"use {token}.", f"[{token}]"):
        kept = args({"a": text})["a"]
        assert "[TOKEN]" in kept
        assert token[-12:] not in kept
        assert token[10:22] not in kept or token.startswith("https")


@pytest.mark.parametrize("number", [4111111111111111, 378282246310005, 4111111111111111.0, -4111111111111111])
def test_numbers_are_looked_at(number: float, args: Args) -> None:
    assert "4111" not in orjson.dumps(args({"n": number})).decode()
    assert "[CARD]" in args({"n": number})["n"]


def test_private_keys_go_whole(args: Args) -> None:
    pem = "-----BEGIN OPENSSH PRIVATE KEY-----\nMIIEabc\ndef==\n-----END OPENSSH PRIVATE KEY-----"
    assert args(f"a {pem} b") == "a [REDACTED] b"
    assert args(pem[:60]) == "[REDACTED]"  # the end is missing
    assert args(f"key: {pem}") == "key: [REDACTED]"


WRAPPERS: dict[str, Callable[[str], Any]] = {
    "alone": lambda text: text,
    "in a member": lambda text: {"note": text},
    "in a list": lambda text: [["x", text]],
    "in prose": lambda text: f"before {text} after",
    "after a line": lambda text: f"first\n{text}\nlast",
    "after a tab": lambda text: f"a\t{text}\tb",
    "as a key": lambda text: {text: 1},
    "in json": lambda text: json.dumps({"a": [text]}),
    "in ascii json": lambda text: json.dumps({"ü": text}, ensure_ascii=True),
    "in json behind odd spaces": lambda text: "\ufeff\u00a0" + json.dumps({"ü": text}),
    "in three levels of json": lambda text: json.dumps({"a": json.dumps({"b": json.dumps([text])})}),
    "in base64": lambda text: base64.b64encode(f"some text and {text} and more".encode()).decode(),
    "in base64url": lambda text: (
        base64.urlsafe_b64encode(f"ÿÿ {text} is the value".encode()).decode().rstrip("=")
    ),
    "in json in base64 in json": lambda text: json.dumps(
        {"a": base64.b64encode(json.dumps({"b": text, "c": "x" * 20}).encode()).decode()}
    ),
    "behind a long text": lambda text: "x y " * 300 + text,
    "across the cut": lambda text: "x" * 190 + " " + text,
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("name", canaries.CLASSES)
def test_canaries(name: str, wrapper: str, redactor: Any) -> None:
    for seed in range(3):
        canary = next(c for c in canaries.canaries(seed) if c.name == name)
        body = redactor.redact(event(WRAPPERS[wrapper](canary.value)))
        assert not canaries.found(canary.fragments, body), (canary.value, body)


def test_canaries_are_what_they_say() -> None:
    assert len(canaries.CLASSES) >= 25
    for canary in canaries.canaries(1):
        assert canaries.found(canary.fragments, canary.value.encode()), canary.name
        encoded = json.dumps({"a": json.dumps({"b": canary.value})}).encode()
        assert canaries.found(canary.fragments, encoded), canary.name
        assert canaries.found(canary.fragments, base64.b64encode(canary.value.encode())), canary.name
    assert list(canaries.canaries(1)) == list(canaries.canaries(1)) != list(canaries.canaries(2))


def test_sensitive_arguments_of_every_spelling(redactor: Any) -> None:
    given, fragments = canaries.arguments(3)
    body = redactor.redact(event(given))
    assert not canaries.found(fragments, body)


# --- the configuration's patterns -----------------------------------------------------------------------


def test_configured_patterns() -> None:
    settings = RedactionSettings(
        unknown_schema="keep",
        patterns={"EMPLOYEE": r"\bE-\d{5}\b", "LINE": r"^top$", "CITY": "(?i)zürich", "SHORT": "\\b42\\b"},
    )
    redactor = make(settings)

    def kept(value: Any) -> Any:
        return orjson.loads(redactor.redact(event(value)))["request"]["args"]

    assert kept({"a": "by E-12345", "b": "xE-123456", "E-12345": 42}) == {
        "a": "by [EMPLOYEE]", "b": "xE-123456", "[EMPLOYEE]": "[SHORT]",
    }  # fmt: skip
    assert kept(["top", "not top", "ZÜRICH\n"]) == ["[LINE]", "not top", "[CITY]\n"]
    assert kept({"plain": "x"}) == {"plain": "x"}
    # What one rule leaves is looked at by all of them again, the configured ones too.
    assert kept(["password=a b E-12345", "E-12345 a@b.cd E-54321"]) == [
        "password=[REDACTED] b [EMPLOYEE]", "[EMPLOYEE] [EMAIL] [EMPLOYEE]",
    ]  # fmt: skip


@pytest.mark.parametrize("pattern", ["(?=x)", "(", "x{5000}", "a*", "", "\ud800"])
def test_a_pattern_that_cannot_be_used_is_refused_in_one_line(pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"redaction\.patterns\.BAD: ") as caught:
        make(RedactionSettings(patterns={"BAD": pattern}))
    assert "\n" not in str(caught.value)


def test_a_name_that_would_break_the_marker_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a name"):
        make(RedactionSettings(patterns={"a]b": "x"}))
