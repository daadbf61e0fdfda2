"""Harmless texts that look like secrets, numbers or names of people: what a redactor must leave alone.

    for item in lookalikes():
        ...  # item.kind, item.text

Every kind is made by a generator of its own from a fixed seed, as programs write such things, check digits included;
nothing is left out because a redactor takes it for something else. `code` is the standard library of the Python
that runs, in pieces of whole lines.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import random
import string
import struct
import sysconfig
import uuid
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import NamedTuple

EACH = 300
"""Items of each kind but `code`."""
CODE = 1_500
LONGEST = 480
"""Characters of an item: a longer text would be cut, which is no false alarm."""

HEX = "0123456789abcdef"
BASE64URL = string.ascii_letters + string.digits + "-_"
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
WORDS = (
    "amber anvil archive atlas badge basin beacon birch branch bridge canvas cargo cedar chart cinder clock cloud "
    "cobalt copper coral crane delta drift ember engine fabric field filter flint forge frame garden glacier harbor "
    "hazel index island ivory jasper kernel lantern ledger linen maple marble meadow mirror nickel oak orbit parcel "
    "pebble pixel plaza quartz queue raven report river saddle schema shuttle signal silver slate socket stream summit "
    "table tensor thicket timber tunnel valley velvet vertex walnut widget willow window yarrow zenith"
)
NAMES = WORDS.split()


class Item(NamedTuple):
    """One harmless text."""

    kind: str
    text: str


Make = Callable[[random.Random], str]


def _run(rng: random.Random, alphabet: str, size: int) -> str:
    return "".join(rng.choices(alphabet, k=size))


def _digits(rng: random.Random, size: int) -> str:
    """Digits as counters and codes have them: the first is not zero."""
    return rng.choice("123456789") + _run(rng, string.digits, size - 1)


def _words(rng: random.Random, count: int, by: str = "-") -> str:
    return by.join(rng.choices(NAMES, k=count))


def _moment(rng: random.Random) -> datetime:
    zone = rng.choice((UTC, timezone(timedelta(hours=rng.randint(-11, 12), minutes=rng.choice((0, 30))))))
    return datetime.fromtimestamp(rng.randrange(10**9, 2 * 10**9) + rng.random(), zone)


# --- identifiers ----------------------------------------------------------------------------------------


def _git(rng: random.Random) -> str:
    sha = _run(rng, HEX, rng.choice((40, 40, 64)))
    short = sha[: rng.randint(7, 12)]
    return rng.choice(
        (
            sha,
            short,
            f"commit {sha}\nAuthor: Build\n\n    Move the {_words(rng, 2, ' ')}",
            f"index {short}..{_run(rng, HEX, len(short))} 100644",
            f"git checkout {sha} -- src/{_words(rng, 1)}.py",
            f"https://github.com/example/{_words(rng, 2)}/commit/{sha}",
            f"HEAD detached at {short}",
        )
    )


def _checksum(rng: random.Random) -> str:
    name = rng.choice(("md5", "sha1", "sha256", "sha384", "sha512"))
    digest = hashlib.new(name, rng.randbytes(32), usedforsecurity=False)
    text = digest.hexdigest()
    if rng.random() < 0.3:
        return f"{name}-{base64.b64encode(digest.digest()).decode()}"  # as a page names a script's integrity
    return rng.choice((text, f"{name}:{text}", f"{text}  {_words(rng, 2)}.tar.gz", text.upper()))


def _uuid(rng: random.Random) -> str:
    raw = rng.getrandbits(128)
    one = uuid.UUID(int=raw, version=1)
    seven = ((1_600_000_000_000 + rng.randrange(4 * 10**11)) << 80) | (raw & ((1 << 80) - 1))
    made = rng.choice((one, uuid.UUID(int=raw, version=4), uuid.UUID(int=_stamped(seven, 7))))
    text = str(made)
    return rng.choice(
        (text, text.upper(), f"urn:uuid:{text}", f"{{{text}}}", made.hex, f"/v1/jobs/{text}/runs")
    )


def _stamped(value: int, version: int) -> int:
    """Set version and variant (RFC 9562, section 4)."""
    value = value & ~(0xF << 76) | (version << 76)
    return value & ~(0x3 << 62) | (0x2 << 62)


def _ulid(rng: random.Random) -> str:
    value = ((1_600_000_000_000 + rng.randrange(4 * 10**11)) << 80) | rng.getrandbits(80)
    text = "".join(CROCKFORD[(value >> shift) & 31] for shift in range(125, -1, -5))
    return rng.choice((text, text.lower(), f"run_{text}", f"evt-{text}"))


def _object_id(rng: random.Random) -> str:
    """Identifiers of databases, traces and clouds."""
    return rng.choice(
        (
            f"{rng.randrange(10**9, 2 * 10**9):08x}{_run(rng, HEX, 16)}",
            f"00-{_run(rng, HEX, 32)}-{_run(rng, HEX, 16)}-01",
            f"i-0{_run(rng, HEX, 16)}",
            f"arn:aws:s3:::{_words(rng, 2)}/{_digits(rng, 6)}",
            f"arn:aws:iam::{_digits(rng, 12)}:role/{_words(rng, 2)}",
            f"vol-0{_run(rng, HEX, 16)} in subnet-{_run(rng, HEX, 8)}",
            f"projects/{_words(rng, 2)}/locations/europe-west{rng.randint(1, 9)}/jobs/{_digits(rng, 10)}",
            f"msg_{_run(rng, string.ascii_letters + string.digits, 24)}",
            f"toolu_01{_run(rng, string.ascii_letters + string.digits, 22)}",
        )
    )


# --- numbers --------------------------------------------------------------------------------------------


def _ean(rng: random.Random, prefix: str = "", size: int = 13) -> str:
    """A number with the check digit of GS1's General Specifications, section 7.9."""
    body = prefix + _run(rng, string.digits, size - len(prefix) - 1)
    total = sum(int(digit) * (3 - i % 2 * 2) for i, digit in enumerate(reversed(body)))
    return body + str(-total % 10)


