"""Signatures of Standard Webhooks (https://github.com/standard-webhooks/standard-webhooks, spec 1.0.0). Pure.

What is signed is ``ID.TIMESTAMP.BODY``, with HMAC-SHA-256; the body is the text of the message, before compression,
which is what their libraries take. A secret is base64 of 24 to 64 bytes, ``whsec_`` before it. Several of them, with
spaces between, give as many signatures: a receiver accepts any, so that a secret can be changed without a gap.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

PREFIX: Final = "whsec_"
MIN_BYTES: Final = 24
MAX_BYTES: Final = 64


def parse_secrets(text: str) -> tuple[bytes, ...]:
    """Return the keys that secrets stand for. Raises ValueError, which shows none of them."""
    keys = []
    for word in text.split():
        try:
            key = base64.b64decode(word.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            key = b""
        if not MIN_BYTES <= len(key) <= MAX_BYTES:
            raise ValueError(
                f"expected {PREFIX} and base64 of {MIN_BYTES} to {MAX_BYTES} bytes, "
                f"as of: echo {PREFIX}$(openssl rand -base64 32)"
            )
        keys.append(key)
    return tuple(keys)


def message_id(body: bytes) -> str:
    """Return the id of a message: the same when the same records are sent again."""
    return f"msg_{sha256(body).hexdigest()[:32]}"


def headers(keys: Sequence[bytes], message: str, timestamp: int, body: bytes) -> list[tuple[str, str]]:
    """Return the headers of a message; `timestamp` in seconds since 1970, of this attempt."""
    signed = b"%b.%d.%b" % (message.encode(), timestamp, body)
    found = [("webhook-id", message), ("webhook-timestamp", str(timestamp))]
    if keys:
        signatures = (base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys)
        found.append(("webhook-signature", " ".join(f"v1,{one}" for one in signatures)))
    return found
