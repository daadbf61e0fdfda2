"""Python's own objects as JSON has them: what an encoder would make of them, and what it leaves out. Pure.

Callers in the same process hand over paths, decimals, times, dataclasses and models. Most encoders know some of these,
and give up on all when there is one more that they do not know (a database session among the arguments).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any, Final

NO_FORM: Final = object()
"""Of an object that is only known by its class's name."""


def form_of(value: object) -> Any:
    """Return an object as simpler ones, which may hold such again; `NO_FORM` when it has none. Never raises.

    No method is called but those of Python's own classes, and what a model (Pydantic's) writes itself with.
    """
    try:
        for kind, form in _forms():
            if isinstance(value, kind):
                return form(value)
        if isinstance(value, type):
            return NO_FORM
        names = _field_names(type(value))
        if names is not None:
            return {name: getattr(value, name) for name in names if hasattr(value, name)}
        dump = getattr(type(value), "model_dump", None)
        # Its warnings would show values, on stderr.
        return NO_FORM if dump is None else dump(value, mode="json", warnings=False)
    except Exception:  # noqa: BLE001 - a class of anybody's
        return NO_FORM


@functools.cache
def _forms() -> tuple[tuple[type, Callable[[Any], Any]], ...]:
    # To import them takes time, which only who has such an object shall pay.
    import datetime
    import decimal
    import enum
    import ipaddress
    import pathlib
    import uuid

    as_text = (
        pathlib.PurePath, decimal.Decimal, uuid.UUID, datetime.timedelta, ipaddress.IPv4Address,
        ipaddress.IPv4Network, ipaddress.IPv6Address, ipaddress.IPv6Network,
    )  # fmt: skip
    return (
        (enum.Enum, operator.attrgetter("_value_")),
        *((kind, kind.isoformat) for kind in (datetime.datetime, datetime.date, datetime.time)),
        *((kind, kind.__str__) for kind in as_text),
    )


def _field_names(kind: type) -> list[str] | None:
    """Return the public fields of a dataclass, an attrs class or a `msgspec.Struct`; None of what is none."""
    names: Any = getattr(kind, "__struct_fields__", None)
    if names is None and hasattr(kind, "__dataclass_fields__"):
        import dataclasses

        names = [field.name for field in dataclasses.fields(kind)]
    if names is None and hasattr(kind, "__attrs_attrs__"):
        names = [attribute.name for attribute in kind.__attrs_attrs__]
    return None if names is None else [name for name in names if not name.startswith("_")]
