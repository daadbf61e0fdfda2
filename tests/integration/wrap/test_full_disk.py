"""A disk without room, for a while: what `allow` and `deny` promise, with a real limit in the kernel.

The limit is that on the size of files (RLIMIT_FSIZE): `write` fails as on a full disk, and the test gives the room back
while the process runs.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import indelible
from tests.integration.wrap.harness import Client, call, events, nasty

Wrap = Callable[..., Client]

FULL = range(10, 15)


def set_room(client: Client, size: int) -> None:
    _, hard = resource.prlimit(client.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(client.process.pid, resource.RLIMIT_FSIZE, (size, hard))


def through_a_full_disk(wrap: Wrap, trail: Path, tmp_path: Path, on_failure: str) -> tuple[list[Any], str]:
    """Make one call with room, five without, two with room again; return the answers and stderr."""
    config = tmp_path / "config.yaml"
    config.write_text(f"audit:\n  on_failure: {on_failure}\n")
    client = wrap(*nasty("behave"), options=("-c", str(config)))
    client.greet()
    answers = [client.ask(call(5, "act", x="a" * 100))]
    set_room(client, trail.stat().st_size + 100)
    answers += [client.ask(call(number, "act", x="a" * 300)) for number in FULL]
    set_room(client, resource.RLIM_INFINITY)
    answers.append(client.ask(call(20, "act", x="b")))  # comes while the disk is not tried again yet, or not
    assert client.finish() == 0
    return answers, client.stderr()


def calls(trail: Path) -> list[tuple[str, str, str]]:
    return [
        (event["request"]["rpc_id"], event["outcome"]["kind"], event["outcome"].get("error_type", ""))
        for event in events(trail, "mcp_operation")
    ]


def test_allow_goes_on_and_says_how_much_was_lost(wrap: Wrap, trail: Path, tmp_path: Path) -> None:
    answers, stderr = through_a_full_disk(wrap, trail, tmp_path, "allow")
    assert [answer for answer in answers if "error" in answer] == []
    recorded = calls(trail)
    [gap] = events(trail, "audit_gap")
    # Each call that is not on record has lost an intent and an outcome; the change of phase at the end may be lost.
    phases = len(events(trail, "mcp_server_state_changed"))
    assert gap["metadata"]["lost"] == 2 * (len(answers) - len(recorded)) + (3 - phases)
    assert recorded in ([("5", "completed", "")], [("5", "completed", ""), ("20", "completed", "")])
    assert "File too large" in stderr
    assert indelible.verify(trail).ok
    assert events(trail)[-1]["event_type"] == "audit_stopped"


def test_deny_refuses_and_records_the_refusals_later(wrap: Wrap, trail: Path, tmp_path: Path) -> None:
    answers, _ = through_a_full_disk(wrap, trail, tmp_path, "deny")
    refused = [answer["id"] for answer in answers if "error" in answer]
    assert refused[: len(FULL)] == list(FULL)
    assert all("audit trail" in answer["error"]["message"] for answer in answers if "error" in answer)
    kinds = dict.fromkeys(refused, ("denied", "audit_unavailable"))
    expected = [(str(answer["id"]), *kinds.get(answer["id"], ("completed", ""))) for answer in answers]
    assert calls(trail) == expected
    assert events(trail, "audit_gap") == []
    assert indelible.verify(trail).ok
