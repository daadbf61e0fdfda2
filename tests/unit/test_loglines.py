"""What we say where records stand is one JSON object a line; in a program with logging of its own it is that one's."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible import loglines
from tests.unit.formats.events import FORGED


class Kind(NamedTuple):
    type: str


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    loglines.begin()
    yield
    loglines.begin()
    logger = logging.getLogger(loglines.LOGGER)
    for one in [one for one in logger.handlers if isinstance(one, loglines._Unheard)]:
        logger.removeHandler(one)


def test_a_line_is_text_until_records_stand_beside_it() -> None:
    assert loglines.line("it is so") == "indelible: it is so"
    loglines.use_json()
    assert json.loads(loglines.line("it is so", "WARNING")).items() >= {
        "level": "WARNING", "logger": "indelible", "message": "it is so",
    }.items()  # fmt: skip


@pytest.mark.hypothesis
@given(st.one_of(st.sampled_from(FORGED), st.text(st.characters(codec=None))))  # halves of surrogate pairs, too
def test_whatever_is_said_is_one_line_of_ascii_that_strict_readers_read(text: str) -> None:
    loglines._State.as_json = True
    line = loglines.line(text)
    assert line.isascii()
    assert line.isprintable()
    message = orjson.loads(line)["message"]
    whole = "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)
    most = loglines.MAX_CHARS
    assert message == (whole if len(whole) <= most else whole[: most - 1] + "…")


@pytest.mark.parametrize(
    ("part", "types", "ship", "as_json"),
    [
        ("records", ["file", "stderr"], "process", True),
        ("records", ["file"], "process", False),
        ("records", ["stderr"], "off", False),
        ("ships", ["stderr"], "off", True),
        ("reads", ["stderr"], "process", False),
    ],
)
def test_sinks_decide_for_who_writes_to_them(
    part: loglines.Part, types: list[str], ship: str, *, as_json: bool
) -> None:
    loglines.for_recorder(part)
    loglines.settle([Kind(one) for one in types], ship)
    assert loglines.is_json() is as_json


@pytest.mark.parametrize(
    ("format_", "output", "as_json"),
    [
        ("cef", "", True),
        ("JSON-lines", "", True),
        ("cef", "out.cef", False),
        ("splunk", "", False),
        ("", "", False),
    ],
)
def test_the_environment_decides_for_who_records(
    monkeypatch: pytest.MonkeyPatch, format_: str, output: str, *, as_json: bool
) -> None:
    monkeypatch.setenv("MCP_COMPLIANCE_FORMAT", format_)
    monkeypatch.setenv("MCP_COMPLIANCE_OUTPUT", output)
    loglines.for_recorder("ships")
    assert not loglines.is_json()
    loglines.for_recorder()
    assert loglines.is_json() is as_json


def test_a_warning_of_pythons_is_a_line_in_a_command(caplog: pytest.LogCaptureFixture) -> None:
    loglines.for_recorder()
    loglines.use_json()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("this will go", stacklevel=1)
    [record] = caplog.records
    said = json.loads(loglines.JsonLines().format(record))
    assert (said["level"], said["logger"]) == ("WARNING", "py.warnings")
    assert "this will go" in said["message"]


def test_an_application_that_set_logging_up_hears_us_by_that_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, log = logging.getLogger(), logging.getLogger("indelible.some.module")
    monkeypatch.setattr(root, "handlers", [logging.NullHandler()])  # pytest's own would hear it
    loglines.in_a_program()
    loglines.in_a_program()
    log.warning("nobody hears")
    assert [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()] == ["nobody hears"]
    heard: list[logging.LogRecord] = []

    class Own(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record)

    monkeypatch.setattr(root, "handlers", [Own()])
    log.warning("somebody hears")
    assert [one.getMessage() for one in heard] == ["somebody hears"]
    assert capsys.readouterr().err == ""
