"""What channels send: whole, within the receivers' limits, and with names that are only names."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from indelible.alerting.channels.mail import MailShape
from indelible.alerting.channels.notice import LEFT_OUT, notice
from indelible.alerting.channels.shapes import PagerDutyShape, SlackShape, SyslogShape, WebhookShape
from indelible.formats.record import Options, Record
from tests.trails import ORIGIN

HOST = Options(host="box", max_bytes=2048)


def record(metadata: Any, **changes: Any) -> Record:
    event = {
        "seq": 7, "schema": 1, "recorded_at": "2026-11-22T09:00:01.000000Z", "timestamp": "2026-11-22T09:00:00.000000Z",
        "event_type": "alert", "event_id": "00000000-0000-4000-8000-000000000007", **changes, "metadata": metadata,
    }  # fmt: skip
    return Record(json.dumps(event, separators=(",", ":")).encode(), ORIGIN)


def alert(**changes: Any) -> dict[str, Any]:
    return {
        "alert": {
            "rule": "denials", "state": "firing", "severity": "warning", "summary": "actor ada: 11 denials in 1m",
            "dedup_key": "8e6d0205-907c-5450-b620-ac7b12772633", "since": "2026-11-22T09:00:00.000000Z",
            "event_seq": 6, "by": "actor", "window_s": 60.0, "numbers": {"denied": 11},
            "query": "indelible log -n 0 --user=ada", **changes,
        }
    }  # fmt: skip


def test_a_webhook_gets_everything() -> None:
    made = record(alert(suppressed=3), source={"user_id": "ada"}, target={"backend": "files"})
    found = json.loads(WebhookShape(HOST).render(made))
    assert found == {
        "type": "indelible.alert", "rule": "denials", "state": "firing", "severity": "warning",
        "summary": "actor ada: 11 denials in 1m", "dedup_key": "8e6d0205-907c-5450-b620-ac7b12772633",
        "since": "2026-11-22T09:00:00.000000Z", "at": "2026-11-22T09:00:00.000000Z",
        "event_id": "00000000-0000-4000-8000-000000000007", "origin": ORIGIN, "seq": 7, "leaf": made.leaf,
        "suppressed": 3, "window_s": 60.0, "numbers": {"denied": 11}, "query": "indelible log -n 0 --user=ada",
        "user": "ada", "backend": "files",
    }  # fmt: skip


def test_pagerduty_is_triggered_and_resolved_by_one_key() -> None:
    fired = json.loads(
        PagerDutyShape(HOST).render(record(alert(severity="critical"), target={"backend": "files"}))
    )
    assert fired["event_action"] == "trigger"
    payload = fired["payload"]
    assert (payload["severity"], payload["source"], payload["component"]) == ("critical", "box", "files")
    assert (payload["class"], payload["timestamp"]) == ("denials", "2026-11-22T09:00:00.000000Z")
    assert payload["custom_details"]["query"] == "indelible log -n 0 --user=ada"
    over = json.loads(PagerDutyShape(HOST).render(record(alert(state="resolved"))))
    assert over == {"event_action": "resolve", "dedup_key": fired["dedup_key"]}


HOSTILE = "<!channel> <@U123> *b* `c` & <http://evil|here>\n\x1b[31m\u202e"


def test_slack_mentions_nobody() -> None:
    found = json.loads(
        SlackShape(HOST).render(
            record(alert(summary=HOSTILE, query="indelible log '<!channel> & <@U123> *b*'"))
        )
    )
    marked = [found["text"]] + [
        block["text"]["text"] for block in found["blocks"] if block.get("text", {}).get("type") == "mrkdwn"
    ]
    assert len(marked) == 2
    for text in marked:
        assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", text)
    assert marked[1].count("`") == 6
    for block in found["blocks"]:
        for part in (block.get("text"), *block.get("elements", ())):
            assert part is None or part["type"] in ("plain_text", "mrkdwn")


@given(st.integers(0, 2_100), st.sampled_from(["a", "'", "&", "<", "é", "\U0001f600", "`", "\n", "\x1b"]))
@example(1_900, "&")
@example(2_000, "a")
@example(1_900, "é")
def test_a_query_is_told_whole_or_not_at_all(length: int, sign: str) -> None:
    """Half a command is another command, or none: it ends within a quote."""
    query = f"log '{sign * length}'"
    made = record(alert(query=query, query_note="It lists more."))
    slack = json.loads(SlackShape(HOST).render(made))["blocks"]
    fenced = [block["text"]["text"] for block in slack if block.get("text", {}).get("type") == "mrkdwn"]
    duty = json.loads(PagerDutyShape(HOST).render(made))["payload"]["custom_details"]
    hook = json.loads(WebhookShape(HOST).render(made))
    for told, around in (
        (html.unescape("".join(fenced)), slack[-1]["elements"][0]["text"]),
        (str(duty.get("query")), duty["about the query"]),
        (str(hook.get("query")), hook["query_note"]),
        *((text, text) for text in [json.loads(MailShape(HOST).render(made))["text"]]),
        *((text, text) for text in [SyslogShape(HOST).render(made).decode()]),
    ):
        is_told = query in told
        assert is_told == ("log '" in told)
        assert (LEFT_OUT in around) == (not is_told)
        assert ("It lists more." in around) == is_told


@given(st.text(max_size=6000), st.text(max_size=6000))
def test_limits_are_kept_whatever_the_names_are(summary: str, query: str) -> None:
    try:
        made = record(alert(summary=summary, query=query, rule=summary), source={"user_id": query})
    except UnicodeEncodeError:
        return
    slack = json.loads(SlackShape(HOST).render(made))
    for block in slack["blocks"]:
        if block["type"] == "header":
            assert 0 < len(block["text"]["text"]) <= 150
        elif block["type"] == "section":
            assert 0 < len(block["text"]["text"]) <= 3000
            assert (
                not re.search(r"&(?!amp;|lt;|gt;)", block["text"]["text"])
                or block["text"]["type"] == "plain_text"
            )
        else:
            assert all(0 < len(one["text"]) <= 3000 for one in block["elements"])
    duty = json.loads(PagerDutyShape(HOST).render(made))
    assert len(duty["payload"]["summary"]) <= 1024
    assert len(duty["dedup_key"]) <= 255
    assert len(PagerDutyShape(HOST).render(made)) < 512 * 1024
    line = SyslogShape(HOST).render(made)
    assert len(line) <= 2048
    assert b"\n" not in line
    assert line.decode().isprintable()
    message = json.loads(MailShape(HOST).render(made))
    assert "\n" not in message["subject"]
    assert "\r" not in message["subject"]
    assert WebhookShape(HOST).render(made)


@pytest.mark.parametrize(
    ("severity", "state", "priority"),
    [("info", "firing", 134), ("warning", "firing", 132), ("error", "firing", 131), ("critical", "firing", 130),
     ("critical", "resolved", 134)],
)  # fmt: skip
def test_syslog_is_as_grave_as_the_alert(severity: str, state: str, priority: int) -> None:
    line = SyslogShape(HOST).render(record(alert(severity=severity, state=state))).decode()
    assert re.match(
        rf"<{priority}>1 2026-11-22T09:00:00\.000000Z box indelible - Alert \[indelible@32473 event_id=", line
    )


@pytest.mark.parametrize(
    ("metadata", "rule", "state", "says"),
    [
        ({"incident": {"note": "checkout is down"}}, "incident", "firing", "checkout is down"),
        ({"disk": "above", "used_percent": 91.0}, "disk", "firing", "above a threshold, 91.0 % are used"),
        ({"disk": "below", "used_percent": 40.0}, "disk", "resolved", "below a threshold"),
        (
            {"backlog": {"sink": "siem", "state": "lost", "lost": [1, 9]}},
            "backlog",
            "firing",
            "events [1, 9] are lost",
        ),
        ({"backlog": {"sink": "siem", "state": "above"}}, "backlog", "firing", "nearly full"),
        ({"quarantined": "x"}, "alert", "firing", "its event says which"),
        ({"alert": "no mapping"}, "alert", "firing", "its event says which"),
        (None, "alert", "firing", "its event says which"),
    ],
)
def test_what_the_trail_says_of_itself_is_told_too(metadata: Any, rule: str, state: str, says: str) -> None:
    found = notice(record(metadata))
    assert (found.rule, found.state) == (rule, state)
    assert says in found.summary
    for shape in (WebhookShape, SlackShape, PagerDutyShape, SyslogShape, MailShape):
        assert shape(HOST).render(record(metadata))
