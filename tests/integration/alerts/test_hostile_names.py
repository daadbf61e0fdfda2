"""Names that callers chose, through every channel to a real receiver: no name is more than a name there.

Slack's own SDK judges its blocks; a mail server and syslog daemons of other authors take the rest.
"""

from __future__ import annotations

import email.header
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from slack_sdk.models.blocks import Block

import indelible
from indelible.alert_settings import BUILT_IN
from tests.integration.alerts.test_alerts import alerts_of, run
from tests.integration.sinks.rsyslog import Rsyslog
from tests.integration.sinks.syslogd import Syslogd
from tests.integration.sinks.syslogng import SyslogNg
from tests.servers import running as serving
from tests.unit.alerting.mail_servers import Taken, running
from tests.unit.sinks.web_receivers import HttpReceiver, Reply, said

pytestmark = pytest.mark.slow

NAMES = [
    "ada\r\nBcc: eve@evil.example\r\n\r\nbody", "a\nb\n.\n.\nQUIT\n", "<!channel> <!here> <!subteam^S1>",
    "<@U123> @here @everyone", "<http://evil.example|click>", "http://evil.example/?a=1&b=2", "&lt;!here&gt; &amp; &",
    "*b* _i_ ~s~ `c` ```d```", "\x1b[2J\x1b]0;owned\x07", "\u202egnp.exe\u2066", "a" * 5000, "é" * 2000,
    "\U0001f600" * 300, "'; DROP TABLE logs; --", "=?utf-8?q?forged?=", '"]x[a b="c"] {{7*7}} %s %n', "\ufeff\u200b",
    "\n<134>1 2026-11-21T00:00:00Z evil indelible - - - forged",
]  # fmt: skip
"""Of actors and tools."""

KEY = "R0123456789ABCDEF0123456789ABCDE"


class Told:
    """What receivers were told of `NAMES`."""

    def __init__(self) -> None:
        self.slack: list[dict[str, Any]] = []
        self.pagerduty: list[dict[str, Any]] = []
        self.mail = Taken()
        self.syslog: list[list[dict[str, Any]]] = []
        self.recorded: list[dict[str, Any]] = []


def record(folder: Path) -> None:
    with indelible.open_trail(config=str(folder / "indelible.yaml")) as trail:
        for name in NAMES:
            with trail.operation("tools/call", name, user_id=name, effects="destructive"):
                pass


def channels(
    slack: HttpReceiver, duty: HttpReceiver, mail: int, daemons: Sequence[Syslogd]
) -> list[dict[str, Any]]:
    here = {"allow_private": True, "timeout": "60s"}
    own = [
        {"type": "slack", "url": f"{slack.url}/services/x", **here},
        {"type": "pagerduty", "url": f"{duty.url}/v2/enqueue", "routing_key_env": "PD_KEY", **here},
        {"type": "email", "server": f"127.0.0.1:{mail}", "from": "i@here.example", "to": "ops@there.example",
         "security": "none", **here},
    ]  # fmt: skip
    for number, daemon in enumerate(daemons):
        place = {"address": f"127.0.0.1:{daemon.tcp}", "protocol": "tcp", "framing": "octet", "timeout": "60s"}
        own.append({"type": "syslog", "name": f"syslog-{number}", **place})
    return own


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """Record calls under hostile names, and have the rules look once."""
    folder, made = tmp_path_factory.mktemp("trail"), Told()
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PD_KEY", KEY)
        slack, duty = (
            HttpReceiver(lambda _: Reply(200, b"ok")),
            HttpReceiver(lambda _: said(202, {"status": "success"})),
        )
        stack.callback(slack.stop)
        stack.callback(duty.stop)
        port = stack.enter_context(running(made.mail))
        daemons = [kind(tmp_path_factory.mktemp(kind.__name__)) for kind in (Rsyslog, SyslogNg)]
        for daemon in daemons:
            stack.enter_context(serving(daemon))
        rules = {name: {} if name == "first_destructive" else "off" for name in BUILT_IN}
        given = {"rules": rules, "channels": channels(slack, duty, port, daemons)}
        (folder / "indelible.yaml").write_text(
            yaml.safe_dump({"audit": {"path": "a.jsonl", "ship": "off"}, "alerts": given})
        )
        run(folder, "alerts", "--once", check=None)  # there is no trail yet: what is there is learnt from
        with indelible.open_trail(config=str(folder / "indelible.yaml")):
            pass
        run(folder, "alerts", "--once")
        record(folder)
        run(folder, "alerts", "--once", check=1)
        made.recorded = alerts_of(folder)
        made.slack = [json.loads(one.body) for one in slack.asked]
        made.pagerduty = [json.loads(one.body) for one in duty.asked]
        made.syslog = [list(daemon.wait_for(len(NAMES))) for daemon in daemons]
        yield made


