"""The scripted agent: it calls three real MCP servers, each behind `indelible wrap`, as a client does.

Our own one it calls a second time, without `wrap`: then the middleware in it records.

The servers run one after the other, so that the log reads like a story.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, Implementation, MCPError, StdioServerParameters, stdio_client

from indelible._version import __version__
from indelible.demo.planted import Planted
from indelible.errors import IndelibleError

CALL_TIMEOUT_S = 30.0
"""Longer than any of these servers takes on a slow machine."""

PATIENCE_S = 0.5
"""How long the agent waits for an approval that never comes."""

FILESYSTEM_SERVER = "mcp-server-filesystem"
FILESYSTEM_PACKAGE = "@modelcontextprotocol/server-filesystem"


AGENT = Implementation(name="demo-agent", version=__version__)
"""What the agent says it is."""


class DemoError(IndelibleError):
    """A part of the demo did not do what it should."""


@dataclass(frozen=True)
class Call:
    """A call as the agent saw it."""

    server: str
    name: str
    became: str


Report = Callable[[Call], None]
Act = Callable[["Session"], Awaitable[None]]


@dataclass(frozen=True)
class Server:
    """A server to call: what starts it, and what the agent does with it."""

    name: str
    comes_from: str
    command: tuple[str, ...]
    act: Act
    env: dict[str, str] = field(default_factory=dict)
    records_itself: bool = False
    """It is started with the trail as its argument, instead of behind `indelible wrap`."""


@dataclass
class Session:
    """A connection to one server, which notes every call and what became of it."""

    server: str
    client: Client
    report: Report

    async def _note(
        self, name: str, call: Callable[[], Awaitable[Any]], *, patience: float | None = None
    ) -> None:
        became = "cancelled by the agent"
        with anyio.move_on_after(CALL_TIMEOUT_S if patience is None else patience) as scope:
            try:
                result = await call()
                became = "error" if getattr(result, "is_error", False) else "ok"
            except MCPError as exc:
                became = f"protocol error {exc.code}"
        if scope.cancelled_caught and patience is None:
            raise DemoError(f"{name} did not answer within {CALL_TIMEOUT_S:.0f} seconds")
        self.report(Call(self.server, name, became))

    async def tool(self, name: str, arguments: dict[str, Any], *, patience: float | None = None) -> None:
        """Call a tool; with `patience`, cancel it after so many seconds."""
        await self._note(name, lambda: self.client.call_tool(name, arguments), patience=patience)

    async def resource(self, uri: str, name: str) -> None:
        """Read a resource; `name` is what the report calls it."""
        await self._note(name, lambda: self.client.read_resource(uri))

    async def prompt(self, name: str, arguments: dict[str, str]) -> None:
        """Fetch a prompt."""
        await self._note(name, lambda: self.client.get_prompt(name, arguments))


# --- the scripts ----------------------------------------------------------------------------------------


def desk_script(planted: Planted) -> Act:
    """Return what the agent does with our own server: every way in which a call can end."""

    async def act(session: Session) -> None:
        await session.tool("list_accounts", {})
        contact = {"email": planted.email, "phone": planted.phone, "ssn": planted.ssn}
        await session.tool(
            "create_account", {"name": "ada", "contact": contact, "passphrase": planted.passphrase}
        )
        await session.resource(f"desk://accounts/{planted.email}", "an account")
        await session.prompt("welcome", {"email": planted.email})
        await session.tool("send_mail", {"to": planted.email, "authorization": f"Bearer {planted.bearer}"})
        await session.tool("charge_card", {"card_number": planted.card, "euros": 42})
        await session.tool("wait_for_approval", {"ticket": f"see {planted.jwt}"}, patience=PATIENCE_S)
        await session.tool("delete_account", {"name": "grace"})
        await session.tool("no_such_tool", {"api_key": planted.openai_key})
        await session.tool("crash", {"reason": f"{planted.openai_key} ran out"})

    return act


def inside_script(planted: Planted) -> Act:
    """Return what the agent does with our own server when the middleware is in it."""

    async def act(session: Session) -> None:
        contact = {"email": planted.email, "phone": planted.phone, "ssn": planted.ssn}
        await session.tool(
            "create_account", {"name": "joan", "contact": contact, "passphrase": planted.passphrase}
        )

    return act


def files_script(planted: Planted, folder: Path) -> Act:
    """Return what the agent does with the filesystem server."""

    async def act(session: Session) -> None:
        dotenv = (
            f"DATABASE_URL=postgres://app:{planted.database_password}@db.internal/prod\n"
            f"GITHUB_TOKEN={planted.github_token}\nAWS_ACCESS_KEY_ID={planted.aws_key}\n"
        )
        await session.tool("write_file", {"path": str(folder / "deploy.env"), "content": dotenv})
        await session.tool("write_file", {"path": str(folder / "server.key"), "content": planted.pem()})
        customers = f"name,email,card\nAda,{planted.email},{planted.card}\n"
        await session.tool("write_file", {"path": str(folder / "customers.csv"), "content": customers})
        await session.tool("read_text_file", {"path": str(folder / "customers.csv")})
        await session.tool("list_directory", {"path": str(folder)})
        await session.tool("read_text_file", {"path": "/etc/hostname"})

    return act


def git_script(planted: Planted, repository: Path) -> Act:
    """Return what the agent does with the git server."""
    where = {"repo_path": str(repository)}

    async def act(session: Session) -> None:
        await session.tool("git_status", where)
        await session.tool("git_add", {**where, "files": ["README"]})
        await session.tool(
            "git_commit", {**where, "message": f"Replace {planted.github_token} for {planted.email}"}
        )
        await session.tool("git_log", where)
        await session.tool("git_show", {**where, "revision": "no-such-revision"})

    return act


# --- the servers ----------------------------------------------------------------------------------------


def find_npm_command(name: str, start: Path) -> str | None:
    """Return the command of an installed npm package: from `start` upwards as npm looks, else on the PATH."""
    for folder in (start, *start.parents):
        command = folder / "node_modules" / ".bin" / name
        if command.exists():
            return str(command)
    return shutil.which(name)


def servers(planted: Planted, workspace: Path, start: Path) -> tuple[list[Server], list[str]]:
    """Return the servers that can be called here, and one line for each that cannot, with what to do."""
    ready: list[Server] = []
    missing: list[str] = []
    folder = workspace / "files"
    folder.mkdir()
    command = find_npm_command(FILESYSTEM_SERVER, start)
    if command is None:
        missing.append(f"{FILESYSTEM_SERVER} is not here: npm install {FILESYSTEM_PACKAGE}")
    elif shutil.which("node") is None:
        missing.append(f"{FILESYSTEM_SERVER} needs Node.js, which is not on the PATH")
    else:
        ready.append(Server("files", "npm", (command, str(folder)), files_script(planted, folder)))
    if shutil.which("git") is None:
        missing.append("mcp-server-git needs git, which is not on the PATH")
    else:
        repository = make_repository(workspace / "repo")
        start_git = (sys.executable, "-m", "mcp_server_git", "--repository", str(repository))
        ready.append(Server("git", "PyPI", start_git, git_script(planted, repository), GIT_ENV))
    ours = (sys.executable, "-m", "indelible.demo.server")
    ready.append(Server("desk", "this package", ours, desk_script(planted)))
    itself = "this package, which records it itself: one line"
    ready.append(Server("inside", itself, ours, inside_script(planted), records_itself=True))
    return ready, missing


GIT_ENV = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Demo",
    "GIT_AUTHOR_EMAIL": "demo@localhost",
    "GIT_COMMITTER_NAME": "Demo",
    "GIT_COMMITTER_EMAIL": "demo@localhost",
}
"""A git that knows nothing of the user's own settings."""


