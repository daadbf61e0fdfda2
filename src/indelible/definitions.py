"""What a server says of its tools, as far as it is kept: never their words.

A definition's schema, defaults and descriptions may hold secrets, and nothing reads them again. What is kept of
a tool is its name, a digest (so that a changed description shows), its effects, and the marks that say which of
its arguments are sensitive, so that redaction knows them from the first call of the next start.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from indelible.events import Effects
from indelible.redact.marks import Marks, compile_marks
from indelible.values import MEGABYTE

log = logging.getLogger("indelible")

MAX_FILE_BYTES: Final = 16 * MEGABYTE
"""A larger file is not one of ours; it is ignored."""

MAX_TOOLS: Final = 10_000
"""Tools kept of one server: a limit against a server that lists without end."""

MAX_NAME: Final = 1024
"""Characters of a tool's name; no call of a longer one can be told apart in a line anyway."""

_VERSION: Final = 1
_SAFE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class Tool(msgspec.Struct, frozen=True):
    """One tool as one server defined it."""

    name: str
    sha256: str
    """Of the definition as compact JSON with sorted keys; hex."""
    effects: Effects
    marks: Marks


def describe(tool: Any) -> Tool | None:
    """Return what is kept of one entry of a ``tools/list`` result, or None when it is not a definition.

    `tool` is plain JSON data from a server that is not trusted: no value of any kind makes this raise.
    """
    if not isinstance(tool, dict):
        return None
    name = tool.get("name")
    if not isinstance(name, str) or len(name) > MAX_NAME:
        return None
    try:
        digest = hashlib.sha256(_canonical(tool)).hexdigest()
        return Tool(name, digest, effects_of(tool.get("annotations")), compile_marks(tool.get("inputSchema")))
    except (ValueError, TypeError, RecursionError, OverflowError, msgspec.MsgspecError):
        return None


def _canonical(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value, order="sorted")
    except (UnicodeEncodeError, OverflowError):  # a lone surrogate, an integer that is too large
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def effects_of(annotations: Any) -> Effects:
    """Return what a tool's annotations say about its effects (MCP schema, ``ToolAnnotations``).

    `destructiveHint` counts only beside a `readOnlyHint` that is not true, and is true when it is left out; a
    tool without either says nothing.
    """
    if not isinstance(annotations, dict):
        return "unknown"
    read_only, destructive = annotations.get("readOnlyHint"), annotations.get("destructiveHint")
    if read_only is True:
        return "read_only"
    if destructive is False:
        return "write"
    if destructive is True or read_only is False:
        return "destructive"
    return "unknown"


class _File(msgspec.Struct, frozen=True):
    version: int
    backend: str
    tools: list[Tool]


class DefinitionStore:
    """The definitions of each server, a file each; only a cache, so nothing wrong with it is fatal."""

    def __init__(self, directory: Path | None) -> None:
        """Keep the files in `directory`, made when needed; None keeps nothing."""
        self._directory = directory

    def load(self, backend: str) -> dict[str, Tool]:
        """Return the tools of a server by name; empty when nothing, or nothing readable, is known."""
        if self._directory is None:
            return {}
        try:
            content = _read(self._path(backend))
            stored = msgspec.json.decode(content, type=_File)
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as exc:
            log.warning("definitions of a server are not readable and are ignored: %s", type(exc).__name__)
            return {}
        sound = all(_is_sound(tool.marks) for tool in stored.tools)
        if stored.version != _VERSION or stored.backend != backend or not sound:
            return {}
        return {tool.name: tool for tool in stored.tools}

    def save(self, backend: str, tools: Sequence[Tool]) -> None:
        """Replace what is kept of a server, at once and whole; nothing is written when nothing changed."""
        if self._directory is None:
            return
        path = self._path(backend)
        content = msgspec.json.encode(_File(_VERSION, backend, list(tools[:MAX_TOOLS])))
        try:
            if _same(path, content):
                return
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _replace(path, content)
        except OSError as exc:
            log.warning("definitions of a server are not kept: %s", exc.strerror)

    def _path(self, backend: str) -> Path:
        assert self._directory is not None  # noqa: S101 - both callers have looked
        return self._directory / file_name(backend)


def _is_sound(marks: Marks) -> bool:
    """Tell whether every index in the marks is that of a node: nobody must trip over a file."""
    indices = [
        index
        for node in marks.nodes
        for index in (
            *node.properties.values(), *node.patterns.values(), *node.prefix, *node.anywhere, *node.also,
            node.additional or 0, node.items or 0,
        )
    ]  # fmt: skip
    return all(0 <= index < len(marks.nodes) for index in indices)


def file_name(backend: str) -> str:
    """Return a file name for any server's name: its own when that is harmless, else with a digest.

    Capitals are not harmless: some file systems do not tell them apart.
    """
    if _SAFE_NAME.fullmatch(backend):
        return f"{backend}.json"
    digest = hashlib.sha256(backend.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    readable = re.sub(r"[^a-z0-9]+", "-", backend.lower())[:32].strip("-")
    return f"{readable or 'server'}~{digest}.json"


def _read(path: Path) -> bytes:
    # Not Path.open: it would wait for a writer when somebody put a FIFO there.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(MAX_FILE_BYTES + 1) or b""
    if len(content) > MAX_FILE_BYTES:
        raise ValueError("too large")
    return content


def _same(path: Path, content: bytes) -> bool:
    try:
        return _read(path) == content
    except (OSError, ValueError):
        return False


def _replace(path: Path, content: bytes) -> None:
    """Put a file in place whole. Not synced: after a power loss the server lists its tools again."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
