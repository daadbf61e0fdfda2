"""Which address a request came from: headers count as far as who wrote them is trusted, and not one hop further."""

from __future__ import annotations

import ipaddress
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.capture import peers
from indelible.capture.proxies import NOBODY, Trusted, client_of, networks
from indelible.config import parse
from indelible.errors import ConfigError
from tests.effort import examples

TRUSTED = Trusted(networks(["10.0.0.0/8", "192.0.2.7", "2001:db8:1::/48"]))
XFF, FORWARDED = b"X-Forwarded-For", b"Forwarded"


@pytest.mark.parametrize(
    ("peer", "header", "value", "client"),
    [
        ("203.0.113.9", XFF, "1.1.1.1", "203.0.113.9"),  # not trusted: its word is its own
        ("10.1.2.3", XFF, "1.1.1.1", "1.1.1.1"),
        ("10.1.2.3", XFF, "6.6.6.6, 1.1.1.1", "1.1.1.1"),  # what stands further left, the client wrote
        ("10.1.2.3", XFF, "6.6.6.6, 1.1.1.1, 192.0.2.7, 10.9.9.9", "1.1.1.1"),
        ("10.1.2.3", XFF, "10.4.4.4", "10.4.4.4"),  # a client within
        ("10.1.2.3", XFF, "", "10.1.2.3"),
        ("10.1.2.3", XFF, "unknown", "10.1.2.3"),
        ("10.1.2.3", XFF, "1.1.1.1, junk", "10.1.2.3"),
        ("10.1.2.3", XFF, "1.1.1.1:4711", "1.1.1.1"),
        ("10.1.2.3", XFF, "[2001:db8::5]:80", "2001:db8::5"),
        ("10.1.2.3", XFF, "2001:DB8:0:0::5", "2001:db8::5"),
        ("10.1.2.3", XFF, "fe80::1%eth0", "fe80::1"),
        ("10.1.2.3", XFF, "::ffff:8.8.8.8", "8.8.8.8"),
        ("::ffff:10.1.2.3", XFF, "1.1.1.1", "1.1.1.1"),
        ("2001:db8:1::4", XFF, "1.1.1.1", "1.1.1.1"),
        ("2001:db8:2::4", XFF, "1.1.1.1", "2001:db8:2::4"),
        (None, XFF, "1.1.1.1", "1.1.1.1"),  # a Unix socket: who may connect was let in by its mode
        (None, XFF, "", None),
        ("testclient", XFF, "1.1.1.1", "testclient"),
        ("10.1.2.3", FORWARDED, "for=1.1.1.1", "1.1.1.1"),
        ("10.1.2.3", FORWARDED, 'For="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"),
        ("10.1.2.3", FORWARDED, "for=6.6.6.6;proto=http, for=1.1.1.1;by=203.0.113.43", "1.1.1.1"),
        ("10.1.2.3", FORWARDED, "proto=https;for=1.1.1.1, for=10.0.0.2", "1.1.1.1"),
        ("10.1.2.3", FORWARDED, "for=1.1.1.1, for=_hidden", "10.1.2.3"),
        ("10.1.2.3", FORWARDED, "for=unknown, for=10.0.0.2", "10.0.0.2"),
        ("10.1.2.3", FORWARDED, "proto=https", "10.1.2.3"),
        ("10.1.2.3", FORWARDED, 'for="6.6.6.6, for=1.1.1.1', "1.1.1.1"),  # a quote that the client left open
        ("10.1.2.3", FORWARDED, 'for=6.6.6.6;x="a, b", for="1.1.1.1:80"', "1.1.1.1"),
    ],
)
def test_the_first_that_is_not_trusted_is_the_client(
    peer: str | None, header: bytes, value: str, client: str | None
) -> None:
    assert client_of(peer, [(header, value.encode())], TRUSTED) == client


def test_without_trust_no_header_counts() -> None:
    headers = [(XFF, b"1.1.1.1"), (FORWARDED, b"for=2.2.2.2")]
    assert client_of("10.1.2.3", headers, NOBODY) == "10.1.2.3"
    assert client_of(None, headers, NOBODY) is None


def test_captures_within_a_server_read_them_too() -> None:
    """A request is what Starlette has: `client` and `scope`."""
    sent = [(b"x-forwarded-for", b"6.6.6.6, 1.1.1.1")]
    request = SimpleNamespace(client=SimpleNamespace(host="10.1.2.3"), scope={"headers": sent}, headers={})
    assert peers.peer_of_request(request, trusted=TRUSTED).client_ip == "1.1.1.1"
    assert peers.peer_of_request(request).client_ip == "10.1.2.3"
    assert peers.address_of(SimpleNamespace(client=None, scope=None), TRUSTED) is None


def test_several_headers_are_one_list() -> None:
    headers = [(XFF, b"6.6.6.6"), (XFF, b"1.1.1.1, 10.0.0.9")]
    assert client_of("10.1.2.3", headers, TRUSTED) == "1.1.1.1"
    assert client_of("10.1.2.3", [*headers, (b"forwarded", b"for=1.1.1.1")], TRUSTED) == "1.1.1.1"


@pytest.mark.parametrize(
    ("written", "forged"),
    [((XFF, b"1.1.1.1"), (FORWARDED, b"for=6.6.6.6")), ((FORWARDED, b"for=1.1.1.1"), (XFF, b"6.6.6.6"))],
)
def test_the_header_that_the_proxy_does_not_write_is_the_clients_word(
    written: tuple[bytes, bytes], forged: tuple[bytes, bytes]
) -> None:
    """A proxy hands on what it does not know: who sends the other header must not choose an address."""
    headers = [forged, written]
    assert client_of("10.1.2.3", headers, TRUSTED) == "10.1.2.3"
    header = parse(
        {"identity": {"proxy_header": written[0].decode().lower()}}, where="f", env={}
    ).identity.proxy_header
    assert client_of("10.1.2.3", headers, TRUSTED._replace(header=header)) == "1.1.1.1"
    assert client_of("10.1.2.3", [forged], TRUSTED._replace(header=header)) == "10.1.2.3"
    with pytest.raises(ConfigError, match=r"identity\.proxy_header: expected"):
        parse({"identity": {"proxy_header": "x-real-ip"}}, where="f", env={})


def test_a_header_without_end_is_read_from_the_right() -> None:
    long = b"6.6.6.6," * 100_000 + b"1.1.1.1"
    assert client_of("10.1.2.3", [(XFF, long)], TRUSTED) == "1.1.1.1"
    assert client_of("10.1.2.3", [(FORWARDED, b'"' * 100_000 + b",for=1.1.1.1")], TRUSTED) == "1.1.1.1"


@settings(deadline=None, max_examples=examples(400))
@given(st.binary(max_size=200), st.sampled_from([XFF, FORWARDED]), st.ip_addresses())
def test_whatever_a_client_writes_the_proxys_word_stands(
    junk: bytes, header: bytes, client: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> None:
    """A trusted proxy appends the address that it saw: nothing to its left can change who that was."""
    if any(client in network for network in TRUSTED.networks) or getattr(client, "ipv4_mapped", None):
        return
    shown = f"[{client}]" if client.version == 6 else str(client)
    added = f'for="{shown}"' if header is FORWARDED else str(client)
    found = client_of("10.1.2.3", [(header, junk + b", " + added.encode())], TRUSTED)
    assert found == str(client)


def test_the_key_is_read_and_its_mistakes_are_named() -> None:
    data = {"identity": {"trusted_proxies": ["10.0.0.0/8", "::1"]}}
    assert parse(data, where="f", env={}).identity.trusted_proxies == ("10.0.0.0/8", "::1")
    for wrong, said in (
        (["10.0.0.0/33"], "identity.trusted_proxies: expected addresses and networks"),
        (["10.0.0.1/8"], "has host bits set"),
        ("10.0.0.0/8", "expected a list of texts"),
    ):
        with pytest.raises(ConfigError, match=said):
            parse({"identity": {"trusted_proxies": wrong}}, where="f", env={})
    with pytest.raises(ConfigError, match=r"identity\.jwt: this version of Indelible does not have it yet"):
        parse({"identity": {"jwt": {}}}, where="f", env={})
    with pytest.raises(ConfigError, match="did you mean 'trusted_proxies'"):
        parse({"identity": {"trusted_proxy": []}}, where="f", env={})
