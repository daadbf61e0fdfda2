"""What a report says beside its figures: which trails, what to be careful about, the commands that show it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from indelible.cli.text import counted, said_missing
from indelible.query.report.scope import Scope
from indelible.query.report.sections import command
from indelible.values import shell_word

if TYPE_CHECKING:
    from indelible.query.continuity import Missing
    from indelible.query.report.making import Shown
    from indelible.trail.findings import VerifyResult


class Words(NamedTuple):
    """What is said beside the figures."""

    trails: list[str]
    scope: Scope
    options: str
    """What stands behind each command, so that it is about the same trails."""
    vkeys: tuple[str, ...]
    limit: int
    notes: list[str]
    """What is to be known before anything of the report is believed."""
    cannot_tell_new: str
    """Why nobody can tell what is new; empty where it can be told."""

    def command(self, sql: str) -> str:
        """Return the command that gives what a query gives."""
        return command(sql) + self.options

    def piped(self, name: str) -> str:
        """Return the same as a short line: the query is printed, and asked."""
        scope, usual = self.scope, Scope(self.scope.since, self.scope.until)
        asked = f"indelible report --query {name} --since {_short(scope.since)} --until {_short(scope.until)}"
        for option, field in (
            ("--per-hour", "per_hour"),
            ("--error-rate", "error_percent"),
            ("--min-calls", "min_calls"),
        ):
            if getattr(scope, field) != getattr(usual, field):
                asked += f" {option} {getattr(scope, field)}"
        return f"{asked} | indelible sql{self.options}"

    @property
    def bucket(self) -> str:
        """What a bar of the chart stands for."""
        return self.scope.bucket

    @property
    def verify_command(self) -> str:
        """The command that gives the state of verification."""
        return "indelible verify" + "".join(f" --vkey {shell_word(key)}" for key in self.vkeys) + self.options


def _short(time: str) -> str:
    """Return a time without a fraction of a second that is none."""
    return time.replace(".000000Z", "Z")


_TO_BE_KNOWN: Final = {
    "erased": "erased lines, of which nobody can say what they were",
    "newer": "lines of a newer version of Indelible, which may mean something else than this one takes them for",
    "timeless": "calls without a time that can be read, which are in no section",
    "later": "calls at the end of the period or later, which are in no section",
}


class Unread(NamedTuple):
    """What the figures are without: lines that could not be read, with the place of the first, and missing ones."""

    lines: int
    first: str
    missing: Missing


def notes_of(held: dict[str, Any], results: Sequence[VerifyResult] | None, unread: Unread) -> list[str]:
    """Return what is to be known first: what is not as it was sealed, could not be read, or is in no section."""
    found: list[str] = []
    count = sum(len(result.findings) + result.omitted for result in results or ())
    if count:
        found.append(
            f"the trail is not what was sealed ({counted(count, 'finding')}): until that is explained no "
            f"figure "
            "here is evidence"
        )
    if unread.lines:
        found.append(
            f"lines that could not be read, and are in no figure: {unread.lines}, the first: {unread.first}"
        )
    if unread.missing.lines:
        found.append(f"{said_missing(unread.missing)}: what they said is in no figure")
    for name, says in _TO_BE_KNOWN.items():
        if held[name]:
            found.append(f"{says}: {held[name]}")
    return found


def cannot_tell_new(oldest: Any, *, goes_back: bool) -> str:
    """Return why nobody can tell what is new, where the trail begins after the period does."""
    if goes_back:
        return ""
    begins = "nothing at all" if oldest is None else f"nothing from before {oldest.isoformat(' ')[:19]} (UTC)"
    return f"The trail holds {begins}: what was there before nobody can tell, so all of this may be old."


NO_CERTIFICATE: Final = (
    "This is no certificate and no audit. It says what one trail shows of controls that an audit log serves, "
    "and what it "
    "does not show; whether a control is met is for somebody to judge who sees the rest."
)


def sentence(shown: Shown) -> str:
    """Return what a fact says, with its numbers."""
    return shown.fact.says.format_map({name: _word(value) for name, value in shown.numbers.items()})


def _word(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case datetime():
            return value.isoformat(" ")[:19]
        case float():
            return f"{value:g}"
        case _:
            return f"{value:,}"


def verified(results: Sequence[VerifyResult] | None) -> tuple[str, dict[str, Any]]:
    """Return what verification came to, as a fact of its own: a sentence, and its numbers."""
    if results is None:
        return "The trail was not verified.", {}
    numbers = {
        "ok": all(result.ok for result in results),
        "events": sum(result.events for result in results),
        "findings": sum(len(result.findings) + result.omitted for result in results),
        "erased": sum(result.erased for result in results),
        "pruned": sum(result.pruned for result in results),
        "unsealed": sum(result.unsealed for result in results),
    }
    word = "is what was sealed" if numbers["ok"] else "is NOT what was sealed"
    said = (
        f"The trail {word}: {numbers['events']:,} lines are covered by its signed checkpoint, "
        f"{numbers['erased']:,} erased "
        f"and {numbers['pruned']:,} deleted on record; findings: {numbers['findings']:,}; not sealed yet: "
        f"{numbers['unsealed']:,}."
    )
    unchecked = sorted({text for result in results for text in result.not_checked})
    return said + (f" Not checked: {'; '.join(unchecked)}." if unchecked else ""), numbers
