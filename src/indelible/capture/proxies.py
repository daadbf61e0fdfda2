"""Who sent a request that came through proxies: what they say counts only as far as they are trusted. Pure.

The rule: addresses are read from the right. The socket's other end is known; what a proxy wrote is believed when who
handed it on is trusted. The first that is not trusted is the client: anything to its left is its own word.

There are two headers, and most proxies write one of them and hand the other on as the client sent it. So unless it is
said which one counts, they must agree: where both are there and tell of two clients, neither is believed.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from indelible.config import IdentitySettings, ProxyHeader

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_HOPS: Final = 64
"""Addresses of one request that are looked at, from the right."""

MAX_HEADER: Final = 16_384
"""Bytes of such a header that are looked at, from the right."""


class Trusted(NamedTuple):
    """Whose word counts, and in which header."""

    networks: tuple[Network, ...] = ()
    header: ProxyHeader | None = None
    """None: in either, if they agree."""


NOBODY: Final = Trusted()


def trusted(identity: IdentitySettings) -> Trusted:
    """Return whose word counts by a configuration, whose parser has looked that its networks are some."""
    return Trusted(networks(identity.trusted_proxies), identity.proxy_header)


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return addresses and networks as such."""
    return tuple(ipaddress.ip_network(each) for each in texts)


def client_of(peer: str | None, headers: Sequence[tuple[bytes, bytes]], trusted: Trusted) -> str | None:
    """Return the address of who sent a request, in its canonical form.

    `peer` is the socket's other end, None for a Unix socket, which is trusted when anything is: whoever could connect
    was let in by the file's mode. `headers` are as ASGI has them. An address that cannot be read (``unknown``,
    ``_hidden``) ends the walk: the last one that was read is the answer.
    """
    nearest = None if peer is None else _address(peer)
    if not trusted.networks or (nearest is not None and not _is_trusted(nearest, trusted.networks)):
        return peer if nearest is None else str(nearest)
    if nearest is None and peer:  # a name, as test clients have: it is in no network
        return peer
    socket = None if nearest is None else str(nearest)
    told = {_walked(socket, hops, trusted.networks) for hops in _told(headers, trusted.header)}
    return told.pop() if len(told) == 1 else socket


def _walked(nearest: str | None, hops: Sequence[str], trusted: Sequence[Network]) -> str | None:
    """Return the first address from the right that is not trusted, else the last that can be read."""
    found = nearest
    for text in reversed(hops[-MAX_HOPS:]):
        address = _address(text)
        if address is None:
            break
        found = str(address)
        if not _is_trusted(address, trusted):
            break
    return found


def _told(headers: Sequence[tuple[bytes, bytes]], header: ProxyHeader | None) -> list[list[str]]:
    """Return what stands in each header that counts, nearest last; an element without ``for`` is empty."""
    found = []
    if header != "x-forwarded-for" and (forwarded := _header(headers, b"forwarded")):
        found.append([_for(element) for element in _elements(forwarded)])
    if header != "forwarded" and (listed := _header(headers, b"x-forwarded-for")).strip(" ,"):
        found.append([part.strip() for part in listed.split(",") if part.strip()])
    return found


def _header(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> str:
    """Return the values of a header as one list, as RFC 9110 (section 5.3) joins them."""
    whole = b",".join(value for key, value in headers if key.lower() == name)
    if len(whole) > MAX_HEADER:
        whole = whole[-MAX_HEADER:].partition(b",")[2]
    return whole.decode("latin-1")


def _elements(text: str) -> list[str]:
    """Return the elements of a list, cut at commas outside of quotes as they are seen from the right.

    From the left, a quote that the client left open would swallow what the proxies wrote after it.
    """
    elements, quoted, end = [], False, len(text)
    for at in range(len(text) - 1, -1, -1):
        if text[at] == '"':
            quoted = not quoted
        elif text[at] == "," and not quoted:
            elements.append(text[at + 1 : end])
            end = at
    elements.append(text[:end])
    return [element for element in reversed(elements) if element.strip()]


def _for(element: str) -> str:
    """Return the node identifier of an element of ``Forwarded`` (RFC 7239, section 6)."""
    for pair in element.split(";"):
        name, _, value = pair.partition("=")
        if name.strip().lower() == "for":
            return value.strip().strip('"')
    return ""


@functools.lru_cache(maxsize=1024)
def _address(text: str) -> Address | None:
    """Return the address of ``192.0.2.1``, ``192.0.2.1:80``, ``[2001:db8::1]:80`` or ``2001:db8::1``; None for others.

    A zone is left out: it means something on that machine only. A mapped IPv4 address is that IPv4 address.
    """
    if text[:1] == "[":
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)
