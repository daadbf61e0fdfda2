"""What `indelible install` writes into a configuration to start this program, and what it passes to `wrap`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pytest

from indelible.cli.install import _launcher, _of_this_shell, _options
from indelible.errors import ConfigError


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_program_is_named_by_the_path_it_was_started_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that a tool keeps outlives the version that it leads to."""
    real = program(tmp_path / "tools" / "indelible" / "bin" / "indelible")
    link = tmp_path / "bin" / "indelible"
    link.parent.mkdir()
    link.symlink_to(real)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["bin/indelible", "install"])
    assert _launcher(None) == [str(link)]


def test_python_dash_m_is_named_by_the_script_beside_it_or_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "indelible" / "__main__.py")])
    monkeypatch.setattr(sys, "executable", str(program(tmp_path / "bin" / "python")))
    assert _launcher(None) == [str(tmp_path / "bin" / "python"), "-m", "indelible"]
    script = program(tmp_path / "bin" / "indelible")
    assert _launcher(None) == [str(script)]


@pytest.mark.parametrize(
    "place",
    [
        ".cache/uv/archive-v0/3fK1/bin/indelible",
        ".cache/uv/environments-v2/9a1b/bin/indelible",
        ".local/pipx/.cache/5d2e/bin/indelible",
        ".local/share/pipx/cache/5d2e/bin/indelible",
    ],
)
def test_a_program_that_is_there_for_one_run_is_refused(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = program(tmp_path / place)
    link = tmp_path / "link" / "indelible"
    link.parent.mkdir()
    link.symlink_to(path)
    for started in (path, link):
        monkeypatch.setattr(sys, "argv", [str(started)])
        with pytest.raises(ConfigError, match="is there for this run only; install it first"):
            _launcher(None)
    assert _launcher("indelible") == ["indelible"]


def test_options_of_wrap_are_checked_and_their_paths_made_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ada")
    given = ("--trail=a.jsonl", "-c", "~/indelible.yaml", "--actor", "a b", "--caller-type", "agent")
    assert _options(given) == [
        "--trail", str(tmp_path / "a.jsonl"), "--config", "/home/ada/indelible.yaml", "--actor", "a b",
        "--caller-type", "agent",
    ]  # fmt: skip
    assert _options(()) == []
    for wrong in (("--",), ("--help",), ("--actor",), ("--name", "x"), ("--", "server"), ("server",)):
        with pytest.raises(click.UsageError, match=r"^after --: "):
            _options(wrong)


def test_what_the_environment_says_is_written_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The official SDK starts a server without it; then the record would be elsewhere, and by other rules."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("INDELIBLE_CONFIG", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    assert _of_this_shell([]) == []
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / ".local/state"))
    assert _of_this_shell([]) == []  # where everybody looks
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert _of_this_shell([]) == ["--trail", str(tmp_path / "state/indelible/audit.jsonl")]
    assert _of_this_shell(["--trail", "/a.jsonl"]) == _of_this_shell(["--socket", "/s"]) == []

    usual, other = tmp_path / ".config/indelible/indelible.yaml", tmp_path / "other/indelible/indelible.yaml"
    for config in (usual, other):
        config.parent.mkdir(parents=True)
        config.touch()
    assert _of_this_shell([]) == []  # it is found, and says where to record
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "other"))
    assert _of_this_shell(["--trail", "/a.jsonl"]) == ["--config", str(other)]
    monkeypatch.setenv("INDELIBLE_CONFIG", "mine.yaml")
    assert _of_this_shell([]) == ["--config", str(tmp_path / "mine.yaml")]
    assert _of_this_shell(["--config", "/b.yaml"]) == []
