"""A configuration that is no file: read to its end, within bounds, and never waited for in silence."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from indelible import configfile
from indelible.cli import wrap
from indelible.errors import ConfigError

CONFIG = b"audit: {durability: disk}\n"


class Said:
    """What is logged; when something is, what is waited for happens."""

    def __init__(self, then: Callable[[], object]) -> None:
        self.lines: list[str] = []
        self._then = then

    def warning(self, message: str, *args: object) -> None:
        self.lines.append(message % args)
        self._then()


Saying = Callable[[Callable[[], object]], Said]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Saying:
    def say(then: Callable[[], object]) -> Said:
        made = Said(then)
        monkeypatch.setattr(configfile, "log", made)
        monkeypatch.setattr(configfile, "PATIENCE_MS", 10)
        monkeypatch.setattr(wrap, "CONFIG_S", 0.01)
        return made

    return say


def nothing_to_wait_for() -> None:
    raise AssertionError


def test_a_pipe_that_nobody_writes_to_is_waited_for_aloud(tmp_path: Path, said: Saying) -> None:
    pipe = tmp_path / "indelible.yaml"
    os.mkfifo(pipe)

    def write() -> None:
        writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)  # fails when nobody reads
        os.write(writer, CONFIG)
        os.close(writer)

    told = said(write)
    assert configfile.load(str(pipe)).audit.durability == "disk"
    assert told.lines == [f"{pipe}: is no file; waiting for a configuration to come out of it"]


@pytest.mark.parametrize("begun", [b"", CONFIG])
def test_who_cannot_wait_for_ever_does_not(said: Saying, begun: bytes) -> None:
    """As `wrap`, whose client has no answer meanwhile."""
    reader, writer = os.pipe()
    os.write(writer, begun)
    told = said(lambda: None)
    try:
        with pytest.raises(
            ConfigError, match=f"/dev/fd/{reader}: is no file, and nothing came out of it for 0.01 s"
        ):
            configfile.load(f"/dev/fd/{reader}", within_s=0.01)
        with pytest.raises(wrap.UsageError, match=r"nothing came out of it for 0\.01 s"):
            wrap._load(wrap.parse(["-c", f"/dev/fd/{reader}", "--", "true"]))
    finally:
        os.close(reader)
        os.close(writer)
    assert len(told.lines) == 2


def test_so_is_its_end(said: Saying) -> None:
    reader, writer = os.pipe()
    os.write(writer, CONFIG[:9])

    def write() -> None:
        os.write(writer, CONFIG[9:])
        os.close(writer)

    told = said(write)
    try:
        assert configfile.load(f"/dev/fd/{reader}").audit.durability == "disk"
    finally:
        os.close(reader)
    assert told.lines == [
        f"/dev/fd/{reader}: is no file; waiting for the end of the configuration to come out of it"
    ]


def test_one_that_is_whole_is_read_without_a_word(said: Saying) -> None:
    """As a shell's ``<(…)`` and ``/dev/stdin`` are."""
    reader, writer = os.pipe()
    os.write(writer, CONFIG)
    os.close(writer)
    told = said(nothing_to_wait_for)
    try:
        assert configfile.load(f"/dev/fd/{reader}").audit.durability == "disk"
    finally:
        os.close(reader)
    assert told.lines == []


def test_what_never_ends_is_no_configuration(said: Saying) -> None:
    said(nothing_to_wait_for)
    with pytest.raises(ConfigError, match="/dev/zero: larger than 4194304 bytes; this is not a configuration"):
        configfile.load("/dev/zero")


def test_nothing_is_an_empty_one(said: Saying) -> None:
    said(nothing_to_wait_for)
    assert configfile.load(os.devnull).audit.durability == "process"


def test_a_directory_is_none(tmp_path: Path, said: Saying) -> None:
    said(nothing_to_wait_for)
    with pytest.raises(ConfigError, match="cannot read the configuration: Is a directory"):
        configfile.load(str(tmp_path))
