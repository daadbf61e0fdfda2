"""Secrets of sinks: read where the settings say they stand, each time a connection is made, and shown nowhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from indelible.errors import ConfigError

if TYPE_CHECKING:
    from indelible.sink_settings.parts import Secret

MAX_BYTES: Final = 65_536
"""Of a file; a token is some hundred."""


def read_secret(secret: Secret, key: str) -> str:
    """Return a secret as text, without the line end that editors put behind it.

    `key` is what it is for, as the keys of the configuration have it. Raises ConfigError, which does not show it.
    """
    if secret.env is not None:
        where, text = f"{key}_env: ${secret.env}", os.environ.get(secret.env)
        if text is None:
            raise ConfigError(f"{key}_env: environment variable {secret.env} is not set")
    else:
        where = f"{key}_file: {secret.file}"
        try:
            with Path(str(secret.file)).open("rb") as file:
                text = file.read(MAX_BYTES + 1).decode()
        except OSError as exc:
            raise ConfigError(f"{where}: {exc.strerror}") from exc
        except UnicodeDecodeError:
            raise ConfigError(f"{where}: holds no text") from None
    text = text.strip()
    if not text or len(text) > MAX_BYTES:
        raise ConfigError(f"{where} is {'too long' if text else 'empty'}")
    return text
