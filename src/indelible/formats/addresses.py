"""Addresses of peers, for formats whose fields take nothing else. Pure."""

from __future__ import annotations

import ipaddress
from functools import lru_cache


@lru_cache(maxsize=1024)
def ip_version(text: str) -> int | None:
    """Return 4 or 6, None for what is no address; one with a zone (RFC 4007) is none that a SIEM takes."""
    if "%" in text:
        return None
    try:
        return ipaddress.ip_address(text).version
    except ValueError:
        return None
