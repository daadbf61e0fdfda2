r"""``syslog``: RFC 5424. Pure; how records are framed is the sink's business.

    <PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID [indelible@32473 name="value" …] MSG

The rules that live here:

- Nothing in a record is a line end: octet counting does not need that, but a receiver that counts lines does.
- In a parameter ``"``, ``\`` and ``]`` are escaped, and nothing else (section 6.3.3); line ends are shown before that.
- MSG says in words what the parameters say: it begins with the event's name, each value that is more than a plain word
  stands in quotes, and it is what goes first when a receiver's limit is short. It has a BOM when it is not ASCII.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from indelible.errors import ConfigError
from indelible.formats.fields import PARAM_LIMIT, Field
from indelible.formats.headed import Head5424
from indelible.formats.names import Naming, naming
from indelible.formats.text import PRINTABLE, Layout, Pairs, Slot, visible, visible_lines

if TYPE_CHECKING:
    from indelible.formats.record import Entry, Options, Record

ENTERPRISES: Final = range(1, 2**32)
BOM: Final = "\ufeff"
SAID_CHARS: Final = 120
"""Of one value in MSG, which the parameters have whole."""

_is_plain = re.compile(r"[\w.,:;/@+~-]+", re.ASCII).fullmatch


def escape_value(text: str) -> str:
    """Return a text as a parameter's value has it."""
    return visible_lines(text).replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


def _slot(field: Field) -> Slot:
    before = f'{field.name}="'
    return Slot(field.name, PARAM_LIMIT, before, before, before)


LAYOUT: Final = Layout(
    _slot, escape_value, PRINTABLE.translate({ord(sign): None for sign in '"\\]'}), r"\"]", '" '
)


class SyslogFormat:
    """Renders every event; how grave it is stands in PRI (`indelible.formats.names`)."""

    holds = None

    def __init__(self, options: Options) -> None:
        """Facility, host, app name and enterprise number stand in the header. Raises ConfigError."""
        self._head = Head5424(options)
        if options.enterprise not in ENTERPRISES:
            raise ConfigError(f"enterprise {options.enterprise}: expected a private enterprise number above 0")
        self._pairs = Pairs(LAYOUT)
        self._max_bytes = options.max_bytes
        self._element = f"[indelible@{options.enterprise} "

    def render(self, record: Record) -> bytes:
        """Return the record of an event."""
        entry = record.entry
        named = naming(entry)
        head = self._head.of(entry, named) + self._element
        data = f'{head}{self._pairs.write(record)}"] {_message(entry, named)}'.encode()
        if not 0 < self._max_bytes < len(data):
            return data
        tail = f'"] {named.name}'
        room = self._max_bytes - len(head) - len(tail)
        return f"{head}{self._pairs.fitted(record, room)}{tail}".encode()


def _message(entry: Entry, named: Naming) -> str:
    """Return MSG (section 6.4)."""
    source, target, outcome, state, policy = (
        entry.source,
        entry.target,
        entry.outcome,
        entry.state,
        entry.policy,
    )
    message = named.name
    if target.capability_name:
        message += f" name={_word(target.capability_name)}"
    if target.backend:
        message += f" server={_word(target.backend)}"
    if source.user_id:
        message += f" user={_word(source.user_id)}"
    if state is not None:
        message += f" from={_word(state.from_ or '-')} to={_word(state.to or '-')}"
    if outcome is not None:
        message += f" kind={_word(outcome.kind)}"
        if outcome.error_type:
            message += f" error={_word(outcome.error_type)}"
    if policy is not None and policy.rule:
        message += f" rule={_word(policy.rule)}"
    return message if message.isascii() else BOM + message


@lru_cache(maxsize=4096)  # the same few names again and again
def _word(value: str) -> str:
    """Return a text as MSG has it: in the quotes of JSON when it is more than a plain word."""
    if len(value) <= SAID_CHARS and _is_plain(value):
        return value
    return visible(json.dumps(value[:SAID_CHARS], ensure_ascii=False))
