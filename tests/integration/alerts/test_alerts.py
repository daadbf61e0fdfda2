"""Alerts as users have them: beside a recorder, by hand, from cron; to a receiver that is killed, hangs, or is away."""

from __future__ import annotations

import glob
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from indelible.alert_settings import BUILT_IN
from indelible.alerting.states import alert_states
from indelible.alerting.watch import current_watch
from indelible.shipper import route
from indelible.trail.layout import Layout
from tests.integration.ship.shipped import LIMIT_S, until
from tests.unit.sinks.web_receivers import HttpReceiver, Reply

COMMAND = [sys.executable, "-m", "indelible"]

RECORDER = """
import sys, indelible
with indelible.open_trail(config=sys.argv[1]) as trail:
    print("open", flush=True)
    for line in sys.stdin:
        user, count = line.split()
        for number in range(int(count)):
            with trail.operation("tools/call", "x", args={"n": number}, user_id=user):
                pass
        print(flush=True)
"""

RULES = {"actor_calls": {"over": 9, "window": "10m"}}


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    made = HttpReceiver(lambda _asked: Reply())
    yield made
    made.stop()


def configure(folder: Path, receiver: HttpReceiver | None, **more: Any) -> Path:
    rules = {name: RULES.get(name, "off") for name in BUILT_IN}
    alerts: dict[str, Any] = {"rules": rules}
    if receiver is not None:
        hook = {"type": "webhook", "name": "hook", "url": receiver.url, "allow_private": True, "timeout": "30s"}
        alerts["channels"] = [hook]
    path = folder / "indelible.yaml"
    path.write_text(yaml.safe_dump({"audit": {"path": "a.jsonl", **more}, "alerts": alerts}))
    return path


def told(receiver: HttpReceiver) -> list[dict[str, Any]]:
    return [json.loads(one.body) for one in receiver.asked]


