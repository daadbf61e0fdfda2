"""Where secrets stand in practice: command lines, headers, URLs, traces, names of files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from indelible.config import RedactionSettings
from indelible.redact.explain import Explainer
from tests.redacting import KEY

Args = Callable[[Any], Any]

TRACE = """Traceback (most recent call last):
  File "/srv/app/login.py", line 3, in login
    connect(host, password="{}")
sqlalchemy.exc.OperationalError: (psycopg2) FATAL: postgresql://ada:{}@db.example.com/x?sslmode=require
locals: {{'user': 'ada', 'api_key': '{}', 'retries': 3}}"""


@pytest.mark.parametrize(
    ("text", "left"),
    [
        # command lines, also as a program prints its list of arguments
        ("run ['--password', 'x1y2', '-v']", "run ['--password', '[REDACTED]', '-v']"),
        ('args: ["--password", "x1y2"]', 'args: ["--password", "[REDACTED]"]'),
        ("deploy --api-key x1y2 -v", "deploy --api-key [REDACTED] -v"),
        ("PGPASSWORD=x1y2 psql -h db", "PGPASSWORD=[REDACTED] psql -h db"),
        # headers
        ("Authorization: Basic YWRhOmh1bnRlcjI=", "Authorization: [REDACTED]"),
        ('Authorization: Digest username="ada", response="6629fae4"', "Authorization: [REDACTED]"),
        ("Cookie: a=b; sid=x1y2\nHost: h", "Cookie: [REDACTED]\nHost: h"),
        ("Set-Cookie: sid=x1y2; HttpOnly", "Set-Cookie: [REDACTED]"),
        ("X-Api-Key: x1 y2", "X-Api-Key: [REDACTED]"),
        ("curl -H 'Authorization: token x1y2' https://h/", "curl -H 'Authorization: [REDACTED]' https://h/"),
        # URLs
        ("redis://:x1y2@h:6379/0", "redis://[REDACTED]@h:6379/0"),
        ("https://ada:x1y2@h/a?b=c", "https://[REDACTED]@h/a?b=c"),
        ("https://h/cb#access_token=x1y2&state=1", "https://h/cb#access_token=[REDACTED]&state=1"),
        ("https://h/?a[password]=x1y2&b=1", "https://h/?a[password]=[REDACTED]&b=1"),
        ("https://h/x?sig=A/token = x1y2", "https://h/x?sig=[REDACTED]/token = [REDACTED]"),
        ("Bearer abcdef/--ssn x1y2", "Bearer [TOKEN]/--secret [REDACTED]"),
        # names of files
        ("/tmp/ssn_078-05-1120.txt", "/tmp/ssn_[SSN].txt"),
        ("/tmp/415-555-2671.vcf", "/tmp/[PHONE].vcf"),
        ("card-4111111111111111.pdf", "card-[CARD].pdf"),
        ("/tmp/ghp_abcdefghij0123456789.txt", "/tmp/[TOKEN].txt"),
        ("/srv/mail/ada@example.com", "/srv/mail/[EMAIL]"),
        # several words, where a line says where they end
        ("passphrase: correct horse battery staple", "passphrase: [REDACTED]"),
        (
            TRACE.format("x1y2", "x1y2", "x1y2"),
            TRACE.format("[REDACTED]", "@", "[REDACTED]").replace("ada:@@", "[REDACTED]@"),
        ),
    ],
)
def test_in_texts(text: str, left: str, args: Args) -> None:
    assert args({"v": text}) == {"v": left}
    assert args({"v": left}) == {"v": left}


@pytest.mark.parametrize(
    "text", ["version 078-05-1120.5", "build 415-555-2671.9", "['--verbose', 'x1y2']", "a --b 'c'"]
)
def test_what_is_near_to_it_stays(text: str, args: Args) -> None:
    assert args({"v": text}) == {"v": text}


HEADERS: list[dict[str, Any]] = [
    {"name": "Authorization", "value": "x1y2"},
    {"key": "password", "value": 77, "enabled": True},
    {"header": "X-Api-Key", "value": ["x1y2"]},
    {"variable": "DB_PASSWORD", "value": "x1y2"},
    {"id": "x", "label": "Password", "value": "x1y2"},
    {"name": "Password field", "type": "textbox", "ref": "e3", "value": "x1y2"},
    {"selector": 'form input[name="password"]', "value": "x1y2"},
    {"op": "replace", "path": "/spec/db/password", "value": "x1y2"},
    {"field": "пароль", "value": "x1y2"},
]
OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"element": "Password input on page", "ref": "e5", "text": "x1y2", "submit": True}, "text"),
    ({"Key": "DB_PASSWORD", "Value": "x1y2"}, "Value"),
    ({"Name": "/app/db/password", "Value": "x1y2", "Type": "SecureString"}, "Value"),
    ({"ParameterKey": "DBPassword", "ParameterValue": "x1y2"}, "ParameterValue"),
    ({"name": "X-Api-Key", "values": ["x1y2"]}, "values"),
]
"""What is named by other members: fields of a page as browsers are told to fill them in, tags and parameters of AWS."""
HARMLESS: list[dict[str, Any]] = [
    {"name": "Accept", "value": "*/*"},
    {"name": "the password of the day", "value": "prose"},
    {"name": "token_count", "value": 7},
    {"name": 7, "value": "x"},
    {"value": "x"},
    {"name": "password"},
    {"name": "Password policy", "value": "strict"},
    {"element": "Search box", "ref": "e5", "text": "password"},
    {"type": "text", "text": "password"},
    {"Key": "Owner", "Value": "ada"},
]


def test_a_name_and_its_value_beside_it(args: Args) -> None:
    left = [{**one, "value": "[REDACTED]"} for one in HEADERS]
    assert args({"headers": HEADERS}) == {"headers": left}
    assert args({"j": '{"request": {"headers": [{"name": "Cookie", "value" : "x1y2"}]}}'}) == {
        "j": '{"request":{"headers":[{"name":"Cookie","value":"[REDACTED]"}]}}'
    }
    assert args(HARMLESS) == HARMLESS
    explainer = Explainer(RedactionSettings(), KEY)
    redacted, found = explainer.document({"headers": HEADERS + HARMLESS})
    assert redacted == {"headers": left + HARMLESS}
    assert [(one.rule, one.path) for one in found] == [
        ("key", f".headers[{n}].value") for n in range(len(HEADERS))
    ]
    drops = Explainer(RedactionSettings(strategies={"key:Cookie": "drop"}), KEY)
    redacted, found = drops.document([{"name": "Cookie", "value": "x1y2", "z": "password=x"}])
    assert redacted == [{"name": "Cookie", "z": "password=[REDACTED]"}]
    assert [(one.rule, one.strategy) for one in found] == [("key", "drop"), ("pair", "full")]


@pytest.mark.parametrize(("given", "key"), OTHERS)
def test_a_value_that_another_member_names(given: dict[str, Any], key: str, args: Args) -> None:
    assert args({"a": given}) == {"a": {**given, key: "[REDACTED]"}}
    redacted, found = Explainer(RedactionSettings(), KEY).document([given])
    assert redacted == [{**given, key: "[REDACTED]"}]
    assert [(one.rule, one.path) for one in found] == [("key", f".[0].{key}")]