def _isbn(rng: random.Random) -> str:
    if rng.random() < 0.4:
        body = _run(rng, string.digits, 9)
        check = -sum(int(digit) * (10 - i) for i, digit in enumerate(body)) % 11
        text = body + ("X" if check == 10 else str(check))
        return rng.choice((text, f"ISBN {text}", f"{text[0]}-{text[1:5]}-{text[5:9]}-{text[9]}"))
    text = _ean(rng, rng.choice(("978", "979")))
    grouped = f"{text[:3]}-{text[3]}-{text[4:8]}-{text[8:12]}-{text[12]}"
    return rng.choice((text, f"ISBN-13: {grouped}", grouped, grouped.replace("-", " "), f"isbn:{text}"))


def _barcode(rng: random.Random) -> str:
    text = _ean(rng, rng.choice(("40", "50", "54", "76", "30", "87", "00", "69")), rng.choice((13, 13, 12, 8)))
    return rng.choice(
        (text, f"EAN {text}", f"{text[0]} {text[1:7]} {text[7:]}", f"{_words(rng, 2, ' ')} ({text})")
    )


def _order(rng: random.Random) -> str:
    year = rng.randint(2015, 2030)
    return rng.choice(
        (
            f"ORD-{_digits(rng, rng.randint(5, 10))}",
            f"order #{_digits(rng, rng.randint(4, 11))}",
            f"INV-{year}-{_digits(rng, 5)}",
            f"RE{year}{rng.randint(1, 12):02d}-{_digits(rng, 4)}",
            f"invoice {year}/{_digits(rng, 6)}, customer {_digits(rng, 7)}",
            f"{_digits(rng, 3)}-{_digits(rng, 7)}-{_digits(rng, 7)}",
            f"PO {_digits(rng, 10)} line {rng.randint(1, 90)}",
            f"1Z{_run(rng, string.digits + string.ascii_uppercase, 16)}",
            f"SO-{_digits(rng, 2)}-{_digits(rng, 5)}-{_run(rng, string.ascii_uppercase, 2)}",
            _digits(rng, rng.randint(6, 12)),
            _digits(rng, rng.choice((14, 16))) if rng.random() < 0.25 else _digits(rng, 9),
        )
    )


