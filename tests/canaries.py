"""Fresh secrets and personal data of every class, to be planted where a caller can put something.

    for canary in canaries(seed=7):
        call_tool(canary.value)                      # a text that holds the secret
    assert not any(found(canary, everything_on_disk) for canary in canaries(seed=7))

`value` is what a caller might send; `fragments` are the pieces of it that must never be found, in any
encoding that `found` looks through. The same seed gives the same canaries. Nothing here is a real secret:
numbers come from ranges that the issuers reserve for tests or from a generator, hosts are example.com.
"""

from __future__ import annotations

import base64
import json
import random
import re
import string
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple
from urllib.parse import unquote

import re2

ALNUM = string.ascii_letters + string.digits
LOWER = string.ascii_lowercase
HEX = "0123456789abcdef"


class Canary(NamedTuple):
    """One planted secret: its class, the text that holds it, and what must never be found."""

    name: str
    value: str
    fragments: tuple[str, ...]


Make = Callable[[random.Random], tuple[str, tuple[str, ...]]]


def _run(rng: random.Random, alphabet: str, size: int) -> str:
    return "".join(rng.choices(alphabet, k=size))


def _luhn(digits: str) -> str:
    """Return the check digit (ISO/IEC 7812-1, annex B)."""
    doubled = (int(d) * (2 - i % 2) for i, d in enumerate(reversed(digits)))
    return str(-sum(d - 9 if d > 9 else d for d in doubled) % 10)


def _card(prefix: str, size: int) -> Callable[[random.Random], str]:
    def make(rng: random.Random) -> str:
        digits = prefix + _run(rng, string.digits, size - len(prefix) - 1)
        return digits + _luhn(digits)

    return make


def _prefixed(prefix: str, size: int, alphabet: str = ALNUM) -> Make:
    def make(rng: random.Random) -> tuple[str, tuple[str, ...]]:
        secret = _run(rng, alphabet, size)
        return f"use {prefix}{secret} please", (secret,)

    return make


def _templated(template: str, size: int = 14, alphabet: str = ALNUM) -> Make:
    """A text with a secret where the template says ``{}``."""

    def make(rng: random.Random) -> tuple[str, tuple[str, ...]]:
        secret = _run(rng, alphabet, size)
        return template.replace("{}", secret), (secret,)

    return make


def _email(rng: random.Random) -> tuple[str, tuple[str, ...]]:
    local, host = _run(rng, LOWER, 9), _run(rng, LOWER, 8)
    return f"write to {local}@{host}.example.com today", (local, host)


def _grouped_card(rng: random.Random) -> tuple[str, tuple[str, ...]]:
    digits = _card("4", 16)(rng)
    groups = [digits[i : i + 4] for i in range(0, 16, 4)]
    return f"card {rng.choice(' -').join(groups)} ok", (" ".join(groups), "-".join(groups), digits)


def _plain_card(prefix: str, size: int) -> Make:
    def make(rng: random.Random) -> tuple[str, tuple[str, ...]]:
        digits = _card(prefix, size)(rng)
        return f"pay {digits} now", (digits,)

    return make


def _ssn(rng: random.Random) -> tuple[str, tuple[str, ...]]:
    number = f"{rng.randint(100, 665)}-{rng.randint(10, 99)}-{rng.randint(1000, 9999)}"
    return f"ssn is {number}.", (number,)


def _phone(rng: random.Random) -> tuple[str, tuple[str, ...]]:
    number = f"{rng.randint(200, 999)}-{rng.randint(1000, 9999)}"
    area = rng.randint(200, 999)
    return f"call +1 ({area}) {number} or ({area}) {number}", (number,)


def _international(rng: random.Random) -> tuple[str, tuple[str, ...]]:
    digits = f"{rng.randint(100, 999)} {rng.randint(100000, 999999)}"
    return f"Tel. +49 {digits}", (digits,)


def _iban(rng: random.Random) -> tuple[str, tuple[str, ...]]:
    account = _run(rng, string.digits, 18)
    check = 98 - int(account + "131400") % 97  # D, E = 13, 14
    plain = f"DE{check:02d}{account}"
    spaced = " ".join(plain[i : i + 4] for i in range(0, len(plain), 4))
    return f"transfer to {rng.choice((plain, spaced))} today", (plain, spaced, account)


def _jwt(rng: random.Random) -> tuple[str, tuple[str, ...]]:
    def part(data: dict[str, str]) -> str:
        return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")

    subject, signature = _run(rng, LOWER, 12), _run(rng, ALNUM, 43)
    payload = part({"sub": subject})
    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{payload}.{signature}", (payload, signature, subject)


def _pem(rng: random.Random) -> tuple[str, tuple[str, ...]]:
    lines = [_run(rng, ALNUM + "+/", 64) for _ in range(3)]
    kind = rng.choice(("RSA ", "EC ", "", "OPENSSH ", "ENCRYPTED "))
    head, foot = f"-----BEGIN {kind}PRIVATE KEY-----", f"-----END {kind}PRIVATE KEY-----"
    return "\n".join((head, *lines, foot)), tuple(lines)


