"""Payment card numbers and IBANs: digits whose shape or check digits give them away.

Cards, in a run of digits with single separators:

- four groups of four digits, unless all four are years;
- 13 to 19 digits that pass Luhn's check (ISO/IEC 7812-1, annex B), in one piece or in groups as cards print
  them.

Not cards, though one in ten passes the check: numbers of 13, 16 or 19 digits that begin with 1 (milli-,
micro- and nanoseconds since 1970; no issuer's number begins so at these lengths), numbers that begin with 0
(counters), dates written as 14 or 17 digits (years 1900 to 2099), also with a sign between date and time, ISBNs and
other barcodes of 13 digits (GS1's check digit; the only cards of that length, Visa's, begin with 4), the decimals of a
number, and pieces of UUIDs, of other words, and of numbers with more parts (``232-6647379-1980444``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

Match = Any

_SEPARATOR: Final = r"(?:[ .-]|\xc2\xa0|\xe2\x80[\x90-\x95\xaf])?"
RUN: Final = (
    r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"
    rf"|[0-9](?:{_SEPARATOR}[0-9]){{12,}}"
)
"""A UUID, taken first so that nothing is seen inside it; or a run of at least 13 digits."""
HINT: Final = rf"[0-9](?:{_SEPARATOR}[0-9]){{12}}"
IN_TEXT: Final = r"[0-9](?:[^0-9A-Za-z]?[0-9]){12}"
"""The same for a text that is not encoded yet; it may match more."""

_TOKEN = re.compile(rb"([0-9]+)([^0-9]*)")
_TIMES: Final = (13, 16, 19)
_DATE = re.compile(
    rb"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[01]\d|2[0-3])[0-5]\d[0-5]\d(?:\d{3})?"
)
_DATE_LENGTHS: Final = (14, 17)
_DATE_AND_TIME: Final = [8, 6]
_SHORTEST: Final = 13
_LONGEST: Final = 19
_SHAPES: Final = frozenset({(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (4, 4, 4, 1), (4, 3, 3, 3)})
_UUID_DASHES: Final = 4


def luhn(digits: bytes) -> bool:
    """Check the last of `digits` (ISO/IEC 7812-1, annex B)."""
    total = 0
    for index, digit in enumerate(reversed(digits)):
        value = digit - 48
        if index % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0


def is_card(digits: bytes) -> bool:
    """Tell whether a number written in one piece is to be taken for a card's."""
    size = len(digits)
    if not _SHORTEST <= size <= _LONGEST or digits[:1] == b"0":
        return False
    if digits[:1] == b"1" and size in _TIMES:
        return False
    if size in _DATE_LENGTHS and _DATE.fullmatch(digits):
        return False
    if size == _SHORTEST and (digits[:3] in (b"978", b"979") or (digits[:1] != b"4" and is_barcode(digits))):
        return False
    return luhn(digits)


def is_barcode(digits: bytes) -> bool:
    """Check the last of `digits` as an EAN's (GS1 General Specifications, section 7.9)."""
    return sum((digit - 48) * (index % 2 * 2 + 1) for index, digit in enumerate(reversed(digits))) % 10 == 0


def _marker(_digits: bytes) -> bytes:
    return b"[CARD]"


def replace_cards(
    _match: Match, text: bytes, begin: int, end: int, instead: Callable[[bytes], bytes] = _marker
) -> bytes | None:
    """Replace every card in a run of digits; None when there is none. `instead` says by what, of its digits."""
    run = text[begin:end]
    if run.count(b"-") == _UUID_DASHES and len(run) == 36 and run[8:9] == b"-" and run[13:14] == b"-":
        return None
    before, after = text[max(0, begin - 1) : begin], text[end : end + 1]
    parts = _TOKEN.findall(run)
    # A piece of a word (`x4111…`, `…1111a`) is another number or an identifier.
    first = 1 if before.isalnum() else 0
    last = len(parts) - 1 if after.isalnum() else len(parts)
    out: list[bytes] = [digits + sep for digits, sep in parts[:first]]
    index, found = first, False
    while index < last:
        behind = _card_at(parts, index, last)
        if behind is None:
            out.append(parts[index][0] + parts[index][1])
            index += 1
        else:
            digits = b"".join(part for part, _ in parts[index:behind])
            out.append(instead(digits) + parts[behind - 1][1])
            index, found = behind, True
    out += [digits + sep for digits, sep in parts[max(last, index) :]]
    return b"".join(out) if found else None


