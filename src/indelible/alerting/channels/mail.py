"""An alert as a mail: what its sink makes a message of. Pure.

Names in a subject are one line by then (`notice`); `email.message.EmailMessage` refuses what would be another header.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from indelible.alerting.channels.notice import Notice, notice
from indelible.alerting.channels.shapes import ALERTS

if TYPE_CHECKING:
    from indelible.formats.record import Options, Record

MAX_SUBJECT: Final = 200


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """What a message says; the sink adds who writes to whom."""

    id: str
    """Of the alert's event: the message is the same when it is sent again."""
    thread: str
    """By which what belongs to one matter is put together."""
    subject: str
    text: str
    at: str


class MailShape:
    """See `Mail`."""

    holds = ALERTS

    def __init__(self, options: Options) -> None:
        self._host = options.host

    def render(self, record: Record) -> bytes:
        """See `Format`."""
        return msgspec.json.encode(mail(notice(record), self._host))


def mail(found: Notice, host: str) -> Mail:
    """Return the message of a notice."""
    numbers = ", ".join(f"{name} {value:g}" for name, value in found.numbers.items())
    rows = [
        ("rule", found.rule), ("severity", found.severity), ("state", found.state), ("since", found.since),
        ("at", found.at), ("numbers", numbers), ("", found.more), ("trail", found.origin), ("event", str(found.seq)),
        ("machine", host),
    ]  # fmt: skip
    told = "\n".join(f"{name:<10}{text}" for name, text in rows if text)
    shown = f"\n\nThe events that it is about:\n\n  {found.query}\n" if found.query else "\n"
    shown += f"\n{found.query_note}\n" if found.query_note else ""
    return Mail(
        id=found.event_id,
        thread=found.dedup_key,
        subject=f"{found.title}: {found.summary}"[:MAX_SUBJECT],
        text=f"{found.summary}\n\n{told}{shown}",
        at=found.at,
    )
