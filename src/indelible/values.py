"""Values as a configuration has them: durations, sizes, choices.

Pure. A parser raises ValueError, whose text says what it expects; whoever has the key puts that in front of it.
"""

from __future__ import annotations

import itertools
import math
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from indelible.errors import ConfigError

if TYPE_CHECKING:
    from urllib.parse import SplitResult

Parser = Callable[[object], Any]


def user_path(path: str | Path) -> Path:
    """Return a path with the home directory that ``~`` or ``~user`` stands for. Raises ConfigError: there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(f"{path}: there is no home directory for {str(path).partition('/')[0]}") from None


MEGABYTE: Final = 1_048_576
"""``max_size_mb`` counts these, as RotatingFileHandler's users do."""
DAY_S: Final = 86_400.0
YEAR_S: Final = 366 * DAY_S
"""What is to be kept for years is kept for no day less, whatever years they are."""
MAX_DURATION_S: Final = 30_000 * YEAR_S
DURATION_UNITS: Final = {
    "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": DAY_S, "w": 7 * DAY_S, "y": YEAR_S,
}  # fmt: skip
MAX_HOST: Final = 253
_HALF = re.compile("[\ud800-\udfff]")
_PRINTED = re.compile(r"[!-~]*")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d|w|y)")
SIZE_UNITS: Final = {"": 1, "kb": 1 << 10, "mb": MEGABYTE, "gb": 1 << 30, "tb": 1 << 40}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(|[kKmMgGtT][bB])")
_PERCENTAGES: Final = "expected percentages that rise, above 0 and up to 100, such as [75, 90, 95], or none"


def parse_duration(value: object) -> float:
    """Return seconds for ``10s``, ``5m``, ``2h``, ``1d``, ``1h30m`` or a bare number of seconds.

    Raises ValueError for anything else.
    """
    if isinstance(value, bool):
        raise ValueError("expected a duration such as 10s, 5m, 2h or 1d")
    if isinstance(value, int | float):
        seconds = float(value)
    else:
        text = str(value).strip()
        parts = _DURATION.findall(text)
        if not parts or _DURATION.sub("", text).strip():
            raise ValueError("expected a duration such as 10s, 5m, 2h or 1d")
        seconds = sum(float(number) * DURATION_UNITS[unit] for number, unit in parts)
    if seconds >= MAX_DURATION_S:
        raise ValueError(f"expected a duration of less than {MAX_DURATION_S / YEAR_S:.0f} years")
    if not seconds >= 0:  # nor is NaN
        raise ValueError("expected a duration that is not negative")
    return seconds


def parse_duration_or_none(value: object) -> float | None:
    """The same; None for ``none``."""
    return None if value is None or value in ("none", "None") else parse_duration(value)


def parse_size(value: object) -> int:
    """Return bytes for ``500MB``, ``10GB`` or a bare number of bytes. Raises ValueError for anything else."""
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("expected a size such as 500MB or 10GB")
    size = float(match[1]) * SIZE_UNITS[match[2].lower()]
    if size > 2**53:  # without end, too, which is what many digits are
        raise ValueError("expected a size below 8 PB")
    return int(size)


def parse_boolean(value: object) -> bool:
    """Return a truth value; as text it comes from ``${ENV}``."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):  # from ${ENV}
        return value.lower() == "true"
    raise ValueError("expected true or false")


def parse_text(value: object) -> str:
    """Return a text that is not empty, and that a file, a header or a message may hold."""
    if not isinstance(value, str) or not value:
        raise ValueError("expected a text that is not empty")
    if "\0" in value or _HALF.search(value):
        raise ValueError("expected a text without NUL and without half a surrogate pair")
    return value


def is_host(text: str) -> bool:
    """Tell whether a resolver may be asked for a host: a name's labels have 1 to 63 bytes (RFC 1035, section 2.3.4)."""
    if not text.isprintable() or " " in text:
        return False
    try:
        name = text if text.isascii() else text.encode("idna").decode()
    except UnicodeError:
        return False
    return len(name) <= MAX_HOST and all(0 < len(label) < 64 for label in name.removesuffix(".").split("."))


def split_url(text: str, wanted: str) -> SplitResult:
    """Return the parts of a URL of a server, which has no credentials and no fragment; ValueError says what is wanted.

    Signs that are no printable ASCII are refused here: `urlsplit` leaves out some of them, and nobody else does.
    """
    from urllib.parse import urlsplit  # 3 ms, which only who has a URL pays

    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("http", "https") and is_host(parts.hostname or "") and parts.port != 0
    except ValueError:
        raise ValueError(wanted) from None
    if not fits or "@" in parts.netloc or "#" in text or not _PRINTED.fullmatch(text):
        raise ValueError(wanted)
    return parts


def parse_texts(value: object) -> tuple[str, ...]:
    """Return a list of texts."""
    if isinstance(value, list):
        return tuple(parse_text(item) for item in value)
    raise ValueError("expected a list of texts")


def parse_networks(value: object) -> tuple[str, ...]:
    """Return a list of IP addresses and networks, each as it was written."""
    import ipaddress  # only who names some pays for it

    texts = parse_texts(value)
    for text in texts:
        try:
            ipaddress.ip_network(text)
        except ValueError as exc:
            raise ValueError(f"expected addresses and networks such as 10.0.0.0/8 ({exc})") from None
    return texts


def parse_text_map(value: object) -> dict[str, str]:
    """Return a mapping of names to texts."""
    if isinstance(value, dict):
        return {parse_text(key): parse_text(item) for key, item in value.items()}
    raise ValueError("expected a mapping of names to texts")


