"""DuckDB, loaded and started.

For a short question that takes longer than its answer does. Whoever is going to ask can have it begin in a thread,
beside what is imported and looked for meanwhile.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from indelible.errors import TrailError

if TYPE_CHECKING:
    import duckdb

MISSING: Final = "needs the package duckdb, which is not installed: pip install 'indelible[query]'"

_USED: Final = (
    "connect", "Error", "FatalException", "IOException", "InternalException", "InterruptException",
    "ConversionException", "OutOfMemoryException",
)  # fmt: skip

_CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",
}
"""Nothing is loaded, nothing in Python is looked at, nothing is written; whoever asks restricts it further."""


def load() -> Any:
    """Import DuckDB. Raises TrailError when it is not there.

    The package `duckdb` loads its whole DataFrame interface, which takes longer than most questions; what is used here
    is its compiled part's, which the package hands on as it is.
    """
    try:
        import _duckdb
    except ImportError:
        return _whole()
    return _duckdb if all(hasattr(_duckdb, name) for name in _USED) else _whole()


def _whole() -> Any:
    try:
        import duckdb
    except ImportError as exc:
        if isinstance(exc, ModuleNotFoundError) and exc.name in ("duckdb", "_duckdb"):
            raise TrailError(f"SQL {MISSING}") from exc
        raise TrailError(f"the package duckdb cannot be loaded: {exc}") from exc
    return duckdb


class _Begun:
    """A database that a thread makes."""

    def __init__(self) -> None:
        self._made: duckdb.DuckDBPyConnection | None = None
        # No daemon: the interpreter must not end while DuckDB is in the midst of it.
        self._thread = threading.Thread(target=self._make, name="indelible-duckdb")
        self._thread.start()

    def _make(self) -> None:
        try:
            self._made = _database()
        except Exception:  # noqa: BLE001 - whoever needs one makes another, and sees why not
            self._made = None

    def take(self) -> duckdb.DuckDBPyConnection | None:
        self._thread.join()
        return self._made


_begun: Final[list[_Begun]] = []


def begin() -> None:
    """Have the next database be made meanwhile. Never raises: what goes wrong, the one who needs it sees."""
    if not _begun:
        _begun.append(_Begun())


def database() -> duckdb.DuckDBPyConnection:
    """Return a database in memory, for the caller alone. Raises TrailError when DuckDB is not there."""
    try:
        made = _begun.pop().take()
    except IndexError:
        made = None
    return made if made is not None else _database()


def _database() -> duckdb.DuckDBPyConnection:
    made: duckdb.DuckDBPyConnection = load().connect(":memory:", config=dict(_CONFIG))
    return made
