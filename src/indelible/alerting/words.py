"""What an alert says: its event's `metadata.alert`, and the query that shows what it is about. Pure.

Names in it are the trail's, redacted when they were recorded. They are cut for the sentence and whole in the query, up
to `MAX_QUERIED`; a longer one is left out of the query, which then shows more, and says so.
"""

from __future__ import annotations

import uuid
from typing import Any, Final, NamedTuple

import msgspec

from indelible.alerting.facts import Subject, moment
from indelible.values import shell_word

MAX_SHOWN: Final = 80
"""Characters of a name in a sentence."""

MAX_QUERIED: Final = 512

MAX_COMMAND: Final = 8_000
"""Bytes of a query in the alert's event, of which a trail takes 16,384 (`indelible.trail.upkeep.orders`)."""

TOO_LONG: Final = "The query would be too long: names that it is about are."

NAMESPACE: Final = uuid.UUID("5b1f4dd1-6f5c-5a3e-9d0c-2f6a4b0f7c11")
"""Of the ids of alerts (RFC 9562, section 5.5): the same alert has the same id, whoever finds it."""

FIRING: Final = "firing"
RESOLVED: Final = "resolved"


class Where(NamedTuple):
    """A condition in SQL, of what a rule counts."""

    sql: str
    """Empty where nothing could be said."""
    is_whole: bool = True
    """Whether it is all of the rule's condition."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One alert: that something is so, still is, or is no more."""

    rule: str
    state: str
    severity: str
    at: int
    """When, by the events' clock: microseconds since the epoch."""
    key: str
    """By which one matter is told from another: the same while it lasts, and when it comes again."""
    since: int
    """When it began, as `at`."""
    seq: int | None
    """Of the event at which it began; None where it was no event."""
    times: int = 0
    """How often it was given before, while it lasts."""
    subject: Subject | None = None
    """What it is about; None where only its event tells (`seq`)."""
    by: str = "all"
    window: int | None = None
    """Microseconds."""
    numbers: dict[str, int | float] = {}
    summary: str = ""
    """What is so of the subject."""
    query: str | None = None
    query_note: str = ""
    """What is to be known of the query, when it does not list just what was counted."""
    suppressed: int = 0
    """Alerts of the rule that were not told since the last one that was."""
    once: bool = False
    """Whether it is a happening: it is not said to be over."""

    def event_id(self, origin: str) -> str:
        """Return the id of its event in a trail."""
        told = f"{origin}|{self.rule}|{self.key}|{self.since}|{self.seq}|{self.state}|{self.times}"
        return str(uuid.uuid5(NAMESPACE, told))


def short(text: str, limit: int = MAX_SHOWN) -> str:
    """Return a name as a sentence may hold it: on one line, and cut."""
    clean = "".join(sign if sign.isprintable() else "�" for sign in text[: limit + 1])
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def called(subject: Subject | None, by: str) -> str:
    """Return what a sentence calls what an alert is about; empty where it counts everything."""
    if by == "all":
        return ""
    if subject is None:
        return f"{by} that is not known any more"
    if by == "actor":
        if subject.user_id is not None:
            return f"actor {short(subject.user_id).strip() or 'without a name'}"
        if subject.auth_key_id is not None:
            return f"credential {short(subject.auth_key_id).strip() or 'without a name'}"
        return f"caller at {short(subject.client_ip)}" if subject.client_ip else "callers that are not known"
    if by == "session":
        return f"session {short(subject.session_id)}" if subject.session_id else "calls without a session"
    backend = short(subject.backend) if subject.backend else "a server without a name"
    if by == "backend":
        return f"server {backend}"
    return f"{subject.type or 'call'} {short(subject.name or 'without a name')} of {backend}"


class Query(NamedTuple):
    """How the events are listed that an alert is about."""

    command: str | None
    """None when nothing tells any more what it is about."""
    note: str = ""
    """Why it lists more than was counted; empty when it does not."""


COLUMNS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "all": (),
    "actor": (("user_id", "--user"), ("auth_key_id", ""), ("client_ip", "")),
    "session": (("session_id", "--session"),),
    "backend": (("backend", "--backend"),),
    "tool": (("backend", "--backend"), ("name", "--name"), ("type", "--type")),
}
"""What a rule counts by → the columns that tell one from another, and the option of `log` for each that has one."""


def query(
    subject: Subject | None,
    by: str,
    since: str,
    until: str,
    options: tuple[str, ...] = (),
    where: Where | None = None,
) -> Query:
    """Return the command that lists what an alert is about.

    `since` and `until` are received times: at or after the one, before the other. `options` are `log`'s own.
    """
    if subject is None:
        return Query(None)
    words, conditions = ["indelible", "log", "-n", "0", f"--since={since}", f"--until={until}", *options], []
    notes = []
    for column, option in COLUMNS[by]:
        value: str | None = getattr(subject, column)
        if value is None:
            conditions.append(f"{column} IS NULL")
        elif not _is_fit(value):
            notes.append(f"a name ({column}) that is too long for a command")
        elif option and value.strip():
            words.append(f"{option}={value}")
        else:
            conditions.append(f"{column} = '{value.replace(chr(39), 2 * chr(39))}'")
        if by == "actor" and value is not None:
            break  # the first that is known is who it is
    if where is not None and where.sql:
        conditions.append(where.sql)
    if where is not None and not where.is_whole:
        notes.append("what of the rule's `where` has no form in SQL")
    if conditions:
        words.append(f"--where={' AND '.join(conditions)}")
    note = f"It lists more than was counted, without {' and '.join(notes)}." if notes else ""
    command = " ".join(map(shell_word, words))
    return Query(command, note) if len(msgspec.json.encode(command)) <= MAX_COMMAND else Query(None, TOO_LONG)


def _is_fit(value: str) -> bool:
    if len(value) > MAX_QUERIED or "\0" in value:
        return False
    return value.isprintable() or len(shell_word(value)) <= MAX_QUERIED


def sentence(alert: Alert) -> str:
    """Return what an alert says, in one line."""
    about = called(alert.subject, alert.by) if alert.seq is not None else ""
    over = "well again: " if alert.state == RESOLVED else "still: " if alert.times else ""
    return f"{over}{about}: {alert.summary}" if about else f"{over}{alert.summary}"


def as_metadata(alert: Alert, origin: str, options: str = "") -> dict[str, Any]:
    """Return what the alert's event has under ``alert``, without what is not known.

    `options` stand behind the query, with a space before them: they name the trail that it is for.
    """
    query, note = alert.query, alert.query_note
    if query is not None and options:
        query += options
        if len(msgspec.json.encode(query)) > MAX_COMMAND:
            query, note = None, TOO_LONG
    found: dict[str, Any] = {
        "rule": alert.rule,
        "state": alert.state,
        "severity": alert.severity,
        "summary": sentence(alert),
        "dedup_key": dedup_key(alert, origin),
        "since": moment(alert.since),
        "event_seq": alert.seq,
        "by": alert.by if alert.by != "all" else None,
        "window_s": None if alert.window is None else alert.window / 1_000_000,
        "numbers": alert.numbers or None,
        "query": query,
        "query_note": note or None,
        "repeat": alert.times or None,
        "suppressed": alert.suppressed or None,
        "once": alert.once or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def dedup_key(alert: Alert, origin: str) -> str:
    """Return by which receivers tell one matter from another: short, and without a name in it."""
    return str(uuid.uuid5(NAMESPACE, f"{origin}|{alert.rule}|{alert.key}"))
