"""The analyses of the record itself: what is missing from it, when nobody recorded, what was taken out. Pure.

The rules of `indelible.query.report.sections` hold here, too. The period is told by `recorded_at`, the writer's clock,
since these events are about the record and not about a call.
"""

from __future__ import annotations

from typing import Final

from indelible.query.report.scope import SILENCE_H, Scope
from indelible.query.report.sections import Aside, Column, Section, within

MARKS: Final = (
    "audit_gap",
    "audit_recovered",
    "clock_stepped",
    "retention_applied",
    "entry_erased",
)
"""Events that say that something of the record is missing, was taken out, or is to be read with care."""

_LISTED: Final = ", ".join(f"'{name}'" for name in MARKS)

_SAID: Final = (
    "CASE event_type "
    "WHEN 'audit_gap' THEN concat('events lost: ', metadata->>'lost', ' (', metadata->>'reason', ')') "
    "WHEN 'audit_recovered' THEN concat('a writer had died; calls interrupted: ', metadata->>'interrupted', "
    "', lines sealed late: ', metadata->>'unsealed', ', torn pieces set aside: ', "
    "json_array_length(metadata, '/torn')) "
    "WHEN 'clock_stepped' THEN concat('the clock was set by ', metadata->>'step_s', ' s') "
    "WHEN 'retention_applied' THEN concat('files deleted: ', metadata->>'files', ' (', metadata->>'reason', "
    "')') "
    "WHEN 'entry_erased' THEN concat('lines erased: ', metadata->>'lines', ' (', metadata->>'reason', ')') END"
)
"""What an event says, in words; with a JSON pointer, since a shell would read the sign that begins a path."""


def marks(scope: Scope) -> list[Section]:
    """Return the analyses of the record."""
    return [_gaps(scope), _downtime(scope), _silences(scope)]


def _gaps(scope: Scope) -> Section:
    in_period = within(scope, "recorded_at")
    return Section(
        "gaps",
        "Gaps in the record",
        "What the trail itself says is missing, was taken out, or is to be read with care: events that could "
        "not be "
        "recorded, writers that died, a clock that was set, files that were deleted, lines that were erased.",
        (
            Column("recorded_at", "Recorded (UTC)", "time"),
            Column("event_type", "Event", "text"),
            Column("said", "What it says", "text"),
            Column("seq", "Seq", "count"),
        ),
        f"SELECT recorded_at, event_type, {_SAID} AS said, seq FROM events WHERE event_type IN ({_LISTED}) "
        f"AND {in_period} ORDER BY recorded_at DESC, seq DESC, origin",
        (
            Aside(
                "lost",
                "SELECT coalesce(sum(TRY_CAST((metadata->>'lost') AS BIGINT)), 0) AS n FROM events "
                f"WHERE event_type = 'audit_gap' AND {in_period}",
                "Events known to be lost: {n}",
            ),
        ),
    )


_STARTS: Final = (
    "WITH said AS (SELECT origin, seq, recorded_at, event_type FROM events "
    "WHERE event_type IN ('audit_started', 'audit_recovered', 'clock_stepped')), "
    "runs AS (SELECT *, lag(event_type) OVER one AS type1, lag(seq) OVER one AS seq1, "
    "lag(event_type, 2) OVER one AS type2, lag(seq, 2) OVER one AS seq2 FROM said "
    "WINDOW one AS (PARTITION BY origin ORDER BY seq)), "
    "starts AS (SELECT origin, recorded_at, seq, CASE "
    "WHEN type1 = 'audit_recovered' AND type2 = 'clock_stepped' AND seq2 = seq1 - 1 THEN seq2 "
    "WHEN type1 = 'audit_recovered' OR (type1 = 'clock_stepped' AND seq1 = seq - 1) THEN seq1 ELSE seq END AS "
    "began "
    "FROM runs WHERE event_type = 'audit_started'), "
    "stretches AS (SELECT last.recorded_at AS ended, starts.recorded_at AS started, "
    "date_diff('millisecond', last.recorded_at, starts.recorded_at) / 1000 AS seconds, "
    "last.event_type = 'audit_stopped' AS well, starts.seq AS seq FROM starts JOIN events AS last "
    "ON last.origin IS NOT DISTINCT FROM starts.origin AND last.seq = starts.began - 1 "
    "WHERE last.seq > 0 OR last.event_type IS DISTINCT FROM 'file_opened') "
)


def _downtime(scope: Scope) -> Section:
    in_period = within(scope, "started")
    return Section(
        "downtime",
        "Times when nobody recorded",
        "From the last line of one writer to the start of the next, but for a trail's first: nothing that "
        "happened then is in the trail, unless "
        "another trail has it. Of a wrapped server that is the time when no client ran; whether a call was "
        "made past "
        "the recorder nothing here can say. The longest first.",
        (
            Column("ended", "Last line (UTC)", "time"),
            Column("started", "Next start (UTC)", "time"),
            Column("seconds", "How long", "seconds"),
            Column("well", "Had ended well", "truth"),
            Column("seq", "Seq of the start", "count"),
        ),
        f"{_STARTS}SELECT ended, started, seconds, well, seq FROM stretches WHERE {in_period} "
        "ORDER BY seconds DESC, started DESC, seq DESC",
        (
            Aside(
                "died",
                f"{_STARTS}SELECT count(*) AS n FROM stretches WHERE well IS NOT TRUE AND {in_period}",
                "Starts after a writer that had not ended well: {n}",
            ),
        ),
    )


def _silences(scope: Scope) -> Section:
    return Section(
        "silences",
        "Silences",
        f"More than {SILENCE_H} hours without a line, though no writer started anew: one that lives writes a "
        f"line an "
        "hour. The machine slept, or the writer hung. Lines that were deleted or erased in between are "
        "counted: then "
        "it may be no silence.",
        (
            Column("ended", "Last line (UTC)", "time"),
            Column("went_on", "Next line (UTC)", "time"),
            Column("seconds", "How long", "seconds"),
            Column("gone", "Lines gone in between", "count"),
        ),
        "WITH hours AS (SELECT origin, date_trunc('hour', recorded_at) AS start, min(recorded_at) AS first, "
        "max(recorded_at) AS newest, min(seq) AS low, max(seq) AS high, arg_min(event_type, seq) AS type FROM "
        "events "
        "WHERE recorded_at IS NOT NULL GROUP BY origin, start), "
        "pairs AS (SELECT lag(newest) OVER one AS ended, first AS went_on, low - lag(high) OVER one - 1 AS "
        "gone, type "
        "FROM hours WINDOW one AS (PARTITION BY origin ORDER BY start)) "
        "SELECT ended, went_on, date_diff('millisecond', ended, went_on) / 1000 AS seconds, gone FROM pairs "
        f"WHERE went_on - ended > INTERVAL {SILENCE_H} HOURS AND type NOT IN ('audit_started', "
        f"'audit_recovered') "
        f"AND {within(scope, 'went_on')} ORDER BY seconds DESC, went_on DESC",
    )
