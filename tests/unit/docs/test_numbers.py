"""Numbers in the pages are the code's."""

from pathlib import Path

import pytest

from indelible.anchor_settings import AnchorSettings
from indelible.capture import calls, child, correlate, frames, lanes, stdio
from indelible.cli import shipping
from indelible.cli.witness import DEFAULT_LISTEN
from indelible.config import AuditSettings
from indelible.events import MAX_BODY_BYTES, MAX_LINE_BYTES
from indelible.query import follow
from indelible.redact import limits
from indelible.shipper import companion, pace, place, shipper
from indelible.sink_settings import Backlog
from indelible.trail import clock, commit, sealer, space, unsealed
from indelible.trail.anchors import handout
from indelible.trail.gap import MAX_REFUSED
from indelible.trail.proofs.submission import MAX_SUBMISSION_BYTES
from indelible.trail.sharing import calls as open_calls
from indelible.trail.sharing import doors, hub, link, patience, peer, porter, quotas, suspects, through, wire
from indelible.trail.shipping import backlog
from indelible.trail.start import keyring
from indelible.trail.upkeep import holding, orders, pruning
from indelible.witness import server as serving
from tests.unit.docs.pages import DOCS, prose

MB = 1 << 20
KB = 1 << 10

RESERVED_BELOW = space.RESERVE_BYTES * space.RESERVE_SHARE

WRAP = "explanation/wrap.md"
TRAIL = "reference/trail.md"
REDACTION = "explanation/redaction.md"
EVENT = "reference/event.md"
GUARANTEES = "explanation/guarantees.md"
WRITERS = "explanation/many-writers.md"
COMMANDS = "reference/commands.md"
ANCHORS = "how-to/hand-checkpoints-out.md"
PROTOCOL = "reference/protocol.md"

CONFIGURATION = "reference/configuration.md"
SHIP = "how-to/ship-events.md"

