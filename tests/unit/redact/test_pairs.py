"""Names with their values in a text: several of them, glued together in every way, and what only looks so."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.config import RedactionSettings
from indelible.redact.texts import Texts, settled

TEXTS = Texts(RedactionSettings())

FORMS = (
    "password={}",
    "password: {}",
    "aws_secret_access_key = {}",
    "apiKey := {}",
    "X-API-Key: {}",
    'db_password = "{}"',
    "client_secret='{}'",
    "--password {}",
    "--token={}",
    "password%3D{}",
    "the password is 7{}",
    "token: [{}]",
    "Authorization: Bearer {}",
    "token=bearer {}",
    "Cookie: sid={}; theme=dark",
)
GLUE = ("/", "#", "&", ";", ",", "|", " ", "\n", "\t", "?", " / ", "; ", ", ", "&&", "//", "?q=", " - ", ")(")

secrets = st.text(alphabet="ABCDEFGHKLMNQRSUVWXYZ", min_size=8, max_size=12)


@given(
    st.sampled_from(FORMS),
    st.sampled_from(FORMS),
    st.sampled_from(GLUE),
    st.sampled_from(GLUE),
    secrets,
    secrets,
)
@settings(deadline=None, max_examples=600)
def test_of_glued_pairs_no_secret_is_left(
    one: str, other: str, glue: str, last: str, first_secret: str, second_secret: str
) -> None:
    pairs = (one.replace("{}", first_secret), other.replace("{}", second_secret))
    for text in (
        glue.join(pairs),
        glue.join(pairs) + last + "x",
        f"https://example.com/a{glue}{last.join(pairs)}",
    ):
        kept = TEXTS.redact(text)
        assert first_secret not in kept, kept
        assert second_secret not in kept, kept
        assert TEXTS.redact(kept) == kept


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("secret_key = ABC/secret_key = DEF", "secret_key = [REDACTED] = [REDACTED]"),
        ("password=a/token=b, next", "password=[REDACTED] next"),
        ("password=a/token=bearer b c", "password=[REDACTED] c"),
        ('password=a/token="b c" d', 'password=[REDACTED]"[REDACTED]" d'),
        ("password=a/tokens: [b, c] d", "password=[REDACTED] [REDACTED] d"),
        ("password=a/Cookie: b=c; d=e\nf", "password=[REDACTED] [REDACTED]\nf"),
        ("--password a/--token b c", "--password [REDACTED] [REDACTED] c"),
        ("token = a/--password b", "token = [REDACTED] [REDACTED]"),
        ("token = a/password is 7b c", "token = [REDACTED] is [REDACTED] c"),
        ('Bearer abcdef/api_key="b c" d', 'Bearer [TOKEN]="[REDACTED]" d'),
        ("Bearer abcdef/api_key: b c", "Bearer [TOKEN]: [REDACTED] c"),
        ("Bearer abcdef/--my-token b c", "Bearer [TOKEN]/--token [REDACTED] c"),
        # Quotes and brackets say where a value ends: what stands behind is another's.
        ('{"password": "token:", "n": 1, x', '{"password": "[REDACTED]", "n": 1, x'),
        ("password: [token: a] b", "password: [REDACTED] b"),
        ("password=a&next = b", "password=[REDACTED]&next = b"),
        ("password=a user = b", "password=[REDACTED] user = b"),
        ("max_tokens = 5/token_count = 6", "max_tokens = 5/token_count = 6"),
    ],
)
def test_where_a_value_ends(text: str, kept: str) -> None:
    assert TEXTS.redact(text) == kept


words = st.sampled_from(
    ["Bearer", "bearer", "basic", "Basic", "password", "token", "is", "was", "a", "key", "api", "Private", "Zm9vYmFy",
     "dXNlcjpwYXNz", "abcdefghijkl", "abcdefabcdef", "[EMAIL]", "[REDACTED]", "[CARD]", "[TOKEN]", "eyJ", "dapi",
     ".", ",", "!", "(", ")", "'", " ", " ", " ", "7", "-", "x@y.zz", "AKIA", "sk"]
)  # fmt: skip


@given(st.lists(words, max_size=8).map("".join))
@settings(deadline=None, max_examples=800)
def test_what_is_settled_holds_nothing(text: str) -> None:
    if settled(text.encode()):
        assert TEXTS.redact(text) == text
