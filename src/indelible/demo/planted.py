"""Made-up secrets and personal data, fresh in every run, and the search for them afterwards.

They are random, so that finding one in a file can only mean that it came through the redactor.
"""

from __future__ import annotations

import base64
import json
import secrets
import string
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

_ALNUM = string.ascii_letters + string.digits


def _draw(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


def _card() -> str:
    """Return a 16-digit card number with its Luhn check digit (ISO/IEC 7812-1), in four groups."""
    digits = "4" + _draw(string.digits, 14)
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    number = f"{digits}{-total % 10}"
    return " ".join(number[at : at + 4] for at in range(0, 16, 4))


def _jwt() -> str:
    """Return something of a JWT's shape (RFC 7519)."""
    header, payload = {"alg": "HS256", "typ": "JWT"}, {"sub": _draw(_ALNUM, 12)}
    parts = [json.dumps(part).encode() for part in (header, payload)]
    encoded = [base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, _draw(_ALNUM, 43)])


@dataclass(frozen=True)
class Planted:
    """One value of each class; every field's text is searched for as it stands."""

    email: str
    phone: str
    ssn: str
    card: str
    passphrase: str
    database_password: str
    github_token: str
    openai_key: str
    aws_key: str
    bearer: str
    jwt: str
    private_key: str

    @classmethod
    def draw(cls) -> Planted:
        """Draw them anew."""
        return cls(
            email=f"ada.{_draw(string.ascii_lowercase, 10)}@example.com",
            phone=f"+49 30 {_draw(string.digits, 9)}",
            ssn=f"{_draw('123456', 3)}-{_draw(string.digits[1:], 2)}-{_draw(string.digits[1:], 4)}",
            card=_card(),
            passphrase=f"{_draw(string.ascii_lowercase, 9)} {_draw(string.ascii_lowercase, 9)}",
            database_password=_draw(_ALNUM, 16),
            github_token=f"ghp_{_draw(_ALNUM, 36)}",
            openai_key=f"sk-{_draw(_ALNUM, 48)}",
            aws_key=f"AKIA{_draw(string.ascii_uppercase + '234567', 16)}",
            bearer=_draw(_ALNUM, 32),
            jwt=_jwt(),
            private_key=_draw(_ALNUM, 64),
        )

    def values(self) -> dict[str, str]:
        """Return name → value."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def pem(self) -> str:
        """Return the private key in its armour (RFC 7468)."""
        label = "PRIVATE KEY"
        return f"-----BEGIN {label}-----\n{self.private_key}\n-----END {label}-----\n"


def search(paths: Iterable[Path], values: dict[str, str]) -> tuple[int, int, list[str]]:
    """Look for every value, byte for byte, in every file under `paths`.

    Returns how many files and bytes were read, and one line for each value found, which names the value's
    class and the file but not the value.
    """
    count = size = 0
    found: list[str] = []
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if not file.is_file():
                continue
            data = file.read_bytes()
            count += 1
            size += len(data)
            found.extend(f"{name} in {file}" for name, value in values.items() if value.encode() in data)
    return count, size, found