def make_repository(folder: Path) -> Path:
    """Make a git repository with one file that is not committed yet."""
    folder.mkdir()
    (folder / "README").write_text("A repository for the demo.\n")
    command = ["git", "init", "--quiet", "--initial-branch=main", str(folder)]
    done = subprocess.run(command, env={**os.environ, **GIT_ENV}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DemoError(f"demo: git init failed: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}")
    return folder


# --- the calls ------------------------------------------------------------------------------------------


@asynccontextmanager
async def connect(server: Server, trail: Path, workspace: Path, stderr: Path) -> AsyncIterator[Client]:
    """Start a server behind `indelible wrap`, or with the trail to record to, and shake hands with it."""
    who = ["--actor", AGENT.name, "--caller-type", "agent"]
    wrap = [
        "-m",
        "indelible",
        "wrap",
        "--name",
        server.name,
        *who,
        "--trail",
        str(trail),
        "--",
        *server.command,
    ]
    command, *args = [*server.command, str(trail)] if server.records_itself else [sys.executable, *wrap]
    settings = workspace / "config" / "indelible" / "indelible.yaml"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text("audit:\n  disk_thresholds: none\n")  # a disk that is nearly full has room for a demo
    passed_on = {name: os.environ[name] for name in ("PYTHONPATH", "TMPDIR") if name in os.environ}
    parameters = StdioServerParameters(
        command=command,
        args=args,
        env={**passed_on, "XDG_CONFIG_HOME": str(workspace / "config"), **server.env},
        cwd=workspace,  # neither the user's configuration nor one in this folder shall change what is shown
    )
    with stderr.open("a") as log:
        async with Client(stdio_client(parameters, errlog=log), client_info=AGENT) as client:
            yield client


async def call_all(servers: list[Server], trail: Path, workspace: Path, report: Report) -> None:
    """Call every server by its script; raises DemoError, one line, when one cannot be talked to."""
    for server in servers:
        stderr = workspace / f"{server.name}.stderr"
        try:
            with anyio.fail_after(4 * CALL_TIMEOUT_S):
                async with connect(server, trail, workspace, stderr) as client:
                    await client.list_tools()
                    await server.act(Session(server.name, client, report))
        except (MCPError, OSError, DemoError, ExceptionGroup) as exc:
            raise DemoError(f"demo: {server.name}: {_reason(exc, stderr)}") from exc


def _reason(exc: BaseException, stderr: Path) -> str:
    """Return one line: the first cause in a group of exceptions, and the last thing that the server said."""
    while isinstance(exc, BaseExceptionGroup):  # a task group wraps whatever is raised in it
        exc = exc.exceptions[0]
    reason = next(iter(str(exc).strip().splitlines()), "") or type(exc).__name__
    said = stderr.read_text(errors="replace").strip() if stderr.exists() else ""
    return f"{reason}; its last words: {said.splitlines()[-1][:200]}" if said else reason
