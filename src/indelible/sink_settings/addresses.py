"""Which addresses are public, and which are of this machine or its network. Pure.

A name in a URL means what its owner says it means: one that answers with an address of our network would have us reach
services there in their name, such as a cloud's metadata at 169.254.169.254 (CWE-918). So an address is judged after
the name was resolved, and it is that address that is connected to.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

_NAT64: Final = IPv6Network("64:ff9b::/96")
"""RFC 6052, section 2.1: an IPv4 address in its last 32 bits."""


def is_public(address: str) -> bool:
    """Tell whether an address is one of the Internet's: global, and of one machine. A scope (``%eth0``) may follow."""
    ip = _meant(ip_address(address.partition("%")[0]))
    return ip.is_global and not ip.is_multicast


def is_loopback(address: str) -> bool:
    """Tell whether an address is this machine's own."""
    return _meant(ip_address(address.partition("%")[0])).is_loopback


def is_local_name(host: str) -> bool:
    """Tell whether a host in a URL says by itself that it is this machine."""
    if host == "localhost":
        return True
    try:
        return is_loopback(host)
    except ValueError:
        return False


def is_private_literal(host: str) -> bool:
    """Tell whether a host in a URL is an address that is not public; a name is none."""
    try:
        return not is_public(host)
    except ValueError:
        return False


def _meant(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 address carries, where it carries one."""
    if isinstance(ip, IPv4Address):
        return ip
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    teredo = ip.teredo[1] if ip.teredo else None
    return ip.ipv4_mapped or ip.sixtofour or teredo or ip
