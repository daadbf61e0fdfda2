"""An alert as its event has it, for whoever is told. Pure.

Any event of the type ``alert`` is told: those of rules (`metadata.alert`), and what the trail says of its disk, of its
backlog, or what somebody saw from outside. Each text is one line here, cut, and without control characters: names in it
were chosen by callers.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from indelible.alerting.words import FIRING, NAMESPACE, RESOLVED, short
from indelible.formats.record import Record

MAX_SUMMARY: Final = 500
MAX_QUERY: Final = 2_000
"""A longer query is not told: half of one is another one, or none."""
MAX_NAME: Final = 128
MAX_NUMBERS: Final = 16

LEFT_OUT: Final = "The query is too long for here: it stands in the alert's event (metadata.alert.query)."

TEST: Final = "test"
"""The rule of what `indelible alerts test` sends: it is no event."""

SEVERITIES: Final = ("info", "warning", "error", "critical")


class _Words(msgspec.Struct, frozen=True, kw_only=True):
    """`metadata.alert`, as far as it is what we write."""

    rule: str = ""
    state: str = FIRING
    severity: str = "error"
    summary: str = ""
    dedup_key: str = ""
    since: str = ""
    by: str = "all"
    window_s: float | None = None
    numbers: dict[str, int | float] = {}
    query: str | None = None
    query_note: str = ""
    repeat: int = 0
    suppressed: int = 0
    once: bool = False


class _Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """Of an event of the type ``alert``; a key for each that makes one."""

    alert: _Words | None = None
    incident: dict[str, Any] | None = None
    backlog: dict[str, Any] | None = None
    disk: str | None = None
    used_percent: float | None = None


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What is told."""

    rule: str
    state: str
    severity: str
    summary: str
    dedup_key: str
    since: str
    at: str
    once: bool
    """It is a happening, which nothing will say to be over."""
    event_id: str
    origin: str
    seq: int
    leaf: str
    repeat: int = 0
    suppressed: int = 0
    window_s: float | None = None
    numbers: dict[str, int | float] = {}
    query: str | None = None
    """Whole: half a command is none."""
    query_note: str = ""
    """What is to be known of it, or why it is not here."""
    user: str | None = None
    backend: str | None = None
    name: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether it says that something is well again."""
        return self.state == RESOLVED

    @property
    def title(self) -> str:
        """What stands at the top."""
        state = "resolved" if self.is_over else self.severity
        return f"[{state}] {self.rule}"

    @property
    def more(self) -> str:
        """What is said of alerts that were not told; empty when there are none."""
        return f"{self.suppressed} more alerts of this rule were not told" if self.suppressed else ""


def notice(record: Record) -> Notice:
    """Return what an alert's event tells."""
    entry = record.entry
    words = _words(entry.metadata, entry.event_id)
    severity = words.severity if words.severity in SEVERITIES else "error"
    query, note = _query(words)
    return Notice(
        rule=short(words.rule, MAX_NAME),
        state=RESOLVED if words.state == RESOLVED else FIRING,
        severity=severity,
        summary=short(words.summary, MAX_SUMMARY),
        dedup_key=short(words.dedup_key or f"{NAMESPACE}-{entry.event_id}", MAX_NAME),
        since=short(words.since or entry.timestamp, MAX_NAME),
        at=short(entry.timestamp, MAX_NAME),
        once=words.once,
        event_id=short(entry.event_id, MAX_NAME),
        origin=record.origin,
        seq=entry.seq,
        leaf=record.leaf,
        repeat=words.repeat,
        suppressed=words.suppressed,
        window_s=words.window_s,
        numbers={short(key, 40): value for key, value in list(words.numbers.items())[:MAX_NUMBERS]},
        query=query,
        query_note=note,
        user=_name(entry.source.user_id),
        backend=_name(entry.target.backend),
        name=_name(entry.target.capability_name),
    )


def _query(words: _Words) -> tuple[str | None, str]:
    """Return the query of an alert, when it can be told as it is, and what is to be said of it."""
    if words.query is None or (
        len(words.query) <= MAX_QUERY and words.query.isprintable() and "`" not in words.query
    ):
        return words.query, short(words.query_note, MAX_SUMMARY)
    return None, LEFT_OUT


def _name(text: str | None) -> str | None:
    return None if text is None else short(text, MAX_NAME)


def _words(raw: msgspec.Raw, event_id: str) -> _Words:
    """Return the words of an alert, whoever made it."""
    try:
        found = msgspec.json.decode(raw, type=_Metadata) if bytes(raw) else _Metadata()
    except (msgspec.DecodeError, RecursionError):
        found = _Metadata()
    return _said(found, event_id)


def _said(found: _Metadata, event_id: str) -> _Words:
    if found.alert is not None:
        return found.alert
    if found.incident is not None:
        note = str(found.incident.get("note", ""))
        return _Words(rule="incident", summary=note, once=True, dedup_key=event_id)
    if found.backlog is not None:
        about = found.backlog
        lost = (
            f"events {about.get('lost')} are lost to it"
            if about.get("state") == "lost"
            else "it is nearly full"
        )
        return _Words(rule="backlog", summary=f"sink {about.get('sink')}: {lost}", once=True)
    if found.disk is not None:
        state = RESOLVED if found.disk == "below" else FIRING
        summary = f"the trail's disk is {found.disk} a threshold, {found.used_percent} % are used"
        return _Words(rule="disk", summary=summary, state=state, severity="warning", dedup_key="disk")
    return _Words(rule="alert", summary="the trail gives an alert; its event says which", once=True)


def in_words(metadata: object) -> str:
    """Return what the metadata of an alert's event say, in one line: the rule, how grave it is, of whom and what."""
    try:
        words = _said(msgspec.convert(metadata, _Metadata), "")
    except (msgspec.ValidationError, RecursionError):
        words = _said(_Metadata(), "")
    how = RESOLVED if words.state == RESOLVED else words.severity
    return f"{short(words.rule, MAX_NAME)} ({short(how, MAX_NAME)}): {short(words.summary, MAX_SUMMARY)}"


def reads(raw: msgspec.Raw) -> tuple[str, str]:
    """Return rule and severity of an alert's event: by them a channel chooses."""
    words = _words(raw, "")
    return words.rule, words.severity
