"""A report as one JSON object; docs/reference/report.md lists its keys."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from indelible import __version__
from indelible.cli.common import echo_json
from indelible.cli.report_words import NO_CERTIFICATE, sentence, verified
from indelible.cli.rows import plain
from indelible.cli.verify import combine
from indelible.events import format_time
from indelible.query.columns import json_text
from indelible.query.report.facts import VERIFIED

if TYPE_CHECKING:
    from indelible.cli.report_words import Unread, Words
    from indelible.query.report.making import Controls, Report, Table
    from indelible.query.report.scope import Scope
    from indelible.trail.findings import VerifyResult

FORM: Final = 1
"""The version of the form; a key that is added does not change it."""


def as_json(
    report: Report, results: Sequence[VerifyResult] | None, unread: Unread, words: Words
) -> dict[str, Any]:
    """Return the report."""
    return {
        **head(report.scope, words),
        "notes": words.notes,
        **_unread(unread),
        "verification": verification(results),
        "verify_command": words.verify_command,
        "summary": _row(report.summary),
        "held": _row(report.held),
        "goes_back": report.goes_back,
        "sections": [_section(table, words) for table in report.tables],
    }


def show(value: dict[str, Any]) -> None:
    """Print a report as one line; sums may be larger than 64 bits, which orjson does not take."""
    echo_json(json_text(value))


def head(scope: Scope, words: Words) -> dict[str, Any]:
    """Return what every report begins with."""
    return {
        "report": FORM,
        "made_at": format_time(time.time_ns()),
        "made_with": f"indelible {__version__}",
        "trails": words.trails,
        "since": scope.since,
        "until": scope.until,
        "thresholds": {
            "per_hour": scope.per_hour,
            "error_percent": float(scope.error_percent),
            "min_calls": scope.min_calls,
        },
    }


def verification(results: Sequence[VerifyResult] | None) -> dict[str, Any] | None:
    """Return what `verify --json` prints; None when it was left out."""
    if results is None:
        return None
    return results[0].as_dict() if len(results) == 1 else combine(list(results))


def _row(table: Table) -> dict[str, Any]:
    return {name: plain(value) for name, value in table.rows[0].items()}


def _section(table: Table, words: Words) -> dict[str, Any]:
    section = table.section
    return {
        "name": section.name,
        "title": section.title,
        "says": section.says,
        "rows": [{name: plain(value) for name, value in row.items()} for row in table.rows],
        "total": table.total,
        "asides": {aside.name: number for aside, number in table.asides},
        "may_be_old": section.is_new and bool(words.cannot_tell_new),
        "query": section.sql,
        "command": words.command(section.sql),
    }


def _unread(unread: Unread) -> dict[str, Any]:
    missing = unread.missing
    return {
        "unreadable": {"lines": unread.lines, "first": unread.first or None},
        "missing": {"lines": missing.lines, "first": missing.place() or None},
    }


def controls(
    made: Controls, results: Sequence[VerifyResult] | None, unread: Unread, words: Words
) -> dict[str, Any]:
    """Return what the trail shows of a framework's controls."""
    framework = made.framework
    return {
        **head(made.scope, words),
        "framework": {
            "name": framework.name,
            "title": framework.title,
            "version": framework.version,
            "about": framework.about,
            "no_certificate": NO_CERTIFICATE,
        },
        "notes": words.notes,
        **_unread(unread),
        "verification": verification(results),
        "verify_command": words.verify_command,
        "held": _row(made.held),
        "controls": [
            {
                "id": control.id,
                "title": control.title,
                "asks": control.asks,
                "shows": [_shown(name, made, results, words) for name in control.facts],
                "sections": list(control.sections),
                "not_shown": control.not_shown,
            }
            for control in framework.controls
        ],
    }


def _shown(name: str, made: Controls, results: Sequence[VerifyResult] | None, words: Words) -> dict[str, Any]:
    if name == VERIFIED:
        says, numbers = verified(results)
        return {"fact": name, "says": says, "numbers": numbers, "query": None, "command": words.verify_command}
    found = made.facts[name]
    return {
        "fact": name,
        "says": sentence(found),
        "numbers": {key: plain(value) for key, value in found.numbers.items()},
        "query": found.fact.sql,
        "command": words.command(found.fact.sql),
    }