def _quantity(rng: random.Random) -> str:
    """Sizes, sums, ratios, ports, counters."""
    number = rng.random() * 10 ** rng.randint(-6, 9)
    return rng.choice(
        (
            repr(number),
            f"{number:,.2f} EUR",
            f"{rng.randrange(10**12):,} bytes",
            f"127.0.0.1:{rng.randint(1024, 65535)}",
            f"{rng.randint(1, 254)}.{rng.randint(0, 255)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}/24",
            f"{number:.3e}",
            f"{rng.randrange(10**6)}/{rng.randrange(10**6)} ({rng.random():.1%})",
            f"[{', '.join(str(rng.randrange(10**4)) for _ in range(12))}]",
            f"p50={rng.random() * 9:.3f} p99={rng.random() * 99:.3f} n={rng.randrange(10**6)}",
            f"fe80::{_run(rng, HEX, 4)}:{_run(rng, HEX, 4)}:{_run(rng, HEX, 4)}:{_run(rng, HEX, 4)}",
        )
    )


def _phone_like(rng: random.Random) -> str:
    """Dates, versions, ranges and measures with the signs of a telephone number."""
    day = _moment(rng)
    return rng.choice(
        (
            day.strftime("%Y-%m-%d"),
            day.strftime("%d-%m-%Y"),
            day.strftime("%m/%d/%Y"),
            day.strftime("%d.%m.%Y %H:%M"),
            day.strftime("%Y%m%d-%H%M%S"),
            day.strftime("%Y.%m.%d.%H.%M"),
            f"{rng.randint(1, 900)}-{rng.randint(901, 1800)}",
            f"pp. {rng.randint(100, 499)}-{rng.randint(500, 999)}",
            f"(+{rng.randint(1, 99)} -{rng.randint(1, 99)}) in {rng.randint(1, 99)} files",
            f"@@ -{rng.randint(1, 999)},{rng.randint(1, 99)} +{rng.randint(1, 999)},{rng.randint(1, 99)} @@",
            f"{rng.randint(1, 20)} x {rng.randint(100, 900)} x {rng.randint(100, 900)} mm",
            f"{day:%Y-%m-%d} - {day + timedelta(days=9):%Y-%m-%d}",
            f"UTC+{rng.randint(1, 12):02d}:{rng.choice(('00', '30'))}",
            f"{rng.randint(100, 999)}.{rng.randint(100, 999)}.{rng.randint(10, 99)}",
        )
    )


def _time(rng: random.Random) -> str:
    moment = _moment(rng)
    seconds = moment.timestamp()
    return rng.choice(
        (
            str(int(seconds)),
            str(int(seconds * 1e3)),
            str(int(seconds * 1e6)),
            str(int(seconds * 1e6) * 1000 + rng.randrange(1000)),
            repr(seconds),
            moment.isoformat(),
            moment.isoformat(timespec="milliseconds"),
            moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            moment.strftime("%Y%m%d%H%M%S"),
            moment.strftime("%Y%m%d%H%M%S%f"),
            moment.strftime("%Y%m%dT%H%M%SZ"),
            format_datetime(moment),
            moment.strftime("[%d/%b/%Y:%H:%M:%S %z]"),
            moment.strftime("%b %d %H:%M:%S"),
            f"created {int(seconds * 1e3)}, changed {int(seconds * 1e3) + rng.randrange(10**6)}",
            f"{moment:%Y-%m-%d}/{moment + timedelta(days=30):%Y-%m-%d}",
        )
    )


