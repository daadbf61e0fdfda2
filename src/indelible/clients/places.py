"""Where the clients keep their configurations, and under which keys the servers stand there."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final, Literal, NamedTuple

from indelible.clients.servers import EVERY, Pointer
from indelible.configfile import config_home

Scope = Literal["user", "local", "project"]


class Place(NamedTuple):
    """A file that a client reads, and what of it is meant."""

    path: Path
    scope: Scope
    keys: tuple[Pointer, ...]
    """Where servers stand in it that are meant."""


class Client(NamedTuple):
    """A client of MCP servers."""

    name: str
    title: str
    keys: tuple[Pointer, ...]
    """Where servers stand in any of its files."""
    scopes: tuple[Scope, ...]


_SERVERS: Final[Pointer] = ("mcpServers",)

CLIENTS: Final = {
    client.name: client
    for client in (
        Client("claude-desktop", "Claude Desktop", (_SERVERS,), ("user",)),
        Client(
            "claude-code",
            "Claude Code",
            (_SERVERS, ("projects", EVERY, "mcpServers")),
            ("user", "local", "project"),
        ),
        Client("cursor", "Cursor", (_SERVERS,), ("user", "project")),
        Client("vscode", "VS Code", (("servers",), ("mcp", "servers")), ("user", "project")),
        Client("windsurf", "Windsurf", (_SERVERS,), ("user",)),
    )
}

_CODES: Final = ("Code", "Code - Insiders", "VSCodium")
"""VS Code, and what is built of it."""


def places(client: Client, scope: Scope | None) -> list[Place]:
    """Return where a client's configuration may lie, in the order of looking. Raises RuntimeError: no home."""
    found = {
        "claude-desktop": _claude_desktop,
        "claude-code": _claude_code,
        "cursor": _cursor,
        "vscode": _vscode,
        "windsurf": _windsurf,
    }[client.name](client)
    if scope is None:
        return found
    if client.name == "claude-code" and scope in ("user", "local"):  # both in one file
        meant = (_SERVERS,) if scope == "user" else _local()
        return [Place(place.path, scope, meant) for place in found if place.scope == "user"]
    return [place for place in found if place.scope == scope]


def named(client: Client, path: Path, scope: Scope | None) -> Place:
    """Return a file that the user names, as one of this client's."""
    keys = client.keys
    if client.name == "claude-code":
        keys = {"user": (_SERVERS,), "project": (_SERVERS,), "local": _local()}.get(
            scope or "", (_SERVERS, *_local())
        )
    return Place(path, scope or "user", keys)


def _applications() -> Path:
    """Return where desktop programs keep their files (Electron's ``appData``)."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return config_home()


def _claude_desktop(client: Client) -> list[Place]:
    return [Place(_applications() / "Claude" / "claude_desktop_config.json", "user", client.keys)]


def _claude_code(client: Client) -> list[Place]:
    home = Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path.home())
    return [
        Place(home / ".claude.json", "user", (_SERVERS, *_local())),
        Place(_up(".mcp.json"), "project", (_SERVERS,)),
    ]


def _cursor(client: Client) -> list[Place]:
    return [
        Place(Path.home() / ".cursor" / "mcp.json", "user", client.keys),
        Place(_up(".cursor/mcp.json"), "project", client.keys),
    ]


def _vscode(client: Client) -> list[Place]:
    users = [Place(_applications() / name / "User" / "mcp.json", "user", client.keys) for name in _CODES]
    return [*users, Place(_up(".vscode/mcp.json"), "project", client.keys)]


def _windsurf(client: Client) -> list[Place]:
    return [Place(Path.home() / ".codeium" / "windsurf" / "mcp_config.json", "user", client.keys)]


def _local() -> tuple[Pointer, ...]:
    """Return where Claude Code keeps what is meant for this directory alone: under its name, or one above it."""
    here = Path.cwd()
    return tuple(("projects", str(path), "mcpServers") for path in (here, *here.parents))


def _up(name: str) -> Path:
    """Return a project's file: of this directory, or of the nearest one above that has it, the home left out."""
    here = Path.cwd()
    for directory in (here, *here.parents):
        if directory == Path.home():
            break
        if (directory / name).is_file():
            return directory / name
    return here / name
