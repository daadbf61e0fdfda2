"""The demo goes on with the servers that are here, and says what to do about the others."""

from pathlib import Path

import pytest

from indelible.demo import agent
from indelible.demo.planted import Planted


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_an_npm_command_is_found_upwards_then_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / "project" / "deep"
    deep.mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert agent.find_npm_command("a-server", deep) is None
    on_path = executable(tmp_path / "bin" / "a-server")
    assert agent.find_npm_command("a-server", deep) == str(on_path)
    nearer = executable(tmp_path / "project" / "node_modules" / ".bin" / "a-server")
    assert agent.find_npm_command("a-server", deep) == str(nearer)


def test_without_node_and_git_only_our_own_server_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    servers, missing = agent.servers(Planted.draw(), tmp_path, tmp_path)
    assert [server.name for server in servers] == ["desk", "inside"]
    assert [line.split()[0] for line in missing] == ["mcp-server-filesystem", "mcp-server-git"]
    assert "npm install @modelcontextprotocol/server-filesystem" in missing[0]