def _userinfo(rng: random.Random) -> tuple[str, tuple[str, ...]]:
    user, secret = _run(rng, LOWER, 10), _run(rng, ALNUM, 14)
    scheme = rng.choice(("https", "postgres", "redis", "mongodb+srv", "amqp", "ftp"))
    return f"connect {scheme}://{user}:{secret}@db.example.com:5432/app", (user, secret)


def _basic(rng: random.Random) -> tuple[str, tuple[str, ...]]:
    user, secret = _run(rng, LOWER, 9), _run(rng, ALNUM, 13)
    encoded = base64.b64encode(f"{user}:{secret}".encode()).decode()
    return f"Basic {encoded}", (encoded, secret)


def _in_json(rng: random.Random) -> tuple[str, tuple[str, ...]]:
    secret = _run(rng, ALNUM, 16)
    return json.dumps({"user": {"name": "x", "password": secret}}), (secret,)


def _in_json_deep(rng: random.Random) -> tuple[str, tuple[str, ...]]:
    secret = _run(rng, ALNUM, 16)
    text = json.dumps({"apiKey": secret})
    for _ in range(3):
        text = json.dumps({"body": text})
    return text, (secret,)


def _in_base64(rng: random.Random) -> tuple[str, tuple[str, ...]]:
    local = _run(rng, LOWER, 12)
    encoded = base64.b64encode(f"contact {local}@example.com soon".encode()).decode()
    return f"data: {encoded}", (local, encoded)


def _in_base64_deep(rng: random.Random) -> tuple[str, tuple[str, ...]]:
    secret = _run(rng, ALNUM, 16)
    text = json.dumps({"clientSecret": secret})
    for _ in range(3):
        text = base64.urlsafe_b64encode(text.encode()).decode()
    return text, (secret, text)


def _escaped(rng: random.Random) -> tuple[str, tuple[str, ...]]:
    local = _run(rng, LOWER, 12)
    return '{"note": "mail ' + local + '\\u0040example.com"}', (local,)


def _hash(rng: random.Random) -> tuple[str, tuple[str, ...]]:
    salt, digest = _run(rng, ALNUM, 16), _run(rng, ALNUM + "./", 86)
    return f"ada:$6${salt}${digest}:20000:0:99999:7:::", (salt, digest)


def _jwk(rng: random.Random) -> tuple[str, tuple[str, ...]]:
    x, y, d = (_run(rng, ALNUM + "-_", 43) for _ in "xyd")
    return json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "kid": "a", "x": x, "y": y, "d": d}]}), (d,)


def _named_value(rng: random.Random) -> tuple[str, tuple[str, ...]]:
    secret = _run(rng, ALNUM, 16)
    return json.dumps({"headers": [{"name": "X-Api-Key", "value": secret}]}), (secret,)


CLASSES: dict[str, Make] = {
    "email": _email,
    "email_percent": _templated("https://example.com/?to={}%40example.com", 12, LOWER),
    "email_in_json_escape": _escaped,
    "card_grouped": _grouped_card,
    "card_visa": _plain_card("4", 16),
    "card_amex": _plain_card("37", 15),
    "card_diners": _plain_card("36", 14),
    "card_visa_13": _plain_card("4", 13),
    "card_visa_19": _plain_card("4", 19),
    "ssn": _ssn,
    "phone_us": _phone,
    "phone_international": _international,
    "iban": _iban,
    "github": _prefixed("ghp_", 36),
    "github_fine_grained": _prefixed("github_pat_", 40),
    "gitlab": _prefixed("glpat-", 20),
    "openai": _prefixed("sk-proj-", 40),
    "anthropic": _prefixed("sk-ant-api03-", 40),
    "slack": _prefixed("xoxb-", 40),
    "slack_webhook": _templated("https://hooks.slack.com/services/T0AAAAAAA/B0AAAAAAA/{}", 24),
    "aws_key_id": _prefixed("AKIA", 16, string.ascii_uppercase + "234567"),
    "aws_secret": _templated("aws_secret_access_key = {}", 40, ALNUM + "/+"),
    "google": _prefixed("AIza", 35),
    "google_oauth": _prefixed("ya29.", 40),
    "stripe": _prefixed("sk_live_", 24),
    "stripe_webhook": _prefixed("whsec_", 32),
    "npm": _prefixed("npm_", 36),
    "pypi": _prefixed("pypi-AgEIcHlwaS5vcmc", 40),
    "hugging_face": _prefixed("hf_", 34),
    "sendgrid": _templated("SG.{}.abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", 22),
    "twilio": _prefixed("SK", 32, HEX),
    "azure": _templated("DefaultEndpointsProtocol=https;AccountName=x;AccountKey={}==;EndpointSuffix=y", 60),
    "jwt": _jwt,
    "bearer": _templated("Authorization: Bearer {}", 30),
    "bearer_alone": _templated("curl with bearer {} fails", 30),
    "basic": _basic,
    "cookie": _templated("Cookie: theme=dark; sid={}; lang=en", 26),
    "pem": _pem,
    "url_userinfo": _userinfo,
    "url_query": _templated("GET https://example.com/a?page=2&access_token={}&x=1"),
    "url_signature": _templated("https://example.com/blob?sv=2020&sig={}&se=1", 30),
    "assignment": _templated("password={} host=db"),
    "assignment_colon": _templated("api_key: {}\nregion: eu"),
    "assignment_quoted": _templated('{ db_password: "a {} b" }'),
    "flag": _templated("mysql --password {} --host db"),
    "prose": _templated("the password is 7{} as you know"),
    "json": _in_json,
    "json_deep": _in_json_deep,
    "base64": _in_base64,
    "base64_deep": _in_base64_deep,
    "azure_2024": _templated("key {}JQQJ99BAACYeBjFXJ3w3AAABACOGabcd end", 52),
    "password_hash": _hash,
    "jwk": _jwk,
    "named_value": _named_value,
    "oauth_code": _templated("GET /callback?state=a&code=4/0{}7q&scope=b", 40),
    "markup": _templated("<conf><db-password>{} b</db-password></conf>"),
    "connection_string": _templated("Server=db;User Id=sa;Password={} b;Encrypt=true"),
    "sql": _templated("CREATE USER ada IDENTIFIED BY '{}' ACCOUNT LOCK"),
    "doubled_quotes": _templated("EXEC('ALTER LOGIN ada WITH PASSWORD = ''{}'' UNLOCK')"),
    "shell_quotes": _templated("""sh -c 'db --password='"'"'{}'"'"' shop'"""),
    "command_flag": _templated("curl -s -u ada:{} https://db.example.com/health"),
    "piped": _templated("echo {} | sudo -S systemctl restart db"),
    "setting": _templated("aws configure set aws_secret_access_key {} --profile a"),
    "manifest": _templated('{"kind": "Secret", "stringData": {"db": "{}"}}'),
}

