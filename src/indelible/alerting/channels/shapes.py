"""An alert as JSON for a webhook, as Slack and PagerDuty take it, and as a line of syslog. Pure.

The rules that live here:

- Names are a caller's. In Slack they stand in ``plain_text``, where nothing is markup, and in what is mrkdwn ``&``,
  ``<`` and ``>`` are escaped (https://docs.slack.dev/messaging/formatting-message-text): nobody is mentioned by a name.
- A receiver's limits are kept here, by characters: nothing is refused for being long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from indelible.alerting.channels.notice import LEFT_OUT, Notice, notice
from indelible.formats.headed import Head5424
from indelible.formats.names import DENIED, FAILED, GRAVE, ORDINARY, naming
from indelible.formats.syslog import escape_value

if TYPE_CHECKING:
    from indelible.formats.names import Level
    from indelible.formats.record import Options, Record

ALERTS: Final = frozenset({"alert"})

ALWAYS: Final = frozenset({"seq", "summary"})
"""What a webhook is told even when it is 0 or nothing."""

SLACK_HEADER: Final = 150
SLACK_TEXT: Final = 2_900
"""Of 3,000 (https://docs.slack.dev/reference/block-kit/blocks/section-block); what is escaped counts as it was."""

PAGERDUTY_SUMMARY: Final = 1_024
"""https://developer.pagerduty.com/docs/events-api-v2-overview"""

LEVELS: Final[dict[str, Level]] = {"info": ORDINARY, "warning": FAILED, "error": DENIED, "critical": GRAVE}

_encode: Final = msgspec.json.Encoder(order="deterministic").encode


class WebhookShape:
    """An object with everything that is known."""

    holds = ALERTS

    def __init__(self, options: Options) -> None:
        del options

    def render(self, record: Record) -> bytes:
        """See `Format`."""
        found = notice(record)
        plain = msgspec.to_builtins(found)
        said = {key: value for key, value in plain.items() if value not in (None, {}, 0, "") or key in ALWAYS}
        return msgspec.json.encode({"type": "indelible.alert", **said})


class SlackShape:
    """A message of an incoming webhook."""

    holds = ALERTS

    def __init__(self, options: Options) -> None:
        del options

    def render(self, record: Record) -> bytes:
        """See `Format`."""
        return _encode(slack(notice(record)))


def slack(found: Notice) -> dict[str, Any]:
    """Return the message: `text` for notifications, and blocks."""
    mark = ":white_check_mark:" if found.is_over else _MARKS[found.severity]
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(found.title[:SLACK_HEADER])},
        {"type": "section", "text": _plain(found.summary)},
    ]
    fenced, note = f"```{escape(found.query or '')}```", found.query_note
    if found.query and len(fenced) <= SLACK_TEXT:
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": fenced}})
    elif found.query:
        note = LEFT_OUT
    about = " · ".join(
        one for one in (f"since {found.since}", found.more, f"event {found.seq}", found.origin, note) if one
    )
    blocks.append({"type": "context", "elements": [_plain(about)]})
    return {"text": f"{mark} {escape(found.title)}: {escape(found.summary)}", "blocks": blocks}


_MARKS: Final = {
    "info": ":information_source:",
    "warning": ":warning:",
    "error": ":rotating_light:",
    "critical": ":fire:",
}


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text or " ", "emoji": False}


def escape(text: str) -> str:
    """Return a text as mrkdwn shows it as it is."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class PagerDutyShape:
    """An event of the Events API v2, without the key of the integration: that is the sink's to add."""

    holds = ALERTS

    def __init__(self, options: Options) -> None:
        self._host = options.host

    def render(self, record: Record) -> bytes:
        """See `Format`."""
        return _encode(pagerduty(notice(record), self._host))


def pagerduty(found: Notice, host: str) -> dict[str, Any]:
    """Return the event: a trigger, or what resolves it."""
    event: dict[str, Any] = {
        "event_action": "resolve" if found.is_over else "trigger",
        "dedup_key": found.dedup_key,
    }
    if found.is_over:
        return event
    more = {
        "query": found.query, "about the query": found.query_note, "since": found.since, "event": found.seq,
        "not told": found.suppressed,
    }  # fmt: skip
    details = {**more, **found.numbers}
    return event | {
        "client": "Indelible",
        "payload": {
            "summary": f"{found.rule}: {found.summary}"[:PAGERDUTY_SUMMARY],
            "source": host or found.origin,
            "severity": found.severity,
            "timestamp": found.at,
            "component": found.backend or "indelible",
            "class": found.rule,
            "custom_details": {name: value for name, value in details.items() if value not in (None, 0, "")},
        },
    }


class SyslogShape:
    """A line of RFC 5424, of the alert's own severity."""

    holds = ALERTS

    def __init__(self, options: Options) -> None:
        self._head = Head5424(options)
        self._element = f"indelible@{options.enterprise}"
        self._most = options.max_bytes

    def render(self, record: Record) -> bytes:
        """See `Format`."""
        found = notice(record)
        level = ORDINARY if found.is_over else LEVELS[found.severity]
        head = self._head.of(record.entry, naming(record.entry)._replace(level=level)) + self._data(found)
        said = [found.title, found.summary, found.more, f"since {found.since}", f"id {found.dedup_key}"]
        line = _line(head, *said, found.query_note, found.query or "")
        if found.query and self._most and len(line) > self._most:
            line = _line(head, *said, LEFT_OUT)
        return line if not self._most or len(line) <= self._most else _cut(line, self._most)

    def _data(self, found: Notice) -> str:
        """Return what receivers choose by, as structured data (RFC 5424, section 6.3), and the space after it."""
        pairs = (
            ("event_id", found.event_id), ("seq", str(found.seq)), ("origin", found.origin), ("rule", found.rule),
            ("state", found.state), ("severity", found.severity), ("dedup_key", found.dedup_key),
        )  # fmt: skip
        said = "".join(f' {name}="{escape_value(text)}"' for name, text in pairs)
        return f"[{self._element}{said}] "


def _line(head: str, *said: str) -> bytes:
    return f"{head}{'; '.join(one for one in said if one)}".encode()


def _cut(line: bytes, most: int) -> bytes:
    """Return the beginning of a line, which ends with a whole character."""
    return line[:most].decode("utf-8", "ignore").encode()
