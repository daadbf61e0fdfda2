"""Signing keys as files: the form that is written and read most goes without the library's readers of every form."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from indelible.errors import ConfigError
from indelible.trail.start import keys


def as_pem(key: Ed25519PrivateKey | X25519PrivateKey) -> bytes:
    """Return a key as the library writes it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def test_the_library_reads_what_is_generated() -> None:
    pem = keys.generate_pem()

    key = serialization.load_pem_private_key(pem, password=None)

    assert isinstance(key, Ed25519PrivateKey)
    assert as_pem(key) == pem
    assert pem != keys.generate_pem()


@given(
    seed=st.binary(min_size=32, max_size=32),
    end=st.sampled_from(["\n", "\r\n"]),
    after=st.sampled_from(["", "\n"]),
)
def test_any_key_of_the_library_is_read(seed: bytes, end: str, after: str) -> None:
    pem = as_pem(Ed25519PrivateKey.from_private_bytes(seed)).decode().replace("\n", end) + after

    assert keys.load_private(pem.encode(), "key").private_bytes_raw() == seed


def test_openssl_and_we_read_each_others_keys() -> None:
    theirs = subprocess.run(
        ["openssl", "genpkey", "-algorithm", "ed25519"], capture_output=True, check=True
    ).stdout
    read = ["openssl", "pkey", "-outform", "PEM"]
    ours = keys.generate_pem()

    again = subprocess.run(read, input=ours, capture_output=True, check=True).stdout

    assert again == ours
    assert as_pem(keys.load_private(theirs, "key")) == theirs


def test_a_key_of_another_kind_is_refused_though_it_is_as_long() -> None:
    with pytest.raises(ConfigError, match="not an Ed25519 key"):
        keys.load_private(as_pem(X25519PrivateKey.generate()), "key")


def test_a_tap_does_without_what_it_never_uses() -> None:
    """Its memory is that of every server of a client: the readers of all key forms and asyncio are a tenth of it."""
    code = (
        "import sys, indelible.capture.wrapped\n"
        "from indelible.trail.start import keys\n"
        "keys.load_private(keys.generate_pem(), 'key')\n"
        "print(*sorted({'asyncio', 'ssl', 'cryptography.hazmat.primitives.serialization'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("mode", "ours", "theirs"),
    [
        (0o600, None, None),
        (0o400, None, None),
        (0o711, None, None),
        (0o640, "others may read", None),
        (0o440, "others may read", None),
        (0o620, "others may change", None),
        (0o644, "others may read", "others may read"),
        (0o604, "others may read", "others may read"),
        (0o602, "others may change", "others may change"),
    ],
)
def test_who_else_may_use_a_key_is_said(
    tmp_path: Path, mode: int, ours: str | None, theirs: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group is how somebody else's file, such as a mounted secret, is meant to be read."""
    key = tmp_path / "a key.pem"
    key.write_bytes(keys.generate_pem())
    key.chmod(mode)
    for expected, uid in ((ours, key.stat().st_uid), (theirs, key.stat().st_uid + 1)):
        monkeypatch.setattr(os, "geteuid", lambda uid=uid: uid)
        said = keys.exposed(key)
        if expected is None:
            assert said is None
            continue
        assert said is not None
        assert said.startswith(f"{key}: {expected} the private key in it (mode {mode:04o}): ")
        assert said.endswith(f"chmod 600 '{key}'")
        assert ("give it to the user who signs" in said) == (uid != key.stat().st_uid)
    assert keys.exposed(tmp_path / "none") is None
