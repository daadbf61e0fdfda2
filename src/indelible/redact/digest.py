"""Keyed digests: HMAC-SHA256 (RFC 2104) with both pads hashed once.

A digest answers "was it this value?" to whoever holds the key, and nothing to anybody else: guessing a
short secret from an unkeyed hash would be easy. Copying the two prepared states costs half of what
`hmac.digest` does.
"""

from __future__ import annotations

import hashlib
from typing import Final

from indelible.redact.limits import DIGEST_HEX

_BLOCK: Final = 64
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))


class Digester:
    """HMAC-SHA256 under one key; safe to use from several threads."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        """Prepare `key`, of any length; longer than a block it is hashed first (RFC 2104, section 2)."""
        if len(key) > _BLOCK:
            key = hashlib.sha256(key).digest()
        padded = key.ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(padded.translate(_INNER))
        self._outer = hashlib.sha256(padded.translate(_OUTER))

    def hex(self, data: bytes) -> str:
        """Return the HMAC of `data` as 64 lowercase hex digits."""
        inner = self._inner.copy()
        inner.update(data)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest()

    def short(self, text: str) -> str:
        """Return the first `DIGEST_HEX` digits of the HMAC of a text's UTF-8, lone surrogates as they are."""
        return self.hex(text.encode("utf-8", "surrogatepass"))[:DIGEST_HEX]