SAID: list[tuple[str, str]] = [
    (CONFIGURATION, f"after {shipping.DRAIN_S:g} s at the latest"),
    (CONFIGURATION, f"waits up to {companion.DRAIN_S:g} s for sinks"),
    (CONFIGURATION, f"from {companion.FIRST_RETRY_S:g} s to {companion.MAX_RETRY_S:g} s"),
    (CONFIGURATION, f"lower by {shipping.NICE}"),
    (CONFIGURATION, f"From {backlog.WARN_PERCENT} % on"),
    (COMMANDS, f"doubles from {pace.FIRST_S:g} s to {pace.CAP_S:g} s"),
    (COMMANDS, f"is given {shipper.GRACE_S:g} s"),
    (COMMANDS, f"shown from {backlog.WARN_PERCENT} on"),
    (TRAIL, f"at most {place.CURSOR_S:g} s behind"),
    (SHIP, {60.0: "at least once a minute"}[pace.CAP_S]),
    (SHIP, f"{(Backlog().size or 0) >> 30} GB or {(Backlog().age or 0) / 86400:g} days"),
    (COMMANDS, f"{MAX_SUBMISSION_BYTES:,} bytes"),
    (COMMANDS, f"{serving.MAX_CONNECTIONS} connections"),
    (COMMANDS, f"{serving.CONNECTION_S:g} s"),
    (COMMANDS, f"`{DEFAULT_LISTEN}`"),
    (GUARANTEES, f"suspended for {patience.STOPPED_S:g} s"),
    (GUARANTEES, f"they give it {through.START_S:g} s"),
    (WRITERS, f"a debugger) for {patience.STOPPED_S:g} s"),
    (WRITERS, f"({AuditSettings().open_timeout / 60:g} min by default)"),
    (WRITERS, f"is given {patience.START_S:g} s"),
    (WRITERS, {0.25: "a quarter of a second"}[patience.SLOW_RETRY_S]),
    (WRITERS, {60.0: "After a minute"}[patience.TOLD_S]),
    (TRAIL, f"in its start: after {patience.STOPPED_S:g} s"),
    (GUARANTEES, f"an anchor gets {handout.CLOSE_S:g} s"),
    (GUARANTEES, f"{AnchorSettings(type='file', name='x').every:g} s old"),
    (ANCHORS, {300.0: "every five minutes"}[handout.MAX_RETRY_S]),
    (TRAIL, f"at most {pruning.MAX_RANGES} of them"),
    (TRAIL, f"({pruning.PER_RECORD} files at the most)"),
    ("reference/commands.md", f"At most {holding.MAX_HOLDS} holds"),
    (
        "reference/commands.md",
        f"of more than {orders.MAX_RESULT_BYTES // KB} kB only the first {orders.MAX_LISTED}",
    ),
    (EVENT, f"{MAX_LINE_BYTES:,} bytes"),
    (TRAIL, f"{MAX_LINE_BYTES:,} bytes"),
    (TRAIL, f"{unsealed.PROMISED_EVENTS:,} events"),
    (TRAIL, f"{sealer.INTERVAL_S:g} s"),
    (
        TRAIL,
        f"{space.RESERVE_BYTES // KB} KiB (on a file system below {RESERVED_BELOW // MB} MiB, a 16th of it)",
    ),
    (TRAIL, f"| {space.HYSTERESIS:g} point less than a threshold"),
    (TRAIL, f"every {sealer.LOOK_S:g} s. It counts"),
    (TRAIL, f"A step of more than {clock.STEP_NS // 10**9} s makes one"),
    (TRAIL, f"within {sealer.LOOK_S:g} s when nothing is recorded"),
    (EVENT, f"by more than {clock.STEP_NS // 10**9} s"),
    (GUARANTEES, f"A reserve of {space.RESERVE_BYTES // KB} KiB"),
    (GUARANTEES, f"between two looks, {sealer.LOOK_S:g} s at most"),
    (TRAIL, f"every {sealer.LOOK_S:g} s when idle"),
    ("how-to/keys-and-backups.md", f"{keyring.DEFAULT_OVERLAP_S / 86_400:g} days"),
    (GUARANTEES, f"{unsealed.PROMISED_EVENTS:,} events"),
    (GUARANTEES, f"{sealer.DRAIN_S * 1000:g} ms"),
    (GUARANTEES, f"{MAX_REFUSED:,} refused calls"),
    (GUARANTEES, f"{commit.MAX_QUEUED:,} events"),
    (GUARANTEES, f"{commit.MAX_QUEUED_BYTES >> 20} MB"),
    (REDACTION, f"{limits.MAX_STRING_CHARS} characters"),
    (REDACTION, f"{limits.PREFIX_CHARS} characters"),
    (REDACTION, f"{limits.MAX_NESTING} levels"),
    (REDACTION, f"{limits.DIGEST_HEX} hex digits"),
    (REDACTION, f"{limits.MAX_ARGS_BYTES:,} bytes"),
    (EVENT, f"{limits.MAX_ERROR_CHARS} characters"),
    (WRAP, f"{stdio.EOF_GRACE_S:g} s"),
    (WRAP, f"{stdio.ANSWER_GRACE_S:g} s"),
    (WRAP, f"{child.TERM_GRACE_S:g} s"),
    (WRAP, f"{child.WATCHDOG_GRACE_S:g} s"),
    (WRAP, f"{stdio.DRAIN_S:g} s"),
    (WRAP, f"{stdio.HURRIED_DRAIN_S:g} s"),
    (WRAP, f"{lanes.MAX_LINE // MB} MB"),
    (WRAP, f"{lanes.MAX_QUEUE // KB} kB"),
    (WRAP, f"{stdio.MAX_REPLIES // MB} MB"),
    (WRAP, f"{stdio.MAX_HELD // MB} MB"),
    (WRAP, f"{frames.CAREFUL_LIMIT // MB} MB"),
    (WRAP, f"{frames.SCAN_BYTES // KB} kB"),
    (WRAP, f"{correlate.MAX_CALLS:,} calls"),
    (WRAP, f"{correlate.KEEP_ARGS // KB} kB"),
    (WRAP, f"{correlate.KEEP_ALL_ARGS // MB} MB"),
    (WRAP, f"{calls.MAX_ROUNDS:,} calls"),
    ("reference/commands.md", f"{follow.POLL_S:g} s"),
    ("reference/commands.md", f"{wire.WINDOW} waiting (no more may)"),
    ("reference/commands.md", f"within {link.ASKED_S:g} s"),
    (TRAIL, f"its {wire.MAX_RECORDERS} recorders"),
    (WRITERS, f"within {open_calls.GRACE_S:g} s"),
    (WRITERS, f"| {wire.WINDOW} events |"),
    (WRITERS, f"| {link.MAX_WAITING} events |"),
    (WRITERS, f"| {peer.MAX_UNREAD // MB} MB |"),
    (WRITERS, f"{wire.REMEMBERED:,} events"),
    (WRITERS, f"{wire.MAX_RECORDERS} recorders with {wire.WINDOW} events each"),
    (WRITERS, f"{wire.MAX_RECORDERS} recorders at a time"),
    (WRITERS, f"{wire.WINDOW} are a disk that does not keep up"),
    (WRITERS, f"`write_timeout` ({AuditSettings().write_timeout:g} s by default)"),
    (PROTOCOL, f"of more than {wire.MAX_MESSAGE:,} bytes"),
    (PROTOCOL, f"| {wire.MAX_MESSAGE:,} bytes |"),
    (PROTOCOL, f"up to {orders.MAX_RESULT_BYTES + wire.MAX_MESSAGE:,} bytes"),
    (PROTOCOL, f"at most {MAX_BODY_BYTES:,} bytes"),
    (PROTOCOL, f"| {MAX_BODY_BYTES:,} bytes |"),
    (PROTOCOL, f"within the first {wire.HEAD_BYTES} bytes"),
    (PROTOCOL, f"| {wire.WINDOW} events |"),
    (PROTOCOL, f"| {wire.MAX_RECORDERS} recorders, and {porter.SPARE_CONNECTIONS} connections beside them"),
    (PROTOCOL, f"| {wire.MAX_RECORDER_CHARS} characters |"),
    (PROTOCOL, f"1 to {wire.MAX_RECORDER_CHARS} characters"),
    (PROTOCOL, f"more than {peer.MAX_UNREAD // MB} MB of answers"),
    (PROTOCOL, f"| {peer.MAX_UNREAD // MB} MB |"),
    (PROTOCOL, f"before the recorder gives up | {link.GREETING_S:g} s |"),
    (PROTOCOL, f"the same for `ask` | {link.ASKED_S:g} s |"),
    (PROTOCOL, f"| {quotas.Quotas().connections} connections | `refused` |"),
    (
        PROTOCOL,
        f"{quotas.Quotas().events_per_second:,} events, {int(quotas.Quotas().bytes_per_second) // MB} MB |",
    ),
    (PROTOCOL, f"| {quotas.Quotas().outstanding:,} events |"),
    (
        PROTOCOL,
        f"| {quotas.MAX_OPEN_CALLS:,} open calls, and {quotas.MAX_OPEN_BYTES // MB} MB of their intents |",
    ),
    (PROTOCOL, f"| {quotas.MAX_WAITING_BYTES // MB} MB of events that are not acknowledged |"),
    (PROTOCOL, f"| {quotas.Quotas().overtime:.0%} of the service's time".replace("%", " %")),
    (
        PROTOCOL,
        f"of the {wire.MAX_RECORDERS} places of recorders the last {quotas.RESERVED_PLACES} are for users with fewer"
        f" than {quotas.ASSURED_PLACES} |",
    ),
    (PROTOCOL, f"after {1000 * quotas.TURN_S:g} ms of CPU time"),
    (PROTOCOL, f"| {1000 * quotas.TURN_S:g} ms of CPU time, and the event that exceeds it |"),
    (PROTOCOL, f"| {hub.CLOSING_S:g} s of CPU time; the rest is not acknowledged |"),
    ("reference/configuration.md", f"a user's turn of {1000 * quotas.TURN_S:g} ms"),
    (
        "how-to/record-for-other-users.md",
        f"of the {wire.MAX_RECORDERS} places the last {quotas.RESERVED_PLACES} are for users",
    ),
    (PROTOCOL, f"| {link.STOPPED_S:g} s |"),
    (PROTOCOL, f"every {quotas.REPORT_S:g} s"),
    (PROTOCOL, f"From one user, {doors.SERVICE_READ_BYTES // KB} kB at most"),
    (PROTOCOL, f"in one round | {doors.SERVICE_READ_BYTES // KB} kB |"),
    (PROTOCOL, f"newest {wire.REMEMBERED:,} events"),
    (PROTOCOL, f"`deaths` are more than {suspects.MAX_DEATHS};"),
    (PROTOCOL, f"It is version {wire.VERSION}."),
    (PROTOCOL, f"A message is {wire.LENGTH_BYTES} bytes of length"),
]


@pytest.mark.parametrize(("page", "phrase"), SAID)
def test_a_number_in_a_page_is_the_codes(page: str, phrase: str) -> None:
    assert phrase in " ".join(prose(Path(DOCS / page)).split())
