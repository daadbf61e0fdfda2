"""Objects of Python's own kinds, and models: an event says what they hold, and what they hold is redacted."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import ipaddress
import json
import pathlib
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pydantic
import pytest

import indelible


class Colour(enum.Enum):
    RED = "red"


class Mail(pydantic.BaseModel):
    to: str
    password: pydantic.SecretStr
    when: datetime.date = datetime.date(2026, 11, 23)


@dataclasses.dataclass
class Login:
    user: str
    password: str
    _cached: object = None


class Point(msgspec.Struct):
    x: int
    home: pathlib.PurePath


class Failing(pydantic.BaseModel):
    kept: Any

    @pydantic.field_serializer("kept")
    def fails(self, _: Any) -> Any:
        raise OSError


class Elsewhere:
    """As what stands for an object of a request: it may be asked for nothing outside of one."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise RuntimeError("working outside of a request")


def recursive() -> Login:
    made = Login("ada", "x")
    made.user = made  # type: ignore[assignment]
    return made


SESSION = object()
"""An argument that nothing can be said of; encoders give up on what stands beside it, too."""

FORMS: list[tuple[object, object]] = [
    (pathlib.Path("/srv/in.csv"), "/srv/in.csv"),
    (decimal.Decimal("1.10"), "1.10"),
    (datetime.datetime(2026, 11, 23, 6, 0, tzinfo=datetime.UTC), "2026-11-23T06:00:00+00:00"),
    (datetime.date(2026, 11, 23), "2026-11-23"),
    (datetime.time(6, 30), "06:30:00"),
    (datetime.timedelta(minutes=90), "1:30:00"),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (ipaddress.ip_address("::1"), "::1"),
    (Colour.RED, "red"),
    (Login("ada", "canary"), {"user": "ada", "password": "[REDACTED]"}),
    (Point(1, pathlib.PurePosixPath("/home")), {"x": 1, "home": "/home"}),
    (
        [Mail(to="ada@example.com", password=pydantic.SecretStr("canary"))],
        [{"to": "[EMAIL]", "password": "[REDACTED]", "when": "2026-11-23"}],
    ),
    ({(1, "a"): 1, None: 2}, {"[1, 'a']": 1, "null": 2}),
    (Failing(kept=1), "[NOT JSON: Failing]"),
    (Elsewhere(), "[NOT JSON: Elsewhere]"),
    (Colour, "[NOT JSON: EnumType]"),
    (Mail, "[NOT JSON: ModelMetaclass]"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "kept"), FORMS, ids=lambda value: type(value).__name__)
def test_an_argument_is_kept_whatever_stands_beside_it(value: object, kept: object, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with (
        indelible.open_trail(path) as trail,
        trail.operation("tools/call", "act", args={"v": value, "s": SESSION}),
    ):
        pass
    [event] = indelible.search(path, tool="act")
    assert event["request"]["args"] == {"v": kept, "s": "[NOT JSON: object]"}
    assert b"canary" not in path.read_bytes()


def test_an_object_that_holds_itself_has_an_end(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with indelible.open_trail(path) as trail, trail.operation("tools/call", "act", args={"v": recursive()}):
        pass
    [event] = indelible.search(path, tool="act")
    assert event["outcome"]["kind"] == "completed"
    assert "[TRUNCATED]" in json.dumps(event["request"]["args"])


def test_a_model_that_holds_what_it_should_not_says_so_to_nobody(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """What Pydantic warns of shows the value, and a warning goes to stderr."""
    path = tmp_path / "audit.jsonl"
    wrong = Mail.model_construct(to=5, password="canary")
    with indelible.open_trail(path) as trail:
        assert indelible.audited(trail=trail, name="act")(lambda mail, _: mail)(wrong, SESSION) is wrong
    [event] = indelible.search(path, tool="act")
    assert event["outcome"]["kind"] == "completed"
    assert "canary" not in "".join(str(warning.message) for warning in recwarn)
