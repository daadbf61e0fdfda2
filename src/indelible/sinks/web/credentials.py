"""Who we are, in the headers of a request; and messages that do not say it again."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from indelible.errors import ConfigError
from indelible.sinks.secrets import read_secret
from indelible.sinks.web import signing

if TYPE_CHECKING:
    from indelible.sink_settings.http import HttpSettings
    from indelible.sink_settings.parts import Secret

REDACTED = "[REDACTED]"

_HEADER_TEXT = re.compile(r"[!-~]+(?: [!-~]+)*")


class Credentials(NamedTuple):
    """What is secret of a sink, as it was read last."""

    headers: Sequence[tuple[str, str]] = ()
    keys: Sequence[bytes] = ()
    """What requests are signed with."""
    words: Sequence[str] = ()
    """Texts that no message may show."""

    def clean(self, text: str) -> str:
        """Return a text without what is secret: a receiver may repeat in an answer what it was sent."""
        for word in self.words:
            text = text.replace(word, REDACTED)
        return text


def read(settings: HttpSettings) -> Credentials:
    """Return the credentials as they are now. Raises ConfigError, which shows none."""
    headers: list[tuple[str, str]] = []
    words: list[str] = []
    keys: Sequence[bytes] = ()
    if settings.token is not None:
        token = _for_header(settings.token, "token")
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
    words += list(settings.headers.values())
    return Credentials(headers, keys, sorted(words, key=len, reverse=True))


def _for_header(secret: Secret, key: str) -> str:
    text = read_secret(secret, key)
    if not _HEADER_TEXT.fullmatch(text):
        raise ConfigError(f"{key}: holds what no header may; expected ASCII on one line")
    return text
