"""A configuration that cannot work: one line, exit 2, and nothing is made on disk, whatever is wrong with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

INDELIBLE = [sys.executable, "-m", "indelible"]

BAD = {
    "no yaml": "audit: [",
    "unknown key": "audit: {pth: x}",
    "unknown value": "audit: {durability: paper}",
    "a key of a later version": "audit: {log_records: true}",
    "a sink of a later version": "audit: {sinks: [{type: kafka}]}",
    "nobody's home": "audit: {path: ~no-such-user/audit.jsonl}",
    "a pattern that RE2 does not take": "redaction: {patterns: {X: '('}}",
    "a pattern that matches nothing": "redaction: {patterns: {X: 'a*'}}",
    "no such key file": "audit: {key_file: missing.pem}",
    "no key": "audit: {key_file: config.yaml}",
    "no such variable": "audit: {key_env: NOT_SET_ANYWHERE}",
    "no such group": "audit: {group: nobody-has-this-group}",
    "a key twice": "audit: {path: a.jsonl}\naudit: {path: b.jsonl}\n",
    "binary": "\x00\x01",
}


@pytest.mark.parametrize("command", [["wrap", "--", "cat"], ["config", "check"]], ids=["wrap", "config check"])
@pytest.mark.parametrize("content", BAD.values(), ids=BAD.keys())
def test_one_line_and_nothing_made(command: list[str], content: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(content)
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    env.pop("NOT_SET_ANYWHERE", None)
    split = 2 if command[0] == "config" else 1
    words = [*command[:split], "-c", "config.yaml", *command[split:]]
    done = subprocess.run(
        [*INDELIBLE, *words],
        check=False,
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("indelible")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml"]