def parse_count(value: object) -> int:
    """Return a whole number from 0 to 1,000,000."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1_000_000:
        return value
    raise ValueError("expected a whole number from 0 to 1000000")


def parse_megabytes(value: object) -> int:
    """Return bytes for a number of megabytes above 0."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            pass
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1_000_000:
        return max(1, int(value * MEGABYTE))
    raise ValueError("expected a number of megabytes above 0")


def parse_percentages(value: object) -> tuple[float, ...]:
    """Return rising percentages; none of them for ``none``, 0 or an empty list. A text, from ${ENV}, has commas."""
    if value in (None, "none", "None", 0, "0"):
        return ()
    texts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    found = tuple(_percentage(item) for item in texts)
    if any(later <= earlier for earlier, later in itertools.pairwise(found)):
        raise ValueError(_PERCENTAGES)
    return found


def _percentage(value: object) -> float:
    if isinstance(value, str):
        try:
            value = float(value.strip().removesuffix("%"))
        except ValueError:
            pass
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 100:
        return float(value)
    raise ValueError(_PERCENTAGES)


def one_of(*choices: str) -> Callable[[object], str]:
    """Return a parser of one of these words."""

    def parse(value: object) -> str:
        if isinstance(value, str) and value in choices:
            return value
        raise ValueError(f"expected {', '.join(choices[:-1])} or {choices[-1]}")

    return parse


def parse_limit(value: object) -> int:
    """Return a whole number from 1 to 1,000,000."""
    count = parse_count(value)
    if count < 1:
        raise ValueError("expected a whole number from 1 to 1000000")
    return count


def parse_percent(value: object) -> int:
    """Return a whole number from 1 to 100."""
    try:
        percent = parse_limit(value)
    except ValueError:
        percent = 0
    if not 1 <= percent <= 100:
        raise ValueError("expected a whole number from 1 to 100")
    return percent


def parse_mode(value: object) -> int:
    """Return a socket's mode for ``"0660"``; raises ValueError for anything else than octal digits."""
    text = value if isinstance(value, str) else ""
    if not re.fullmatch(r"0?[0-7]{3}", text) or not int(text, 8) & 0o200:
        raise ValueError('expected a mode in quotes, such as "0660", that lets at least the owner write')
    return int(text, 8)


def parse_rate_mb(value: object) -> int:
    """Return bytes a second for megabytes a second; 0 for none."""
    return 0 if value in (0, "0") and not isinstance(value, bool) else parse_megabytes(value)


def closest(word: str, known: Iterable[str], cutoff: float = 0.5) -> str | None:
    """Return the known word that is most like another; None where none is (`cutoff` as difflib has it)."""
    import difflib  # of use to who has made a mistake, and to nobody else

    found = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return found[0] if found else None


def nearest(word: str, known: Iterable[str]) -> str:
    """Return what to say after an unknown word: the nearest known one, or all of them."""
    known = list(known)
    close = closest(word, known)
    if close:
        return f"; did you mean '{close}'?"
    return f"; known here: {', '.join(sorted(known))}" if known else ""


def shown(value: object, limit: int = 60) -> str:
    """Return a value as a message may hold it: as YAML has it, short, on one line, control characters escaped."""
    text = repr(value) if isinstance(value, str) else _in_yaml(value, limit)
    return text if len(text) <= limit else text[: limit - 1] + "…"


_PLAIN = re.compile(r"[A-Za-z0-9_./+@%-][A-Za-z0-9_./+@% -]*")


def _in_yaml(value: object, most: int) -> str:
    """Return a value in YAML's short form; of what is large or deep no more than anybody is shown."""
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) else repr(value)
    if value is None or isinstance(value, bool):
        return "nothing" if value is None else str(value).lower()
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        inner = [] if most <= 0 else list(itertools.islice(value, most))
        if isinstance(value, Mapping):
            said = ", ".join(f"{_in_yaml(key, most // 4)}: {_in_yaml(value[key], most // 4)}" for key in inner)
            return f"{{{said}}}"
        return f"[{', '.join(_in_yaml(one, most // 4) for one in inner)}]"
    if isinstance(value, bytes):
        return "binary data"
    return (
        str(value) if isinstance(value, int | float) or hasattr(value, "isoformat") else "another kind of value"
    )


def shell_word(text: str) -> str:
    r"""Return a word for a shell, on one line, with what cannot be seen as ``$'\x1b'``: the same word.

    Shells know that form from POSIX.1-2024 on; bash, zsh and ksh have long known it. A backtick is written so, too: a
    message that is fenced by some cannot hold it.
    """
    if text.isprintable() and "`" not in text:
        return shlex.quote(text)
    return f"$'{''.join(map(_in_shell, text))}'"


def _in_shell(char: str) -> str:
    if char in "\\'":
        return f"\\{char}"
    if char.isprintable() and char != "`":
        return char
    return "".join(f"\\x{byte:02x}" for byte in char.encode(errors="surrogatepass"))


def age_text(seconds: float) -> str:
    """Return a duration as the configuration has it: ``7y``, ``90d``, ``36h``; one without end is ``for ever``."""
    if math.isinf(seconds):
        return "for ever"
    for unit, size in (("y", YEAR_S), ("d", DAY_S), ("h", 3600.0), ("m", 60.0)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"


def size_text(size: int) -> str:
    """Return a size as the configuration has it: ``10GB``, ``500MB``."""
    for unit, each in (("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10)):
        if size >= each and size % each == 0:
            return f"{size // each}{unit}"
    return f"{size} bytes"
