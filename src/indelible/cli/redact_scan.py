"""`indelible redact scan`: every line of the trails that are meant, by today's rules.

Findings are printed as they come, so that nothing grows with the trail.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from indelible.cli.common import Where, find_trails, note, print_json
from indelible.cli.filtering import parse_since
from indelible.cli.progress import progress_bar
from indelible.cli.text import counted, one_line
from indelible.definitions import DefinitionStore, Tool
from indelible.events import Target
from indelible.query.scan import Scan, ScannedLine
from indelible.redact.declared import Declared
from indelible.redact.marks import MarkTree, joined
from indelible.trail.layout import Layout
from indelible.trail.reader import with_earlier

if TYPE_CHECKING:
    from indelible.redact.explain import Explainer, Found

SHOWN_UNREAD: Final = 20
MAX_BACKENDS: Final = 1_024
"""Servers whose marks are held; those of the others are read again."""


class Trees(NamedTuple):
    """The marks of a call's arguments, and of its result."""

    args: MarkTree | None = None
    result: MarkTree | None = None


_UNMARKED: Final = Trees()


class Marked:
    """What the schemas of a trail's tools mark, as they were listed last, and what endpoint files declare."""

    def __init__(self, path: Path, declared: Declared) -> None:
        self._store = DefinitionStore(Layout(path).definitions)
        self._declared = declared
        self._known: dict[str, dict[str, Trees]] = {}

    def of(self, entry: dict[str, Any]) -> Trees:
        """Return the marks of what an event is about."""
        target = entry.get("target")
        if not isinstance(target, dict):
            return _UNMARKED
        names = (target.get("original_name"), target.get("capability_name"))
        if target.get("method") == "tools/call":
            backend = target.get("backend", "")
            tools = self._tools(backend if isinstance(backend, str) else "")
            found = next((tools[name] for name in names if isinstance(name, str) and name in tools), None)
            if found is not None:
                return found
        if not self._declared.any:
            return _UNMARKED
        about = Target(method=target.get("method"), original_name=names[0], capability_name=names[1])
        return Trees(self._declared.args(about)[1], self._declared.result(about))

    def _tools(self, backend: str) -> dict[str, Trees]:
        tools = self._known.get(backend)
        if tools is None:
            if len(self._known) >= MAX_BACKENDS:
                self._known.clear()
            listed = self._store.load(backend).values()
            tools = {tool.name: trees for tool in listed if (trees := self._trees(tool)) != _UNMARKED}
            self._known[backend] = tools
        return tools

    def _trees(self, tool: Tool) -> Trees:
        """Return the marks of a tool: its server's, and those of an endpoint file."""
        declared = self._declared
        both = joined(tool.marks, declared.tool(tool.name)), joined(tool.results, declared.returns(tool.name))
        return Trees(*(MarkTree(marks) if marks.nodes else None for marks in both))


class _Printer:
    def __init__(self, *, as_json: bool, several: bool) -> None:
        self._as_json = as_json
        self._several = several
        self._trail: Path | None = None
        self.findings = 0
        self.events = 0
        """Lines with a finding."""

    def show(self, trail: Path, line: ScannedLine, findings: list[Found]) -> None:
        self.events += bool(findings)
        self.findings += len(findings)
        seq = None if line.entry is None else line.entry["seq"]
        for found in findings:
            if self._as_json:
                self._print_json(trail, line, seq, found)
            else:
                self._print(trail, line, seq, found)

    def _print_json(self, trail: Path, line: ScannedLine, seq: int | None, found: Found) -> None:
        place = {"line": line.number} if seq is None else {"path": found.path, "part": found.part}
        print_json(
            {
                "trail": str(trail),
                "file": str(line.file),
                "seq": seq,
                **place,
                "rule": found.rule,
                "inside": list(found.inside),
                "chars": found.chars,
            }
        )

    def _print(self, trail: Path, line: ScannedLine, seq: int | None, found: Found) -> None:
        if self._several and trail != self._trail:
            click.echo(f"{one_line(str(trail))}:")
            self._trail = trail
        inside = f" (in {', '.join(found.inside)})" if found.inside else ""
        key = " (in the key)" if found.part == "key" else ""
        who = f"seq {seq}" if seq is not None else f"{line.file.name}, line {line.number or 'unknown'}"
        where = "" if seq is None else f"  {found.path}{key}"
        click.echo(one_line(f"{who:<12}  {found.rule}{inside}{where}"))


def search(where: Where, explainer: Explainer, since: str | None, *, as_json: bool) -> int:
    """Search the trails that are meant and print what is found; return the exit code."""
    begin = parse_since(since)
    mains = find_trails(where)
    trails = [(main, path) for main in mains for path in with_earlier([main])]
    printer = _Printer(as_json=as_json, several=len(trails) > 1)
    declared = Declared(where.settings.redaction)
    scans: list[Scan] = []
    with progress_bar(mains, "searching", earlier=True) as progress:
        for main, path in trails:
            scan = Scan(path, begin, progress)
            scans.append(scan)
            _search_one(scan, path, explainer, Marked(main, declared).of, printer)
    _report(scans, printer, as_json=as_json)
    if printer.findings:
        return 1
    return 3 if any(scan.unread or scan.broken for scan in scans) else 0


def _search_one(
    scan: Scan,
    path: Path,
    explainer: Explainer,
    marks: Callable[[dict[str, Any]], Trees],
    printer: _Printer,
) -> None:
    for line in scan.lines():
        if line.entry is None:
            findings = explainer.text(line.line.decode("utf-8", "replace"))[1]
        else:
            findings = explainer.event(line.entry, *marks(line.entry))
        printer.show(path, line, findings)


def _report(scans: list[Scan], printer: _Printer, *, as_json: bool) -> None:
    unread = [item for scan in scans for item in scan.unread]
    broken = {path: count for scan in scans for path, count in scan.broken.items()}
    events, files = sum(scan.events for scan in scans), sum(scan.files for scan in scans)
    erased = sum(scan.erased for scan in scans)
    if as_json:
        print_json(
            {
                "ok": not printer.findings and not unread and not broken,
                "findings": printer.findings,
                "events": events,
                "erased": erased,
                "files": files,
                "unread": [{"path": str(item.path), "why": item.why} for item in unread],
                "broken_lines": [
                    {"path": str(path), "count": count, "first": first}
                    for path, (count, first) in broken.items()
                ],
            }
        )
        return
    searched = f"{counted(events, 'event')} in {counted(files, 'file')}"
    if printer.findings:
        lines = counted(printer.events, "line")
        click.echo(f"{counted(printer.findings, 'finding')} in {lines}, of {searched}")
    elif files:
        click.echo(f"nothing found in {searched}")
    said = [f"not searched: {item.path}: {item.why}" for item in unread]
    said += [_broken(path, count, first) for path, (count, first) in broken.items()]
    for text in said[:SHOWN_UNREAD]:
        note(text)
    if len(said) > SHOWN_UNREAD:
        note(f"and {len(said) - SHOWN_UNREAD} more that could not be read (--json lists all)")


def _broken(path: Path, count: int, first: int | None) -> str:
    which = "" if first is None else f" (the first: line {first})"
    what = "1 line is no entry" if count == 1 else f"{count} lines are no entries"
    return f"{path}: {what}{which}; searched as text"
