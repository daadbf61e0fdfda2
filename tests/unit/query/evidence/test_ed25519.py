"""The signatures that a bundle's verifier takes: RFC 8032's own vectors, OpenSSL's opinion, and what forgers try."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.query.evidence import verify
from indelible.query.evidence.verify import BASE, L, P, add, decode_point, equal, is_signed, multiply
from tests.effort import examples

RFC_8032 = [  # section 7.1: public key, message, signature
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


def encode(point: Any) -> bytes:
    """Return a point's 32 bytes (RFC 8032, section 5.1.2)."""
    inverse = pow(point[2], P - 2, P)
    x, y = int(point[0] * inverse % P), int(point[1] * inverse % P)
    return (y | (x & 1) << 255).to_bytes(32, "little")


@cache
def torsion() -> list[Any]:
    """Return the eight points of small order: L times some point that has a part of order eight."""
    for y in range(2, 100):
        point = decode_point(y.to_bytes(32, "little"))
        part = None if point is None else multiply(L, point)
        if part is not None and not equal(multiply(4, part), (0, 1, 1, 0)):
            return [multiply(times, part) for times in range(8)]
    raise AssertionError


def by_openssl(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def challenge(start: bytes, public: bytes, message: bytes) -> int:
    return int.from_bytes(hashlib.sha512(start + public + message).digest(), "little") % L


@pytest.mark.parametrize(("public", "message", "signature"), RFC_8032)
def test_the_rfcs_own_vectors(public: str, message: str, signature: str) -> None:
    key, said, signed = map(bytes.fromhex, (public, message, signature))
    assert is_signed(key, said, signed)
    assert not is_signed(key, said + b"x", signed)


@settings(max_examples=examples(25))
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.integers(0, 511))
def test_it_says_what_openssl_says(seed: bytes, message: bytes, bit: int) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = key.public_key().public_bytes_raw(), key.sign(message)
    assert is_signed(public, message, signature)
    altered = bytearray(signature)
    altered[bit // 8] ^= 1 << bit % 8
    assert not is_signed(public, message, bytes(altered))
    assert not by_openssl(public, message, bytes(altered))
    other = bytearray(public)
    other[bit % 256 // 8] ^= 1 << bit % 8
    assert not is_signed(bytes(other), message, signature)


@given(st.binary(min_size=32, max_size=32))
def test_a_point_that_is_read_gives_the_same_bytes_again(data: bytes) -> None:
    point = decode_point(data)
    assert point is None or encode(point) == data


@pytest.mark.parametrize("times", range(1, 15))
def test_a_signature_has_one_form(times: int) -> None:
    """Adding the group's order to S gives another signature by the same arithmetic (section 5.1.7, 8.4)."""
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    public, signature = key.public_key().public_bytes_raw(), key.sign(b"m")
    s = int.from_bytes(signature[32:], "little") + times * L
    assert s < 1 << 256
    forged = signature[:32] + s.to_bytes(32, "little")
    k = challenge(signature[:32], public, b"m")
    assert equal(multiply(s, BASE), add(decode_point(signature[:32]), multiply(k, decode_point(public))))
    assert not is_signed(public, b"m", forged)


def test_a_point_has_one_form() -> None:
    """19 numbers below 2^255 are y again, plus P; and there is no minus zero."""
    for y in range(19):
        canonical, other = y.to_bytes(32, "little"), (y + P).to_bytes(32, "little")
        assert decode_point(other) is None
        assert decode_point((y + P | 1 << 255).to_bytes(32, "little")) is None
        assert decode_point(canonical) is None or encode(decode_point(canonical)) == canonical
    for y in (1, P - 1):
        assert decode_point(y.to_bytes(32, "little")) is not None
        assert decode_point((y | 1 << 255).to_bytes(32, "little")) is None
    assert [decode_point(bytes(length)) for length in (0, 31, 33, 64)] == [None] * 4


def test_keys_of_small_order_sign_nothing() -> None:
    """For each a signature over any text can be made without a secret: the arithmetic holds, OpenSSL says yes."""
    assert len({encode(point) for point in torsion()}) == 8
    fooled = 0
    for point in torsion():
        public = encode(point)
        assert decode_point(public) is not None
        for number in range(8):
            start = encode(add(multiply(7, BASE), torsion()[number]))
            forged = start + (7).to_bytes(32, "little")
            for text in range(examples(4)):
                message = b"%d" % text
                fooled += by_openssl(public, message, forged)
                assert not is_signed(public, message, forged)
    assert fooled


def test_a_mixed_key_signs_what_openssl_says_it_signs() -> None:
    """A key with a part of small order: the equation without the cofactor decides, as it does in OpenSSL."""
    seen = set()
    for number, part in enumerate(torsion()):
        public = encode(add(multiply(5, BASE), part))
        start = encode(multiply(9, BASE))
        for text in range(4):
            message = b"%d %d" % (number, text)
            s = (9 + challenge(start, public, message) * 5) % L
            forged = start + s.to_bytes(32, "little")
            assert is_signed(public, message, forged) == by_openssl(public, message, forged)
            seen.add(is_signed(public, message, forged))
    assert seen == {True, False}


@pytest.mark.parametrize("length", [0, 31, 32, 63, 65, 96])
def test_signatures_of_another_length(length: int) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    signature = (key.sign(b"m") * 2)[:length]
    assert not is_signed(key.public_key().public_bytes_raw(), b"m", signature)
    assert not is_signed(b"", b"m", key.sign(b"m"))


def test_the_base_point_is_the_rfcs() -> None:
    """Section 5.1: x is even, y is 4/5, and its order is L."""
    assert verify.BASE[0] == 15112221349535400772501151409588531511454012693041857206046113283949847762202
    assert equal(multiply(L, BASE), (0, 1, 1, 0))
