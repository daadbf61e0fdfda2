"""Names with their values in a text: several of them, glued together in every way, and what only looks so."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.config import RedactionSettings
from indelible.redact.texts import Texts, settled
from tests.effort import examples
from tests.redacting import stays_linear

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
    "Bearer abcdef.{}",
    "https://example.com/a?sig={}",
    "--ssn {}",
    "**Password:** {}",
    "password: str = '{}'",
    "api_key = f'{}'",
    "WITH PASSWORD = N'{}'",
    "ПАРОЛЬ={}",
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
@settings(deadline=None, max_examples=examples(600))
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
        # What a token takes with it may end as a name: a fixed word stays for it, and its value goes.
        ('Bearer abcdef/api_key="b c" d', 'Bearer [TOKEN]/api_key="[REDACTED]" d'),
        ("Bearer abcdef/api_key: b c", "Bearer [TOKEN]/api_key: [REDACTED] c"),
        ("Bearer abcdef/--my-token b c", "Bearer [TOKEN]/--token [REDACTED] c"),
        ("Bearer abcdef/--ssn b c", "Bearer [TOKEN]/--secret [REDACTED] c"),
        ("Bearer abcdef.db_cvv = b c", "Bearer [TOKEN]/secret = [REDACTED] c"),
        ("Bearer abcdef/token=bearer b c", "Bearer [TOKEN]/token=[REDACTED] c"),
        ("Bearer abcdef/Set-Cookie: b=c; d=e", "Bearer [TOKEN]/cookie: [REDACTED]"),
        ("Bearer abcdef/password is 7b c", "Bearer [TOKEN]/password is [REDACTED] c"),
        ("xoxb-123456-token: b c", "[TOKEN]/token: [REDACTED] c"),
        ("sk-abc123def/password = b", "[TOKEN]/password = [REDACTED]"),
        ("sk-abc123def-password = b", "[TOKEN]/password = [REDACTED]"),
        ("/x?sig=A/token = B c", "/x?sig=[REDACTED]/token = [REDACTED] c"),
        ("/x?sig=A/api-key: B c", "/x?sig=[REDACTED]/api-key: [REDACTED] c"),
        ("/x?sig=A/--ssn B c", "/x?sig=[REDACTED]/--secret [REDACTED] c"),
        ("/x?sig=A/pin) := B c", "/x?sig=[REDACTED]/pin := [REDACTED] c"),
        ("token=bearer abcdefgh/Bearer abc.def", "token=[REDACTED] [TOKEN]"),
        ("/a?sig=A?q=Bearer abc.def", "/a?sig=[REDACTED] [TOKEN]"),
        ("Bearer abcdef/Basic dXNlcjpwYXNz x", "Bearer [TOKEN]/basic [TOKEN] x"),
        ("/a?sig=A?q=apiKey := B c", "/a?sig=[REDACTED]/apiKey := [REDACTED] c"),
        # What stands behind a token that does not end so is nobody's value.
        ("Bearer abcdef: word", "Bearer [TOKEN]: word"),
        ("Bearer abcdef/xyz: word", "Bearer [TOKEN]: word"),
        ("Bearer abcdef = word", "Bearer [TOKEN] = word"),
        ("xoxb-123456-abcdef: word", "[TOKEN]: word"),
        ("/x?sig=A/b = word", "/x?sig=[REDACTED] = word"),
        ("/x?sig=A/token", "/x?sig=[REDACTED]"),
        ("Bearer abcdef/token word", "Bearer [TOKEN] word"),
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


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("password: correct horse battery staple", "password: [REDACTED]"),
        (
            "region: eu\n  db_password: correct horse\nzone: a b",
            "region: eu\n  db_password: [REDACTED]\nzone: a b",
        ),
        ("- secret: my dog Rex! # a comment", "- secret: [REDACTED] # a comment"),
        ("**Password**: correct horse\r\nb", "**Password**: [REDACTED]\r\nb"),
        ("mnemonic: abandon ability able about above absent", "mnemonic: [REDACTED]"),
        ("password:\n  correct horse\nb: c", "password:\n  [REDACTED]\nb: c"),
        ("password: |\n  correct horse, (battery)\nb: c", "password: |\n  [REDACTED]\nb: c"),
        ("password: >-\n  correct horse\nb: c", "password: >-\n  [REDACTED]\nb: c"),
        # It ends at a comma, a flag, a comment, the next pair.
        ("password: hunter2, next", "password: [REDACTED] next"),
        ("password: correct horse, next", "password: [REDACTED], next"),
        ("password: hunter2 --verbose x", "password: [REDACTED] --verbose x"),
        ("password: a b user: c d", "password: [REDACTED] user: c d"),
        ("password: a b token: c d", "password: [REDACTED] token: [REDACTED] d"),
        ("password: a b user = c", "password: [REDACTED] user = c"),
        ("password: 'a b' c", "password: '[REDACTED]' c"),
        # In the middle of a line it cannot be told from prose, nor after an equals sign from a command.
        ("the password: hunter2 is old", "the password: [REDACTED] is old"),
        ("PASSWORD=hunter2 psql -h db", "PASSWORD=[REDACTED] psql -h db"),
        ("password = hunter2 and more", "password = [REDACTED] and more"),
        ("password: str = None", "password: str = None"),
        ("token: string that is opaque", "token: string that is opaque"),
        ("password =>\n  hunter2 more", "password =>\n  [REDACTED] more"),
    ],
)
def test_values_of_several_words(text: str, kept: str) -> None:
    assert TEXTS.redact(text) == kept
    assert TEXTS.redact(kept) == kept


@pytest.mark.parametrize(
    "block",
    ["password: a b\n", "password: ", "password: a ", "- password: ", "a password: |\n", "\n        password:\n",
     "/token", "Bearer a/token", "?sig=a/token: ", "x" * 79 + "password: a b", "-.", " --a.", "--password --password ",
     "@a.", ".@"],
)  # fmt: skip
def test_time_grows_with_the_size(block: str) -> None:
    assert stays_linear(TEXTS.redact, block)


words = st.sampled_from(
    ["Bearer", "bearer", "basic", "Basic", "password", "token", "is", "was", "a", "key", "api", "Private", "Zm9vYmFy",
     "dXNlcjpwYXNz", "abcdefghijkl", "abcdefabcdef", "[EMAIL]", "[REDACTED]", "[CARD]", "[TOKEN]", "eyJ", "dapi",
     ".", ",", "!", "(", ")", "'", " ", " ", " ", "7", "-", "x@y.zz", "AKIA", "sk"]
)  # fmt: skip


@given(st.lists(words, max_size=8).map("".join))
@settings(deadline=None, max_examples=examples(800))
def test_what_is_settled_holds_nothing(text: str) -> None:
    if settled(text.encode()):
        assert TEXTS.redact(text) == text
