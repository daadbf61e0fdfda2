"""`indelible demo`: record real MCP servers, then show the record, that it verifies, and what is not in it.

What is not in it are the secrets. The servers and the agent that calls them are in `indelible.demo`; here is
the order in which a person sees things. Everything about the trail is asked of the commands that a user has.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import orjson

from indelible.cli.common import note
from indelible.errors import ConfigError, IndelibleError

if TYPE_CHECKING:
    from rich.console import Console

    from indelible.demo.agent import Call

SHOWN: Final = ("desk", "create_account")
"""The call that is shown in full: it holds a marked field, listed key names and an address."""


@click.command("demo")
@click.option("--trail", "folder", metavar="DIR", type=click.Path(path_type=Path), help="Keep the trail here.")
def command(folder: Path | None) -> int:
    """Record real MCP servers, with made-up secrets, and show the trail.

    Needs the extra "demo" (pip install 'indelible[demo]'); the npm server is called when it is installed.

    \b
    Examples:
      indelible demo
      indelible demo --trail ./demo-trail
    """
    return run(folder)


def run(folder: Path | None = None) -> int:
    """Play the demo with its trail in `folder`, by default a fresh one below the system's temporary directory.

    Returns 0 when every call was recorded, the trail verifies and no secret is in it. Raises ConfigError when it
    cannot run here, IndelibleError when a part did not do what it should. Ctrl-C leaves nothing running.
    """
    try:
        import anyio

        from indelible.demo import agent
        from indelible.demo.planted import Planted
    except ImportError as exc:
        raise ConfigError(f"demo: {exc.name} is not installed: pip install 'indelible[demo]'") from exc
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    trail = _trail(folder)
    planted = Planted.draw()
    calls: list[Call] = []
    with _said_where(trail, named=folder is not None):
        with tempfile.TemporaryDirectory(prefix="demo-") as work:
            workspace = Path(work).resolve()
            servers, missing = agent.servers(planted, workspace, Path.cwd())
            _introduce(console, servers, missing, len(planted.values()))
            anyio.run(agent.call_all, servers, trail, workspace, _reporter(console, calls))
        _show_record(console, trail, calls)
        _check_secrets(console, trail, planted.values())
        _show_next(console, trail)
    return 0


@contextlib.contextmanager
def _said_where(trail: Path, *, named: bool) -> Iterator[None]:
    """Say where the trail is when the demo does not get to its end: in a directory that nobody named, it is lost."""
    try:
        yield
    except KeyboardInterrupt:
        if not named:
            note(f"demo: interrupted; what was recorded so far is in {trail.parent}")
        raise
    except IndelibleError as exc:
        if named or str(trail.parent) in str(exc):
            raise
        raise type(exc)(f"{exc}; what was recorded so far is in {trail.parent}") from exc


def _trail(folder: Path | None) -> Path:
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="indelible-demo-"))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    trail = folder.resolve() / "audit.jsonl"
    if trail.exists():
        raise ConfigError(f"demo: {trail} is there already; give --trail a new directory")
    return trail


# --- what a person sees ---------------------------------------------------------------------------------


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(text, style="bold")


def _introduce(console: Console, servers: list[Any], missing: list[str], secrets: int) -> None:
    _heading(console, "An agent calls real MCP servers, behind `indelible wrap` or recording themselves")
    for server in servers:
        console.print(f"  {server.name:<6} from {server.comes_from}", markup=False)
    for line in missing:
        console.print(f"  left out: {line}", markup=False, style="yellow")
    console.print(f"In the arguments it puts {secrets} made-up secrets and personal data, fresh in this run.")
    console.print()


def _reporter(console: Console, calls: list[Call]) -> Any:
    styles = {"ok": "green", "error": "red"}

    def report(call: Call) -> None:
        calls.append(call)
        console.print(f"  {call.server:<6} {call.name:<18} ", end="", markup=False)
        console.print(call.became, style=styles.get(call.became, "yellow"), markup=False)

    return report


def _show_record(console: Console, trail: Path, calls: list[Call]) -> None:
    _heading(console, "What the trail has of it (indelible log)")
    _indelible("log", "--trail", str(trail), "-n", "0")
    lines = _indelible("log", "--trail", str(trail), "-n", "0", "--json", capture=True).splitlines()
    events = [(line, orjson.loads(line)) for line in lines]
    recorded = [event for _, event in events if event["event_type"] == "mcp_operation"]
    if len(recorded) != len(calls):
        raise _failure(f"{len(calls)} calls were made, {len(recorded)} are recorded in {trail}")
    console.print(
        f"{len(calls)} calls were made, {len(recorded)} are recorded: each once, whatever became of it."
    )

    line = next((line for line, event in events if _names(event) == SHOWN), None)
    if line is None:
        raise _failure(f"{SHOWN[1]} is not in {trail}")
    _heading(console, "One event in full: what was secret is gone before anything is written")
    console.print_json(line.decode(), indent=2)

    _heading(console, "Is the trail what it was when it was written? (indelible verify)")
    _indelible("verify", "--trail", str(trail))


def _check_secrets(console: Console, trail: Path, values: dict[str, str]) -> None:
    from indelible.demo.planted import search

    files, size, found = search([trail.parent], values)
    if found:
        raise _failure(f"a planted secret was written: {found[0]} ({len(found)} in all)")
    _heading(console, "Are the secrets in it?")
    console.print(f"{len(values)} were planted; none is in any of the {files} files ({size:,} bytes) below")
    console.print(str(trail.parent), markup=False)


def _show_next(console: Console, trail: Path) -> None:
    me, where = _own_name(), shlex.quote(str(trail))
    events = _indelible("log", "--trail", str(trail), "-n", "1", "--json", capture=True)
    line = orjson.loads(events)["seq"] + 1  # the first line is number 1, and has seq 0
    _heading(console, "What to try next")
    for purpose, text in (
        ("only what failed", f"{me} log --trail {where} --status error"),
        ("what one server was asked", f"{me} log --trail {where} --backend desk --json"),
        ("is the writer at work, and how much is there", f"{me} status --trail {where}"),
        ("change a word in one line …", f"sed -i.bak '{line}s/mcp/MCP/' {where}"),
        ("… and see it found", f"{me} verify --trail {where}"),
    ):
        console.print(f"  # {purpose}", style="dim", markup=False)
        console.print(f"  {text}", markup=False)
    console.print()
    console.print(
        f"For a server of yours, put `{me} wrap --` before its command in your client's configuration;"
    )
    console.print("examples/ shows it for Claude Desktop, Claude Code, Cursor and VS Code.")


# --- the commands ---------------------------------------------------------------------------------------


def _indelible(*arguments: str, capture: bool = False) -> bytes:
    """Run one of the user's commands, showing its output or returning it; raises IndelibleError."""
    sys.stdout.flush()
    env = {name: value for name, value in os.environ.items() if name != "INDELIBLE_CONFIG"}
    done = subprocess.run(
        [sys.executable, "-m", "indelible", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if capture else None,
        env=env,
        check=False,
    )
    if done.returncode:
        raise _failure(f"`indelible {shlex.join(arguments)}` ended with exit code {done.returncode}")
    return done.stdout or b""


def _failure(message: str) -> IndelibleError:
    return IndelibleError(f"demo: {message}")


def _names(event: dict[str, Any]) -> tuple[str | None, str | None] | None:
    if event["event_type"] != "mcp_operation":
        return None
    target = event.get("target", {})
    return target.get("backend"), target.get("capability_name")


def _own_name() -> str:
    """Return how this command is called from the present directory, so that what is printed works as it is."""
    beside = Path(sys.executable).with_name("indelible")
    on_path = shutil.which("indelible")
    if on_path is not None and Path(on_path).resolve() == beside.resolve():
        return "indelible"
    here = Path.cwd()
    return shlex.quote(str(beside.relative_to(here) if beside.is_relative_to(here) else beside))