def _coordinates(rng: random.Random) -> str:
    lat, lon = rng.uniform(-90, 90), rng.uniform(-180, 180)
    return rng.choice(
        (
            f"{lat:.6f}, {lon:.6f}",
            f"{lat}, {lon}",
            f"geo:{lat:.5f},{lon:.5f};u={rng.randint(5, 90)}",
            f'{{"lat": {lat!r}, "lon": {lon!r}}}',
            f"POINT ({lon:.7f} {lat:.7f})",
            f"{abs(int(lat))}°{rng.randint(0, 59)}'{rng.random() * 60:.1f}\"N {abs(int(lon))}°0'0\"E",
            f"{lat:+08.4f}{lon:+09.4f}/",  # ISO 6709
            f"https://www.openstreetmap.org/#map={rng.randint(3, 19)}/{lat:.4f}/{lon:.4f}",
            f"M {lat:.2f} {lon:.2f} L {lon:.2f} {lat:.2f} C 1.5 2.25 {lat:.3f} 8 9 10 Z",
        )
    )


# --- names of software ----------------------------------------------------------------------------------


def _version(rng: random.Random) -> str:
    text = ".".join(str(rng.randint(0, 40)) for _ in range(3))
    return rng.choice(
        (
            text,
            f"v{text}",
            f"{text}-rc.{rng.randint(1, 9)}",
            f"{text}+build.{_digits(rng, 8)}",
            f"{text}-alpha.{rng.randint(1, 9)}+{_run(rng, HEX, 12)}",
            f">={text},<{rng.randint(41, 50)}",
            f"^{text} || ~{rng.randint(0, 9)}.{rng.randint(0, 9)}.0",
            f"{rng.randint(2020, 2030)}.{rng.randint(1, 12)}.{rng.randint(0, 30)}.post{rng.randint(1, 9)}",
            f"{text}.dev{_digits(rng, 8)}",
            f"{_words(rng, 1)}/{text} (X11; Linux x86_64) Gecko/20100101",
            f"v0.0.0-{_moment(rng):%Y%m%d%H%M%S}-{_run(rng, HEX, 12)}",  # a pseudo-version of Go
        )
    )


def _package(rng: random.Random) -> str:
    name, version = _words(rng, 2), ".".join(str(rng.randint(0, 30)) for _ in range(3))
    sha, image = _run(rng, HEX, 64), f"{_words(rng, 1)}/{_words(rng, 2)}"
    integrity = base64.b64encode(rng.randbytes(64)).decode()
    return rng.choice(
        (
            f"npm install {name}@{version}",
            f"@{_words(rng, 1)}/{name}@{version}",
            f"pnpm add @{_words(rng, 1)}/{name}@^{version}",
            f'"{name}": {{"version": "{version}", "integrity": "sha512-{integrity}"}}',
            f"https://packages.example.org/@{_words(rng, 1)}/{name}/-/{name}-{version}.tgz",
            f"{name}=={version} --hash=sha256:{sha}",
            f"{name.replace('-', '_')}-{version}-cp311-cp311-manylinux_2_17_x86_64.whl",
            f"pip install '{name}[{_words(rng, 1)}]>={version}'",
            f"docker.io/{image}:{version}@sha256:{sha}",
            f"ghcr.io/{image}@sha256:{sha}",
            f"FROM python:3.{rng.randint(9, 13)}-slim AS {_words(rng, 1)}",
            f"pkg:npm/%40{_words(rng, 1)}/{name}@{version}",
            f"pkg:pypi/{name}@{version}?checksum=sha256:{sha}",
            f"github.com/example/{name} v{version} h1:{base64.b64encode(rng.randbytes(32)).decode()}",
            f"uses: actions/{name}@{_run(rng, HEX, 40)} # v{version}",
            f"{name} {version} (registry+https://github.com/rust-lang/crates.io-index)",
        )
    )


