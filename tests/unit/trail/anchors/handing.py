"""What an anchor is handed, made of a log in memory."""

from __future__ import annotations

from typing import Any

from indelible.anchor_settings import AnchorSettings, parse_anchors
from indelible.trail.anchors import Handing
from tests.witnesses import History, history

LOG = history(700)


def settings(**keys: Any) -> AnchorSettings:
    [anchor] = parse_anchors([keys])
    return anchor


def handing(size: int, old: int = 0, log: History = LOG) -> Handing:
    return Handing(log.note(size), log.checkpoint(size), old, lambda old: log.proof(old, size))
