"""What is known of the tools that servers have listed, and of those in endpoint files: where their secrets are."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final

from indelible.config import RedactionSettings
from indelible.events import Source, Target
from indelible.redact.declared import Declared
from indelible.redact.marks import Marks, MarkTree, joined

_REMOTE: Final = ("stdio", "http")

Learned = Mapping[tuple[str, str], MarkTree | None]


class Schemas:
    """The marks of tools, by server and name; safe to use from several threads."""

    def __init__(self, settings: RedactionSettings) -> None:
        """Read the endpoint files that the settings name. Raises ConfigError."""
        self.learned: Learned = {}
        """Another object as soon as something else is known; None for a tool without marks."""
        self._results: Mapping[tuple[str, str], MarkTree] = {}
        self._declared = Declared(settings)
        self._digest_unknown = settings.unknown_schema == "digest"
        self._lock = threading.Lock()

    def learn(self, backend: str, tool: str, marks: Marks, results: Marks) -> None:
        """Take the marks of a tool that `backend` has listed, and of its results."""
        marks = joined(marks, self._declared.tool(tool))
        tree = MarkTree(marks) if marks.nodes else None
        results = joined(results, self._declared.returns(tool)) if results.nodes else results
        with self._lock:
            if results.nodes:
                self._results = {**self._results, (backend, tool): MarkTree(results)}
            elif (backend, tool) in self._results:
                self._results = {key: one for key, one in self._results.items() if key != (backend, tool)}
            self.learned = {**self.learned, (backend, tool): tree}  # last: what is known is known by it

    def forget(self, backend: str) -> None:
        """Forget every tool of a backend: they count as never listed until they are learned again."""
        with self._lock:
            self._results = {key: tree for key, tree in self._results.items() if key[0] != backend}
            self.learned = {key: tree for key, tree in self.learned.items() if key[0] != backend}

    def of_args(
        self, target: Target | None, source: Source | None, learned: Learned
    ) -> tuple[MarkTree | None, bool]:
        """Return the marks of a call's tool, and whether texts must become digests for want of any."""
        if target is not None and self._declared.any and target.method != "tools/call":
            return self._declared.args(target)[1], False
        if target is None or target.method != "tools/call":
            return None, False
        backend = target.backend or ""
        for name in (target.original_name, target.capability_name):
            if type(name) is str and type(backend) is str and (backend, name) in learned:
                return learned[backend, name], False
        if self._declared.any and (declared := self._declared.args(target))[0]:
            return declared[1], False
        return None, self._digest_unknown and source is not None and source.caller in _REMOTE

    def of_result(self, target: Target | None) -> MarkTree | None:
        """Return the marks of a call's result: as its server has listed them, with those of an endpoint file."""
        if not self._results and not self._declared.any:
            return None
        if target is not None and target.method == "tools/call":
            for name in (target.original_name, target.capability_name):
                key = (target.backend or "", name)
                if type(name) is str and type(key[0]) is str and (found := self._results.get(key)):  # type: ignore[arg-type]
                    return found
        return self._declared.result(target) if self._declared.any else None
