"""What endpoint files declare sensitive: the marks of arguments and results, by what a call is of.

The rule that lives here: **where a result repeats what is marked, it goes as a whole.** Of a result, the marks of
``return`` hold for `structuredContent` (itself, or its ``result``, as servers wrap what is no object); its texts say
the same again in a form of their own, and so does what a resource holds. So these go when anything of it is marked.
"""

from __future__ import annotations

import re
from typing import Final

from indelible.endpoints import Kind
from indelible.errors import ConfigError
from indelible.events import Target
from indelible.redact.marks import Marks, MarkTree, compile_marks, compile_pattern, joined, of_returned
from indelible.redaction_settings import RedactionSettings

_KINDS: Final[dict[str, Kind]] = {"tools/call": "tool", "prompts/get": "prompt", "resources/read": "resource"}


class Declared:
    """The marks of a configuration's endpoint files; safe to use from several threads."""

    def __init__(self, settings: RedactionSettings) -> None:
        """Compile what its files say. Two files of the same endpoint count both. Raises ConfigError, one line."""
        if settings.schemas and not settings.endpoints:
            raise ConfigError("redaction.schemas: read from a configuration file only")
        self._args: dict[tuple[Kind, str], Marks] = {}
        results: dict[tuple[Kind, str], Marks] = {}
        for one in settings.endpoints:
            key = (one.kind, one.name)
            given = compile_marks({"properties": one.parameters})
            self._args[key] = joined(self._args.get(key, Marks()), given)
            results[key] = joined(results.get(key, Marks()), of_returned(compile_marks(one.returns)))
        self._trees = {key: MarkTree(marks) if marks.nodes else None for key, marks in self._args.items()}
        self._returns = results
        self._results = {key: MarkTree(marks) for key, marks in results.items() if marks.nodes}
        uris = [key for key in results if key[0] == "resource" and "{" in key[1]]
        self._templates = [(compile_pattern(_template(key[1])), key) for key in uris]
        self.any = bool(self._args)
        """Whether there are any."""

    def tool(self, name: str) -> Marks:
        """Return the marks of a tool's arguments; empty when no file speaks of it."""
        return self._args.get(("tool", name), Marks())

    def returns(self, name: str) -> Marks:
        """Return the marks of a tool's results; empty when no file speaks of it."""
        return self._returns.get(("tool", name), Marks())

    def args(self, target: Target) -> tuple[bool, MarkTree | None]:
        """Return whether a file speaks of what is called, and the marks of its arguments."""
        for key in self._names(target):
            if key in self._trees:
                return True, self._trees[key]
        return False, None

    def result(self, target: Target | None) -> MarkTree | None:
        """Return the marks of a result."""
        if target is None or not self._results:
            return None
        return next((self._results[key] for key in self._names(target) if key in self._results), None)

    def _names(self, target: Target) -> list[tuple[Kind, str]]:
        """Return by which names a file may speak of what is called: a URI's templates, too."""
        kind = _KINDS.get(target.method or "") if type(target.method) is str else None
        names = [name for name in (target.original_name, target.capability_name) if type(name) is str]
        if kind is None:
            return []
        found = [(kind, name) for name in names]
        if kind == "resource":
            texts = [name.encode("utf-8", "replace") for name in names]
            found += [key for regex, key in self._templates if regex is None or any(map(regex.search, texts))]
        return found


def _template(uri: str) -> str:
    """Return the pattern of a template of URIs (RFC 6570, level 1): a variable may be anything."""
    return "^" + ".*".join(map(re.escape, re.split(r"\{[^{}]*\}", uri))) + "$"
