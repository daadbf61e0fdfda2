"""Users' own rules: CEL (https://cel.dev) over one event, and over what a window has. Pure.

The rules that live here:

- An expression is judged before it is used: it parses, names only what there is, and comes to true or false for events
  and windows made up for that. What is wrong is the configuration's fault, and says where.
- What it may cost is bounded before the parser sees it, which overruns the stack of deep nesting: its length,
  `MAX_DEPTH`, and one macro over a list (two nested ones would go through a list's square).
- A key of `args` that is not there makes a condition false. Any other failure is counted, and never stops another rule.
- All numbers are doubles, so that ``errors / count`` is what people expect.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from indelible.errors import ConfigError

if TYPE_CHECKING:
    import cel

    from indelible.alerting.facts import Facts

MISSING: Final = (
    "needs the package common-expression-language, which is not installed: pip install 'indelible[alerts]'"
)

MAX_DEPTH: Final = 24
"""Brackets within brackets."""

MAX_SAID: Final = 160
"""Characters of what the parser says."""

MAX_LIST: Final = 1_000
"""Entries of a list, or keys of a mapping, that an expression is given of `args` and `metadata`."""

WINDOW_NAMES: Final = (
    "count", "errors", "denied", "destructive", "before", "actors", "tools", "latency_mean_ms", "latency_max_ms",
    "cost_cents",
)  # fmt: skip
"""What `when` may name, all of them numbers."""

EVENT_TEXTS: Final = (
    "event_type", "actor", "user", "session", "client", "client_ip", "caller", "caller_type", "tenant", "auth_key_id",
    "backend", "method", "type", "name", "effects", "status", "kind", "error", "error_type", "policy",
)  # fmt: skip
EVENT_NUMBERS: Final = ("latency_ms", "args_bytes", "result_bytes", "cost_cents", "error_code")
EVENT_LISTS: Final = ("roles",)
EVENT_MAPPINGS: Final = ("args", "metadata")
EVENT_NAMES: Final = (*EVENT_TEXTS, *EVENT_NUMBERS, *EVENT_LISTS, *EVENT_MAPPINGS)
"""What `where` may name."""

FUNCTIONS: Final = frozenset(
    {
        "size", "contains", "startsWith", "endsWith", "matches", "int", "uint", "double", "string", "bool", "has",
        "max", "min", "timestamp", "duration", "getFullYear", "getMonth", "getDate", "getDayOfWeek", "getHours",
        "getMinutes",
    }
)  # fmt: skip

_TEXT = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_MACRO = re.compile(r"\.\s*(all|exists|exists_one|map|filter)\s*\(")
_OPERATORS = re.compile(r"[-!]{9,}")
_WORD = re.compile(r"[A-Za-z]\w*")

_EMPTY: Final[Mapping[str, Any]] = {
    **dict.fromkeys(EVENT_TEXTS, ""),
    **dict.fromkeys(EVENT_NUMBERS, 0.0),
    "roles": [],
    "args": {},
    "metadata": {},
}


class Condition:
    """An expression that is true or false."""

    def __init__(self, where: str, source: str, names: tuple[str, ...]) -> None:
        """`where` names the key in messages. Raises ConfigError."""
        self._program = _compiled(where, source, names)
        self.names = frozenset(self._program.variables())
        self.failures = 0
        self.last_failure = ""

    def __call__(self, values: dict[str, Any]) -> bool:
        """Tell whether it is so; what fails is counted, and is not so."""
        try:
            return self._program.execute(values) is True
        except KeyError:  # a key that is not there
            return False
        except Exception as exc:  # noqa: BLE001 - of the user's expression, whatever it meets
            self._failed(exc)
        except BaseException as exc:
            if type(exc).__name__ != "PanicException":  # of the extension, and no Exception
                raise
            self._failed(exc)
        return False

    def _failed(self, exc: BaseException) -> None:
        self.failures += 1
        self.last_failure = said(exc)


def _compiled(where: str, source: str, names: tuple[str, ...]) -> cel.Program:
    try:
        import cel
    except ImportError:
        raise ConfigError(f"{where}: {MISSING}") from None
    try:
        _check_cost(source)
        program = cel.compile(source)
        _check_names(program, names)
    except ValueError as exc:
        raise ConfigError(f"{where}: {said(exc)}") from None
    _check_type(where, program, names)
    return program


def _check_cost(source: str) -> None:
    """Raise ValueError for what might cost more than it should."""
    bare = _TEXT.sub("''", source)
    depth = deepest = 0
    for sign in bare:
        depth += (sign in "([{") - (sign in ")]}")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise ValueError(f"is nested deeper than {MAX_DEPTH} brackets")
    if _OPERATORS.search(bare.replace(" ", "")) or bare.count("?") > MAX_DEPTH:
        raise ValueError("is nested too deep")
    if len(_MACRO.findall(bare)) > 1:
        raise ValueError("has more than one of all, exists, exists_one, map and filter; take two rules")


def _check_names(program: cel.Program, names: tuple[str, ...]) -> None:
    from indelible.values import nearest, shown

    bound = set(re.findall(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(\s*(\w+)\s*,", program.source))
    for name in program.variables():
        if name not in names and name not in bound and not name.startswith("@"):
            raise ValueError(f"knows no {shown(name)}{nearest(name, names)}")
    for name in program.functions():
        if _WORD.fullmatch(name) and name not in FUNCTIONS:
            raise ValueError(f"knows no function {shown(name)}{nearest(name, FUNCTIONS)}")


def _check_type(where: str, program: cel.Program, names: tuple[str, ...]) -> None:
    """Raise ConfigError for an expression that does not come to true or false, as far as that can be tried."""
    values = dict.fromkeys(names, 1.0) if names is WINDOW_NAMES else dict(_EMPTY)
    try:
        found = program.execute(values)
    except KeyError:
        return
    except Exception as exc:  # noqa: BLE001 - of the user's expression
        raise ConfigError(f"{where}: {said(exc)}") from None
    if not isinstance(found, bool):
        raise ConfigError(f"{where}: expected true or false, and it is {type(found).__name__}")


def said(exc: BaseException) -> str:
    """Return what CEL says of an expression, on one line."""
    line = " ".join(str(exc).split()).removesuffix(".")
    line = re.sub(
        r"^Failed to parse expression .*?: ERROR: <input>:(\d+):(\d+): ", r"line \1, column \2: ", line
    )
    return line if len(line) <= MAX_SAID else f"{line[: MAX_SAID - 1]}…"


# --- what an expression is given --------------------------------------------------------------------------


def event_values(facts: Facts, names: frozenset[str]) -> dict[str, Any]:
    """Return of an event what an expression names."""
    return {name: _EVENT[name](facts) for name in names if name in _EVENT}


def _text(get: Callable[[Any], str | None]) -> Callable[[Facts], Any]:
    return lambda facts: get(facts.entry) or ""


def _of_outcome(name: str) -> Callable[[Facts], Any]:
    return lambda facts: getattr(facts.entry.outcome, name, None) or ""


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _bounded(raw: msgspec.Raw) -> dict[str, Any]:
    """Return a JSON object with doubles for numbers, its lists cut; an empty one for anything else."""
    if not bytes(raw):
        return {}
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return _doubles(found) if isinstance(found, dict) else {}


def _doubles(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _doubles(item) for key, item in list(value.items())[:MAX_LIST]}
    if isinstance(value, list):
        return [_doubles(item) for item in value[:MAX_LIST]]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _actor(facts: Facts) -> str:
    source = facts.entry.source
    return source.user_id or source.auth_key_id or source.client_ip or ""


_EVENT: Final[dict[str, Callable[[Facts], Any]]] = {
    "event_type": _text(lambda entry: entry.event_type),
    "actor": _actor,
    "user": _text(lambda entry: entry.source.user_id),
    "session": _text(lambda entry: entry.source.session_id),
    "client": _text(lambda entry: entry.source.client),
    "client_ip": _text(lambda entry: entry.source.client_ip),
    "caller": _text(lambda entry: entry.source.caller),
    "caller_type": _text(lambda entry: entry.source.caller_type),
    "tenant": _text(lambda entry: entry.source.tenant),
    "auth_key_id": _text(lambda entry: entry.source.auth_key_id),
    "backend": _text(lambda entry: entry.target.backend),
    "method": _text(lambda entry: entry.target.method),
    "type": _text(lambda entry: entry.target.type),
    "name": _text(lambda entry: entry.target.capability_name),
    "effects": _text(lambda entry: entry.target.effects),
    "status": _of_outcome("status"),
    "kind": _of_outcome("kind"),
    "error": _of_outcome("error"),
    "error_type": _of_outcome("error_type"),
    "policy": _text(lambda entry: entry.policy.decision if entry.policy is not None else None),
    "latency_ms": lambda facts: facts.latency_us / 1000,
    "args_bytes": lambda facts: _number(facts.entry.request.args_bytes),
    "result_bytes": lambda facts: _number(getattr(facts.entry.outcome, "result_bytes", None)),
    "cost_cents": lambda facts: facts.cost / 100,
    "error_code": lambda facts: _number(getattr(facts.entry.outcome, "error_code", None)),
    "roles": lambda facts: (facts.entry.source.roles or [])[:MAX_LIST],
    "args": lambda facts: _bounded(facts.entry.request.args),
    "metadata": lambda facts: _bounded(facts.entry.metadata),
}
"""Name → what it is of an event."""
