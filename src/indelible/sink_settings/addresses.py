"""Which addresses are public, and which are of this machine or its network. Pure.

A name in a URL means what its owner says it means: one that answers with an address of our network would have us reach
services there in their name, such as a cloud's metadata at 169.254.169.254 (CWE-918). So an address is judged after
the name was resolved, and it is that address that is connected to.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

_WITH_IPV4: Final = tuple(map(IPv6Network, ("64:ff9b::/96", "::ffff:0:0:0/96", "::/96")))
"""An IPv4 address in the last 32 bits: NAT64's (RFC 6052, section 2.1), SIIT's (RFC 2765), and what was deprecated by
RFC 4291, section 2.5.5.1."""

_NOT_PUBLIC: Final = tuple(
    map(IPv6Network, ("64:ff9b:1::/48", "fec0::/10", "5f00::/16", "3fff::/20", "100::/8"))
)
"""What older Pythons do not know: NAT64 of one network (RFC 8215), site-local (RFC 3879), segment routing (RFC 9602),
documentation (RFC 9637), and discarding (RFC 6666)."""


def is_public(address: str) -> bool:
    """Tell whether an address is one of the Internet's: global, and of one machine. A scope (``%eth0``) may follow."""
    ip = _meant(ip_address(address.partition("%")[0]))
    is_ours = isinstance(ip, IPv6Address) and any(ip in network for network in _NOT_PUBLIC)
    return ip.is_global and not ip.is_multicast and not is_ours


def is_loopback(address: str) -> bool:
    """Tell whether an address is this machine's own: not whether somebody on the way may make it that."""
    ip = ip_address(address.partition("%")[0])
    return ((isinstance(ip, IPv6Address) and ip.ipv4_mapped) or ip).is_loopback


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
    if any(ip in network for network in _WITH_IPV4) and int(ip) > 1:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    teredo = ip.teredo[1] if ip.teredo else None
    return ip.ipv4_mapped or ip.sixtofour or teredo or ip