def _path(rng: random.Random) -> str:
    name = _words(rng, 2, rng.choice("-_"))
    return rng.choice(
        (
            f"/srv/{_words(rng, 3, '/')}/{name}.{rng.choice(('py', 'csv', 'json', 'tar.gz'))}",
            f"C:\\Users\\Public\\{name}\\{_words(rng, 1)}.docx",
            f"https://example.com/{_words(rng, 3, '/')}?page={rng.randint(1, 99)}&sort={_words(rng, 1)}#{name}",
            f"s3://{name}/{_moment(rng):%Y/%m/%d}/part-{rng.randrange(10**5):05d}-{uuid.UUID(int=rng.getrandbits(128))}.parquet",
            f"node_modules/.pnpm/{name}@{rng.randint(1, 9)}.0.0/node_modules/{name}/dist/index.{_run(rng, HEX, 8)}.js",
            f"ssh://git@git.example.com/{_words(rng, 1)}/{name}.git",
            f"file:///tmp/{name}/{_digits(rng, 8)}.log",
            f"src/{_words(rng, 2, '/')}/{name}.ts:{rng.randint(1, 900)}:{rng.randint(1, 90)}",
        )
    )


# --- bytes as text --------------------------------------------------------------------------------------


def _png(rng: random.Random) -> bytes:
    side = rng.randint(2, 5)
    rows = b"".join(b"\0" + rng.randbytes(3 * side) for _ in range(side))
    out = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    out.seek(0, io.SEEK_END)
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        out.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))
    return out.getvalue()


def _image(rng: random.Random) -> str:
    """Pictures and other bytes in base64: a PNG, a JPEG's beginning, a gzip, noise."""
    data = rng.choice(
        (
            _png(rng),
            b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0" + rng.randbytes(rng.randint(100, 250)),
            zlib.compress(_words(rng, 60, " ").encode(), wbits=31),
            rng.randbytes(rng.randint(24, 250)),
        )
    )
    text = base64.b64encode(data).decode()
    return rng.choice((text, f"data:image/png;base64,{text}", base64.urlsafe_b64encode(data).decode()))[
        :LONGEST
    ]


def _dump(rng: random.Random) -> str:
    data = rng.randbytes(48)
    lines = []
    for at in range(0, 48, 16):
        row = data[at : at + 16]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{at:08x}  {row[:8].hex(' ')}  {row[8:].hex(' ')}  |{shown}|")
    return rng.choice(
        (
            "\n".join(lines),
            data.hex(),
            data[:16].hex(" "),
            data[:6].hex(":"),
            f"0x{data[:20].hex()}",
            repr(data[:24]),
        )
    )


def _colour(rng: random.Random) -> str:
    red, green, blue = (rng.randrange(256) for _ in range(3))
    return rng.choice(
        (
            f"#{red:02x}{green:02X}{blue:02x}",
            f"#{red:02x}{green:02x}{blue:02x}80",
            f"rgb({red}, {green}, {blue})",
            f"rgba({red},{green},{blue},.{rng.randint(1, 9)})",
            f"hsl({rng.randrange(360)} {rng.randrange(100)}% {rng.randrange(100)}%)",
            f"--{_words(rng, 2)}: #{red:02x}{green:02x}{blue:02x};",
            f".{_words(rng, 2)} {{ color: #{red:02x}{green:02x}{blue:02x}; margin: 0 -{red}px }}",
            f"\x1b[38;2;{red};{green};{blue}m{_words(rng, 1)}\x1b[0m",
        )
    )


# --- what is run ------------------------------------------------------------------------------------------


def _sequence(rng: random.Random) -> str:
    """Of DNA, RNA or a protein, in FASTA or by itself."""
    letters = rng.choice(("ACGT", "ACGU", "ACDEFGHIKLMNPQRSTVWY"))
    text = _run(rng, letters, rng.randint(20, 400))
    return rng.choice((text, f">{_words(rng, 1)}_{_digits(rng, 4)} {_words(rng, 2)}\n{text}"))


