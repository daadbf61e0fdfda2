"""How `indelible mcp` starts, and what it says when it does not."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import indelible
from tests.integration.inquiry.conftest import LIMIT_S, Raw, command
from tests.trails import Maker

AS_USER = Path(__file__).parents[1] / "record" / "as_user.py"


def run(
    env: dict[str, str], folder: Path, *args: str | Path, before: str = ""
) -> subprocess.CompletedProcess[str]:
    program = command(*args)
    if before:
        call = f"from indelible.cli import main; sys.exit(main({['mcp', *map(str, args)]!r}))"
        program = [sys.executable, "-c", f"import sys\n{before}\n{call}"]
    return subprocess.run(
        program, env=env, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=LIMIT_S,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["--role", "auditr"], 2, "--role: there is no role 'auditr'; did you mean 'auditor'?"),
        (["--no-audit", "--audit-trail", "x"], 2, "mcp: --no-audit and --audit-trail: which of the two?"),
        (["--json"], 2, "mcp: --json is of --show: what is served is MCP"),
        (["--vkey", "nothing"], 2, "--vkey: neither a public key"),
        (["--audit-trail", "/proc/none/audit.jsonl"], 3, "--no-audit nowhere"),
        (
            ["--trail", "/proc/none/audit.jsonl"],
            3,
            "--audit-trail PATH records this server's own calls elsewhere",
        ),
    ],
)
def test_a_mistake_is_one_line(
    args: list[str], code: int, said: str, env: dict[str, str], tmp_path: Path
) -> None:
    done = run(env, tmp_path, *args)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_the_sdk_it_is_one_line(env: dict[str, str], tmp_path: Path) -> None:
    done = run(env, tmp_path, before="sys.modules['mcp'] = None")
    assert done.returncode == 3
    assert (
        done.stderr
        == "indelible: mcp needs the package mcp, 2.0 or later: pip install 'indelible[mcp]' 'mcp>=2'\n"
    )


def test_a_role_that_cannot_be_is_found_by_config_check(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "indelible.yaml").write_text("mcp: {roles: {a: {hide: [argz]}}}\n")
    done = subprocess.run(
        [sys.executable, "-m", "indelible", "config", "check"], env=env, cwd=tmp_path, capture_output=True, text=True,
        check=False, timeout=LIMIT_S,
    )  # fmt: skip
    assert done.returncode == 2
    assert "mcp.roles.a: hide: no column 'argz'; did you mean 'args'?" in done.stderr


def test_of_several_trails_the_one_for_its_own_calls_is_named(env: dict[str, str], tmp_path: Path) -> None:
    for name in ("a", "b"):
        with indelible.open_trail(tmp_path / "trails" / f"{name}.jsonl"):
            pass
    done = run(env, tmp_path, "--trail", tmp_path / "trails")
    assert done.returncode == 2
    assert "2 trails lie here, and its calls go into one" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_who_may_only_read_is_told_at_the_start(env: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trail = Maker(Path(folder) / "audit.jsonl").add_many(3).seal().layout.active
        for path in (Path(folder), *Path(folder).rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        asked = ["65534", "65534", "", "indelible", "mcp", "--trail", str(trail)]
        there = {**env, "HOME": folder, "XDG_CONFIG_HOME": folder, "XDG_STATE_HOME": folder}

        def started(*more: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, str(AS_USER), *asked, *more], env=there, cwd=folder, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, check=False, timeout=LIMIT_S,
            )  # fmt: skip

        done = started()
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert "--audit-trail PATH records this server's own calls elsewhere, --no-audit nowhere" in done.stderr
        assert done.stderr.count("\n") == 1
        assert started("--no-audit").returncode == 0


def test_it_is_asked_while_others_write(raw: Callable[..., Raw], env: dict[str, str], tmp_path: Path) -> None:
    """Four processes write small files that rotate and are compressed; what was there is always found."""
    trail = tmp_path / "audit.jsonl"
    (tmp_path / "indelible.yaml").write_text(
        "audit: {max_size_mb: 0.05, backup_count: 100, compress_rotated: true}\n"
    )
    with indelible.open_trail(trail, config=str(tmp_path / "indelible.yaml")):
        pass
    program = (
        "import sys, indelible\n"
        "with indelible.open_trail(sys.argv[1], config=sys.argv[2]) as trail:\n"
        "    for number in range(300):\n"
        "        with trail.operation('tools/call', 'work', args={'n': number}, session_id=sys.argv[3]): pass\n"
    )
    server = raw("--trail", trail, "--role", "auditor", "-c", tmp_path / "indelible.yaml")
    server.begin()
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(trail), str(tmp_path / "indelible.yaml"), f"w{number}"], env=env
        )
        for number in range(4)
    ]
    ended = threading.Event()

    def wait() -> None:
        for writer in writers:
            writer.wait(LIMIT_S)
        ended.set()

    threading.Thread(target=wait).start()
    counts, last = [0], False
    while not last:
        last = ended.is_set()
        for ask in ({}, {"where": "true"}):
            found = server.ask("statistics", name=["work"], **ask)["result"]
            assert not found.get("isError"), found
            assert found["structuredContent"]["unreadable_lines"] == 0
            counts.append(found["structuredContent"]["rows"][0][0])
    assert [writer.returncode for writer in writers] == [0] * 4
    assert counts == sorted(counts)
    assert counts[-1] == 1200
    assert server.ask("timeline", session="w2", limit=500)["result"]["structuredContent"]["length_ms"] > 0
    assert server.ask("verify")["result"]["structuredContent"]["ok"]
    assert server.end() == 0
    assert indelible.verify(trail).ok