@contextmanager
def recorder(folder: Path, env: Mapping[str, str] | None = None) -> Iterator[Callable[[str], None]]:
    process = subprocess.Popen(
        [sys.executable, "-c", RECORDER, str(folder / "indelible.yaml")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"

    def record(line: str) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "\n"

    try:
        yield record
        process.communicate(timeout=LIMIT_S)  # its standard input ends, and what it recorded is sealed
    finally:
        process.kill()
        process.communicate()
        until(lambda: current_watch(Layout(folder / "a.jsonl")) is None, "the end of the watch")


def run(folder: Path, *args: str, check: int | None = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, *args], cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert check is None or done.returncode == check, done.stderr
    return done


def alerts_of(folder: Path) -> list[dict[str, Any]]:
    lines = run(folder, "log", "--events", "alert", "--json", "-n", "0").stdout.splitlines()
    return [found for line in lines if (found := json.loads(line)["metadata"].get("alert"))]


def watched(folder: Path) -> None:
    """Wait until the rules beside a recorder have learnt what there is."""
    layout = Layout(folder / "a.jsonl")
    until(lambda: current_watch(layout) is not None, "a watch")
    until((layout.alerts / "_rules.windows").exists, "its first place")


def sealed(folder: Path) -> None:
    """Wait until what was recorded is under a checkpoint."""
    layout = Layout(folder / "a.jsonl")
    until(
        lambda: (now := route.sealed(layout)) and now.size >= len(layout.active.read_bytes().splitlines()),
        "a checkpoint over every line",
    )


def test_beside_a_recorder_an_alert_is_recorded_and_told_once(tmp_path: Path, receiver: HttpReceiver) -> None:
    configure(tmp_path, receiver)
    with recorder(tmp_path) as record:
        record("ada 1")
        watched(tmp_path)
        record("ada 20")
        record("bob 3")
        until(lambda: receiver.asked, "the alert")
        [alert] = told(receiver)
        assert (alert["rule"], alert["user"], alert["state"]) == ("actor_calls", "ada", "firing")
        record("ada 20")
        record("bob 20")
        until(lambda: len(receiver.asked) > 1, "the other alert")
    assert [one["user"] for one in told(receiver)] == ["ada", "bob"]
    recorded = alerts_of(tmp_path)
    assert [one["rule"] for one in recorded] == ["actor_calls"] * 2
    assert [one["dedup_key"] for one in recorded] == [one["dedup_key"] for one in told(receiver)]
    shown = json.loads(run(tmp_path, "status", "--json").stdout)
    [channel] = shown["alert_channels"]
    assert (channel["channel"], channel["taken"], channel["error"]) == ("hook", 2, None)
    assert run(tmp_path, "verify").returncode == 0


def test_the_query_of_an_alert_shows_its_calls(tmp_path: Path) -> None:
    configure(tmp_path, None, ship="off")
    with recorder(tmp_path) as record:
        record("ada 1")
        sealed(tmp_path)
        run(tmp_path, "alerts", "--once")
        record("ada 12")
        record("bob 5")
        sealed(tmp_path)
        done = run(tmp_path, "alerts", "--once", "--json", check=1)
    result = json.loads(done.stdout)
    [alert] = result["alerts"]
    query = alert["query"].split(" ")
    assert query[:2] == ["indelible", "log"]
    found = run(tmp_path, *query[1:], "--json").stdout.splitlines()
    assert len(found) == alert["numbers"]["calls"] == 10
    assert {json.loads(line)["source"]["user_id"] for line in found} == {"ada"}


def test_a_channel_that_is_away_is_told_later_and_recording_goes_on(
    tmp_path: Path, receiver: HttpReceiver
) -> None:
    configure(tmp_path, receiver)
    receiver.stop()
    with recorder(tmp_path) as record:
        record("ada 1")
        watched(tmp_path)
        record("ada 20")
        layout = Layout(tmp_path / "a.jsonl")
        settings = (
            __import__("indelible.configfile", fromlist=["load"]).load(str(tmp_path / "indelible.yaml")).alerts
        )
        until(lambda: alert_states(layout, settings)["alert_channels"][0]["failures"] > 0, "a failure")
        record("bob 5")
        receiver.start()
        until(lambda: receiver.asked, "the alert")
    assert [one["user"] for one in told(receiver)] == ["ada"]


def test_a_watch_that_is_killed_neither_loses_nor_repeats_an_alert(
    tmp_path: Path, receiver: HttpReceiver
) -> None:
    configure(tmp_path, receiver)
    layout = Layout(tmp_path / "a.jsonl")
    with recorder(tmp_path) as record:
        record("ada 1")
        watched(tmp_path)
        for user in ("u1", "u2", "u3"):
            record(f"{user} 20")
            holder = current_watch(layout)
            if holder is not None and holder.pid:
                os.kill(holder.pid, signal.SIGKILL)
            until(lambda: (now := current_watch(layout)) is not None and now != holder, "another watch")  # noqa: B023
        until(lambda: {one["user"] for one in told(receiver)} == {"u1", "u2", "u3"}, "all alerts")
    assert sorted(one["summary"].split(":")[0] for one in alerts_of(tmp_path)) == [
        "actor u1",
        "actor u2",
        "actor u3",
    ]
    assert len({one["event_id"] for one in told(receiver)}) == 3


def test_alerts_are_told_while_the_clock_is_set_forward_and_back(
    tmp_path: Path, receiver: HttpReceiver
) -> None:
    """The recorder, and the process beside it that looks by the rules, have one clock, which is not the machine's."""
    assert shutil.which("faketime"), "requirements/system.txt has it"
    [library] = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")  # noqa: PTH207 - an absolute pattern
    clock = tmp_path / "clock"

    def set_clock(seconds: int) -> None:
        beside = tmp_path / "clock.new"
        beside.write_text(f"{seconds:+d}")
        beside.rename(clock)

    set_clock(0)
    faked = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
    still = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
    configure(tmp_path, receiver)
    with recorder(tmp_path, {**os.environ, **faked, **still}) as record:
        record("ada 1")
        watched(tmp_path)
        for user, seconds in [("ada", 0), ("bob", 3600), ("cy", 0), ("dan", -86_400)]:
            set_clock(seconds)
            record(f"{user} 12")
            until(
                lambda: any(one["user"] == user for one in told(receiver)),  # noqa: B023 - called at once
                f"the alert about {user}",
            )
    firing = [one for one in told(receiver) if one["state"] == "firing"]
    assert [one["user"] for one in firing] == ["ada", "bob", "cy", "dan"]
    assert [one["summary"].split(":")[0] for one in alerts_of(tmp_path) if one["state"] == "firing"] == [
        "actor ada", "actor bob", "actor cy", "actor dan",
    ]  # fmt: skip
    steps = run(tmp_path, "log", "--events", "clock_stepped", "--json", "-n", "0").stdout.splitlines()
    assert len(steps) == 3
    assert run(tmp_path, "verify").returncode == 0


SHIPPER = """
import sys
from indelible import cli
from indelible.alert_settings import rules
rules.MIN_INTERVAL_S = 0.2
sys.exit(cli.main(["ship", "-c", sys.argv[1]]))
"""
"""`indelible ship` that looks at sinks more often than anybody may ask for."""


@contextmanager
def shipping(folder: Path, receiver: HttpReceiver, sinks: list[dict[str, Any]], **rules: Any) -> Iterator[None]:
    """Ship and watch by hand, while `indelible.yaml` says that nobody else does."""
    configure(folder, receiver, ship="off", sinks=sinks)
    found = yaml.safe_load((folder / "indelible.yaml").read_text())
    found["alerts"]["rules"] |= rules
    (folder / "watch.yaml").write_text(yaml.safe_dump(found))
    process = subprocess.Popen([sys.executable, "-c", SHIPPER, str(folder / "watch.yaml")])
    try:
        yield
        assert process.poll() is None, "it ships to the end"
        process.send_signal(signal.SIGINT)
        process.wait(LIMIT_S)
    finally:
        process.kill()
        process.wait()


def test_a_sink_that_hangs_is_told_and_so_is_that_it_has_caught_up(
    tmp_path: Path, receiver: HttpReceiver
) -> None:
    siem = HttpReceiver(lambda _asked: Reply())
    sink = {
        "type": "http", "name": "siem", "url": siem.url, "allow_private": True, "format": "indelible",
        "timeout": "30s", "flush_interval": "100ms", "start": "beginning",
    }  # fmt: skip
    rules = {"actor_calls": "off", "sink_behind": {"over": 9, "every": "200ms", "well_after": 0}}
    try:
        configure(tmp_path, None, ship="off", sinks=[sink])
        with recorder(tmp_path) as record, shipping(tmp_path, receiver, [sink], **rules):
            record("ada 1")
            watched(tmp_path)
            until(lambda: siem.asked, "the first batch")
            siem.goes_on.clear()  # it takes what is sent, and answers nothing any more
            record("ada 30")
            until(lambda: receiver.asked, "the alert")
            siem.goes_on.set()
            until(lambda: len(receiver.asked) > 1, "its end")
    finally:
        siem.stop()
    firing, resolved = told(receiver)
    assert [one["rule"] for one in (firing, resolved)] == ["sink_behind"] * 2
    assert (firing["state"], resolved["state"]) == ("firing", "resolved")
    assert firing["summary"].startswith("sink siem is not up to date: ")
    assert firing["dedup_key"] == resolved["dedup_key"]
    assert [one["state"] for one in alerts_of(tmp_path) if one["rule"] == "sink_behind"] == [
        "firing",
        "resolved",
    ]
    assert b"".join(one.body for one in siem.asked).count(b'"user_id":"ada"') >= 31


def test_a_configuration_that_is_read_again_counts_from_then_on(tmp_path: Path, receiver: HttpReceiver) -> None:
    path = configure(tmp_path, receiver)
    layout = Layout(tmp_path / "a.jsonl")
    with recorder(tmp_path) as record:
        record("ada 1")
        watched(tmp_path)
        record("ada 5")
        data = yaml.safe_load(path.read_text())
        data["alerts"]["rules"]["actor_calls"] = {"over": 3, "window": "10m"}
        path.write_text(yaml.safe_dump(data))
        before = current_watch(layout)
        assert before is not None
        assert before.pid is not None
        os.kill(before.pid, signal.SIGHUP)
        until(lambda: (now := current_watch(layout)) is not None and now.since != before.since, "the new watch")
        record("ada 1")
        until(lambda: receiver.asked, "the alert")
        now = current_watch(layout)
        assert now is not None
        assert now.pid == before.pid
    [alert] = told(receiver)
    assert (alert["user"], alert["numbers"]["calls"] > 3) == ("ada", True)


def test_once_from_cron(tmp_path: Path, receiver: HttpReceiver) -> None:
    configure(tmp_path, receiver, ship="off")
    with recorder(tmp_path) as record:
        record("ada 20")
    assert "0 alerts" in run(tmp_path, "alerts", "--once").stdout
    with recorder(tmp_path) as record:
        record("bob 20")
    done = run(tmp_path, "alerts", "--once", check=1)
    assert "actor_calls: actor bob: 10 calls in 10m" in done.stdout
    assert [one["user"] for one in told(receiver)] == ["bob"]
    assert run(tmp_path, "alerts", "--once").stdout.startswith("0 alerts")
    assert len(receiver.asked) == 1
    assert "rule actor_calls (warning): FIRES" in run(tmp_path, "alerts").stdout


def test_once_says_when_a_channel_could_not_be_told_and_tells_it_the_next_time(
    tmp_path: Path, receiver: HttpReceiver
) -> None:
    configure(tmp_path, receiver, ship="off")
    with recorder(tmp_path) as record:
        record("ada 1")
    run(tmp_path, "alerts", "--once")
    with recorder(tmp_path) as record:
        record("bob 20")
    receiver.stop()
    done = run(tmp_path, "alerts", "--once", "--timeout", "1s", check=3)
    assert "not everything is told to hook; the next run tells it" in done.stderr
    assert "Traceback" not in done.stderr
    receiver.start()
    run(tmp_path, "alerts", "--once")
    assert [one["user"] for one in told(receiver)] == ["bob"]


def test_follow_prints_what_fires_until_it_is_told_to_end(tmp_path: Path) -> None:
    configure(tmp_path, None, ship="off")
    with recorder(tmp_path) as record:
        record("ada 1")
        with subprocess.Popen(
            [*COMMAND, "alerts", "--follow", "--json"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        ) as follow:  # fmt: skip
            watched(tmp_path)
            record("ada 20")
            assert follow.stdout is not None
            alert = json.loads(follow.stdout.readline())
            assert (alert["rule"], alert["state"]) == ("actor_calls", "firing")
            done = run(tmp_path, "alerts", "--once", check=3)
            assert "watched by" in done.stderr
            follow.send_signal(signal.SIGINT)
            assert follow.wait(LIMIT_S) == 0


def test_replay_records_and_sends_nothing(tmp_path: Path, receiver: HttpReceiver) -> None:
    configure(tmp_path, receiver, ship="off")
    with recorder(tmp_path) as record:
        record("ada 20")
        record("bob 20")
    size = (tmp_path / "a.jsonl").stat().st_size
    found = json.loads(run(tmp_path, "alerts", "--replay", "--json").stdout)
    fired = {rule["rule"]: rule["fired"] for rule in found["rules"]}
    assert fired == {"actor_calls": 2}
    assert (tmp_path / "a.jsonl").stat().st_size == size
    assert not (tmp_path / "a.jsonl.d" / "alerts").exists()
    assert receiver.asked == []
    bare = run(tmp_path, "alerts", "--replay", "--trail", str(tmp_path / "a.jsonl")).stdout
    assert "destructive_doubled" in bare, "without a configuration, the built-in rules"


def test_a_test_message(tmp_path: Path, receiver: HttpReceiver) -> None:
    configure(tmp_path, receiver)
    run(tmp_path, "alerts", "test", "hook", "--severity", "critical")
    [found] = told(receiver)
    assert (found["rule"], found["severity"]) == ("test", "critical")
    assert not (tmp_path / "a.jsonl").exists()
    done = run(tmp_path, "alerts", "test", "hok", check=2)
    assert "did you mean 'hook'?" in done.stderr
    receiver.stop()
    done = run(tmp_path, "alerts", "test", "hook", check=3)
    assert "nothing listens there" in done.stderr


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["alerts", "--once", "--follow"], 2, "take one"),
        (["alerts", "--since", "1h"], 2, "--since is for --replay"),
        (["alerts", "--replay", "--rule", "actor_cals"], 2, "did you mean 'actor_calls'?"),
        (["alerts", "--replay", "--since", "yesterday"], 2, "--since: expected a time"),
        (["alerts", "--once"], 3, "there is no trail here"),
    ],
)
def test_a_users_mistake_is_one_line(tmp_path: Path, args: list[str], code: int, says: str) -> None:
    configure(tmp_path, None, ship="off")
    if "yesterday" in args:
        with recorder(tmp_path) as record:
            record("ada 1")
    done = run(tmp_path, *args, check=code)
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_rules_that_are_wrong_keep_nobody_from_recording(tmp_path: Path) -> None:
    path = configure(tmp_path, None)
    data = yaml.safe_load(path.read_text())
    data["alerts"]["own_rules"] = [{"name": "bad", "when": "nope > 1.0"}]
    path.write_text(yaml.safe_dump(data))
    with recorder(tmp_path) as record:
        record("ada 3")
    assert len(run(tmp_path, "log", "--json").stdout.splitlines()) == 3
    done = run(tmp_path, "config", "check", check=2)
    assert "alerts.own_rules: bad: when: knows no 'nope'" in done.stderr
