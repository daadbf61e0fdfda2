"""Ask a trail as the server's processes do, and hold every answer to its schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import orjson

from indelible.inquiry.plain import NOTE
from indelible.inquiry.questions import Answered, Bounds, Place, Question, answer
from indelible.inquiry.roles import Role, make_role
from indelible.inquiry.tools import BY_NAME
from indelible.inquiry_settings import InquirySettings, RoleSettings

AUDITOR = make_role(InquirySettings(limit=10_000), "auditor")
OPERATOR = make_role(InquirySettings(limit=10_000), "operator")


def role(**said: Any) -> Role:
    """Return a role as a configuration has it."""
    roles = {"mine": RoleSettings(**said)}
    return make_role(InquirySettings(limit=10_000, roles=roles), "mine")


def ask(
    path: Path,
    tool: str,
    who: Role = AUDITOR,
    room: int = 1 << 20,
    vkeys: tuple[str, ...] = (),
    **arguments: Any,
) -> dict[str, Any]:
    return asked(path, tool, who, room, vkeys, **arguments).body


def asked(
    path: Path,
    tool: str,
    who: Role = AUDITOR,
    room: int = 1 << 20,
    vkeys: tuple[str, ...] = (),
    **arguments: Any,
) -> Answered:
    found = answer(Question(tool, arguments, who, Place(path, named=True, vkeys=vkeys), Bounds(30, 400, room)))
    jsonschema.Draft202012Validator(BY_NAME[tool].answer).validate(found.body)
    assert found.body["note"] == NOTE
    assert not found.summary.endswith(".")  # the server puts the note behind it
    assert len(orjson.dumps(found.body)) <= room
    return found
