"""`indelible install` and `indelible uninstall` as a user runs them, and what they write as a client starts it."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client as Session
from mcp import StdioServerParameters

from tests.integration.wrap.harness import Client, call, events, outcomes

ROOT = Path(__file__).parents[3]
PARROT = ROOT / "tests" / "integration" / "wrap" / "parrot.py"
INDELIBLE = Path(sys.executable).with_name("indelible")
BARE = "/usr/bin:/bin"
"""The search path that a program has which was not started from a shell."""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return the directory where everything of a test is: its home is below it."""
    (tmp_path / "home" / "project").mkdir(parents=True)
    return tmp_path


def environment(place: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "PYTHONPATH") if name in os.environ}
    return {
        **kept,
        "PATH": BARE,
        "HOME": str(place / "home"),
    }


@pytest.fixture
def run(place: Path) -> Run:
    """Return a function that runs `indelible` in a project of a user's home."""

    def command(*args: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
        options = {"stdin": subprocess.DEVNULL, "capture_output": True, **more}
        return subprocess.run(
            [INDELIBLE, *args], cwd=place / "home" / "project", text=True, timeout=60, check=False,
            **{"env": environment(place), **options},
        )  # fmt: skip

    return command


@pytest.fixture
def start(place: Path) -> Iterator[Callable[[dict[str, Any]], Client]]:
    """Start what an entry of a configuration says, as a client does."""
    started: list[Client] = []

    def client(entry: dict[str, Any]) -> Client:
        env = {"PATH": BARE, "HOME": str(place / "home"), "XDG_STATE_HOME": "", **entry.get("env", {})}
        started.append(Client([entry["command"], *entry.get("args", [])], cwd=place, env=env))
        return started[-1]

    yield client
    for one in started:
        one.close()


def trail(place: Path) -> Path:
    return place / "home" / ".local" / "state" / "indelible" / "audit.jsonl"


# --- each client's file, as it is written by hand -----------------------------------------------------------

SERVER = {"command": sys.executable, "args": [str(PARROT)], "env": {"WORD": "kept"}}
BODY = json.dumps({"parrot": SERVER, "there": {"url": "https://mcp.example/"}}, indent=4)

FILES = {
    "claude-desktop": (".config/Claude/claude_desktop_config.json", '{"mcpServers": %s, "theme": 1.50}\n'),
    "claude-code": (".claude.json", '{"numStartups":3,"projects":{"%%s":{"mcpServers":%s,"history":[]}}}'),
    "cursor": ("project/.cursor/mcp.json", '\ufeff{\r\n\t"mcpServers" : %s\r\n}\r\n'),
    "vscode": (
        ".config/Code/User/mcp.json",
        '{\n  // servers\n  "servers": %s,\n  "inputs": [], /* none */\n}\n',
    ),
    "windsurf": (".codeium/windsurf/mcp_config.json", '{"mcpServers": %s}'),
}


def write(place: Path, client: str) -> tuple[Path, bytes]:
    name, text = FILES[client]
    path = place / "home" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    body = text % BODY
    path.write_bytes((body % (place / "home" / "project") if client == "claude-code" else body).encode())
    return path, path.read_bytes()


def entries(path: Path) -> dict[str, dict[str, Any]]:
    """Return the servers, read by a parser that is not the one that edited them."""
    lines = path.read_bytes().decode("utf-8-sig").replace(", /* none */\n", "\n").splitlines()
    data = json.loads("".join(line for line in lines if "// " not in line))
    data = next(iter(data["projects"].values())) if "projects" in data else data
    servers: dict[str, dict[str, Any]] = data.get("mcpServers") or data["servers"]
    return servers


@pytest.mark.parametrize("client", FILES)
def test_what_a_client_starts_is_recorded_and_its_file_comes_back(
    client: str, place: Path, run: Run, start: Callable[[dict[str, Any]], Client]
) -> None:
    path, before = write(place, client)
    shown = run("install", client, "--dry-run")
    assert (shown.returncode, path.read_bytes()) == (0, before), shown.stderr
    assert f"+ {INDELIBLE} wrap --name parrot -- {sys.executable} {PARROT}" in shown.stdout
    assert ": not wrapped: remote" in shown.stdout

    done = run("install", client, "--yes")
    assert done.returncode == 0, done.stderr
    entry = entries(path)["parrot"]
    assert (entry["command"], entry["env"]) == (str(INDELIBLE), {"WORD": "kept"})
    assert entries(path)["there"] == {"url": "https://mcp.example/"}
    session = start(entry)
    session.greet()
    assert "hello" in json.dumps(session.ask(call(2, "say", text="hello")))
    assert session.finish() == 0
    [operation] = [event for event in outcomes(trail(place)) if event["target"]["method"] == "tools/call"]
    assert operation["target"]["backend"] == "parrot"
    assert operation["request"]["args"] is not None

    back = run("uninstall", client, "--yes", "--json")
    assert (back.returncode, path.read_bytes()) == (0, before), back.stderr
    assert json.loads(back.stdout)["backups"] == []
    assert [entry.name for entry in path.parent.iterdir() if entry.is_file()] == [path.name]


def test_a_session_of_the_official_client_is_recorded(place: Path, run: Run) -> None:
    path, before = write(place, "claude-desktop")
    path.write_bytes(before.replace(str(PARROT).encode(), str(ROOT / "examples" / "own_server.py").encode()))
    before = path.read_bytes()
    assert run("install", "claude-desktop", "--yes", "--", "--actor", "ada").returncode == 0
    entry = entries(path)["parrot"]
    parameters = StdioServerParameters(command=entry["command"], args=entry["args"], env=environment(place))

    async def ask() -> str:
        async with Session(parameters) as client:
            result = await client.call_tool("forecast", {"city": "Oslo"})
            return str(getattr(result.content[0], "text", None))

    assert anyio.run(ask) == "Tomorrow it rains in Oslo."
    [event] = events(trail(place), "mcp_operation")
    assert (event["target"]["capability_name"], event["source"]["user_id"]) == ("forecast", "ada")
    assert run("uninstall", "claude-desktop", "--yes").returncode == 0
    assert path.read_bytes() == before


def test_the_configuration_that_the_environment_names_holds_in_a_client_that_passes_none_of_it_on(
    place: Path, run: Run, start: Callable[[dict[str, Any]], Client]
) -> None:
    path, before = write(place, "claude-desktop")
    config = place / "mine.yaml"
    config.write_text("audit: {path: mine.jsonl}\nredaction: {keys: [text], unknown_schema: keep}\n")
    mine = {"env": {**environment(place), "INDELIBLE_CONFIG": str(config)}}
    assert run("install", "claude-desktop", "--yes", **mine).returncode == 0
    session = start(entries(path)["parrot"])
    session.greet()
    session.ask(call(2, "say", text="hello"))
    assert session.finish() == 0
    [operation] = [
        event for event in outcomes(place / "mine.jsonl") if event["target"]["method"] == "tools/call"
    ]
    assert operation["request"]["args"] == {"text": "[REDACTED]"}
    assert not trail(place).exists()
    assert run("uninstall", "claude-desktop", "--yes", **mine).returncode == 0
    assert path.read_bytes() == before

    project, _ = write(place, "cursor")
    done = run("install", "cursor", "--yes", "--scope", "project", **mine)
    assert (
        f"not written into a project's file, though your environment says it: --config {config}" in done.stderr
    )
    assert b"mine.yaml" not in project.read_bytes()


@pytest.mark.parametrize("how", [[str(INDELIBLE)], [sys.executable, "-m", "indelible"]])
def test_where_a_server_finds_its_modules_is_no_matter_of_ours(
    how: list[str], place: Path, start: Callable[[dict[str, Any]], Client]
) -> None:
    """A PYTHONPATH that it is given is for packages of other versions than ours, and modules called the same."""
    theirs = place / "theirs"
    theirs.mkdir()
    for name in ("click", "msgspec", "orjson", "re2", "yaml", "queue"):
        (theirs / f"{name}.py").write_text("raise ImportError('of another version')\n")
        (place / f"{name}.py").write_text("raise ImportError('in the working directory')\n")
    (theirs / "word.py").write_text("import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')\n")
    command = [*how, "wrap", "--name", "parrot", "--", sys.executable, "-m", "word", str(PARROT)]
    session = start({"command": command[0], "args": command[1:], "env": {"PYTHONPATH": str(theirs)}})
    session.greet()
    session.ask(call(2, "say", text="hello"))
    assert session.finish() == 0
    assert [event["target"]["method"] for event in outcomes(trail(place))][-1] == "tools/call"


# --- what is said -------------------------------------------------------------------------------------------


def refused(done: subprocess.CompletedProcess[str], code: int) -> str:
    assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
    return done.stderr.removeprefix("indelible: ").removesuffix("\n")


BAD = [
    (b'{"mcpServers": {"a": {}', "line 1, column 24: expected ',' or '}', found the end; nothing was changed"),
    (b'{"mcpServers": {"a": {}, "a": {}}}', 'line 1, column 26: the key "a" stands there twice; nothing was changed'),
    (b"[]", "line 1: expected an object, with '{' first; nothing was changed"),
    (b"\xff\xfe{\0}\0", "is UTF-16; save it as UTF-8"),
    (b'{"a": "\xe9"}', "line 1, column 8: not UTF-8; nothing was changed"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "said"), BAD, ids=[said[:20] for _, said in BAD])
def test_a_file_that_cannot_be_read_for_sure_is_refused(
    content: bytes, said: str, place: Path, run: Run
) -> None:
    path = place / "mcp.json"
    path.write_bytes(content)
    command = "uninstall" if content == b"[]" else "install"
    assert refused(run(command, "cursor", "--config", path, "--yes"), 2) == f"{path}: {said}"
    assert path.read_bytes() == content


def test_what_is_wrong_with_a_command_line_is_said_in_one_line(place: Path, run: Run) -> None:
    path, before = write(place, "cursor")
    assert "no scope local; expected user or project" in refused(
        run("install", "cursor", "--scope", "local"), 2
    )
    assert "cannot be read" in refused(run("install", "cursor", "--config", "/nowhere.json"), 2)
    assert "no configuration of Windsurf is there; looked for" in refused(run("install", "windsurf"), 3)
    assert "has no server 'x'; there: parrot, there" in refused(run("install", "cursor", "--server", "x"), 2)
    assert "no such option: '--foo'" in refused(run("install", "cursor", "--", "--foo"), 2)
    assert "expected options of 'indelible wrap'" in refused(run("install", "cursor", "server"), 2)
    assert "is each server's own name" in refused(run("install", "cursor", "--", "--name", "x"), 2)
    assert "named indelible" in refused(run("install", "cursor", "--command", "x"), 2)
    assert "'claude-code'" in refused(run("install", "emacs"), 2)
    silent = run("install", "cursor")
    assert "1 server" in refused(silent, 2)
    assert "--yes says that this is meant" in silent.stderr
    assert f"+ {INDELIBLE} wrap" in silent.stdout
    assert path.read_bytes() == before
    assert not (place / "home" / ".local").exists()


def test_nothing_to_do_is_done(place: Path, run: Run) -> None:
    path = place / "home" / ".cursor" / "mcp.json"
    path.parent.mkdir()
    for command, content in (("install", b""), ("install", b'{"mcpServers": {}}'), ("uninstall", b"{}")):
        path.write_bytes(content)
        done = run(command, "cursor", "--json")
        assert (done.returncode, done.stderr) == (0, "")
        assert (json.loads(done.stdout)["changed"], path.read_bytes()) == (False, content)


def test_secrets_of_a_command_line_are_not_shown(place: Path, run: Run) -> None:
    path = place / "mcp.json"
    secret = "ghp_" + "a1B2" * 9
    server = {"command": "x", "args": ["--api-key", "hunter2hunter2", secret], "env": {"TOKEN": secret}}
    path.write_text(json.dumps({"mcpServers": {"s": server}}))
    for command, more in (("install", "--yes"), ("uninstall", "--json")):
        done = run(command, "cursor", "--config", path, "--yes", more)
        assert done.returncode == 0
        assert "hunter2" not in done.stdout + done.stderr
        assert secret not in done.stdout + done.stderr
        assert "[REDACTED]" in done.stdout


def test_a_file_that_is_gone_has_a_backup(place: Path, run: Run) -> None:
    path, before = write(place, "cursor")
    backup = json.loads(run("install", "cursor", "--yes", "--json").stdout)["backup"]
    path.unlink()
    said = refused(run("uninstall", "cursor", "--yes"), 3)
    assert said == f"{path}: is not there any more; as it was before install, it is in {backup}"
    assert Path(backup).read_bytes() == before


def test_a_name_of_this_program_of_ones_own(place: Path, run: Run) -> None:
    path, before = write(place, "cursor")
    assert (
        run("install", "cursor", "--yes", "--command", "indelible", "--", "--trail", "here.jsonl").returncode
        == 0
    )
    entry = entries(path)["parrot"]
    assert entry["command"] == "indelible"
    assert entry["args"][:6] == [
        "wrap", "--name", "parrot", "--trail", str(place / "home" / "project" / "here.jsonl"), "--",
    ]  # fmt: skip
    assert run("uninstall", "cursor", "--yes").returncode == 0
    assert path.read_bytes() == before


# --- the question, and two at once --------------------------------------------------------------------------


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("y\n", 0), ("\x04", 130), ("\x03", 130)])
def test_a_terminal_is_asked(answer: str, code: int, place: Path) -> None:
    path, before = write(place, "cursor")
    terminal, inside = pty.openpty()
    command = ["setsid", "--ctty", str(INDELIBLE), "install", "cursor"]
    with subprocess.Popen(
        command,
        cwd=place / "home" / "project",
        env=environment(place),
        stdin=inside,
        stdout=inside,
        stderr=inside,
    ) as process:
        os.close(inside)
        said = b""
        while b"[y/N]" not in said:
            said += os.read(terminal, 1024)
        os.write(terminal, answer.encode())
        try:
            while True:
                if not select.select([terminal], [], [], 2)[0]:
                    # A signal just before the read that it is to interrupt is seen after it: it is sent again.
                    if answer == "\x03":
                        os.write(terminal, answer.encode())
                    continue
                if not (chunk := os.read(terminal, 1024)):
                    break
                said += chunk
        except OSError:  # the other side is closed
            pass
    os.close(terminal)
    assert process.returncode == code, said
    assert (path.read_bytes() == before) == (code != 0)
    assert b"Wrap 1 server of" in said


def test_several_at_once_wrap_once(place: Path, run: Run) -> None:
    path, before = write(place, "windsurf")
    command = [str(INDELIBLE), "install", "windsurf", "--yes"]
    started = [
        subprocess.Popen(
            command, env=environment(place), cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        for _ in range(3)
    ]
    codes = []
    for process in started:
        _, said = process.communicate(timeout=60)
        codes.append(process.returncode)
        assert process.returncode == 0 or b"somebody else changed it meanwhile" in said
    assert 0 in codes
    assert path.read_bytes().count(b'"wrap"') == 1
    assert run("uninstall", "windsurf", "--yes").returncode == 0
    assert path.read_bytes() == before
