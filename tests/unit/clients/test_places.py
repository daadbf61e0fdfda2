"""Where each client's configuration is looked for, and what of it is meant."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from indelible.clients.places import CLIENTS, Place, Scope, named, places

HERE = Path("work/project/src")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / HERE).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / HERE)
    return tmp_path


def looked(home: Path, client: str, scope: Scope | None = None) -> list[str]:
    return [str(place.path.relative_to(home)) for place in places(CLIENTS[client], scope)]


LINUX = {
    "claude-desktop": [".config/Claude/claude_desktop_config.json"],
    "claude-code": [".claude.json", f"{HERE}/.mcp.json"],
    "cursor": [".cursor/mcp.json", f"{HERE}/.cursor/mcp.json"],
    "vscode": [
        ".config/Code/User/mcp.json",
        ".config/Code - Insiders/User/mcp.json",
        ".config/VSCodium/User/mcp.json",
        f"{HERE}/.vscode/mcp.json",
    ],
    "windsurf": [".codeium/windsurf/mcp_config.json"],
}


def test_every_client_has_its_places(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert {client: looked(home, client) for client in CLIENTS} == LINUX
    monkeypatch.setattr(sys, "platform", "darwin")
    [desktop] = looked(home, "claude-desktop")
    assert desktop == "Library/Application Support/Claude/claude_desktop_config.json"
    assert looked(home, "vscode")[0] == "Library/Application Support/Code/User/mcp.json"


def test_a_place_of_ones_own_choice(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "etc"))
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(home / "claude"))
    assert looked(home, "vscode")[0] == "etc/Code/User/mcp.json"
    assert looked(home, "claude-code")[0] == "claude/.claude.json"


@pytest.mark.parametrize(
    ("client", "name"),
    [("claude-code", ".mcp.json"), ("cursor", ".cursor/mcp.json"), ("vscode", ".vscode/mcp.json")],
)
def test_a_projects_file_is_found_from_below(home: Path, client: str, name: str) -> None:
    file = home / "work" / "project" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("{}")
    assert looked(home, client, "project") == [f"work/project/{name}"]


def test_what_is_the_users_is_not_a_projects(home: Path) -> None:
    (home / ".cursor").mkdir()
    (home / ".cursor" / "mcp.json").write_text("{}")
    assert looked(home, "cursor", "project") == [f"{HERE}/.cursor/mcp.json"]


def test_every_scope_of_a_client_has_a_place(home: Path) -> None:
    for client in CLIENTS.values():
        for scope in client.scopes:
            assert [place.scope for place in places(client, scope)].count(scope) >= 1


def test_claude_code_keeps_what_is_for_one_directory_under_its_name(home: Path) -> None:
    [local] = places(CLIENTS["claude-code"], "local")
    here = home / HERE
    mine = tuple(("projects", str(path), "mcpServers") for path in (here, *here.parents))
    assert local == Place(home / ".claude.json", "local", mine)
    [user] = places(CLIENTS["claude-code"], "user")
    assert user.keys == (("mcpServers",),)
    everything = named(CLIENTS["claude-code"], home / "x.json", None)
    assert everything.keys == (("mcpServers",), *mine)
    assert named(CLIENTS["vscode"], home / "x.json", None).keys == (("servers",), ("mcp", "servers"))
