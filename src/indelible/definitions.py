"""What a server says of its tools, as far as it is kept: only redacted words, and no values.

What is kept of a tool is its name, a digest (so that a changed description shows), its effects, the marks that say
which of its arguments are sensitive, so that redaction knows them from the first call of the next start, and its
**words**: the texts of its definition, so that a change can be shown. They are redacted before they are kept, capped,
and without defaults, examples, constants and enumerations: what a definition holds of values may be secret, and says
nothing of what the tool does.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from indelible.events import Effects
from indelible.redact.marks import Marks, compile_marks, compile_result_marks
from indelible.values import MEGABYTE

log = logging.getLogger("indelible")

MAX_FILE_BYTES: Final = 16 * MEGABYTE
"""A larger file is not one of ours; it is ignored."""

MAX_TOOLS: Final = 10_000
"""Tools kept of one server: a limit against a server that lists without end."""

MAX_NAME: Final = 1024
"""Characters of a tool's name; no call of a longer one can be told apart in a line anyway."""

MAX_WORDS: Final = 16 * 1024
"""Characters of one tool's words, as JSON; what comes after them is not kept."""

MAX_ALL_WORDS: Final = 8 * MEGABYTE
"""The same of all of a server's tools: half of `MAX_FILE_BYTES`, so that marks have room."""

MAX_WORD: Final = 4000
"""Characters of one text."""

MAX_LEAVES: Final = 2000
"""Texts of one tool that are looked at."""

MAX_TEXT: Final = 64 * 1024
"""Characters of one text; of a longer one only its length is kept: what is cut before it is redacted may show half."""

MAX_KEYS: Final = 64
MAX_KEY: Final = 256
"""Keys of a definition, and characters of one."""

MAX_WORDS_DEPTH: Final = 24
"""Levels of a definition whose texts are kept."""

Word = Callable[[str, str], str]
"""Given a key's name and a text, returns what may be kept of the text (`Redactor.word`)."""

HIDDEN: Final = "[REDACTED]"
"""What a `Word` gives for every text under a key whose name tells that it is secret."""

VALUES: Final = frozenset({"default", "example", "examples", "enum", "const"})
"""Keywords of a schema that hold values (JSON Schema 2020-12, Validation, 6.1.2, 6.1.3, 9.2, 9.5)."""

NAMES: Final = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependentRequired"}
)
"""Keywords under which keys are names of somebody's, not keywords."""

_VERSION: Final = 2
_VERSIONS: Final = (1, 2)
"""Those that are read; the first had no words."""
_SAFE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class Tool(msgspec.Struct, frozen=True):
    """One tool as one server defined it."""

    name: str
    sha256: str
    """Of the definition as compact JSON with sorted keys; hex."""
    effects: Effects
    marks: Marks
    keys: dict[str, str] = {}
    """Top-level key to the beginning of its value's SHA-256: which of them have changed."""
    words: str | None = None
    """JSON object: path to redacted text; None when words are not kept."""
    results: Marks = Marks()
    """Which parts of its results are sensitive, by its ``outputSchema``; node 0 is the whole result."""


def describe(tool: Any, word: Word | None = None, known: Tool | None = None) -> Tool | None:
    """Return what is kept of one entry of a ``tools/list`` result, or None when it is not a definition.

    `tool` is plain JSON data from a server that is not trusted: no value of any kind makes this raise. `word` redacts;
    without it no words are kept. `known` is how it was described before: words of the same definition are the same.
    """
    if not isinstance(tool, dict):
        return None
    name = tool.get("name")
    if not isinstance(name, str) or len(name) > MAX_NAME:
        return None
    try:
        digest = hashlib.sha256(_canonical(tool)).hexdigest()
        marks = compile_marks(tool.get("inputSchema"))
        keys, words = {}, None
        if known is not None and known.sha256 == digest and known.words is not None:
            keys, words = known.keys, known.words
        elif word is not None:
            keys, words = _keys(tool, word), words_of(tool, word)
        results = compile_result_marks(tool.get("outputSchema"))
        return Tool(name, digest, effects_of(tool.get("annotations")), marks, keys, words, results)
    except (ValueError, TypeError, RecursionError, OverflowError, msgspec.MsgspecError):
        return None


def _canonical(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value, order="sorted")
    except (UnicodeEncodeError, OverflowError):  # a lone surrogate, an integer that is too large
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _keys(tool: dict[str, Any], word: Word) -> dict[str, str]:
    """Return a short digest of each top-level value; names are anybody's, so they are redacted, too."""
    found = {}
    for key, value in itertools.islice(tool.items(), MAX_KEYS):
        found[word("", str(key)[:MAX_KEY])] = hashlib.sha256(_canonical(value)).hexdigest()[:16]
    return found


def words_of(tool: dict[str, Any], word: Word) -> str:
    """Return the texts of a definition as a JSON object of path to redacted text, `MAX_WORDS` characters at most."""
    found: dict[str, str] = {}
    size = 2
    for path, text in itertools.islice(_leaves(tool, "", word, 0, named=False), MAX_LEAVES):
        size += len(json.dumps(path)) + len(json.dumps(text)) + 2
        if size > MAX_WORDS:
            break
        found[path] = text
    return json.dumps(found, separators=(",", ":"))


def _leaves(value: Any, path: str, word: Word, depth: int, *, named: bool) -> Iterator[tuple[str, str]]:
    """Yield path and redacted text of everything in a definition; `named`: the keys are names of somebody's."""
    if depth > MAX_WORDS_DEPTH:
        return
    if isinstance(value, list):
        for at, item in enumerate(value):
            yield from _leaf("", item, f"{path}[{at}]", word, depth)
        return
    for each, item in value.items():
        key = str(each)
        if key == "name" and not depth:
            continue
        if key in VALUES and not named:
            continue
        shown = word("", key[:MAX_KEY])
        here = f"{path}.{shown}" if path else shown
        if not named and word(key[:MAX_KEY], "x") == HIDDEN:
            yield here, HIDDEN
            continue
        yield from _leaf(
            "" if named else key[:MAX_KEY], item, here, word, depth, names=key in NAMES and not named
        )


def _leaf(
    key: str, item: Any, path: str, word: Word, depth: int, *, names: bool = False
) -> Iterator[tuple[str, str]]:
    if isinstance(item, dict) or (
        isinstance(item, list) and any(isinstance(each, dict | list) for each in item)
    ):
        yield from _leaves(item, path, word, depth + 1, named=names and isinstance(item, dict))
        return
    text = (
        item if isinstance(item, str) else json.dumps(item)
    )  # a list whole: a flag tells what stands behind it
    yield path, word(key, text) if len(text) <= MAX_TEXT else f"[{len(text)} CHARACTERS]"


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
        sound = all(_is_sound(tool.marks) and _is_sound(tool.results) for tool in stored.tools)
        if stored.version not in _VERSIONS or stored.backend != backend or not sound:
            return {}
        return {tool.name: tool for tool in stored.tools}

    def save(self, backend: str, tools: Sequence[Tool]) -> None:
        """Replace what is kept of a server, at once and whole; nothing is written when nothing changed."""
        if self._directory is None:
            return
        path = self._path(backend)
        content = msgspec.json.encode(_File(_VERSION, backend, list(tools[:MAX_TOOLS])))
        if len(content) > MAX_FILE_BYTES:  # marks are what protects: they stay
            bare = [msgspec.structs.replace(tool, words=None) for tool in tools[:MAX_TOOLS]]
            content = msgspec.json.encode(_File(_VERSION, backend, bare))
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