def _card_at(parts: list[tuple[bytes, bytes]], start: int, last: int) -> int | None:
    """Return where the card ends that begins with part `start`, or None."""
    digits = b""
    best = None
    sizes: list[int] = []
    for index in range(start, last):
        digits += parts[index][0]
        sizes.append(len(parts[index][0]))
        if len(digits) > _LONGEST:
            break
        if len(digits) >= _SHORTEST and _grouped(parts, start, index + 1, sizes, digits):
            best = index + 1
    return best


def _grouped(parts: list[tuple[bytes, bytes]], start: int, end: int, sizes: list[int], digits: bytes) -> bool:
    if len(sizes) == 1:
        return is_card(digits) and not (start > 0 and parts[start - 1][1] == b".")
    groups = [parts[index][0] for index in range(start, end)]
    if sizes == [4, 4, 4, 4]:
        return not all(group[:2] in (b"19", b"20") for group in groups)
    if not luhn(digits) or digits[:1] in b"01":
        return False
    if tuple(sizes) in _SHAPES:
        return True
    if sizes == _DATE_AND_TIME and _DATE.fullmatch(digits):
        return False
    joined = [parts[index][1] == b"-" for index in range(max(0, start - 1), min(end, len(parts) - 1))]
    if len(joined) >= len(sizes) and all(joined):
        return False
    # Any other grouping: with spaces or dashes, all groups alike but the last, and long, so that dates and
    # lists of small numbers stay; digits spelled out one by one or in pairs count when nothing else is there.
    if any(parts[index][1] == b"." for index in range(start, end - 1)) or len(set(sizes[:-1])) != 1:
        return False
    return sizes[0] >= 4 or (sizes[0] < 3 and start == 0 and end == len(parts))


# --- IBAN -----------------------------------------------------------------------------------------------

IBAN: Final = r"[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]){11,36}"
IBAN_HINT: Final = r"[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]){11}"

_IBAN_LENGTHS: Final = {
    code: int(size)
    for size, codes in {
        "15": "NO", "16": "BE", "18": "DK FK FI FO GL NL SD", "19": "MK SI", "20": "AT BA EE KZ LT LU MN XK",
        "21": "CH HR LI LV", "22": "BG BH CR DE GB GE IE ME RS VA", "23": "AE GI IL IQ OM SO TL",
        "24": "AD CZ ES MD PK RO SA SE SK TN VG", "25": "LY PT ST", "26": "IS TR",
        "27": "BI DJ FR GR IT MC MR SM", "28": "AL AZ BY CY DO GT HN HU LB NI PL SV", "29": "BR EG PS QA UA",
        "30": "JO KW MU YE", "31": "MT SC", "32": "LC", "33": "RU",
    }.items()
    for code in codes.split()
}  # fmt: skip
"""Country → length, from SWIFT's IBAN registry (release 99)."""


def is_iban(text: bytes) -> bool:
    """Check length and check digits (ISO 13616, ISO 7064 MOD 97-10) of an IBAN without separators."""
    if _IBAN_LENGTHS.get(text[:2].decode("ascii")) != len(text):
        return False
    return int("".join(str(int(chr(c), 36)) for c in text[4:] + text[:4])) % 97 == 1


def replace_iban(_match: Match, text: bytes, begin: int, end: int) -> bytes | None:
    """Replace the IBAN that the run begins with; what follows it in the run is given back."""
    run = text[begin:end]
    if text[max(0, begin - 1) : begin].isalnum():
        return None
    size = _IBAN_LENGTHS.get(run[:2].decode("ascii"), 0)
    plain = 0
    for position, byte in enumerate(run):
        plain += byte not in b" -"
        if plain == size:
            head, rest = run[: position + 1], run[position + 1 :]
            if rest[:1].isalnum() or not is_iban(head.translate(None, b" -")):
                return None
            return b"[IBAN]" + rest
    return None
