"""Who we are, in the headers of a request; and messages that do not say it again."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from indelible.errors import ConfigError
from indelible.sink_settings.otlp import LOGS_PATH
from indelible.sinks.secrets import read_secret
from indelible.sinks.web import signing
from indelible.sinks.web.answers import CUT

if TYPE_CHECKING:
    from indelible.sink_settings.http import HttpSettings
    from indelible.sink_settings.parts import Secret

REDACTED: Final = "[REDACTED]"

MIN_HEADER: Final = 4
"""Characters of a header in the settings that may be a secret; a tenant's number stands in any text."""

MIN_PREFIX: Final = 4
"""So many characters of a secret are not shown where a receiver's words were cut in the middle of it."""

_HEADER_TEXT = re.compile(r"[!-~]+(?: [!-~]+)*")
_SECRET_LOOKING = re.compile(r"(?=.*[0-9A-Z]).{8,}")


class Credentials(NamedTuple):
    """What is secret of a sink, as it was read last."""

    headers: Sequence[tuple[str, str]] = ()
    keys: Sequence[bytes] = ()
    """What requests are signed with."""
    words: Sequence[str] = ()
    """Texts that no message may show."""

    def clean(self, text: str) -> str:
        """Return a text without what is secret: a receiver may repeat in an answer what it was sent."""
        return cleaned(text, self.words)


def read(settings: HttpSettings) -> Credentials:
    """Return the credentials as they are now. Raises ConfigError, which shows none."""
    headers: list[tuple[str, str]] = []
    words: list[str] = []
    keys: Sequence[bytes] = ()
    if settings.token is not None:
        token = for_header(settings.token, "token")
        headers.append((settings.token_header, f"{settings.token_scheme} {token}".lstrip()))
        words.append(token)
    if settings.username is not None and settings.password is not None:
        user = read_secret(settings.username, "username")
        password = read_secret(settings.password, "password")
        if ":" in user:
            raise ConfigError("username: must have no colon (RFC 7617, section 2)")
        basic = base64.b64encode(f"{user}:{password}".encode()).decode()
        headers.append(("Authorization", f"Basic {basic}"))
        words += [basic, password]
    if settings.secret is not None:
        text = read_secret(settings.secret, "secret")
        try:
            keys = signing.parse_secrets(text)
        except ValueError as exc:
            raise ConfigError(f"secret: {exc}") from None
        words += text.split()
    words += [text for text in settings.headers.values() if len(text) >= MIN_HEADER]
    words += _of_url(settings.url)
    return Credentials(headers, keys, sorted(words, key=len, reverse=True))


def cleaned(text: str, words: Sequence[str]) -> str:
    """Return a text without these words, and without what is left of one where the text was cut (…)."""
    for word in words:
        text = text.replace(word, REDACTED)
        if CUT in text:
            for length in range(len(word) - 1, MIN_PREFIX - 1, -1):
                text = text.replace(word[:length] + CUT, REDACTED + CUT)
    return text


def _of_url(url: str) -> list[str]:
    """Return what of a URL may be a secret: path and query as a whole, the query's values, and long parts of both."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/").removesuffix(LOGS_PATH)
    pieces = [piece for piece in (*path.split("/"), parts.query) if _SECRET_LOOKING.fullmatch(piece)]
    values = [value for _, value in parse_qsl(parts.query) if len(value) >= MIN_HEADER]
    found = {path, parts.query, *pieces, *values}
    return [word for one in found if one for word in {one, unquote(one)}]


def for_header(secret: Secret, key: str) -> str:
    """Return a secret as a header may hold it; `key` as for `read_secret`. Raises ConfigError."""
    text = read_secret(secret, key)
    if not _HEADER_TEXT.fullmatch(text):
        raise ConfigError(f"{key}: holds what no header may; expected ASCII on one line")
    return text