SENSITIVE_ARGUMENTS = (
    "password", "dbPassword", "client_secret", "X-API-Key", "access_token", "Authorization", "cookie", "ssn",
    "email", "phoneNumber", "creditCard", "card-number", "cvv", "private_key", "passwd", "pwd", "credentials",
)  # fmt: skip
"""Keys whose whole value must go, whatever it looks like."""


def canaries(seed: int = 0) -> Iterator[Canary]:
    """Yield one fresh canary of every class."""
    for name, make in CLASSES.items():
        rng = random.Random(f"{seed} {name}")
        value, fragments = make(rng)
        yield Canary(name, value, fragments)


def arguments(seed: int = 0) -> tuple[dict[str, object], tuple[str, ...]]:
    """Return arguments with sensitive keys of every spelling, and the fragments that must never be found."""
    rng = random.Random(f"{seed} arguments")
    secrets = {key: _run(rng, ALNUM, 15) for key in SENSITIVE_ARGUMENTS}
    nested = _run(rng, ALNUM, 15)
    return {**secrets, "config": {"auth": {"anything": [nested]}}}, (*secrets.values(), nested)


def found(fragments: tuple[str, ...], data: bytes) -> list[str]:
    """Return which fragments are in `data`: as they stand, unescaped from JSON or URLs, or in base64 or hex."""
    seen = views(data)
    return [fragment for fragment in fragments if any(fragment in view for view in seen)]


def leaked(planted: Iterable[Canary], data: bytes) -> list[str]:
    """Return what of many canaries is in `data`, as `found` does for one: ``name: fragment``, one search for all."""
    owners = {fragment: canary.name for canary in planted for fragment in canary.fragments}
    options = re2.Options()
    options.max_mem = 1 << 28
    search = re2.compile("|".join(re2.escape(fragment) for fragment in owners), options)
    leaks = {match[0] for view in views(data) for match in search.finditer(view)}
    return sorted(f"{owners[leak]}: {leak}" for leak in leaks)


def views(data: bytes) -> list[str]:
    """Return `data` as text, and as what it may be an encoding of."""
    text = data.decode("utf-8", "replace")
    seen = [text]
    for _ in range(4):
        seen.append(seen[-1].replace('\\"', '"').replace("\\\\", "\\").replace("\\/", "/"))
    seen.append(_ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), seen[-1]))
    if "%" in text:
        seen.append(unquote(text))
    seen.append("\n".join(bytes.fromhex(run).decode("latin-1") for run in _HEX_RUN.findall(text)))
    seen.append("\n".join(_decoded(text)))
    return seen


_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_HEX_RUN = re.compile(r"(?:[0-9a-fA-F]{2}){6,}")


def _decoded(text: str) -> Iterator[str]:
    digits = set(ALNUM + "+/-_")
    run = ""
    for char in text + " ":
        if char in digits:
            run += char
            continue
        for start in range(4 if len(run) >= 12 else 0):
            chunk = run[start:]
            chunk = chunk[: len(chunk) - (len(chunk) % 4 == 1)].replace("-", "+").replace("_", "/")
            yield base64.b64decode(chunk + "=" * (-len(chunk) % 4)).decode("latin-1")
        run = ""
