"""What ships beside a recorder, and what is refused before it starts."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from indelible import config
from indelible.errors import ConfigError
from indelible.shipper import companion
from indelible.trail.layout import Layout


def settings(**audit: Any) -> config.Settings:
    given = {"audit": {"sinks": [{"type": "file", "path": "x.log"}], **audit}, "alerts": {}}
    return config.parse(given, where="f.yaml", env={})


def test_rules_beside_threads_are_refused_with_what_to_set_instead() -> None:
    with pytest.raises(ConfigError) as raised:
        companion.check(settings(ship="thread"))
    said = str(raised.value)
    assert said.isprintable()
    assert "'ship: process'" in said
    assert "'indelible ship' by hand" in said
    companion.check(settings(ship="process"))
    companion.check(settings(ship="off"))


@dataclass
class Never:
    """Stands for who would ship."""

    settings: object
    layout: object
    version: str = ""


def test_that_no_rule_can_look_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An interpreter within another program does not know itself how it is started."""
    monkeypatch.setattr(companion, "_Threads", Never)
    monkeypatch.setattr(companion, "Companion", lambda shipper, *_: shipper)
    monkeypatch.setattr(sys, "executable", "")
    with caplog.at_level(logging.ERROR, "indelible"):
        made: Any = companion.companion_of(settings(), Layout(tmp_path / "a.jsonl"), "0", lambda: False)
    assert isinstance(made, Never)
    assert "run 'indelible ship' by hand" in caplog.text