def _command(rng: random.Random) -> str:
    """Commands, statements and manifests beside those that hold secrets; theirs are variables or names of them."""
    one, two, port = _words(rng, 1), _words(rng, 2), rng.randint(1024, 9999)
    return rng.choice(
        (
            f"docker run -d --name {two} -u 1000:1000 -p {port}:80 {one}:latest",
            f"echo 'deb https://{one}.example.com stable main' | sudo tee /etc/apt/sources.list.d/{one}.list",
            f"echo y | sudo pacman -S {one}",
            f'echo "$PASSWORD" | docker login {one}.example.com -u {one} --password-stdin',
            f"cat <<EOF | kubectl apply -f -\nkind: ConfigMap\ndata:\n  {one}: {two}\nEOF",
            f"kubectl get secret {two} -o yaml | grep {one}",
            f'gh issue create --title "{one}" --body "The secret {one} page shows {_words(rng, 6, " ")}"',
            f"ssh-keygen -t ed25519 -N '' -C {two} -f {one}",
            f"twine upload --repository {one} dist/{two}-{rng.randint(0, 9)}.0.tar.gz",
            f"aws ssm get-parameter --name /{one}/{two} --with-decryption",
            f"ssh -p {port} {one}.internal 'mkdir -p /srv/{two}'",
            f"zip -r {one}.zip {two}; unzip -l {one}.zip; mysql -u root -p {one}",
            f"SELECT id, password FROM {one} WHERE password = $1 AND token = ? LIMIT {port}",
            f"ALTER TABLE {one} ADD COLUMN password varchar({rng.randint(60, 255)}) NOT NULL",
            f"- name: {one.upper()}\n  valueFrom:\n    secretKeyRef:\n      name: {two}\n      key: {one}\n",
            f"git config --global credential.helper 'cache --timeout={port}'",
            f"GET /{one}?code={_words(rng, 3)}-{rng.randint(2020, 2030)}&page={rng.randint(1, 9)} HTTP/1.1",
            json.dumps({"kty": "EC", "crv": "P-256", "kid": one, "x": _run(rng, BASE64URL, 43)}),
            f"{one}_benchmark_test_{'_'.join(rng.choices(NAMES, k=2))}",
        )
    )


KINDS: dict[str, Make] = {
    "git": _git,
    "checksum": _checksum,
    "uuid": _uuid,
    "ulid": _ulid,
    "object id": _object_id,
    "isbn": _isbn,
    "barcode": _barcode,
    "order number": _order,
    "quantity": _quantity,
    "like a phone": _phone_like,
    "time": _time,
    "coordinates": _coordinates,
    "version": _version,
    "package": _package,
    "path": _path,
    "bytes in base64": _image,
    "hex dump": _dump,
    "colour": _colour,
    "sequence": _sequence,
    "command": _command,
}


def _pieces(rng: random.Random) -> Iterator[str]:
    """Yield pieces of whole lines of the standard library's source, from files and places by chance."""
    root = Path(sysconfig.get_path("stdlib"))
    skipped = {"site-packages", "__pycache__", "test", "tests", "idlelib"}
    files = sorted(
        path for path in root.rglob("*.py") if not skipped.intersection(path.relative_to(root).parts)
    )
    for path in rng.choices(files, k=CODE * 4):
        lines = path.read_text("utf-8", "replace").splitlines()
        start = rng.randrange(max(1, len(lines) - 10))
        text = ""
        for line in lines[start : start + 10]:
            if len(text) + len(line) >= LONGEST:
                break
            text += line + "\n"
        if text.strip():
            yield text


def lookalikes(seed: int = 0) -> Iterator[Item]:
    """Yield all items, kind by kind: the same for the same seed and Python."""
    for kind, make in KINDS.items():
        rng = random.Random(f"{seed} {kind}")
        for _ in range(EACH):
            yield Item(kind, make(rng))
    for _, text in zip(range(CODE), _pieces(random.Random(f"{seed} code")), strict=False):
        yield Item("code", text)