def test_each_is_recorded(told: Told) -> None:
    assert len(told.recorded) == len(NAMES)
    assert all(one["summary"].isprintable() for one in told.recorded)


def test_slack_shows_names_and_mentions_nobody(told: Told) -> None:
    assert len(told.slack) == len(NAMES)
    for message in told.slack:
        for block in Block.parse_all(message["blocks"]):
            block.validate_json()  # lengths, and which keys there are
        marked = [message["text"]]
        for block in message["blocks"]:
            for part in (block.get("text"), *block.get("elements", ())):
                if part is not None and part["type"] == "mrkdwn":
                    marked.append(part["text"])
        for text in marked:
            assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", text), text
            assert text.isprintable()
    shown = [message["blocks"][1]["text"]["text"] for message in told.slack]
    assert any("<!channel> <!here>" in text for text in shown), "as it is, in plain text"


def test_pagerduty_gets_no_field_that_is_too_long(told: Told) -> None:
    """https://developer.pagerduty.com/docs/events-api-v2-overview and -trigger-events."""
    assert len(told.pagerduty) == len(NAMES)
    assert len({event["dedup_key"] for event in told.pagerduty}) == len(NAMES)
    for event in told.pagerduty:
        payload = event["payload"]
        assert len(event["dedup_key"]) <= 255
        assert 0 < len(payload["summary"]) <= 1024
        for text in (
            *(payload[key] for key in ("summary", "source", "component", "class")),
            event["dedup_key"],
        ):
            assert text.isprintable()
        assert len(json.dumps(event)) < 512 * 1024


def test_mail_has_our_headers_and_goes_to_nobody_else(told: Told) -> None:
    assert told.mail.recipients == [["ops@there.example"]] * len(NAMES)
    ours = [
        "From", "To", "Subject", "Date", "Message-ID", "References", "Auto-Submitted", "Content-Type",
        "Content-Transfer-Encoding", "MIME-Version",
    ]  # fmt: skip
    for message, raw in zip(told.mail.messages, told.mail.raw, strict=True):
        assert sorted(message.keys()) == sorted(ours)
        assert message.defects == []
        subject = str(email.header.make_header(email.header.decode_header(message["Subject"])))
        assert subject.startswith("[warning] first_destructive: ")
        assert subject.isprintable()
        assert all(len(line) <= 998 for line in raw.split(b"\r\n")), "RFC 5322, section 2.1.1"
        assert all(sign.isprintable() or sign in "\r\n" for sign in message.get_content())


@pytest.mark.parametrize("which", [0, 1], ids=["rsyslog", "syslog-ng"])
def test_syslog_has_one_message_of_each(told: Told, which: int) -> None:
    found = told.syslog[which]
    assert len(found) == len(NAMES)
    assert {(one["app"], one["msgid"]) for one in found} == {("indelible", "Alert")}
    told_of = [(event["dedup_key"], "firing", "first_destructive") for event in told.recorded]
    data = [one["data"]["indelible@32473"] for one in found]
    assert [(one["dedup_key"], one["state"], one["rule"]) for one in data] == told_of
    for one in found:
        assert one["message"].lstrip().startswith("[warning] first_destructive; actor ")
        assert one["message"].isprintable()
